"""
The Celery tasks: deliver a write, sweep, prune, tend connections. Nothing but a write's id goes through the broker.

The broker may lose a task, deliver it twice or be down: the row knows what is to be done, `perform` takes it
once, and the sweep finds it. A broken broker therefore delays writes and loses none.
"""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from math import ceil
from typing import Any

from celery import shared_task
from django.dispatch import receiver
from django.utils import timezone

from erpnext_bridge import retention, writes
from erpnext_bridge.conf import get_settings
from erpnext_bridge.models.write import WAITING, DocumentWrite
from erpnext_bridge.outbox import cleaning, gate
from erpnext_bridge.outbox.claiming import next_due
from erpnext_bridge.schedule import SWEEP_EVERY
from erpnext_bridge.signals import write_changed
from erpnext_bridge.tokens import refreshing, revoking

logger = logging.getLogger("erpnext_bridge")

DRAIN_SECONDS = 10.0
"""How long a task goes on with other writes: those that nobody was asked for, and those that had no free place."""

BROKER_REST = 30.0
"""Seconds for which a process leaves a broker alone that was down: finding that out takes Celery seconds."""


@shared_task(name="erpnext_bridge.deliver", acks_late=True, ignore_result=True)  # type: ignore[untyped-decorator, no-untyped-call]
def deliver(pk: str) -> None:
    """Deliver one write, if it is due, and then what else is, for some seconds."""
    writes.perform(pk)
    following = writes.drain(min(DRAIN_SECONDS, get_settings().write_lease / 2))
    if following is not None:
        deliver.apply_async((str(following),), **_options())
    else:
        _come_back()


@shared_task(name="erpnext_bridge.sweep", ignore_result=True)  # type: ignore[untyped-decorator, no-untyped-call]
def sweep() -> None:
    """Hand what a crash, or a broker that was down, has left to the workers."""
    for write in writes.sweep():
        nudge(write)


@shared_task(name="erpnext_bridge.prune", ignore_result=True)  # type: ignore[untyped-decorator, no-untyped-call]
def prune() -> None:
    """Delete the finished writes that were kept for long enough, and markers at ERPNext that nobody needs any more."""
    cleaning.clean()
    count = retention.prune()
    if count:
        logger.info("Pruned %d finished writes.", count)


@shared_task(name="erpnext_bridge.tend", ignore_result=True)  # type: ignore[untyped-decorator, no-untyped-call]
def tend() -> None:
    """Revoke at ERPNext what could not be revoked before, and keep connections alive that nobody uses."""
    revoking.sweep()
    refreshing.refresh_idle()


def nudge(write: DocumentWrite) -> bool:
    """Ask a worker to deliver a write as soon as it is due, and return whether one was: else it is the sweep's."""
    if _broker.rests:
        return False
    wait = (write.next_attempt_at - timezone.now()).total_seconds() if write.next_attempt_at else 0.0
    if wait > SWEEP_EVERY:
        return False
    options: dict[str, Any] = {"countdown": wait} if wait > 0 else {}
    try:
        # The caller is often a person's request, which more attempts would hold up.
        deliver.apply_async((str(write.pk),), retry=False, **_options(), **options)
    except Exception as error:  # each broker has errors of its own, whose texts may hold its password
        _broker.rest()
        logger.warning(
            "Write %s: no worker could be asked (%s); the sweep does it.", write.pk, type(error).__name__
        )
        return False
    return True


SHORTEST_REST = timedelta(seconds=0.1)


def _come_back() -> None:
    """Ask for a worker when a site's budget allows more: one for each site, however many workers ask."""
    now = timezone.now()
    for site, moment in gate.spent_budgets():
        pk = next_due(site)
        moment = max(moment, now + SHORTEST_REST)
        asked = DocumentWrite.objects.filter(pk__in=[pk] if pk else ()).exclude(nudged_at__gt=now)
        if asked.update(nudged_at=moment):
            deliver.apply_async((str(pk),), countdown=(moment - now).total_seconds(), **_options())


LAST_WORDS = 30
"""Seconds that a delivery has after its time is over, to record what it knows."""


class _Broker:
    """What this process has last seen of the broker."""

    def __init__(self) -> None:
        self._until = 0.0

    @property
    def rests(self) -> bool:
        return time.monotonic() < self._until

    def rest(self, seconds: float = BROKER_REST) -> None:
        self._until = time.monotonic() + seconds


_broker = _Broker()


@receiver(write_changed)
def ask_a_worker(*, write: DocumentWrite, **_: Any) -> None:
    if write.state in WAITING and write.next_attempt_at is not None and write.nudged_at is None:
        nudge(write)


def _options() -> dict[str, Any]:
    """Where the task goes, and how long it may take: its own delivery, the drain, and the last delivery of that."""
    settings = get_settings()
    options: dict[str, Any] = {"queue": settings.write_queue} if settings.write_queue else {}
    if settings.write_lease:
        limit = ceil(3 * settings.write_lease)
        options |= {"soft_time_limit": limit, "time_limit": limit + LAST_WORDS}
    return options
