"""
Which writes a worker takes: one, or the creates of a lane that go along with it, by one conditional UPDATE each.

Two unique columns keep workers apart. `lane_lock` is what may be under way only once: the lane of creates, or a
document. `slot_lock` is one of the places that a site has for background writes. Both belong to the row of one
delivery, which has them until it ends, or until its outcome is known.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, router, transaction
from django.db.models import F
from django.utils import timezone

from erpnext_bridge.conf import Site, get_settings
from erpnext_bridge.models.write import (
    WAITING,
    DocumentWrite,
    DocumentWriteQuerySet,
    Priority,
    State,
)
from erpnext_bridge.outbox import gate
from erpnext_bridge.outbox.gate import Passage
from erpnext_bridge.outbox.markers import MAX_DOCUMENTS
from erpnext_bridge.outbox.ordering import earlier, release

TRIES = 4
"""Attempts to get a free slot when other workers are after the same."""

LOOKED_AT = 50
"""Due writes that are looked at for one whose lane is free before the other lanes are asked one by one."""

LANES = 200


class LeaseLost(Exception):
    """Somebody else has decided about these writes in the meantime: nothing more may be done for them."""


@dataclass
class Delivery:
    """The writes that a worker has taken under one lease, in the order in which they were queued."""

    writes: list[DocumentWrite]
    passage: Passage
    deadline: float = field(default_factory=lambda: time.monotonic() + get_settings().write_lease)
    """When the lease ends, on this machine's clock."""

    @property
    def leader(self) -> DocumentWrite:
        """The write that has the locks."""
        return next((write for write in self.writes if write.lane_lock), self.writes[0])

    def check(self) -> None:
        """Raise LeaseLost when the lease is over: the clock goes on while a process sleeps."""
        if time.monotonic() >= self.deadline:
            raise LeaseLost

    def renew(self, writes: Sequence[DocumentWrite], **changes: Any) -> None:
        """Save what is about to be done, and go on under a fresh lease. LeaseLost when somebody else has them."""
        begin = time.monotonic()
        lease = get_settings().write_lease
        changes |= {"lease_expires_at": timezone.now() + timedelta(seconds=lease)}
        held = DocumentWrite.objects.filter(
            pk__in=[write.pk for write in writes], state=State.SENDING, lease_token=writes[0].lease_token
        )
        if held.update(**changes) != len(writes):
            raise LeaseLost
        self.deadline = begin + lease
        for write in writes:
            for name, value in changes.items():
                setattr(write, name, value)


def take(pk: Any) -> Delivery | None:
    """
    Take a write, with those that go along with it; None when it is not due or not its turn, or others are at it.

    A lane whose last answer was lost has its turn first: the delivery may then be of other writes than this one.
    """
    now = timezone.now()
    try:
        write = _to_go(DocumentWrite.objects.get(pk=pk), now)
    except DocumentWrite.DoesNotExist:
        return None
    if write is None:
        return None
    site = get_settings().sites.get(write.site)
    passage = gate.ask(site, now) if site else Passage(write.site)
    if passage.seconds:
        return None
    delivery = _take(write, site, passage, now)
    if delivery is None:
        gate.give_back(passage)
    return delivery


def _to_go(write: DocumentWrite, now: datetime) -> DocumentWrite | None:
    """Return what goes when this write is asked for; None when it is not time for it."""
    if not _is_due(write, now):
        return None
    if write.creates:
        return _first_in_lane(write, now)
    if earlier(write.document_key, write.created_at).exists():
        _let_wait(write)
        return None
    return write


def _first_in_lane(write: DocumentWrite, now: datetime) -> DocumentWrite | None:
    """Return the write of a lane that is to go first; None when it is not yet time."""
    holder = DocumentWrite.objects.filter(lane_lock=write.lane).first()
    if holder is None:
        return write
    return holder if _is_due(holder, now) else None


