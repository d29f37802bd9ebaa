"""The writes of everybody, for administrators: what happened to each, and what they can do about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.defaultfilters import truncatechars
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join

from erpnext_bridge.addresses import page_or_nothing
from erpnext_bridge.admin.conflicts import conflict_page
from erpnext_bridge.admin.write_filters import DocTypeFilter, ErrorFilter, SiteFilter, UserFilter
from erpnext_bridge.conflicts import is_open
from erpnext_bridge.models.write import DocumentWrite, DocumentWriteQuerySet, State
from erpnext_bridge.writes import WriteStateError, can_resolve, cancel, resolve, retry

if TYPE_CHECKING:
    WriteModelAdmin = admin.ModelAdmin[DocumentWrite]
else:
    WriteModelAdmin = admin.ModelAdmin

CHANGE = "admin:erpnext_bridge_documentwrite_change"
CONFLICT = "admin:erpnext_bridge_documentwrite_conflict"

FINISHED = (State.DONE, State.CANCELLED)


@admin.register(DocumentWrite)
class DocumentWriteAdmin(WriteModelAdmin):
    change_list_template = "erpnext_bridge/admin/write_list.html"
    change_form_template = "erpnext_bridge/admin/write_detail.html"
    actions = ["send_again", "create_again", "mark_as_done", "give_up"]
    list_display = ["what", "state", "actor", "site", "attempts", "summary", "created_at"]
    list_filter = ["state", SiteFilter, "action", ErrorFilter, DocTypeFilter, UserFilter, "is_service"]
    show_full_result_count = False
    list_select_related = ["user"]
    date_hierarchy = "created_at"
    ordering = ["-created_at"]
    fieldsets = [
        (None, {"fields": ["state", "message", "document", "document_name", "advice"]}),
        ("What", {"fields": ["action", "doctype", "submit", "values", "base_modified", "on_conflict"]}),
        ("Whose", {"fields": ["site", "user", "is_service"]}),
        (
            "Delivery",
            {"fields": ["attempts", "priority", "next_attempt_at", "outcome_unknown", "waits_for", "events"]},
        ),
        ("Times", {"fields": ["created_at", "updated_at", "finished_at"]}),
    ]

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        username = getattr(get_user_model(), "USERNAME_FIELD", "username")
        return ["document_name", "doctype", "last_error", f"user__{username}", "=id"]

    # What is allowed

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: DocumentWrite | None = None) -> bool:
        # A write that is not finished is a promise; giving it up is an action of its own.
        return obj is not None and obj.state in FINISHED and super().has_delete_permission(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: DocumentWrite | None = None) -> list[str]:
        shown = [name for _, options in self.fieldsets or () for name in options["fields"]]
        editable = {"document_name"} if obj is not None and _needs_name(obj) else set()
        return [str(name) for name in shown if name not in editable]

    def get_form(
        self, request: HttpRequest, obj: DocumentWrite | None = None, change: bool = False, **kwargs: Any
    ) -> type[ModelForm[DocumentWrite]]:
        form = super().get_form(request, obj, change, **kwargs)
        if name := form.base_fields.get("document_name"):
            name.required = True
        return form

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        links = {"queue_url": page_or_nothing("erpnext_bridge:write_queue")}
        return super().changelist_view(request, {**(extra_context or {}), **links})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        write = self.get_object(request, object_id)
        can_save = write is not None and _needs_name(write)
        buttons = {"show_save": can_save, "show_save_and_continue": False, "show_save_and_add_another": False}
        links = {"conflict_url": reverse(CONFLICT, args=[object_id]) if write and is_open(write) else ""}
        return super().change_view(
            request, object_id, form_url, {**(extra_context or {}), **buttons, **links}
        )

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.conflict_view)
        return [
            path("<uuid:pk>/conflict/", view, name="erpnext_bridge_documentwrite_conflict"),
            *super().get_urls(),
        ]

    def conflict_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        write = get_object_or_404(DocumentWrite, pk=pk)
        if not self.has_view_permission(request, write):
            raise PermissionDenied
        back_url = reverse(CHANGE, args=[pk])
        if not is_open(write):
            return HttpResponseRedirect(back_url)
        may_change = self.has_change_permission(request, write)
        return conflict_page(request, write, site=self.admin_site, back_url=back_url, may_change=may_change)

    def save_model(self, request: HttpRequest, obj: DocumentWrite, form: Any, change: bool) -> None:
        # The form has put the name into `obj`; resolve() decides with the row as it is.
        write = DocumentWrite.objects.get(pk=obj.pk)
        try:
            resolve(write, form.cleaned_data.get("document_name", ""), by=request.user.get_username())
        except WriteStateError as refusal:
            self.message_user(request, str(refusal), messages.ERROR)

    # Columns and fields

    @admin.display(description="write", ordering="doctype")
    def what(self, write: DocumentWrite) -> str:
        return write.title

    @admin.display(description="message")
    def summary(self, write: DocumentWrite) -> str:
        return truncatechars(write.last_error, 160)

    @admin.display(description="message")
    def message(self, write: DocumentWrite) -> str:
        return format_html('<span style="white-space: pre-line">{}</span>', write.last_error)

    @admin.display(description="at ERPNext")
    def document(self, write: DocumentWrite) -> str:
        if not write.document_url:
            return write.document_name or "no name yet"
        return format_html('<a href="{}" rel="noreferrer">{}</a>', write.document_url, write.document_name)

    @admin.display(description="what to do")
    def advice(self, write: DocumentWrite) -> str:
        if is_open(write):
            return COMPARE
        return ADVICE.get(State(write.state), "Nothing.") if not _needs_name(write) else NAME_IT

    @admin.display(description="payload")
    def values(self, write: DocumentWrite) -> str:
        text = json.dumps(write.payload, indent=2, ensure_ascii=False)
        return format_html('<pre style="white-space: pre-wrap; margin: 0">{}</pre>', text)

    @admin.display(description="waits for")
    def waits_for(self, write: DocumentWrite) -> str:
        links = ((reverse(CHANGE, args=[other.pk]), other) for other in write.depends_on.all())
        return format_html_join(", ", '<a href="{}">{}</a>', links) or "no other"

    @admin.display(description="history")
    def events(self, write: DocumentWrite) -> str:
        lines = ((event["at"], event["event"], _rest(event)) for event in write.history)
        return format_html("<ol>{}</ol>", format_html_join("", "<li>{} <b>{}</b> {}</li>", lines))

    # Actions

    @admin.action(description="Send again", permissions=["change"])
    def send_again(self, request: HttpRequest, queryset: DocumentWriteQuerySet) -> None:
        self._each(request, queryset, retry, "queued again")

    @admin.action(description="Send as new: I have looked, ERPNext has not done it", permissions=["change"])
    def create_again(self, request: HttpRequest, queryset: DocumentWriteQuerySet) -> None:
        self._each(
            request, queryset, lambda write, by: retry(write, create_again=True, by=by), "queued again"
        )

    @admin.action(description="Mark as done: I have looked, ERPNext has it", permissions=["change"])
    def mark_as_done(self, request: HttpRequest, queryset: DocumentWriteQuerySet) -> None:
        self._each(request, queryset, resolve, "marked as done")

    @admin.action(description="Give up", permissions=["change"])
    def give_up(self, request: HttpRequest, queryset: DocumentWriteQuerySet) -> None:
        self._each(request, queryset, cancel, "given up")

    def _each(
        self,
        request: HttpRequest,
        queryset: DocumentWriteQuerySet,
        act: Callable[..., None],
        done: str,
    ) -> None:
        count = 0
        for write in queryset:
            try:
                act(write, by=request.user.get_username())
                count += 1
            except WriteStateError as refusal:
                self.message_user(request, f"{write}: {refusal}", messages.WARNING)
        if count:
            self.message_user(request, f"{count} {'write' if count == 1 else 'writes'} {done}.")


NAME_IT = (
    "ERPNext may have created the document. Look for it there. If you find it, put its name above and save. "
    "If it is not there, choose “Send as new” in the list."
)

COMPARE = (
    "Somebody else has saved the document first. Choose “Compare and decide” above, or “Give up” in the list."
)

ADVICE = {
    State.REFUSED: "Mend at ERPNext what the message names, then choose “Send again” in the list, or “Give up”.",
    State.UNCERTAIN: "Look at the document at ERPNext, then choose “Send again” or “Send as new”, “Mark as done” or “Give up” in the list.",
    State.RETRYING: "Nothing; “Send again” in the list does not wait for the next attempt.",
}


def _needs_name(write: DocumentWrite) -> bool:
    return write.creates and can_resolve(write)


def _rest(event: dict[str, Any]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in event.items() if key not in ("at", "event"))
