"""
What a write asks of ERPNext, and how it is found out whether an earlier attempt did it already.

Everything but a create is about a document that has a name: where an attempt may have been carried out, the document
is looked at first. Only a method that was called leaves nothing to look at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any

from erpnext_bridge.client import FrappeClient, Payload
from erpnext_bridge.collation import equal
from erpnext_bridge.errors import (
    AuthenticationRefused,
    Conflict,
    DocumentDoesNotExist,
    PermissionRefused,
    RefusedError,
)
from erpnext_bridge.models.write import Action, DocumentWrite, OnConflict
from erpnext_bridge.outbox.outcomes import OutcomeUnknown, unknown_if_refused
from erpnext_bridge.values import canonical

KEPT = ("name", "modified", "docstatus", "result")
"""What is kept of an answered document; all else can be read again, by those who may."""


class Verdict(Enum):
    """What a look at the document says about an attempt whose answer never came."""

    DONE = "it was carried out"
    OPEN = "it was not, so it can be sent again"
    UNKNOWN = "somebody else has changed the document since"


@dataclass(frozen=True, slots=True)
class Order:
    """A write as it is about to be sent."""

    write: DocumentWrite
    client: FrappeClient
    payload: Payload
    """Its fields as Frappe takes them."""
    check: Callable[[], None]
    """Raises LeaseLost when somebody else has taken the write over; called before each request that changes something."""

    def values(self, base: str) -> Payload:
        """The fields to change, with the lock that makes ERPNext refuse a change of something newer."""
        return {**self.payload, "modified": base} if base else self.payload


def send(order: Order) -> Payload:
    """Carry the write out and return what is kept of the answer. Raises `errors` and OutcomeUnknown."""
    write = order.write
    step = STEPS[Action.SUBMIT if write.action == Action.CREATE else Action(write.action)]
    return _resend(step, order) if write.outcome_unknown else _facts(_sent(step, order))


def _sent(step: Step, order: Order) -> Payload | None:
    order.check()
    return step.send(order)


def _resend(step: Step, order: Order) -> Payload:
    if order.write.action == Action.CALL:
        raise OutcomeUnknown(
            "The answer to a call was lost, and a method may not be called twice: look what it did."
        )
    found = _look(order)
    verdict = step.judge(order, found)
    if verdict is Verdict.OPEN:
        try:
            return _facts(_sent(step, order))
        except AuthenticationRefused:
            raise
        except RefusedError as refusal:
            # The earlier attempt may still have been at work when the document was looked at.
            found = _look(order)
            verdict = step.judge(order, found)
            if verdict is Verdict.OPEN:
                raise refusal
    if verdict is Verdict.DONE:
        return _facts(found)
    raise OutcomeUnknown(
        "The answer to an earlier attempt was lost, and somebody has changed the document since: "
        "look at it, and mark this write as done, send it as new, or give it up."
    )


def _look(order: Order) -> Payload | None:
    with unknown_if_refused(
        "The answer to an earlier attempt was lost, and ERPNext does not show the document:"
    ):
        try:
            return order.client.read(*_key(order))
        except DocumentDoesNotExist:
            return None


def _facts(document: Payload | None) -> Payload:
    return {key: document[key] for key in KEPT if key in document} if document else {}


# What each action sends.


def _update(order: Order) -> Payload:
    try:
        return order.client.update(*_key(order), order.values(order.write.base_modified))
    except Conflict as conflict:
        return _after_conflict(order, conflict)


CONFLICT_TRIES = 3
"""Attempts to be faster than those who save the same document all the time."""


def _after_conflict(order: Order, conflict: Conflict) -> Payload:
    """Do what the write says about a document that somebody else has saved since."""
    if order.write.outcome_unknown and order.write.on_conflict == OnConflict.REFUSE:
        # It may be no conflict: an earlier attempt that was still at work has saved it.
        raise conflict
    for _ in range(CONFLICT_TRIES):
        theirs = order.client.read(*_key(order))
        conflict.document = views_of(order.write, order.payload, theirs)
        if not _may_reapply(order.write, theirs):
            break
        order.check()
        try:
            return order.client.update(*_key(order), order.values(str(theirs["modified"])))
        except Conflict as again:
            conflict = again
    raise conflict


def _may_reapply(write: DocumentWrite, theirs: Payload) -> bool:
    if write.on_conflict == OnConflict.OVERWRITE:
        return True
    if write.on_conflict == OnConflict.REFUSE:
        return False
    base = write.base_values
    return all(field in base and _same(theirs.get(field), base[field]) for field in write.payload)


def views_of(write: DocumentWrite, payload: Mapping[str, Any], theirs: Payload) -> Payload:
    """Return the three sides of a conflict for a person who decides: of the fields that the write changes."""
    return {
        "base": {field: write.base_values.get(field) for field in payload},
        "ours": {field: write.payload.get(field) for field in payload},
        "theirs": {field: _plain(theirs.get(field)) for field in payload},
        "base_modified": write.base_modified,
        "modified": str(theirs.get("modified") or ""),
        "modified_by": str(theirs.get("modified_by") or ""),
    }


ROW_STAMPS = frozenset(
    {"owner", "creation", "modified", "modified_by", "parent", "parentfield", "parenttype", "doctype"}
)


def _plain(value: Any) -> Any:
    """Return a value of ERPNext as JSON can hold it, child rows without what says nothing to people."""
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items() if key not in ROW_STAMPS}
    return float(value) if isinstance(value, Decimal) else value


def _submit(order: Order) -> Payload:
    return order.client.submit(*_key(order), modified=order.write.base_modified or None)


def _cancel(order: Order) -> Payload:
    return order.client.cancel(*_key(order), modified=order.write.base_modified or None)


def _delete(order: Order) -> None:
    try:
        found = order.client.read(*_key(order))
    except PermissionRefused:
        # Who may delete need not be one who may read.
        if order.write.base_modified:
            raise
    else:
        # Frappe's DELETE knows no `modified`.
        if order.write.base_modified not in ("", str(found.get("modified"))):
            views = views_of(order.write, {}, found)
            raise Conflict(
                "The document was changed after it was read, so it was not deleted.", document=views
            )
        _keep_creation(order.write, str(found["creation"]))
    order.check()
    order.client.delete(*_key(order))


def _keep_creation(write: DocumentWrite, creation: str) -> None:
    """Save which document is about to be deleted: its name may be that of another one afterwards."""
    write.base_values = {**write.base_values, "creation": creation}
    held = DocumentWrite.objects.filter(pk=write.pk, lease_token=write.lease_token)
    held.update(base_values=write.base_values)


def _call(order: Order) -> Payload:
    write = order.write
    method, arguments = order.payload["method"], order.payload.get("arguments", {})
    if write.document_name:
        result = order.client.call_document(*_key(order), method, **arguments)
    else:
        result = order.client.call(method, **arguments)
    return {"result": _plain(result)}


def _key(order: Order) -> tuple[str, str]:
    return order.write.doctype, order.write.document_name


# What a look at the document tells about each action.


def _judge_update(order: Order, found: Payload | None) -> Verdict:
    if found is None:
        return Verdict.OPEN
    if holds(found, order.payload) or _holds_but_for_links(order, found):
        return Verdict.DONE
    base = order.write.base_modified
    is_open = not base or found.get("modified") == base or _may_reapply(order.write, found)
    return Verdict.OPEN if is_open else Verdict.UNKNOWN


def _judge_docstatus(verdicts: Mapping[int, Verdict]) -> Judge:
    def judge(order: Order, found: Payload | None) -> Verdict:
        return verdicts.get(int(found.get("docstatus") or 0), Verdict.OPEN) if found else Verdict.OPEN

    return judge


def _judge_delete(order: Order, found: Payload | None) -> Verdict:
    if found is None:
        return Verdict.DONE
    # Deleting the newest document of a series gives its number back (frappe/model/naming.py,
    # revert_series_if_last): by now, the name may be that of another document.
    creation = order.write.base_values.get("creation")
    return Verdict.OPEN if creation in (None, str(found["creation"])) else Verdict.DONE


Judge = Callable[[Order, Payload | None], Verdict]


@dataclass(frozen=True, slots=True)
class Step:
    """One action on a document that has a name."""

    send: Callable[[Order], Payload | None]
    judge: Judge


STEPS: dict[Action, Step] = {
    Action.UPDATE: Step(_update, _judge_update),
    Action.SUBMIT: Step(_submit, _judge_docstatus({1: Verdict.DONE, 2: Verdict.UNKNOWN})),
    Action.CANCEL: Step(_cancel, _judge_docstatus({2: Verdict.DONE})),
    Action.DELETE: Step(_delete, _judge_delete),
    Action.CALL: Step(_call, lambda order, found: Verdict.UNKNOWN),
}


def _holds_but_for_links(order: Order, found: Payload) -> bool:
    """Tell whether only links differ, and those by how Frappe spells the names (frappe/model/base_document.py)."""
    if not holds(found, order.payload, equal):
        return False
    links = _links(order)
    return holds(found, order.payload, links=links)


def _links(order: Order) -> Links:
    """Return the link fields of the DocType and of its child tables."""
    try:
        answer = order.client.call(
            "frappe.desk.form.load.getdoctype", http_method="GET", doctype=order.write.doctype
        )
    except AuthenticationRefused:
        raise
    except RefusedError:
        return {}
    return {
        str(meta["name"]): {
            str(field["fieldname"])
            for field in meta["fields"]
            if field["fieldtype"] in ("Link", "Dynamic Link")
        }
        for meta in answer["docs"]
        if meta.get("doctype") == "DocType"
    }


Same = Callable[[str, str], bool]
Links = Mapping[str, set[str]]
"""DocType → its fields that hold names, which are equal when the site's collation says so."""


