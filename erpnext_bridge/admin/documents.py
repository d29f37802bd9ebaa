"""
Documents in Django's admin, as the signed-in user: what ERPNext forbids is not offered, what it refuses is told at its field.

    @admin.register(SalesOrder)
    class SalesOrderAdmin(ErpModelAdmin):
        inlines = [ItemInline]

    class ItemInline(ChildRowInline):
        model = SalesOrderItem
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.utils import model_ngettext, quote, unquote
from django.contrib.admin.views.main import ChangeList
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html

from erpnext_bridge import rights
from erpnext_bridge.access import open_site
from erpnext_bridge.documents import BaseDocument, Docstatus, Document
from erpnext_bridge.errors import (
    BulkError,
    ERPNextBridgeError,
    NotConnected,
    RefusedError,
    TransientError,
    UnreadableAnswer,
    UnsupportedQuery,
)
from erpnext_bridge.forms import ChildRowFormSet, DocumentForm
from erpnext_bridge.identity import Identity, acting_as
from erpnext_bridge.refusals import tell_refusal

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Document]
    TabularInline = admin.TabularInline[Any, Any]
    Changes = ChangeList
else:
    ModelAdmin, TabularInline, Changes = admin.ModelAdmin, admin.TabularInline, ChangeList

DOCUMENT_ACTIONS = {
    "submit": ("Save and submit", Docstatus.DRAFT, "submitted"),
    "cancel": ("Cancel this document", Docstatus.SUBMITTED, "cancelled"),
    "amend": ("Amend", Docstatus.CANCELLED, "amended"),
}
"""Right that ERPNext gives, and method of a document → button, the docstatus that it is for, what was done."""

OWN_ACTIONS = ("submit_selected", "cancel_selected", "delete_selected")


class _Refused(Exception):
    """Carries the forms of a page whose document ERPNext did not take; leaves the page's transaction."""

    def __init__(self, form: Any, formsets: list[Any]) -> None:
        super().__init__()
        self.form = form
        self.formsets = formsets


class _Abandoned(Exception):
    """Ends an edit without sending it."""


class LinkSelect(AutocompleteSelect):
    """A link with autocomplete; the chosen document is not read where its name is all that is shown."""

    def optgroups(self, name: str, value: Any, attr: Any = None) -> Any:
        model = self.field.remote_field.model
        if model.__str__ is not BaseDocument.__str__:
            return super().optgroups(name, value, attr)
        chosen = [str(each) for each in value if each not in (None, "")]
        empty = [] if self.is_required else [self.create_option(name, "", "", False, 0)]
        options = [self.create_option(name, each, each, True, at) for at, each in enumerate(chosen, 1)]
        return [(None, empty + options, 0)]


class DocumentChangeList(Changes):
    """Reads the links that are shown along, which Django asks of a database without naming them."""

    def apply_select_related(self, qs: Any) -> Any:
        if not isinstance(self.list_select_related, bool):
            return super().apply_select_related(qs)
        links = [field.name for field in self.lookup_opts.fields if field.is_relation]
        along = [name for name in links if self.list_select_related or name in self.list_display]
        return qs.select_related(*along) if along else qs


class _ErpOptions:
    """What documents and their rows have in common."""

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name in self.get_autocomplete_fields(request):  # type: ignore[attr-defined]
            kwargs.setdefault("widget", LinkSelect(db_field, self.admin_site))  # type: ignore[attr-defined]
        with acting_as(request.user):
            return super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]


