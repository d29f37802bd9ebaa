"""Renaming and merging documents: every link follows, `modified` does not (model/rename_doc.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import deleting, errors, permissions, trees
from .documents import load
from .store import quoted, table

if TYPE_CHECKING:
    from .context import Context
    from .documents import Document


def rename(ctx: Context, doctype: str, old: str, new: str, merge: Any = False) -> str:
    permissions.meta_of(ctx, doctype)
    if not (old and new):
        text = "{doctype, old, new} or {doc, new} are required arguments for frappe.model.rename_doc"
        raise errors.TypeError(text)
    merging = bool(merge) and str(merge).lower() not in ("0", "false")
    doc = load(ctx, doctype, old)
    old, new = str(doc.name) if ctx.store.exists(doctype, old) else old, str(new).strip()
    if merging and doc.meta.is_tree:
        trees.check_merge(ctx, doc, new)
    _validate(ctx, doc, old, new, merging)
    if not merging:
        _rename_rows(ctx, doc, old, new)
    _follow(ctx, doctype, old, new)
    if doc.meta.is_tree:
        trees.follow_rename(ctx, doc.meta, new, merging)
    if merging:
        deleting.delete(ctx, doctype, old)
    message = f"Document renamed from <strong>{old}</strong> to <strong>{new}</strong>"
    errors.msgprint(ctx, message, indicator="green", alert=True)
    return new


def _validate(ctx: Context, doc: Document, old: str, new: str, merging: bool) -> None:
    doctype = doc.doctype
    exists = ctx.store.exists(doctype, new)
    if not merging and exists is not None and exists != new and exists == old:
        exists = None
    if merging and exists is None:
        errors.throw(ctx, f"{doctype} {new} does not exist, select a new target to merge")
    if old == new:
        errors.throw(ctx, "No changes made because old and new name are the same.")
    if exists is not None and not merging:
        errors.throw(ctx, f"Another {doctype} with name {new} exists, select another name")
    if not _may_write(ctx, doc):
        errors.throw(ctx, f"You need write permission on {doctype} {old} to rename")
    if merging and not _may_write(ctx, load(ctx, doctype, new)):
        errors.throw(ctx, f"You need write permission on {doctype} {new} to merge")
    if not doc.meta.allow_rename:
        errors.throw(ctx, f"{doctype} not allowed to be renamed")


def _may_write(ctx: Context, doc: Document) -> bool:
    may_all = ctx.user == permissions.ADMINISTRATOR
    return may_all or permissions.has_permission(ctx, doc.doctype, "write", doc, show=False)


def _rename_rows(ctx: Context, doc: Document, old: str, new: str) -> None:
    store, meta = ctx.store, doc.meta
    values: dict[str, Any] = {"name": new}
    if meta.autoname.startswith("field:"):
        values[meta.autoname[6:]] = new
    store.update(doc.doctype, old, values)
    for df in meta.tables:
        sql = f"UPDATE {table(df.options)} SET parent = ? WHERE parent = ? AND parenttype = ?"
        store.ensure(df.options)
        store.write(sql, (new, old, doc.doctype))
    store.write("UPDATE secrets SET name = ? WHERE doctype = ? AND name = ?", (new, doc.doctype, old))


def _follow(ctx: Context, doctype: str, old: str, new: str) -> None:
    """Links and dynamic links in every table take the new name."""
    for meta in list(ctx.store.doctypes.values()):
        if meta.raw.get("is_virtual"):
            continue
        pairs = [(df.fieldname, "") for df in meta.links if df.options == doctype]
        pairs += [(df.fieldname, df.options) for df in meta.dynamic_links]
        for column, type_column in pairs:
            if meta.is_single:
                _follow_single(ctx, meta.name, column, type_column, doctype, old, new)
            else:
                _follow_table(ctx, meta.name, column, type_column, doctype, old, new)
    _follow_columns(ctx, doctype, old, new)


def _follow_table(
    ctx: Context, name: str, column: str, type_column: str, doctype: str, old: str, new: str
) -> None:
    ctx.store.ensure(name)
    sql = f"UPDATE {table(name)} SET {quoted(column)} = ? WHERE {quoted(column)} = ?"
    params: tuple[Any, ...] = (new, old)
    if type_column:
        if type_column not in ctx.store.kinds(name):
            return
        sql += f" AND {quoted(type_column)} = ?"
        params += (doctype,)
    ctx.store.write(sql, params)


def _follow_single(
    ctx: Context, name: str, column: str, type_column: str, doctype: str, old: str, new: str
) -> None:
    stored = ctx.store.single(name)
    if stored.get(column) == old and (not type_column or stored.get(type_column) == doctype):
        ctx.store.set_single(name, {column: new})


def _follow_columns(ctx: Context, doctype: str, old: str, new: str) -> None:
    """Plain columns that name documents: attachments and versions."""
    for other, type_column, name_column in (
        ("File", "attached_to_doctype", "attached_to_name"),
        ("Version", "ref_doctype", "docname"),
    ):
        _follow_table(ctx, other, name_column, type_column, doctype, old, new)
