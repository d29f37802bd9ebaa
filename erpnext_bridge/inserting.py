"""
How many new documents are inserted: all or none in one request, or each for itself in as few requests as that takes.

ERPNext inserts up to 200 documents in one transaction (frappe/client.py, `insert_many`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from erpnext_bridge.errors import (
    ERPNextBridgeError,
    RefusedError,
)
from erpnext_bridge.results import Outcome


def insert(documents: Sequence[Any]) -> None:
    """Insert all or none, in one request."""
    first = documents[0]
    payloads = [{**each._wire(each.creation_payload()), "doctype": each.doctype} for each in documents]
    names = first._access().client.insert_many(payloads)
    for document, name, payload in zip(documents, names, payloads, strict=True):
        _know_name(document, name, payload.keys())


def _know_name(document: Any, name: str, sent: Iterable[str]) -> None:
    """Give a document the name that it got. What was left to ERPNext is not known: it is read when it is asked for."""
    document.name = name
    document._state.adding = False
    document._new_rows = {}
    known = {"name", *sent}
    for field in document._meta.concrete_fields:
        if field.column not in known:
            document.__dict__.pop(field.attname, None)
    document._remember(field.attname for field in document._meta.concrete_fields if field.column in known)


def insert_each(outcome: Outcome, size: int) -> None:
    """Insert in requests of this size; the documents of one that is refused in smaller ones, down to each alone."""
    while outcome.todo:
        _insert_part(outcome, outcome.todo[:size])


def _insert_part(outcome: Outcome, part: list[Any]) -> None:
    try:
        insert(part)
    except RefusedError as error:
        if len(part) == 1:
            outcome.fail(part, error)
            return
        half = len(part) // 2
        for smaller in (part[:half], part[half:]):
            if outcome.todo:
                _insert_part(outcome, smaller)
    except ERPNextBridgeError as error:
        if not outcome.ok and not outcome.failed:
            raise
        outcome.fail(list(outcome.todo), error)
    else:
        outcome.succeed(part)