class ChildRowInline(_ErpOptions, TabularInline):
    """Rows of a table in the page of their document; whoever may change the document may change them."""

    formset = ChildRowFormSet
    fk_name = "parent"
    extra = 0

    def _may_change(self, request: HttpRequest, obj: Any) -> bool:
        owner = self.admin_site.get_model_admin(self.parent_model)
        return owner.has_change_permission(request, obj) if obj else owner.has_add_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may_change(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may_change(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may_change(request, obj)


class ErpModelAdmin(_ErpOptions, ModelAdmin):
    """
    A ModelAdmin for documents. Any staff user may open it; ERPNext decides what they see and do, not Django's permissions.

    Who is not connected is sent to the connect page, and comes back. Needs ConnectionMiddleware.
    """

    form = DocumentForm  # type: ignore[assignment]
    change_form_template = "erpnext_bridge/admin/change_form.html"
    show_full_result_count = False
    actions = []

    def __init__(self, model: Any, admin_site: Any) -> None:
        super().__init__(model, admin_site)
        if self.actions is not None:
            # Also where a class names actions of its own: Django's delete_selected knows no document that is kept.
            self.actions = list(dict.fromkeys([*self.actions, *OWN_ACTIONS]))

    # Whose rights.

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).for_user(request.user)  # type: ignore[attr-defined]

    def may(self, request: HttpRequest, action: str, obj: Any = None) -> bool:
        """Return whether ERPNext lets the user do this to the DocType, or to a document of it."""
        known = request.__dict__.setdefault("_erpnext_rights", {})
        key = (self.model, action, obj.pk if obj is not None else None)
        if key not in known:
            known[key] = self._ask(request, action, key[2])
        return bool(known[key])

    def _ask(self, request: HttpRequest, action: str, name: str | None) -> bool:
        doctype = self.model.doctype
        try:
            return rights.can(self._identity(request), action, doctype, name)
        except (NotConnected, TransientError, UnreadableAnswer):
            # The page itself sends the user to connect, or tells that ERPNext does not answer.
            return action == "read"

    def _identity(self, request: HttpRequest) -> Identity:
        return Identity.for_user(request.user, self.model.site)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, "read", obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return not self.model.is_single and self.may(request, "create")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _is_open(obj) and self.may(request, "write", obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        is_submitted = obj is not None and obj.docstatus == Docstatus.SUBMITTED
        return not self.model.is_single and not is_submitted and self.may(request, "delete", obj)

    def has_submit_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, "submit", obj)

    def has_cancel_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, "cancel", obj)

    # Pages.

    @contextmanager
    def _connected(self, request: HttpRequest) -> Iterator[None]:
        _ = open_site(self._identity(request)).client
        with acting_as(request.user):
            yield

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        with self._connected(request):
            if "_save" in request.POST:
                request.__dict__["_erpnext_saved"] = []
            try:
                return super().changelist_view(request, extra_context)
            except _Refused as refused:
                self._note_saved(request)
                request.__dict__["_erpnext_refused"] = refused
                return super().changelist_view(request, extra_context)
            except ERPNextBridgeError:
                self._note_saved(request)
                raise
            finally:
                _abandon(request.__dict__.pop("_erpnext_writing", None))

    def changeform_view(
        self, request: HttpRequest, object_id: Any = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        with self._connected(request):
            try:
                return super().changeform_view(request, object_id, form_url, extra_context)
            except _Refused as refused:
                # Once more, with the forms as they are now: they tell what is wrong, and nothing is sent.
                request.__dict__["_erpnext_refused"] = refused
                return super().changeform_view(request, object_id, form_url, extra_context)
            finally:
                _abandon(request.__dict__.pop("_erpnext_writing", None))

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        with self._connected(request):
            try:
                return super().delete_view(request, object_id, extra_context)
            except RefusedError as refusal:
                self._tell(request, unquote(object_id), refusal)
                return HttpResponseRedirect(self._change_page(unquote(object_id)))

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        with self._connected(request):
            return super().history_view(request, object_id, extra_context)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return DocumentChangeList

    def get_changelist_formset(self, request: HttpRequest, **kwargs: Any) -> Any:
        formset = super().get_changelist_formset(request, **kwargs)
        refused = request.__dict__.get("_erpnext_refused")
        return formset if refused is None else _telling(formset, refused.form)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # Where the page is based on stands above its fields (change_form.html).
        return [name for name in super().get_fields(request, obj) if name != "based_on"]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        refused = request.__dict__.get("_erpnext_refused")
        if refused is None:
            return super().get_form(request, obj, change, **kwargs)
        return type("Again", (type(refused.form),), {"__new__": lambda cls, *args, **options: refused.form})

    def _create_formsets(self, request: HttpRequest, obj: Any, change: bool) -> Any:
        formsets, inlines = super()._create_formsets(request, obj, change)  # type: ignore[misc]
        refused = request.__dict__.get("_erpnext_refused")
        return (refused.formsets if refused is not None else formsets), inlines

    # Saving.

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        # Sent with the rows, at the end of save_related().
        stack = request.__dict__["_erpnext_writing"] = ExitStack()
        stack.enter_context(obj.edit())
        obj.save()

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        stack = request.__dict__.pop("_erpnext_writing", None) or ExitStack()
        try:
            with stack:
                super().save_related(request, form, formsets, change)
        except (NotConnected, UnsupportedQuery):
            raise
        except RefusedError as refusal:
            tell_refusal(refusal, form, *formsets)
            raise _Refused(form, formsets) from refusal
        except ERPNextBridgeError as error:
            form.add_error(None, _unsure(error))
            raise _Refused(form, formsets) from error

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        if "_erpnext_saved" in request.__dict__:
            request.__dict__["_erpnext_saved"].append((obj, message))
        return super().log_change(request, obj, message)

    def _note_saved(self, request: HttpRequest) -> None:
        """Log and tell what a list saved before it was refused the next one: Django rolls back what it had noted itself."""
        saved = request.__dict__.pop("_erpnext_saved", [])
        for document, message in saved:
            self.log_change(request, document, message)
        if saved:
            self._count(request, len(saved), "changed")

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        queryset.delete()

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        # Rows go with their documents, and ERPNext keeps what others link to: there is nothing to collect.
        shown = [format_html('<a href="{}">{}</a>', self._change_page(each.pk), each) for each in objs]
        lacking = set() if self.has_delete_permission(request) else {str(self.opts.verbose_name)}
        return shown, {self.opts.verbose_name_plural: len(shown)}, lacking, []

    # Actions.

    @admin.action(permissions=["delete"], description="Delete selected %(verbose_name_plural)s")
    def delete_selected(self, request: HttpRequest, queryset: Any) -> Any:
        if not request.POST.get("post"):
            return delete_selected(self, request, queryset)
        documents = {each.pk: each for each in queryset}
        kept: list[tuple[Any, ERPNextBridgeError]] = []
        try:
            self.delete_queryset(request, queryset)
        except BulkError as failure:
            kept = failure.failed
        for document, error in kept:
            documents.pop(document.pk, None)
            self._tell(request, document, error)
        if documents:
            self.log_deletions(request, list(documents.values()))  # type: ignore[arg-type]
            self._count(request, len(documents), "deleted")
        return None

    @admin.action(permissions=["submit"], description="Submit selected %(verbose_name_plural)s")
    def submit_selected(self, request: HttpRequest, queryset: Any) -> None:
        self._act_on_all(request, queryset, "submit")

    @admin.action(permissions=["cancel"], description="Cancel selected %(verbose_name_plural)s")
    def cancel_selected(self, request: HttpRequest, queryset: Any) -> None:
        self._act_on_all(request, queryset, "cancel")

    def _act_on_all(self, request: HttpRequest, queryset: Any, action: str) -> None:
        done = DOCUMENT_ACTIONS[action][2]
        count = 0
        try:
            for document in queryset:
                count += bool(self._act(request, document, action))
        finally:
            # Also when the site goes away in the middle: what was done stays done.
            if count:
                self._count(request, count, done)

    def _act(self, request: HttpRequest, document: Any, action: str) -> Any:
        """Submit, cancel or amend a document; return what came of it, or None after telling why not."""
        try:
            outcome = getattr(document, action)()
        except RefusedError as refusal:
            self._tell(request, document, refusal)
            return None
        self.log_change(request, document, f"{DOCUMENT_ACTIONS[action][2].capitalize()}.")
        return outcome or True

    # Buttons of a document's page.

    def get_urls(self) -> Any:
        view = self.admin_site.admin_view(self.document_action_view)
        name = f"{self.opts.app_label}_{self.opts.model_name}_erpnext"
        return [path("<path:object_id>/erpnext/<slug:action>/", view, name=name), *super().get_urls()]

    def document_action_view(self, request: HttpRequest, object_id: str, action: str) -> HttpResponse:
        """Submit, cancel or amend the document, as its page says."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        with self._connected(request):
            document = self.get_object(request, unquote(object_id))
            if document is None or action not in self._offered(request, document):
                raise PermissionDenied
            outcome = self._act(request, document, action)
            if outcome:
                self._count(request, 1, DOCUMENT_ACTIONS[action][2])
            shown = outcome if isinstance(outcome, Document) else document
            return HttpResponseRedirect(self._change_page(shown.pk))

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        document = kwargs.get("obj")
        offered = self._offered(request, document) if document is not None and not context["is_popup"] else []
        context["document_actions"] = [self._button(document, action) for action in offered]
        return super().render_change_form(request, context, *args, **kwargs)

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        if "_submit_document" not in request.POST:
            return super().response_change(request, obj)
        if self._act(request, obj, "submit"):
            self._count(request, 1, DOCUMENT_ACTIONS["submit"][2])
        return HttpResponseRedirect(self._change_page(obj.pk))

    def _offered(self, request: HttpRequest, document: Any) -> list[str]:
        return [
            action
            for action, (_, docstatus, _) in DOCUMENT_ACTIONS.items()
            if document.docstatus == docstatus and self.may(request, action, document)
        ]

    def _button(self, document: Any, action: str) -> dict[str, str]:
        # What is on the page goes along with a submit where it can be changed.
        label = DOCUMENT_ACTIONS[action][0]
        if action == "submit":
            return {"label": label, "name": "_submit_document"}
        return {"label": label, "url": self._page("erpnext", document.pk, action)}

    def _change_page(self, name: Any) -> str:
        return self._page("change", name)

    def _page(self, page: str, name: Any, *args: str) -> str:
        view = f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_{page}"
        return reverse(view, args=[quote(name), *args])

    # Messages.

    def _tell(self, request: HttpRequest, document: Any, error: ERPNextBridgeError) -> None:
        text = " ".join(error.messages) or str(error)
        self.message_user(request, f"{document}: {text}", messages.ERROR)

    def _count(self, request: HttpRequest, count: int, done: str) -> None:
        self.message_user(request, f"{count} {model_ngettext(self.opts, count)} {done}.", messages.SUCCESS)


def _telling(formset: Any, refused: Any) -> Any:
    """Return the formset of a list (list_editable) with what ERPNext refused at the document that it is about."""

    class Telling(formset):  # type: ignore[misc]
        def full_clean(self) -> None:
            super().full_clean()
            for form in self.forms:
                if form.instance.pk == refused.instance.pk:
                    form.errors.update(refused.errors)

    return Telling


def _abandon(stack: ExitStack | None) -> None:
    """Drop what was to be written when save_related() was not reached: nothing may wait for a page that is over."""
    if stack is not None:
        stack.__exit__(_Abandoned, _Abandoned(), None)


def _is_open(obj: Any) -> bool:
    return obj is None or obj.docstatus == Docstatus.DRAFT


def _unsure(error: ERPNextBridgeError) -> str:
    text = " ".join(error.messages) or str(error)
    if getattr(error, "sent", False):
        return f"ERPNext may have saved this or not: {text} Look there before you send it again."
    return f"ERPNext could not save this: {text} Nothing was changed. Send it again in a moment."
