"""
Immediate writes of one document: its changed fields and rows in one request, with what was read as the lock.

Frappe compares the `modified` that a request carries with its own (frappe/model/document.py, `check_if_latest`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.db.models.signals import post_delete, post_save, pre_delete, pre_save

from erpnext_bridge.children import KnownRows, PlannedRow, TableEdit, child_tables
from erpnext_bridge.errors import Conflict

Tables = dict[str, TableEdit]
"""Accessor of a table → what is to happen to its rows."""

SET_BY_FRAPPE = frozenset({"name", "owner", "creation", "modified", "modified_by", "docstatus", "idx"})
"""Columns that a client cannot write as values (frappe/model/document.py sets them)."""


def create(document: Any, tables: Tables) -> None:
    """Insert a new document with the rows that it was given."""
    access = document._access()
    payload = document.creation_payload()
    planned = {}
    for accessor, model in child_tables(type(document)).items():
        edit = tables.get(accessor, TableEdit())
        rows = [PlannedRow(row_payload(row), row) for row in document._new_rows.get(accessor, ())]
        rows += edit.apply(())
        if rows:
            planned[accessor] = rows
            payload[model.parent_fieldname] = [row.payload for row in rows]
    answer = access.client.create(document.doctype, document._wire(payload))
    document._new_rows = {}
    _take(document, answer, planned, sent=None)


def change(
    document: Any,
    *,
    changed: Mapping[str, Any],
    tables: Tables,
    docstatus: int | None = None,
) -> None:
    """Send these fields, the edits of these tables and a docstatus in one request; nothing when there is none of them."""
    tables = {accessor: edit for accessor, edit in tables.items() if edit}
    if not changed and not tables and docstatus is None:
        return
    access = document._access()
    payload: dict[str, Any] = dict(changed)
    planned: dict[str, list[PlannedRow]] = {}
    modified = document._base_modified()
    if tables:
        fresh = access.client.read(document.doctype, document.name)
        planned = _plan(document, fresh, tables)
        # A controller compares rows with their document: dates of both have to be texts, as ERPNext's own
        # form sends them (erpnext/selling/doctype/sales_order/sales_order.py, `validate_delivery_date`).
        payload = _own_values(fresh) | payload
        models = child_tables(type(document))
        payload |= {
            models[name].parent_fieldname: [row.payload for row in rows] for name, rows in planned.items()
        }
        modified = fresh["modified"]
    if docstatus is not None:
        payload["docstatus"] = docstatus
    if modified is not None:
        payload["modified"] = modified
    try:
        answer = access.client.update(document.doctype, document.name, document._wire(payload))
    except Conflict as conflict:
        conflict.document = document._read_fresh()
        raise
    _take(document, answer, planned, sent=set(changed))


def row_payload(row: Any) -> dict[str, Any]:
    """Return a new row, an instance or a dict, by fieldname."""
    return dict(row) if isinstance(row, Mapping) else row.row_payload()


def changed_rows(document: Any) -> Tables:
    """Return the edits of rows that were read with the document and changed since, or moved by their `idx`."""
    tables: Tables = {}
    for accessor in child_tables(type(document)):
        cached = document.__dict__.get("_prefetched_objects_cache", {}).get(accessor)
        for row in getattr(cached, "_result_cache", None) or ():
            if row.changes() or row.is_moved():
                tables.setdefault(accessor, TableEdit()).save(row)
    return tables


def merged(tables: Tables, others: Tables) -> Tables:
    """Return the edits of both."""
    result = dict(tables)
    for accessor, edit in others.items():
        known = result.setdefault(accessor, TableEdit())
        for row in edit.saved:
            if not any(row.name and row.name == gone.name for gone in known.removed):
                known.save(row)
    return result


@contextmanager
def row_signals(tables: Tables) -> Iterator[None]:
    """Send Django's signals for rows before and after they are written."""
    saved = [(row, row._state.adding) for edit in tables.values() for row in edit.rows()]
    removed = [row for edit in tables.values() for row in edit.removed]
    for row, _ in saved:
        pre_save.send(sender=type(row), instance=row, raw=False, using=None, update_fields=None)
    for row in removed:
        pre_delete.send(sender=type(row), instance=row, using=None, origin=row)
    yield
    for row, is_new in saved:
        options = {"created": is_new, "raw": False, "using": None, "update_fields": None}
        post_save.send(sender=type(row), instance=row, **options)
    for row in removed:
        post_delete.send(sender=type(row), instance=row, using=None, origin=row)


def _plan(document: Any, fresh: Mapping[str, Any], tables: Tables) -> dict[str, list[PlannedRow]]:
    models = child_tables(type(document))
    try:
        if not document._is_as_read(fresh):
            raise Conflict(
                f"{document.doctype} {document.name} was saved by somebody else since it was read."
            )
        planned = {}
        for accessor, edit in tables.items():
            rows = fresh.get(models[accessor].parent_fieldname) or ()
            if document._base_modified() is None:
                _refuse_changed(edit, rows, document)
            planned[accessor] = edit.apply(rows)
        return planned
    except Conflict as conflict:
        conflict.document = document._from_fresh(fresh)
        raise


def _refuse_changed(edit: TableEdit, rows: Any, document: Any) -> None:
    """Raise Conflict when a row is not as it was read: all that is known where its document was not read itself."""
    stored = {str(row["name"]): row for row in rows}
    for row in (*edit.saved, *edit.removed):
        if row.name in stored and not row._is_as_read(stored[row.name]):
            raise Conflict(f"The row {row.name} of {document.name} was changed since it was read.")


def _own_values(fresh: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in fresh.items()
        if name not in SET_BY_FRAPPE
        and name != "doctype"
        and not name.startswith("_")
        and not isinstance(value, list)
    }


def _take(document: Any, answer: Any, planned: Mapping[str, list[PlannedRow]], sent: set[str] | None) -> None:
    """Take over what ERPNext answered; `sent` are the fields whose values here are answered, None for all."""
    if not isinstance(answer, Mapping):
        return
    zone = document._read_zone = document._access().facts.time_zone
    known = {accessor: _known_rows(document, accessor, planned) for accessor in child_tables(type(document))}
    document._absorb(answer, zone, sent)
    document._state.adding = False
    document._prefetched_objects_cache = {}
    document._fill_children(answer, zone, known)


def _known_rows(document: Any, accessor: str, planned: Mapping[str, list[PlannedRow]]) -> KnownRows:
    cached = document.__dict__.get("_prefetched_objects_cache", {}).get(accessor)
    known = KnownRows({row.name: (row, set()) for row in getattr(cached, "_result_cache", None) or ()})
    for each in planned.get(accessor, ()):
        if name := each.payload.get("name"):
            if each.instance is not None:
                known.by_name[name] = (each.instance, each.sent)
        else:
            known.new.append(each.instance if not isinstance(each.instance, Mapping) else None)
    return known
