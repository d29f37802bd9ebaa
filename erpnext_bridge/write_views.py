"""The pages on which users see what became of their own writes; changing them is the admin's business."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from erpnext_bridge.models.write import DocumentWrite, State
from erpnext_bridge.models.write import DocumentWriteQuerySet as Writes

PAGE_LENGTH = 25

LOOKS = {State.DONE: "bridge-good", State.REFUSED: "bridge-bad", State.UNCERTAIN: "bridge-bad"}
"""State → how it is coloured; the others are plain."""

ADVICE = {
    State.PENDING: "It is sent to ERPNext in a moment.",
    State.SENDING: "It is being sent to ERPNext.",
    State.RETRYING: "It has not got through yet, and is sent again by itself.",
    State.DONE: "ERPNext has it.",
    State.REFUSED: "ERPNext did not accept it. It is not sent again.",
    State.UNCERTAIN: "An administrator has to look into this one.",
    State.CANCELLED: "It was given up, and is not sent.",
}


@never_cache
@login_required
@require_GET
def write_list(request: HttpRequest) -> HttpResponse:
    writes = _own(request).defer("payload", "history", "answer").order_by("-created_at")
    state = request.GET.get("state", "")
    if state in State.values:
        writes = writes.filter(state=state)
    page = Paginator(writes, PAGE_LENGTH).get_page(request.GET.get("page"))
    rows = [(write, LOOKS.get(State(write.state), "")) for write in page]
    return render(
        request,
        "erpnext_bridge/write_list.html",
        {"page": page, "rows": rows, "states": State.choices, "state": state},
    )


@never_cache
@login_required
@require_GET
def write_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    write = get_object_or_404(_own(request), pk=pk)
    return render(request, "erpnext_bridge/write_detail.html", {"write": write, "status": status_of(write)})


@never_cache
@login_required
@require_GET
def write_status(request: HttpRequest, pk: UUID) -> JsonResponse:
    return JsonResponse(status_of(get_object_or_404(_own(request), pk=pk)))


def status_of(write: DocumentWrite) -> dict[str, Any]:
    """Return what a page tells about a write, as JSON can carry it."""
    state = State(write.state)
    waits = state == State.RETRYING and write.next_attempt_at
    return {
        "id": str(write.pk),
        "state": state.value,
        "label": str(state.label),
        "look": LOOKS.get(state, ""),
        "advice": ADVICE[state],
        "settled": write.is_settled,
        "document_name": write.document_name,
        "document_url": write.document_url,
        "messages": write.last_error.splitlines(),
        "attempts": write.attempts,
        "next_attempt": timezone.localtime(write.next_attempt_at).strftime("%H:%M:%S") if waits else "",
    }


def _own(request: HttpRequest) -> Writes:
    # Of others, and of the service account, not even the existence is told.
    return DocumentWrite.objects.for_user(request.user)
