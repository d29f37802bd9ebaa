"""
What a write asks of ERPNext, and how it is found out whether an earlier attempt did it already.

A new document has no key that ERPNext could be asked for, so a create is sent once. Everything else is about
a document that has a name: where an attempt may have been carried out, the document is looked at first.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any
from zoneinfo import ZoneInfo

from erpnext_bridge.client import FrappeClient, Payload
from erpnext_bridge.errors import Conflict, DocumentDoesNotExist, ERPNextBridgeError, RefusedError
from erpnext_bridge.models.write import Action, DocumentWrite
from erpnext_bridge.values import canonical

KEPT = ("name", "modified", "docstatus")
"""What is kept of an answered document; all else can be read again, by those who may."""

CLOCKS_APART = dt.timedelta(minutes=1)


class OutcomeUnknown(ERPNextBridgeError):
    """Whether ERPNext carried the write out cannot be told from the document; a person decides."""


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
    zone: Callable[[], ZoneInfo]
    """The zone that the site's times are in."""
    keep: Callable[[Payload], None]
    """Saves what is known of a new document before anything else is done with it."""

    def values(self) -> Payload:
        """The fields to change, with the lock that makes ERPNext refuse a change of something newer."""
        base = self.write.base_modified
        return {**self.payload, "modified": base} if base else self.payload


def send(order: Order) -> Payload:
    """Carry the write out and return what is kept of the answer. Raises `errors` and OutcomeUnknown."""
    write = order.write
    if write.creates:
        kept = _create(order)
        if not write.submit:
            return kept
    step = STEPS[Action.SUBMIT if write.action == Action.CREATE else Action(write.action)]
    return _resend(step, order) if write.outcome_unknown else _facts(step.send(order))


def _create(order: Order) -> Payload:
    if order.write.outcome_unknown:
        raise OutcomeUnknown("ERPNext may have created the document already.")
    kept = _facts(order.client.create(order.write.doctype, order.payload))
    order.keep(kept)
    return kept


def _resend(step: Step, order: Order) -> Payload:
    found = _look(order)
    verdict = step.judge(order, found)
    if verdict is Verdict.OPEN:
        try:
            return _facts(step.send(order))
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
        "look at it, and decide whether this write is still to be sent."
    )


def _look(order: Order) -> Payload | None:
    try:
        return order.client.read(*_key(order))
    except DocumentDoesNotExist:
        return None
    except RefusedError as refusal:
        raise OutcomeUnknown(
            "The answer to an earlier attempt was lost, and ERPNext does not show the document:",
            *refusal.messages,
        ) from refusal


def _facts(document: Payload | None) -> Payload:
    return {key: document[key] for key in KEPT if key in document} if document else {}


# What each action sends.


def _update(order: Order) -> Payload:
    return order.client.update(*_key(order), order.values())


def _submit(order: Order) -> Payload:
    return order.client.submit(*_key(order), modified=order.write.base_modified or None)


def _cancel(order: Order) -> Payload:
    return order.client.cancel(*_key(order), modified=order.write.base_modified or None)


def _delete(order: Order) -> None:
    base = order.write.base_modified
    # Frappe's DELETE knows no `modified`.
    if base and (found := order.client.read(*_key(order))).get("modified") != base:
        raise Conflict("The document was changed after it was read, so it was not deleted.", document=found)
    order.client.delete(*_key(order))


def _key(order: Order) -> tuple[str, str]:
    return order.write.doctype, order.write.document_name


# What a look at the document tells about each action.


def _judge_update(order: Order, found: Payload | None) -> Verdict:
    if found is None:
        return Verdict.OPEN
    if holds(found, order.payload):
        return Verdict.DONE
    base = order.write.base_modified
    return Verdict.OPEN if not base or found.get("modified") == base else Verdict.UNKNOWN


def _judge_docstatus(verdicts: Mapping[int, Verdict]) -> Judge:
    def judge(order: Order, found: Payload | None) -> Verdict:
        return verdicts.get(int(found.get("docstatus") or 0), Verdict.OPEN) if found else Verdict.OPEN

    return judge


def _judge_delete(order: Order, found: Payload | None) -> Verdict:
    if found is None:
        return Verdict.DONE
    # Deleting the newest document of a series gives its number back (frappe/model/naming.py,
    # revert_series_if_last): by now, the name may be that of another document.
    created = dt.datetime.fromisoformat(str(found["creation"])).replace(tzinfo=order.zone())
    is_another = created > order.write.created_at + CLOCKS_APART
    return Verdict.DONE if is_another else Verdict.OPEN


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
}


def holds(document: Mapping[str, Any], payload: Mapping[str, Any]) -> bool:
    """Return whether a document has these values, as far as Frappe stores what it is sent."""
    return all(_same(document.get(field), value) for field, value in payload.items())


def _same(stored: Any, sent: Any) -> bool:
    if isinstance(sent, list):
        rows = stored if isinstance(stored, list) else []
        return len(rows) == len(sent) and all(map(_same, rows, sent))
    if isinstance(sent, dict):
        return isinstance(stored, dict) and holds(stored, sent)
    # A number has no NULL in Frappe, and documents leave out what is empty (frappe/utils/response.py).
    if isinstance(stored, int | float | Decimal) or isinstance(sent, int | float):
        return bool(_number(stored) == _number(sent))
    return _text(stored) == _text(sent)


def _number(value: Any) -> Any:
    try:
        # decimal(21, 9) keeps nine digits of any number (frappe/database/mariadb/database.py).
        return round(Decimal(str(value or 0)), 9)
    except InvalidOperation:
        return value


def _text(value: Any) -> str:
    return canonical(str(value or "").strip())
