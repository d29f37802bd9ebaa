"""How many requests to ERPNext a page took: counted by the `request_sent` signal, shown in the footer."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse

from erpnext_bridge.signals import request_sent


@dataclass
class Meter:
    """Requests of one page so far."""

    requests: int = 0
    seconds: float = 0.0

    @property
    def milliseconds(self) -> int:
        return round(self.seconds * 1000)


_meter: ContextVar[Meter | None] = ContextVar("project_meter", default=None)


class MeterMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        token = _meter.set(Meter())
        try:
            return self.get_response(request)
        finally:
            _meter.reset(token)


def current_meter() -> Meter:
    """Return the meter of the page that is being made."""
    return _meter.get() or Meter()


@receiver(request_sent)
def count(*, seconds: float, **_: Any) -> None:
    if (meter := _meter.get()) is not None:
        meter.requests += 1
        meter.seconds += seconds
