"""The page of the admin on which a conflict is decided: what the document was, what we want, what they have saved."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render

from erpnext_bridge.conflicts import Side, settle, sides
from erpnext_bridge.models.write import DocumentWrite
from erpnext_bridge.writes import WriteStateError

OURS, THEIRS = "ours", "theirs"


def conflict_page(
    request: HttpRequest, write: DocumentWrite, *, site: AdminSite, back_url: str, may_change: bool
) -> HttpResponse:
    """Show the three sides of a conflict, and do what is chosen."""
    found = sides(write)
    if request.method == "POST" and may_change:
        kept = [side.fieldname for side in found if request.POST.get(f"field:{side.fieldname}") == THEIRS]
        try:
            settle(write, theirs=kept, by=request.user.get_username())
        except WriteStateError as refusal:
            messages.error(request, str(refusal))
        else:
            messages.success(request, f"{write}.")
        return HttpResponseRedirect(back_url)
    context = {
        **site.each_context(request),
        "title": "Conflict",
        "subtitle": write.title,
        "write": write,
        "conflict": write.conflict or {},
        "rows": [_row(side) for side in found],
        "back_url": back_url,
        "may_change": may_change,
    }
    return render(request, "erpnext_bridge/admin/write_conflict.html", context)


def _row(side: Side) -> dict[str, Any]:
    choices = ((OURS, side.ours), (THEIRS, side.theirs))
    return {
        "fieldname": side.fieldname,
        "both_changed": side.both_changed,
        "base": as_text(side.base),
        "choices": [
            {"value": value, "text": as_text(text), "checked": value == OURS} for value, text in choices
        ],
    }


def as_text(value: Any) -> str:
    """Return a value for people, child rows as JSON."""
    if isinstance(value, list | dict):
        return json.dumps(value, indent=2, ensure_ascii=False)
    return "–" if value in (None, "") else str(value)
