"""
The gate of a site: whether background writes may go there now, as all workers together see it.

It closes after some failures in a row, opens for one write to try, and opens wide once a write gets through. It also
spends the site's rate budget. All of it is one row, so it needs nothing but the database.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, Q
from django.utils import timezone

from erpnext_bridge.conf import Site, get_settings
from erpnext_bridge.errors import RefusedError, SiteBusy, TransientError, UnreadableAnswer
from erpnext_bridge.models.gate import SiteGate

TRIAL = 60.0
"""Seconds that the one write that tries a closed site has for itself, or the lease when that is shorter."""

LONGEST_ASKED = 3600.0

REMEMBERED = 1.0
"""Seconds for which a process believes that a site's gate is wide open."""

_open_until: dict[str, float] = {}


@dataclass(frozen=True, slots=True)
class Passage:
    """What the gate said when a delivery asked."""

    site: str
    seconds: float = 0.0
    """How long to wait before asking again; 0 when the write may go."""
    failures: int = 0
    """Deliveries that the site has failed in a row."""
    trial_until: datetime | None = None
    """Until when nobody else may go, for this write is to see if the site is back."""


def ask(site: Site, now: datetime | None = None) -> Passage:
    """Return whether a write may go to the site. Of those who ask while it is on trial, one may."""
    now = now or timezone.now()
    if not site.write_rate and _open_until.get(site.alias, 0.0) > time.monotonic():
        return Passage(site.alias)
    gate = SiteGate.objects.filter(site=site.alias).first()
    trial_until = None
    if gate is None or not (gate.failures or gate.closed_until or site.write_rate):
        _open_until[site.alias] = time.monotonic() + REMEMBERED
        return Passage(site.alias)
    if gate.closed_until is not None:
        if gate.closed_until > now:
            return _later(gate, gate.closed_until, now)
        mine = SiteGate.objects.filter(site=site.alias, closed_until=gate.closed_until)
        trial_until = now + timedelta(seconds=min(TRIAL, get_settings().write_lease))
        if not mine.update(closed_until=trial_until):
            return _later(gate, now + timedelta(seconds=1), now)
    if site.write_rate and gate.next_send_at is not None and gate.next_send_at > now:
        return _later(gate, gate.next_send_at, now)
    return Passage(site.alias, failures=gate.failures, trial_until=trial_until)


def give_back(passage: Passage) -> None:
    """Let somebody else try the site, for this write is not sent after all."""
    if passage.trial_until is not None:
        gate = SiteGate.objects.filter(site=passage.site, closed_until=passage.trial_until)
        gate.update(closed_until=timezone.now())


def _later(gate: SiteGate, moment: datetime, now: datetime) -> Passage:
    return Passage(gate.site, (moment - now).total_seconds(), gate.failures)


def spend(site: Site, documents: int) -> None:
    """Take what a request costs out of the site's rate budget."""
    if not site.write_rate:
        return
    now = timezone.now()
    cost = timedelta(seconds=documents / site.write_rate)
    SiteGate.objects.get_or_create(site=site.alias)
    gate = SiteGate.objects.filter(site=site.alias)
    # One after the other: each waits for what those before have spent.
    if not gate.filter(next_send_at__gt=now).update(next_send_at=F("next_send_at") + cost):
        gate.update(next_send_at=now + cost)


JUST_NOW = timedelta(seconds=5)


def spent_budgets() -> list[tuple[str, datetime]]:
    """Return the open sites whose budget is spent, or was so just now, and when more may be sent there."""
    sites = [alias for alias, site in get_settings().sites.items() if site.write_rate]
    if not sites:
        return []
    now = timezone.now()
    spent = SiteGate.objects.filter(site__in=sites, next_send_at__gt=now - JUST_NOW)
    return [(gate.site, gate.next_send_at or now) for gate in spent.exclude(closed_until__gt=now)]


def report(passage: Passage, error: Exception | None) -> None:
    """Tell the gate how a delivery went: its error, or None."""
    if is_failure(error):
        _count(passage.site, error)
    elif passage.failures and (error is None or isinstance(error, RefusedError)):
        SiteGate.objects.filter(site=passage.site).update(failures=0, closed_until=None, last_error="")


def is_failure(error: Exception | None) -> bool:
    """Tell whether an error is about the site, and so about all writes to it."""
    if isinstance(error, SiteBusy) and error.exc_type in OF_ONE_DOCUMENT:
        return False
    return isinstance(error, TransientError | UnreadableAnswer)


OF_ONE_DOCUMENT = frozenset({"QueryDeadlockError", "QueryTimeoutError", "DocumentLockedError"})


def _count(alias: str, error: Exception | None) -> None:
    _open_until.pop(alias, None)
    threshold, first, longest = get_settings().write_breaker
    now = timezone.now()
    SiteGate.objects.get_or_create(site=alias)
    gate = SiteGate.objects.filter(site=alias)
    gate.update(failures=F("failures") + 1, last_error=type(error).__name__, updated_at=now)
    failures = gate.values_list("failures", flat=True).get()
    asked = min(getattr(error, "retry_after", None) or 0.0, LONGEST_ASKED)
    pause = min(longest, first * 2.0 ** min(failures - threshold, 16)) if failures >= threshold else 0.0
    if pause := max(asked, pause):
        until = now + timedelta(seconds=pause)
        gate.filter(Q(closed_until=None) | Q(closed_until__lt=until)).update(closed_until=until)


def closed_sites(now: datetime | None = None) -> list[str]:
    """Return the sites that nothing is to be sent to now."""
    closed = SiteGate.objects.filter(closed_until__gt=now or timezone.now())
    return list(closed.values_list("site", flat=True))
