"""
Documents for tests: what a DocType demands is filled in, from its own metadata.

A mandatory field gets its default, a mandatory link an existing document or a new one, a mandatory table one row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload
from weakref import WeakKeyDictionary
from zoneinfo import ZoneInfo

from django.core.exceptions import FieldDoesNotExist
from django.db.models import Field, Model

from erpnext_bridge import payloads
from erpnext_bridge.base_document import decoders_of
from erpnext_bridge.documents import BaseDocument, Document
from erpnext_bridge.identity import Identity, ambient_identity
from erpnext_bridge.values import column_of, to_payload

from .sites import current_site

if TYPE_CHECKING:
    from erpnext_bridge.sandbox import Sandbox
    from erpnext_bridge.sandbox.meta import DocField, DocType

D = TypeVar("D", bound=Document)
Payload = dict[str, Any]


@overload
def make(what: type[D], /, **values: Any) -> D: ...
@overload
def make(what: str, /, **values: Any) -> Payload: ...
def make(what: type[D] | str, /, **values: Any) -> D | Payload:
    """
    Create a document in the sandbox, and return it: an instance for a Document class, a dict for a DocType's name.

    It goes past permissions and past the request log, and through everything else: naming, defaults, link checks.
    An instance acts as whoever acts where it is made, else as the service account.
    """
    from erpnext_bridge.sandbox.errors import SandboxError

    sandbox, doctype = current_site(), doctype_of(what)
    try:
        stored = sandbox.insert(doctype, **build(what, **values))
    except SandboxError as refusal:
        raise ValueError(
            f"The sandbox refuses this {doctype}: {refusal.text or refusal.exc_type}"
        ) from refusal
    return stored if isinstance(what, str) else _instance(what, stored)


def build(what: type[Document] | str, /, **values: Any) -> Payload:
    """Return the fields of a valid document that is not created: these values, and what else is mandatory."""
    sandbox = current_site()
    given = _wire_values(what, values, sandbox)
    with sandbox.site.lock:
        return _Builder(sandbox).complete(meta_of(sandbox, doctype_of(what)), given)


def _insert(sandbox: Sandbox, doctype: str, values: Payload) -> Payload:
    from erpnext_bridge.sandbox.errors import SandboxError

    try:
        return sandbox.insert(doctype, **values)
    except SandboxError as refusal:
        raise ValueError(
            f"The sandbox refuses this {doctype}: {refusal.text or refusal.exc_type}"
        ) from refusal


def doctype_of(what: type[BaseDocument] | str) -> str:
    return what if isinstance(what, str) else what.doctype


def meta_of(sandbox: Sandbox, doctype: str) -> DocType:
    meta = sandbox.site.store.meta(doctype)
    if meta is None:
        raise ValueError(
            f"The sandbox has no DocType {doctype!r}. Take it along with `manage.py erpnext_snapshot {doctype!r}`."
        )
    return meta


def _instance(model: type[D], stored: Payload) -> D:
    sandbox = current_site()
    zone = ZoneInfo(sandbox.world.time_zone)
    identity = ambient_identity(model.site) or Identity.service(model.site)
    return model.from_wire(stored, decoders_of(model, zone), identity, zone)


# From a test's values to Frappe's


def _wire_values(what: type[BaseDocument] | str, values: Mapping[str, Any], sandbox: Sandbox) -> Payload:
    named = dict(_named(what, name, value) for name, value in values.items())
    return payloads.decode(payloads.encode(named), lambda: ZoneInfo(sandbox.world.time_zone))


def _named(what: type[BaseDocument] | str, name: str, value: Any) -> tuple[str, Any]:
    """Return fieldname and value of what a test calls by a field's name, or by its attribute's."""
    if isinstance(value, list | tuple):
        return name, [_row(row) for row in value]
    if isinstance(value, Model):
        value = value.pk
    field = None if isinstance(what, str) else _field(what, name)
    if field is None:
        return name, value
    return column_of(field), to_payload(field, value)


def _field(model: type[BaseDocument], name: str) -> Field[Any, Any] | None:
    by_attname = {field.attname: field for field in model._meta.concrete_fields}
    if name in by_attname:
        return by_attname[name]
    try:
        found = model._meta.get_field(name)
    except FieldDoesNotExist:
        return None
    return found if isinstance(found, Field) else None


def _row(row: Any) -> Any:
    if not isinstance(row, BaseDocument):
        return row
    fields = [field for field in row._meta.concrete_fields if field.name not in NOT_OF_ROWS]
    given = {column_of(field): to_payload(field, getattr(row, field.attname)) for field in fields}
    return {name: value for name, value in given.items() if value is not None}


NOT_OF_ROWS = frozenset(
    {"name", "owner", "creation", "modified", "modified_by", "docstatus", "idx", "parent", "parenttype", "parentfield"}
)  # fmt: skip


# What is mandatory


class _Builder:
    """Completes the values of one document, and of those that it needs."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.store = sandbox.site.store
        self.under_way: list[str] = []

    def complete(self, meta: DocType, given: Mapping[str, Any]) -> Payload:
        values = dict(given)
        self.under_way.append(meta.name)
        for field in meta.fields:
            if field.is_table and values.get(field.fieldname):
                rows = meta_of(self.sandbox, field.options)
                values[field.fieldname] = [self.complete(rows, row) for row in values[field.fieldname]]
            elif self.lacks(meta, field, values):
                values[field.fieldname] = self.value(meta, field, values)
        if meta.autoname.lower() == "prompt" and not values.get("name"):
            values["name"] = self.fresh(meta, "name", meta.name)
        self.under_way.pop()
        return values

    def lacks(self, meta: DocType, field: DocField, values: Mapping[str, Any]) -> bool:
        """Tell whether Frappe would not fill a field that it wants to be filled."""
        names_it = meta.autoname.lower() == f"field:{field.fieldname}".lower()
        if not (field.reqd or names_it) or values.get(field.fieldname) not in (None, "", []):
            return False
        if field.fetch_from and self.fetched(meta, field, values):
            return False
        # A default like ":Company" is looked up by the browser, not by the server.
        has_default = field.default not in (None, "") and not str(field.default).startswith(":")
        has_option = field.fieldtype == "Select" and bool(field.options.split("\n", 1)[0])
        return not (has_default or has_option)

    def fetched(self, meta: DocType, field: DocField, values: Mapping[str, Any]) -> Any:
        link, _, source = field.fetch_from.partition(".")
        target = meta.field(link)
        if target is None or target.options not in self.store.doctypes or not values.get(link):
            return None
        return (self.store.get(target.options, values[link]) or {}).get(source)

    def value(self, meta: DocType, field: DocField, values: Payload) -> Any:
        if field.fieldtype == "Link":
            return self.link(field.options)
        if field.fieldtype == "Dynamic Link":
            doctype = values.setdefault(field.options, "User")
            return self.link(str(doctype))
        if field.is_table:
            return [self.complete(meta_of(self.sandbox, field.options), {})]
        return VALUES.get(field.fieldtype, text_of)(self, meta, field)

    def link(self, doctype: str) -> Any:
        """Return the name of a document that may be linked to: the first one that is in use, or a new one."""
        if doctype not in self.store.doctypes:
            # Frappe's own DocType that no sandbox has; the sandbox does not check links to it.
            return f"{doctype} 1"
        meta = self.store.doctypes[doctype]
        if doctype == "DocType" or meta.is_single:
            return "User" if doctype == "DocType" else doctype
        usable = {"is_group": 0, "disabled": 0}
        where = {name: value for name, value in usable.items() if meta.field(name) is not None}
        found = self.store.rows(doctype, where, order="docstatus, name", limit=1)
        if found:
            return found[0]["name"]
        if doctype in self.under_way:
            return None
        return _insert(self.sandbox, doctype, self.complete(meta, {}))["name"]

    def fresh(self, meta: DocType, column: str, label: str) -> str:
        """Return a text that no document has in this column."""
        numbers = _numbers.setdefault(self.sandbox, Counter())
        while True:
            numbers[meta.name, column] += 1
            text = f"{label} {numbers[meta.name, column]}"
            if meta.is_single or not self.store.rows(meta.name, {column: text}, limit=1):
                return text