def holds(
    document: Mapping[str, Any],
    payload: Mapping[str, Any],
    same: Same = str.__eq__,
    links: Links | None = None,
) -> bool:
    """Return whether a document has these values, as far as Frappe stores what it is sent."""
    names = (links or {}).get(str(document.get("doctype")), set())
    return all(
        _same(document.get(field), value, equal if field in names else same, links)
        for field, value in payload.items()
    )


def _same(stored: Any, sent: Any, same: Same = str.__eq__, links: Links | None = None) -> bool:
    if isinstance(sent, list):
        rows = stored if isinstance(stored, list) else []
        return len(rows) == len(sent) and all(map(lambda row, own: _same(row, own, same, links), rows, sent))
    if isinstance(sent, dict):
        return isinstance(stored, dict) and holds(stored, sent, same, links)
    # A number has no NULL in Frappe, and documents leave out what is empty (frappe/utils/response.py).
    if isinstance(stored, int | float | Decimal) or isinstance(sent, int | float):
        return bool(_number(stored) == _number(sent))
    return same(_text(stored), _text(sent))


def _number(value: Any) -> Any:
    try:
        # decimal(21, 9) keeps nine digits of any number (frappe/database/mariadb/database.py).
        return round(Decimal(str(value or 0)), 9)
    except InvalidOperation:
        return value


def _text(value: Any) -> str:
    return canonical(str(value or "").strip())
