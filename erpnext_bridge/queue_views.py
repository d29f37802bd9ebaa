"""The queue of everybody's background writes, for operators: a page with its depth as a picture, and metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.contrib.auth.decorators import login_required, permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from erpnext_bridge import metrics
from erpnext_bridge.addresses import page_or_nothing
from erpnext_bridge.conf import get_settings
from erpnext_bridge.models.write import State
from erpnext_bridge.monitoring import may_read

MAY_SEE = "erpnext_bridge.view_documentwrite"
LIST = "admin:erpnext_bridge_documentwrite_changelist"
MINUTES = 60

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


@never_cache
@login_required
@permission_required(MAY_SEE, raise_exception=True)
@require_GET
def write_queue(request: HttpRequest) -> HttpResponse:
    """Show depth and rates of the last hour; `?site=` narrows it to one site."""
    known = metrics.figures()
    site = request.GET.get("site", "")
    if site and site not in known:
        raise Http404
    minutes = metrics.minutes(MINUTES + 1, site)
    may_list = getattr(request.user, "is_staff", False)
    context = {
        "site": site,
        "sites": [(alias, _label(alias)) for alias in known],
        "rows": [Row(_label(alias), known[alias]) for alias in ([site] if site else known)],
        "list_url": page_or_nothing(LIST) if may_list else "",
        "minutes": minutes,
        "depth": chart(minutes, [("waiting", "waiting", lambda minute: minute.waiting)]),
        # The minute that is not over yet would look like a fall.
        "rates": chart(
            minutes[:-1],
            [
                ("queued", "queued", lambda minute: minute.queued),
                ("done", "done", lambda minute: minute.done),
                ("failed", "refused or uncertain", lambda minute: minute.failed),
            ],
        ),
    }
    return render(request, "erpnext_bridge/write_queue.html", context)


@never_cache
@require_GET
def write_metrics(request: HttpRequest) -> HttpResponse:
    """Answer in Prometheus' text format: to METRICS_TOKEN as a bearer token, or to who may see all writes."""
    if not may_read(request, MAY_SEE):
        return HttpResponse("METRICS_TOKEN as a bearer token is needed.\n", "text/plain", 401)
    return HttpResponse(metrics.exposition(), PROMETHEUS)


def _label(alias: str) -> str:
    site = get_settings().sites.get(alias)
    return site.label if site else alias


@dataclass(frozen=True)
class Row:
    """One site in the table."""

    label: str
    figures: metrics.SiteFigures

    @property
    def waiting(self) -> int:
        states = self.figures.states
        return states[State.PENDING] + states[State.RETRYING] + states[State.SENDING]

    @property
    def sending(self) -> int:
        return self.figures.states[State.SENDING]

    @property
    def retrying(self) -> int:
        return self.figures.states[State.RETRYING]

    @property
    def refused(self) -> int:
        return self.figures.states[State.REFUSED]

    @property
    def uncertain(self) -> int:
        return self.figures.states[State.UNCERTAIN]

    @property
    def done(self) -> int:
        return self.figures.finished[State.DONE]


# The picture

WIDTH, HEIGHT = 640, 160
LEFT, TOP, BOTTOM = 44, 10, 22
"""Room for the scale, above the highest point, and for the times, in units of the picture."""


@dataclass(frozen=True)
class Line:
    key: str
    label: str
    points: str
    last: int


@dataclass(frozen=True)
class Chart:
    """Lines over the last minutes, ready to be drawn."""

    lines: list[Line]
    scale: list[tuple[int, float]]
    """Value → its height in the picture."""
    times: list[tuple[str, float, str]]
    """Text, place and alignment of each time below."""
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT


Value = Callable[[metrics.Minute], int]


def chart(minutes: list[metrics.Minute], wanted: list[tuple[str, str, Value]]) -> Chart:
    """Return the lines, drawn to one scale that ends at a round number."""
    values = {key: [value(minute) for minute in minutes] for key, _, value in wanted}
    top = round_up(max(max(series) for series in values.values()))
    step = (WIDTH - LEFT) / (len(minutes) - 1)

    def height(value: float) -> float:
        return round(HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - TOP), 1)

    lines = [
        Line(
            key,
            label,
            " ".join(
                f"{LEFT + number * step:.1f},{height(value)}" for number, value in enumerate(values[key])
            ),
            values[key][-1],
        )
        for key, label, _ in wanted
    ]
    scale = [(value, height(value)) for value in sorted({0, top // 2, top})]
    times = [
        (f"{MINUTES} min ago", float(LEFT), "start"),
        (f"{MINUTES // 2} min ago", LEFT + (WIDTH - LEFT) / 2, "middle"),
        ("now", float(WIDTH), "end"),
    ]
    return Chart(lines, scale, times)


def round_up(value: int) -> int:
    """Return the next of 2, 5, 10, 20, 50, 100 … that is not below."""
    power = 1
    while True:
        for factor in (2, 5, 10):
            if factor * power >= value:
                return factor * power
        power *= 10
