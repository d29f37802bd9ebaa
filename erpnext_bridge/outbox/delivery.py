"""
One delivery: take writes, send them, record what became of each.

Taking is one conditional UPDATE, so however many workers are asked, one request goes out. What was sent is saved
before it is sent, and what came back as soon as it is there: a worker may be killed at any point in between.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any

from django.db import router, transaction
from django.utils import timezone

from erpnext_bridge.access import SiteAccess, open_site
from erpnext_bridge.models.write import DocumentWrite, State, WriteFile
from erpnext_bridge.outbox import gate
from erpnext_bridge.outbox.advancing import advance_together
from erpnext_bridge.outbox.claiming import Delivery, LeaseLost, next_due, take, upcoming
from erpnext_bridge.outbox.creating import Creation, Step
from erpnext_bridge.outbox.ordering import (
    have_dependents,
    key_of_document,
    pass_on,
    release,
    share_fate,
    waiting_at,
)
from erpnext_bridge.outbox.outcomes import Outcome, outcome_of
from erpnext_bridge.outbox.sending import Order, send
from erpnext_bridge.payloads import decode
from erpnext_bridge.signals import delivery_ended, delivery_started

logger = logging.getLogger("erpnext_bridge")

ROUNDS = 4
"""Deliveries that one call may take: of what goes first in the lane, the write itself, and its next step."""

HOLDING = (State.SENDING, State.RETRYING, State.UNCERTAIN)
"""
States in which a delivery may still say what it learnt. A lease that ended leaves a write retrying, or uncertain. As
long as nobody has acted on that or taken it again, the answer that comes at last is the truth.
"""


def perform(pk: Any) -> DocumentWrite | None:
    """
    Deliver a write, and return it as it is then; None when it is not due, or another worker has it.

    Creates that wait in the same lane go along with it. It raises nothing that ERPNext or the network could cause. Not
    to be called inside a transaction: nobody else would see that the write is taken, and a rollback would forget what
    ERPNext has done.
    """
    pk, found = DocumentWrite._meta.pk.to_python(pk), None
    for _ in range(ROUNDS):
        delivery = take(pk)
        if delivery is None:
            break
        _deliver(delivery)
        found = next((write for write in delivery.writes if write.pk == pk), found)
        if found is not None and found.state != State.PENDING:
            break
    return found


def perform_next(site: str | None = None) -> list[DocumentWrite]:
    """Deliver the most urgent write that is due, with those that go along; return them, [] when there is none."""
    pk = next_due(site)
    delivery = take(pk) if pk is not None else None
    if delivery is None:
        return []
    _deliver(delivery)
    return delivery.writes


def drain(seconds: float, site: str | None = None) -> Any | None:
    """
    Deliver what is due, until nothing is or for so many seconds, and one at least.

    Returns the key of the write that is next when the time is up, None when none can go.
    """
    deadline = time.monotonic() + seconds
    goes_on = True
    while goes_on:
        goes_on = False
        for pk in upcoming(site):
            delivery = take(pk)
            if delivery is not None:
                _deliver(delivery)
                goes_on = True
            if time.monotonic() >= deadline:
                return next_due(site)
    return None


def _deliver(delivery: Delivery) -> None:
    delivery_started.send_robust(DocumentWrite, writes=delivery.writes)
    try:
        _carry_out(delivery)
    finally:
        delivery_ended.send_robust(DocumentWrite, writes=delivery.writes)


def _carry_out(delivery: Delivery) -> None:
    recorder = _Recorder(delivery)
    first = delivery.writes[0]
    try:
        if first.is_orphan:
            text = "Its user was deleted, so nobody is left whose rights it could be sent with."
            recorder.record([(write, Outcome(State.CANCELLED, text)) for write in delivery.writes])
        elif first.creates:
            recorder.record_steps(_creation(delivery))
        else:
            recorder.record([(first, _send(delivery, first))])
    except LeaseLost:
        logger.warning("Write %s: its lease ended before it was sent; others go on with it.", first.pk)


def _creation(delivery: Delivery) -> Iterator[Step]:
    try:
        creation = Creation(delivery, _open(delivery))
    except Exception as error:
        yield Step(delivery.writes, error=error)
        return
    left = list(delivery.writes)
    try:
        for step in creation:
            gone = {write.pk for write in step.writes}
            left = [write for write in left if write.pk not in gone]
            yield step
    except LeaseLost:
        raise
    except Exception as error:
        # Nothing that was sent raises here: this is about the settings, the connection or a payload.
        yield Step(left, error=error)


def _open(delivery: Delivery) -> SiteAccess:
    access = open_site(delivery.writes[0].identity)
    # Both may have to ask the site, and neither has anything to do with what is sent then.
    _ = access.client
    return access


def _send(delivery: Delivery, write: DocumentWrite) -> Outcome:
    begun = False
    try:
        access = _open(delivery)
        payload = decode(write.payload, lambda: access.facts.time_zone)
        order = Order(write, access.client, payload, delivery.check)
        begun = True
        return Outcome(State.DONE, answer=send(order))
    except LeaseLost:
        raise
    except Exception as error:
        return outcome_of(write, error, begun)


NO_LOCKS: dict[str, Any] = {"lane_lock": None, "slot_lock": None}
ENDED = (State.DONE, State.REFUSED, State.CANCELLED)


Outcomes = Sequence[tuple[DocumentWrite, Outcome]]


class _Recorder:
    """Saves what becomes of the writes of a delivery, and lets those go on that waited for them."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.holder = delivery.leader
        self.token = self.holder.lease_token
        self.keeps_lane = False

    def record_steps(self, steps: Iterator[Step]) -> None:
        for step in steps:
            outcomes = [
                (write, _created(write, name)) for write, name in zip(step.writes, step.names, strict=False)
            ] or [
                (write, outcome_of(write, error, step.sent))
                for write in step.writes
                if (error := step.error) is not None
            ]
            self.record(outcomes, step.error, step.heir)

    def record(
        self,
        outcomes: Outcomes,
        error: Exception | None = None,
        heir: DocumentWrite | None = None,
    ) -> None:
        """Save these outcomes together; `heir` takes over the locks, for the delivery goes on with it."""
        error = error or next((outcome.error for _, outcome in outcomes if outcome.error), None)
        before = {write.pk: (write.document_key, write.base_modified) for write, _ in outcomes}
        using = router.db_for_write(DocumentWrite)
        # What others wait to be told is saved along with the outcome; else a single UPDATE needs no transaction.
        needs_transaction = (
            len(outcomes) > 1
            or heir
            or error
            or any(write.creates or write.base_modified for write, _ in outcomes)
        )
        with transaction.atomic(using=using) if needs_transaction else nullcontext():
            unlocked = self._pass_locks(outcomes, heir)
            saved = self._save(outcomes, NO_LOCKS if unlocked else {})
            waiting = waiting_at(key for write in saved if (key := before[write.pk][0]))
            for write in saved:
                if before[write.pk][0] in waiting:
                    pass_on(write, *before[write.pk])
            gate.report(self.delivery.passage, error)
        self._let_go_on([write for write in saved if write.state in ENDED], bool(waiting))

    def _let_go_on(self, ended: list[DocumentWrite], some_wait: bool) -> None:
        some_wait = some_wait or have_dependents(write.pk for write in ended)
        for write in ended:
            if write.state != State.DONE and some_wait:
                share_fate(write)
            elif write.doctype == "File" and write.state != State.REFUSED:
                WriteFile.objects.filter(pk=write.pk).delete()
        if ended and some_wait:
            release([write.document_key for write in ended], [write.pk for write in ended])

    def _pass_locks(self, outcomes: Outcomes, heir: DocumentWrite | None) -> bool:
        """
        Let the locks go to where they are needed: to what goes on, or to a create of which it is not known yet.

        Returns whether the write that has them is to give them up as it is saved.
        """
        if self.keeps_lane:
            return False
        unknown = next((write for write, outcome in outcomes if _keeps_lane(write, outcome)), None)
        self.keeps_lane = heir is None and unknown is not None
        target, holder = heir or unknown, self.holder
        if target is None and any(write is holder for write, _ in outcomes):
            return True
        slot, lane = (holder.slot_lock if heir else None), (holder.lane_lock if target else None)
        if target is not holder:
            DocumentWrite.objects.filter(pk=holder.pk, lease_token=self.token).update(**NO_LOCKS)
        if target is not None:
            held = DocumentWrite.objects.filter(pk=target.pk, lease_token=self.token)
            held.update(lane_lock=lane, slot_lock=slot)
            holder.lane_lock = holder.slot_lock = None
            target.lane_lock, target.slot_lock = lane, slot
            self.holder = target
        return False

    def _save(self, outcomes: Outcomes, locks: dict[str, Any]) -> list[DocumentWrite]:
        """Save what became of each, and return those about which nobody else has decided in the meantime."""
        saved, now = [], timezone.now()
        for is_definite in (True, False):
            changes = [
                (write, {**_changes(write, outcome, now), **locks})
                for write, outcome in outcomes
                if outcome.is_definite is is_definite
            ]
            saved += advance_together(changes, HOLDING if is_definite else (State.SENDING,))
        if len(saved) < len(outcomes):
            _tell_lost(outcomes, {write.pk for write in saved})
        return saved