def _is_due(write: DocumentWrite, now: datetime) -> bool:
    return write.state in WAITING and write.next_attempt_at is not None and write.next_attempt_at <= now


def _let_wait(write: DocumentWrite) -> None:
    """Take a write out of those that are due until the earlier ones to its document are done."""
    if write.advance(WAITING, next_attempt_at=None, state=State.PENDING):
        release([write.document_key])


def _take(write: DocumentWrite, site: Site | None, passage: Passage, now: datetime) -> Delivery | None:
    for attempt in range(TRIES):
        slot = _slot(site, write, ask=attempt > 0)
        if slot is None:
            return None
        try:
            writes = _mark(write, slot or None, now)
        except IntegrityError:
            # Another worker was faster: to the lane or the document, or only to this slot.
            if DocumentWrite.objects.filter(lane_lock=_lock_of(write)).exclude(pk=write.pk).exists():
                return None
            continue
        if writes and site:
            gate.spend(site, len(writes))
        return Delivery(writes, passage) if writes else None
    return None


def _lock_of(write: DocumentWrite) -> str:
    return write.lane if write.creates else write.document_key or write.pk.hex


_own = threading.local()
"""The slot that this thread had last: most often it is free."""


def _slot(site: Site | None, write: DocumentWrite, ask: bool) -> str | None:
    """Return the name of a slot that seems to be free, "" where there is no limit, None when all are taken."""
    limit = site.write_concurrency if site else None
    if limit is None:
        return ""
    # One place is kept for what is in a hurry.
    usable = limit - 1 if write.priority <= Priority.LOW and limit > 1 else limit
    slots = [f"{write.site} {number}" for number in range(usable)]
    last = getattr(_own, "slot", None)
    if not ask and last in slots:
        return str(last)
    sending = DocumentWrite.objects.filter(site=write.site, lease_expires_at__isnull=False)
    used = set(sending.filter(slot_lock__isnull=False).values_list("slot_lock", flat=True))
    free = [slot for slot in slots if slot not in used]
    slot = _own.slot = random.choice(free) if free else None  # noqa: S311
    return slot


def _mark(write: DocumentWrite, slot: str | None, now: datetime) -> list[DocumentWrite]:
    """Mark the write and its companions as being sent; [] when somebody else has changed the write."""
    lease = now + timedelta(seconds=get_settings().write_lease)
    marks: dict[str, Any] = {
        "state": State.SENDING,
        "lease_token": uuid.uuid4(),
        "lease_expires_at": lease,
        "next_attempt_at": None,
        "nudged_at": None,
        "updated_at": now,
    }
    locks = {"lane_lock": _lock_of(write), "slot_lock": slot}
    same = DocumentWrite.objects.filter(
        pk=write.pk, state=write.state, lease_token=write.lease_token, updated_at=write.updated_at
    )
    companions: list[DocumentWrite] = []
    with _one_statement_or_transaction(write):
        if not same.update(attempts=write.attempts + 1, **marks, **locks):
            return []
        if write.creates:
            companions = _companions(write, now)
            others = DocumentWrite.objects.filter(pk__in=[each.pk for each in companions], state__in=WAITING)
            if others.update(attempts=F("attempts") + 1, **marks) != len(companions):
                companions = list(
                    others.model.objects.filter(lease_token=marks["lease_token"]).exclude(pk=write.pk)
                )
    for each in (write, *companions):
        previous = each.state
        for name, value in (marks | (locks if each is write else {})).items():
            setattr(each, name, value)
        each.attempts += 1
        each.announce(previous)
    return sorted((write, *companions), key=lambda each: (each.created_at, each.pk))


def _one_statement_or_transaction(write: DocumentWrite) -> AbstractContextManager[Any]:
    """Return a transaction where one is needed, or where the caller has one, which is refused outside of tests."""
    using = router.db_for_write(DocumentWrite)
    if write.creates or transaction.get_connection(using).in_atomic_block:
        return transaction.atomic(using=using, durable=True)
    return nullcontext()


