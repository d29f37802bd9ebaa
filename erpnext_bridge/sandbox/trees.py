"""Nested sets: the lft and rgt of tree DocTypes (utils/nestedset.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import errors
from .store import quoted, table

if TYPE_CHECKING:
    from .context import Context
    from .documents import Document
    from .meta import DocType


def place(ctx: Context, doc: Document) -> None:
    """Put a saved node where its parent says; the document then carries its new bounds."""
    parent_field = doc.meta.parent_field
    parent = doc.get(parent_field) or ""
    if not doc.get("lft"):
        _add(ctx, doc, parent)
    elif (doc.get("old_parent") or "") != parent:
        _move(ctx, doc, parent)
    _remember_parent(ctx, doc, parent)
    if not doc.get("is_group") and _has_children(ctx, doc):
        message = f"{doc.doctype} {doc.name} cannot be a leaf node as it has children"
        errors.throw(ctx, message)


def _has_children(ctx: Context, doc: Document) -> bool:
    sql = f"SELECT count(*) FROM {table(doc.doctype)} WHERE {quoted(doc.meta.parent_field)} = ?"
    return bool(ctx.store.execute(sql, (doc.name,))[0][0])


def _remember_parent(ctx: Context, doc: Document, parent: str) -> None:
    if "old_parent" in ctx.store.kinds(doc.doctype):
        ctx.store.update(doc.doctype, doc.name, {"old_parent": parent})
    stored = ctx.store.get(doc.doctype, doc.name)
    doc.values |= stored or {}


def _add(ctx: Context, doc: Document, parent: str) -> None:
    right = _end_of(ctx, doc, parent)
    _shift(ctx, doc.doctype, right, 2)
    ctx.store.update(doc.doctype, doc.name, {"lft": right, "rgt": right + 1})


def _end_of(ctx: Context, doc: Document, parent: str) -> int:
    """Where the next child of a parent begins; behind everything for a root."""
    if parent:
        node = ctx.store.get(doc.doctype, parent)
        if node is not None:
            return int(node["rgt"])
    top = ctx.store.execute(f"SELECT max(rgt) FROM {table(doc.doctype)}")[0][0]
    return int(top or 0) + 1


def _shift(ctx: Context, doctype: str, start: int, width: int) -> None:
    for bound in ("lft", "rgt"):
        ctx.store.write(
            f"UPDATE {table(doctype)} SET {bound} = {bound} + ? WHERE {bound} >= ?", (width, start)
        )


def _move(ctx: Context, doc: Document, parent: str) -> None:
    node = ctx.store.get(doc.doctype, doc.name) or {}
    left, right = int(node["lft"]), int(node["rgt"])
    target = ctx.store.get(doc.doctype, parent) if parent else None
    if target is not None and left <= int(target["lft"]) and int(target["rgt"]) <= right:
        message = "Item cannot be added to its own descendants"
        errors.throw(ctx, message, errors.NestedSetRecursionError)
    inside = _names(ctx, doc.doctype, left, right)
    width = right - left + 1
    _close_gap(ctx, doc.doctype, left, right, width)
    start = _end_of(ctx, doc, parent)
    _shift(ctx, doc.doctype, start, width)
    for name, node_left, node_right in inside:
        ctx.store.update(
            doc.doctype, name, {"lft": node_left - left + start, "rgt": node_right - left + start}
        )


def _names(ctx: Context, doctype: str, left: int, right: int) -> list[tuple[Any, int, int]]:
    sql = f"SELECT name, lft, rgt FROM {table(doctype)} WHERE lft >= ? AND rgt <= ?"
    return [(row[0], row[1], row[2]) for row in ctx.store.execute(sql, (left, right))]


def _close_gap(ctx: Context, doctype: str, left: int, right: int, width: int) -> None:
    ctx.store.write(
        f"UPDATE {table(doctype)} SET lft = -lft, rgt = -rgt WHERE lft >= ? AND rgt <= ?", (left, right)
    )
    for bound in ("lft", "rgt"):
        ctx.store.write(
            f"UPDATE {table(doctype)} SET {bound} = {bound} - ? WHERE {bound} > ?", (width, right)
        )


def remove(ctx: Context, doc: Document) -> None:
    """A node with children cannot go; the others close up."""
    if _has_children(ctx, doc):
        message = f"Cannot delete {doc.name} as it has child nodes"
        errors.throw(ctx, message, errors.NestedSetChildExistsError)
    right = int(doc.get("rgt") or 0)
    for bound in ("lft", "rgt"):
        ctx.store.write(f"UPDATE {table(doc.doctype)} SET {bound} = {bound} - 2 WHERE {bound} > ?", (right,))


def check_merge(ctx: Context, doc: Document, new: str) -> None:
    """A group is merged into a group, a leaf into a leaf (NestedSet.before_rename)."""
    target = ctx.store.get(doc.doctype, new)
    if target is None or doc.get("is_group") != target["is_group"]:
        message = "Merging is only possible between Group-to-Group or Leaf Node-to-Leaf Node"
        errors.throw(ctx, message, errors.NestedSetInvalidMergeError)


def follow_rename(ctx: Context, meta: DocType, new: str, merging: bool) -> None:
    """The children know their parent's new name; after a merge all bounds are set anew (NestedSet.after_rename)."""
    parent = quoted(meta.parent_field)
    if "old_parent" in ctx.store.kinds(meta.name):
        ctx.store.write(f"UPDATE {table(meta.name)} SET old_parent = ? WHERE {parent} = ?", (new, new))
    if merging:
        _rebuild(ctx, meta, "", 1)


def _rebuild(ctx: Context, meta: DocType, parent: str, left: int) -> int:
    """Set the bounds of the nodes below a parent, and return the number after them."""
    sql = (
        f"SELECT name FROM {table(meta.name)} WHERE ifnull({quoted(meta.parent_field)}, '') = ? ORDER BY name"
    )
    for (name,) in ctx.store.execute(sql, (parent,)):
        right = _rebuild(ctx, meta, name, left + 1)
        ctx.store.update(meta.name, name, {"lft": left, "rgt": right})
        left = right + 1
    return left
