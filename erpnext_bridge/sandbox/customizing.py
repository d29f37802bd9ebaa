"""Custom fields: documents that change a DocType (custom/doctype/custom_field/custom_field.py)."""

from __future__ import annotations

from .context import Context
from .controllers import hook
from .documents import Document
from .errors import throw
from .meta import DocType
from .permissions import meta_of

NOT_OF_A_FIELD = frozenset(
    {"dt", "name", "owner", "creation", "modified", "modified_by", "docstatus", "idx", "doctype"}
)


@hook("Custom Field", "autoname")
def autoname(ctx: Context, doc: Document) -> None:
    doc.values["name"] = f"{doc.get('dt')}-{doc.get('fieldname')}"


@hook("Custom Field", "before_insert")
def before_insert(ctx: Context, doc: Document) -> None:
    if meta_of(ctx, str(doc.get("dt"))).field(str(doc.get("fieldname"))) is not None:
        throw(ctx, f"A field with the name {doc.get('fieldname')} already exists in {doc.get('dt')}")


@hook("Custom Field", "on_update")
def on_update(ctx: Context, doc: Document) -> None:
    field = {key: value for key, value in doc.values.items() if key not in NOT_OF_A_FIELD}
    _define(ctx, str(doc.get("dt")), {**field, "is_custom_field": 1})


@hook("Custom Field", "on_trash")
def on_trash(ctx: Context, doc: Document) -> None:
    """Frappe leaves the column in the table."""
    _define(ctx, str(doc.get("dt")), None, without=str(doc.get("fieldname")))


def _define(ctx: Context, doctype: str, field: dict[str, object] | None, without: str = "") -> None:
    meta = meta_of(ctx, doctype)
    gone = without or str((field or {}).get("fieldname"))
    fields = [one.raw for one in meta.fields if one.fieldname != gone]
    changed = DocType(meta.raw, [*fields, *([field] if field else [])], meta.permissions)
    ctx.store.ensure(doctype)
    ctx.store.define(changed)