def _companions(write: DocumentWrite, now: datetime) -> list[DocumentWrite]:
    """Return what is created by the same request: all of a request whose answer was lost, or what is due."""
    if write.doctype == "File":
        return []
    others = DocumentWrite.objects.exclude(pk=write.pk)
    if write.outcome_unknown:
        batch = others.filter(batch=write.batch, outcome_unknown=True, state__in=WAITING)
        return list(batch) if write.batch else []
    size = min(get_settings().write_batch, MAX_DOCUMENTS, pace.documents(write.lane)) - 1
    due = others.filter(lane=write.lane, next_attempt_at__lte=now, outcome_unknown=False, document_name="")
    found = due.order_by("-priority", "created_at")[:size] if size > 0 else ()
    return [each for each in found if each.state in WAITING]


class _Pace:
    """How long a document of a lane takes, so that no request keeps ERPNext's naming series locked for long."""

    SECONDS = 3.0
    FIRST = 20
    REMEMBERED = 1000

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def documents(self, lane: str) -> int:
        seconds = self._seconds.get(lane)
        return self.FIRST if seconds is None else max(1, int(self.SECONDS / seconds))

    def learn(self, lane: str, documents: int, seconds: float) -> None:
        if len(self._seconds) >= self.REMEMBERED:
            self._seconds.clear()
        self._seconds[lane] = max(seconds, 1e-3) / documents


pace = _Pace()


# The next ones


def next_due(site: str | None = None) -> Any | None:
    """Return the key of the write that is to go next, at one site or at any; None when none can go."""
    return next(iter(upcoming(site, 1)), None)


def upcoming(site: str | None = None, count: int = LOOKED_AT) -> list[Any]:
    """
    Return the keys of the writes that are to go next: the most urgent ones, and of each lane of creates the first.

    However many are queued, it looks at a few.
    """
    now = timezone.now()
    closed = gate.closed_sites(now)
    sites = [each for each in ([site] if site is not None else get_settings().sites) if each not in closed]
    found: list[Any] = []
    for priority in sorted(Priority.values, reverse=True):
        for alias in sites:
            found += _free(DocumentWrite.objects.ready(now).filter(site=alias, priority=priority))
        if len(found) >= count:
            break
    return found[:count]


def _free(ready: DocumentWriteQuerySet) -> list[Any]:
    rows = list(ready.order_by("next_attempt_at").values_list("pk", "lane", "state")[:LOOKED_AT])
    seen = _busy({lane for _, lane, _ in rows if lane})
    found = []
    for pk, lane, state in rows:
        if lane not in seen and state in WAITING:
            found.append(pk)
            seen |= {lane} - {""}
    if len(rows) == LOOKED_AT and len(found) < LOOKED_AT // 2:
        found += [pk for pk in _one_of_each_lane(ready) if pk not in found]
    return found


def _one_of_each_lane(ready: DocumentWriteQuerySet) -> Iterator[Any]:
    """Yield a write of each free lane, and some of those that have none: found by leaps through an index."""
    yield from (
        ready.filter(lane="").order_by("-priority", "created_at").values_list("pk", flat=True)[:LOOKED_AT]
    )
    lane = ""
    for _ in range(LANES):
        row = ready.filter(lane__gt=lane).order_by("lane").values_list("pk", "lane").first()
        if row is None:
            return
        pk, lane = row
        if not _busy({lane}):
            yield pk


def _busy(lanes: set[str]) -> set[str | None]:
    """Return the lanes in which a request is under way, or one whose answer was lost waits for its next attempt."""
    if not lanes:
        return set()
    held = DocumentWrite.objects.filter(lane_lock__in=lanes).exclude(next_attempt_at__lte=timezone.now())
    return set(held.values_list("lane_lock", flat=True))
