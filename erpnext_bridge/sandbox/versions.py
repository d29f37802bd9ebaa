"""What changed, kept as Version documents for DocTypes that track changes (core/doctype/version)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from . import errors
from .meta import NO_VALUE_TYPES
from .naming import random_name

if TYPE_CHECKING:
    from .context import Context
    from .documents import Document


def record(ctx: Context, doc: Document, inserting: bool) -> None:
    if not doc.meta.raw.get("track_changes") or inserting or doc.before is None:
        return
    data = difference(doc.before, doc)
    if data is None:
        return
    now = ctx.site.now_text()
    stamp = {"owner": ctx.user, "modified_by": ctx.user, "creation": now, "modified": now}
    text = json.dumps(data, separators=(",", ":"), sort_keys=True, default=str)
    row = {"name": random_name(), "ref_doctype": doc.doctype, "docname": str(doc.name), "data": text}
    ctx.store.insert("Version", {**stamp, **row, "docstatus": 0, "idx": 0})


def difference(old: Document, new: Document) -> dict[str, Any] | None:
    changed = _changed(old, new)
    added: list[Any] = []
    removed: list[Any] = []
    row_changed: list[Any] = []
    for df in new.meta.tables:
        before = {str(row.name): row for row in old.rows(df.fieldname)}
        after = {str(row.name): row for row in new.rows(df.fieldname)}
        for index, row in enumerate(new.rows(df.fieldname)):
            if str(row.name) not in before:
                added.append([df.fieldname, row.as_dict()])
            elif found := _changed(before[str(row.name)], row):
                row_changed.append([df.fieldname, index, str(row.name), found])
        removed += [[df.fieldname, row.as_dict()] for name, row in before.items() if name not in after]
    if old.docstatus != new.docstatus:
        changed.append(["docstatus", old.docstatus, new.docstatus])
    if not (changed or added or removed or row_changed):
        return None
    return {
        "added": added,
        "changed": changed,
        "data_import": None,
        "removed": removed,
        "row_changed": row_changed,
        "updater_reference": None,
    }


def _is_number(*values: Any) -> bool:
    return any(isinstance(value, int) and bool(value) for value in values)


def _changed(old: Document, new: Document) -> list[Any]:
    found = []
    for df in new.meta.fields:
        if df.fieldtype in NO_VALUE_TYPES or df.is_table:
            continue
        before, after = old.get(df.fieldname), new.get(df.fieldname)
        if df.fieldtype == "Time" and df.fieldname in new.sent and str(before).startswith("-"):
            # Formatting a negative time for the comparison fails, whatever it is compared with.
            raise errors.OverflowError("date value out of range")
        if before != after and df.fieldtype in ("Text", "Small Text") and _is_number(before, after):
            # Formatting looks for markup, which a number has none of.
            raise errors.TypeError("expected string or bytes-like object, got 'int'")
        if before != after and (before or after or df.fieldtype not in ("Data", "Select")):
            found.append([df.fieldname, before, after])
    return found
