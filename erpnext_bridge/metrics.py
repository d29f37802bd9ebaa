"""
How the queue of background writes is doing, in figures: for the queue's page, for Prometheus and for scripts.

All of it is asked of the database, so that every process gives the same answer. What is counted are the writes
that are not finished, and those that were finished lately: however many are kept, the questions stay cheap.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import quantiles

from django.db import models
from django.db.models import Count, F, Min
from django.db.models.functions import TruncMinute
from django.utils import timezone

from erpnext_bridge.conf import get_settings
from erpnext_bridge.models.write import SETTLED, WAITING, DocumentWrite, State

OPEN = (*WAITING, State.SENDING, State.REFUSED, State.UNCERTAIN)
"""States of writes that somebody or something still has to do with."""

LATELY = timedelta(minutes=5)
SAMPLE = 1000
"""Writes of which the times from queueing to done are taken."""

MINUTE = timedelta(minutes=1)


@dataclass
class SiteFigures:
    """The writes of one site, now and in the last five minutes."""

    states: Counter[str] = field(default_factory=Counter)
    """State → writes that are in it now; of the open states only."""
    due: int = 0
    """Writes that could be sent now, and are not."""
    oldest_due: float = 0.0
    """Seconds for which the one that is due longest has waited."""
    crashed: int = 0
    """Writes whose worker was not heard of any more."""
    finished: Counter[str] = field(default_factory=Counter)
    """State → writes that came into it lately."""
    seconds: tuple[float, float] | None = None
    """From queueing to done, of those done lately: median, and what 95 of 100 stayed below."""


def figures(now: datetime | None = None) -> dict[str, SiteFigures]:
    """Return site → figures, for each site that the settings name or that has writes."""
    now = now or timezone.now()
    found: dict[str, SiteFigures] = defaultdict(SiteFigures)
    for alias in get_settings().sites:
        found[alias] = SiteFigures()
    writes = DocumentWrite.objects.order_by()
    counted = writes.filter(state__in=OPEN).values_list("site", "state")
    for site, state, count in counted.annotate(count=Count("pk")):
        found[site].states[state] = count
    due = writes.due(now).values_list("site").annotate(count=Count("pk"), oldest=Min("next_attempt_at"))
    for site, count, oldest in due:
        found[site].due, found[site].oldest_due = count, (now - oldest).total_seconds()
    for site, count in writes.crashed(now).values_list("site").annotate(count=Count("pk")):
        found[site].crashed = count
    _add_finished(found, now)
    return dict(found)


def _add_finished(found: dict[str, SiteFigures], now: datetime) -> None:
    lately = DocumentWrite.objects.order_by().filter(finished_at__gt=now - LATELY)
    for site, state, count in lately.values_list("site", "state").annotate(count=Count("pk")):
        if state in SETTLED:
            found[site].finished[state] = count
    took: dict[str, list[float]] = defaultdict(list)
    sample = lately.filter(state=State.DONE).order_by("-finished_at")
    times = sample.values_list("site", F("finished_at") - F("created_at"))[:SAMPLE]
    for site, duration in times:
        took[site].append(duration.total_seconds())
    for site, seconds in took.items():
        cuts = quantiles(seconds, n=20, method="inclusive") if len(seconds) > 1 else seconds * 19
        found[site].seconds = cuts[9], cuts[18]


@dataclass(frozen=True)
class Minute:
    """What happened to writes in one minute."""

    start: datetime
    queued: int
    done: int
    failed: int
    """Refused, or left to a person."""
    waiting: int
    """Writes that were not finished at the end of it."""


def minutes(count: int, site: str = "", now: datetime | None = None) -> list[Minute]:
    """Return the last minutes, oldest first, of one site or of all."""
    now = (now or timezone.now()).astimezone(UTC)
    last = now.replace(second=0, microsecond=0)
    first = last - (count - 1) * MINUTE
    writes = DocumentWrite.objects.filter(site=site) if site else DocumentWrite.objects.all()
    queued = _per_minute(writes.filter(created_at__gte=first), "created_at")
    finished = writes.filter(finished_at__gte=first, state__in=SETTLED)
    done = _per_minute(finished.filter(state=State.DONE), "finished_at")
    failed = _per_minute(finished.filter(state__in=(State.REFUSED, State.UNCERTAIN)), "finished_at")
    given_up = _per_minute(finished.filter(state=State.CANCELLED), "finished_at")
    waiting = writes.filter(state__in=(*WAITING, State.SENDING)).count()
    found = []
    for start in (last - number * MINUTE for number in range(count)):
        found.append(Minute(start, queued[start], done[start], failed[start], waiting))
        # Back in time: those queued in this minute were not there before it, those finished in it were.
        waiting = max(0, waiting - queued[start] + done[start] + failed[start] + given_up[start])
    return found[::-1]


def _per_minute(writes: models.QuerySet[DocumentWrite], moment: str) -> Counter[datetime]:
    counted = writes.order_by().values_list(TruncMinute(moment, tzinfo=UTC)).annotate(count=Count("pk"))
    return Counter(dict(counted))


# Prometheus


@dataclass
class Family:
    """One metric with its samples."""

    name: str
    help: str
    samples: list[tuple[dict[str, str], float]] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} gauge"
        for labels, value in self.samples:
            shown = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
            yield f"{self.name}{{{shown}}} {value:.12g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def families(now: datetime | None = None) -> list[Family]:
    """Return the metrics. All are gauges: a counter would have to be kept by each process, and a scrape meets one."""
    states = Family("erpnext_bridge_writes", "Background writes that are not finished, by state.")
    due = Family("erpnext_bridge_writes_due", "Writes that could be sent now, and are not.")
    oldest = Family("erpnext_bridge_write_oldest_due_seconds", "How long the first of them has waited.")
    crashed = Family("erpnext_bridge_writes_crashed", "Writes whose worker was not heard of any more.")
    finished = Family(
        "erpnext_bridge_writes_finished_5m", "Writes that were finished in the last five minutes, by state."
    )
    took = Family(
        "erpnext_bridge_write_seconds_5m",
        "From queueing to done, of the writes done in the last five minutes.",
    )
    for site, figure in figures(now).items():
        labels = {"site": site}
        states.samples += [({**labels, "state": state}, figure.states[state]) for state in OPEN]
        due.samples.append((labels, figure.due))
        oldest.samples.append((labels, figure.oldest_due))
        crashed.samples.append((labels, figure.crashed))
        finished.samples += [({**labels, "state": state}, figure.finished[state]) for state in SETTLED]
        if figure.seconds:
            took.samples += [
                ({**labels, "quantile": quantile}, seconds)
                for quantile, seconds in zip(("0.5", "0.95"), figure.seconds, strict=True)
            ]
    return [states, due, oldest, crashed, finished, took]


def exposition(now: datetime | None = None) -> str:
    """Return the metrics in Prometheus' text format, version 0.0.4."""
    return "".join(f"{line}\n" for family in families(now) for line in family.lines())
