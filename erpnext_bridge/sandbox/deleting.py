"""Deleting documents, and what stands in the way (model/delete_doc.py)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from . import controllers, errors, links, naming, permissions, trees
from .meta import DocField, DocType
from .naming import random_name

if TYPE_CHECKING:
    from .context import Context
    from .documents import Document

# hooks.py, ignore_links_on_delete: documents that go with what they point to.
IGNORED = frozenset(
    [
        "Communication",
        "ToDo",
        "DocShare",
        "Email Unsubscribe",
        "Activity Log",
        "File",
        "Version",
        "Document Follow",
        "Comment",
        "View Log",
        "Tag Link",
        "Notification Log",
        "Email Queue",
        "Document Share Key",
        "Integration Request",
        "Unhandled Email",
        "Webhook Request Log",
        "Workspace",
        "Route History",
        "Access Log",
        "Permission Log",
    ]
)
# model/delete_doc.py, delete_dynamic_links: what is removed with a document.
FOLLOWERS = (
    ("ToDo", "reference_type", "reference_name"),
    ("DocShare", "share_doctype", "share_name"),
    ("Version", "ref_doctype", "docname"),
    ("Comment", "reference_doctype", "reference_name"),
)
MANUAL = {
    15: "https://docs.erpnext.com//docs/user/manual/en/setting-up/articles/delete-submitted-document",
    16: "https://docs.frappe.io/erpnext/user/manual/en/delete-submitted-document",
}


def delete(ctx: Context, doctype: str, name: Any) -> None:
    """frappe.delete_doc(ignore_missing=False)."""
    from .documents import check_known, load

    check_known(ctx, doctype)
    meta = permissions.meta_of(ctx, doctype)
    if not meta.is_single and ctx.store.exists(doctype, name) is None:
        raise permissions.hidden(ctx, errors.DoesNotExistError(), doctype)
    doc = load(ctx, doctype, name)
    _check_permission(ctx, doc)
    if meta.is_submittable and doc.docstatus == 1:
        errors.throw(
            ctx,
            f"{doctype} {doc.name}: Submitted Record cannot be deleted. "
            f"You must <a href='{MANUAL[ctx.version]}' target='_blank'> Cancel </a> it first.",
        )
    if meta.is_tree:
        trees.remove(ctx, doc)
    for event in ("on_trash", "on_change"):
        controllers.run(ctx, doc, event)
        ctx.events.append((event, doctype, str(doc.name), doc.as_dict()))
    check_not_linked(ctx, doc, "Delete")
    naming.give_back(ctx, doc)
    remove(ctx, doc)
    controllers.run(ctx, doc, "after_delete")
    _remember(ctx, doc)


def _check_permission(ctx: Context, doc: Document) -> None:
    if ctx.version >= 16:
        permissions.check_document(ctx, doc, "delete")
    elif not permissions.has_permission(ctx, doc.doctype, "delete", doc):
        message = f"User not allowed to delete {doc.doctype}: {doc.name}"
        errors.throw(ctx, message, errors.PermissionError)


def remove(ctx: Context, doc: Document) -> None:
    """Take a document, its child rows and its followers out of the tables."""
    store = ctx.store
    if doc.meta.is_single:
        store.write("DELETE FROM singles WHERE doctype = ?", (doc.doctype,))
        return
    store.delete(doc.doctype, {"name": doc.name})
    for df in doc.meta.tables:
        store.delete(df.options, {"parenttype": doc.doctype, "parent": doc.name})
    for doctype, type_column, name_column in FOLLOWERS:
        if doctype in store.doctypes:
            store.delete(doctype, {type_column: doc.doctype, name_column: str(doc.name)})
    store.write("DELETE FROM secrets WHERE doctype = ? AND name = ?", (doc.doctype, str(doc.name)))


def _remember(ctx: Context, doc: Document) -> None:
    if doc.doctype == "Deleted Document":
        return
    now = ctx.site.now_text()
    stamp = {"owner": ctx.user, "modified_by": ctx.user, "creation": now, "modified": now}
    row = {
        "name": random_name(),
        "deleted_doctype": doc.doctype,
        "deleted_name": str(doc.name),
        "data": json.dumps(doc.as_dict(), default=str),
        "restored": 0,
    }
    ctx.store.insert("Deleted Document", {**stamp, **row, "docstatus": 0, "idx": 0})


# -- links ---------------------------------------------------------------------------------------------------------


def check_not_linked(ctx: Context, doc: Document, action: str) -> None:
    """Deleting is refused while anything links here, cancelling while something submitted does."""
    for meta in ctx.store.doctypes.values():
        if meta.name in IGNORED or meta.raw.get("is_virtual"):
            continue
        for df in meta.links:
            if df.options == doc.doctype and not (df.fieldname == "amended_from" and action == "Cancel"):
                _check_link(ctx, doc, meta, df, {df.fieldname: doc.name}, action)
    for meta in ctx.store.doctypes.values():
        if meta.name in IGNORED or meta.raw.get("is_virtual"):
            continue
        for df in meta.dynamic_links:
            where = {df.options: doc.doctype, df.fieldname: str(doc.name)}
            if df.options in meta.column_set:
                _check_link(ctx, doc, meta, df, where, action)


def _check_link(
    ctx: Context, doc: Document, meta: DocType, df: DocField, where: dict[str, Any], action: str
) -> None:
    if meta.is_single:
        stored = ctx.store.single(meta.name)
        if all(stored.get(column) == str(value) for column, value in where.items()):
            _refuse(ctx, doc, meta.name, meta.name)
        return
    for row in ctx.store.rows(meta.name, where):
        owner = (row["parenttype"], row["parent"]) if meta.is_child else (meta.name, row["name"])
        if owner[0] in IGNORED or owner == (doc.doctype, doc.name):
            continue
        dynamic = df.fieldtype == "Dynamic Link"
        blocks = row["docstatus"] == 1 if action == "Cancel" else not (dynamic and row["docstatus"] == 2)
        if blocks:
            position = f"at Row: {row['idx']}" if dynamic and meta.is_child else ""
            _refuse(ctx, doc, owner[0], owner[1], position)


def _refuse(ctx: Context, doc: Document, doctype: str, name: Any, position: str = "") -> None:
    this, other = (links.of_conflict(ctx, *pair) for pair in ((doc.doctype, doc.name), (doctype, name)))
    shown = "" if doctype == name else doctype
    message = (
        f"Cannot delete or cancel because {doc.doctype} {this} is linked with {shown} {other} {position}"
    )
    error = errors.tied(ctx, errors.LinkExistsError(message), message)
    if doc.meta.field("enabled") or doc.meta.field("disabled"):
        # The reason stays among the messages.
        advice = f"You can disable this {doc.doctype} instead of deleting it."
        errors.throw(ctx, advice, errors.LinkExistsError)
    raise error