def _tell_lost(outcomes: Outcomes, saved: set[Any]) -> None:
    for write, outcome in outcomes:
        if write.pk not in saved:
            logger.warning(
                "Write %s: its lease ended before this delivery did, which came to: %s %s",
                write.pk, outcome.state, write.document_name or outcome.name or outcome.answer.get("name", ""),
            )  # fmt: skip


def _changes(write: DocumentWrite, outcome: Outcome, now: datetime) -> dict[str, Any]:
    retries = outcome.state == State.RETRYING
    waits = retries or outcome.state == State.PENDING
    error_type = type(outcome.error).__name__ if outcome.error else ""
    exc_type = getattr(outcome.error, "exc_type", "")
    event = "created" if outcome.state == State.PENDING else outcome.state
    write.remember(
        event,
        attempt=write.attempts,
        error=exc_type or error_type,
        text=outcome.text,
        document=outcome.name,
    )
    changes: dict[str, Any] = {
        "state": outcome.state,
        "attempts": write.attempts if outcome.counts else write.attempts - 1,
        "next_attempt_at": now + timedelta(seconds=outcome.wait) if waits else None,
        "lease_token": None,
        "lease_expires_at": None,
        "outcome_unknown": not outcome.is_definite and (write.outcome_unknown or outcome.unknown),
        "last_error": outcome.text,
        "error_type": error_type,
        "conflict": outcome.conflict,
        "answer": outcome.answer or write.answer,
        "finished_at": None if waits else now,
    }
    if outcome.name:
        key = key_of_document(write.site, write.doctype, outcome.name)
        changes |= {"document_name": outcome.name, "document_key": key, "lane": ""}
    return changes


def _created(write: DocumentWrite, name: str) -> Outcome:
    state = State.PENDING if write.submit else State.DONE
    return Outcome(state, name=name, answer={"name": name, "docstatus": 0}, counts=not write.submit)


def _keeps_lane(write: DocumentWrite, outcome: Outcome) -> bool:
    """Tell whether it is still to be found out what became of a create, so that no other may use its lane."""
    return write.creates and outcome.state == State.RETRYING and (write.outcome_unknown or outcome.unknown)