_numbers: WeakKeyDictionary[Sandbox, Counter[tuple[str, str]]] = WeakKeyDictionary()
"""The last number that a text of a DocType's field got, for each sandbox."""

Maker = Callable[[_Builder, "DocType", "DocField"], Any]


def text_of(builder: _Builder, meta: DocType, field: DocField) -> str:
    text = builder.fresh(meta, field.fieldname, field.label or field.fieldname)
    number = text.rpartition(" ")[2]
    if field.options == "Email":
        return f"{field.fieldname}{number}@example.com"
    if field.options == "URL":
        return f"https://example.com/{number}"
    if field.options == "Phone":
        return f"+49 30 {number:0>7}"
    return text[-field.length :] if field.length else text


def _option(builder: _Builder, meta: DocType, field: DocField) -> str:
    return next((option for option in field.options.split("\n") if option), "")


def _constant(value: Any) -> Maker:
    return lambda builder, meta, field: value


VALUES: dict[str, Maker] = {
    **dict.fromkeys(("Int", "Long Int", "Check", "Float", "Currency", "Percent"), _constant(1)),
    "Attach": _constant("/files/example.txt"),
    "Attach Image": _constant("/files/example.png"),
    "Color": _constant("#449CF0"),
    "Date": lambda builder, meta, field: builder.sandbox.site.today(),
    "Datetime": lambda builder, meta, field: builder.sandbox.site.now_text(),
    "Duration": _constant(60),
    "Geolocation": _constant("{}"),
    "JSON": _constant("{}"),
    "Phone": _constant("+49-301234567"),
    "Rating": _constant(1),
    "Select": _option,
    "Time": _constant("12:00:00"),
}
