"""
Spans for OpenTelemetry, where a project has it: one for each request to ERPNext, one for each delivery around them.

`instrument()` is called once, in `AppConfig.ready` or where the project sets OpenTelemetry up. It needs
`opentelemetry-api`, which the package does not bring along. No span carries a token, a query string or a value.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

from erpnext_bridge.signals import delivery_ended, delivery_started, request_sent

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer, TracerProvider

    from erpnext_bridge.models import DocumentWrite

NAME = "erpnext_bridge"
ID = "erpnext_bridge.telemetry"


def instrument(provider: TracerProvider | None = None) -> None:
    """Make spans from now on, with the given provider or the one that OpenTelemetry is set up with."""
    try:
        from opentelemetry import trace
    except ImportError as missing:
        raise ImproperlyConfigured("Spans need OpenTelemetry: pip install opentelemetry-api") from missing
    uninstrument()
    spans = _Spans(trace.get_tracer(NAME, tracer_provider=provider))
    for signal, receiver in _receivers(spans):
        signal.connect(receiver, weak=False, dispatch_uid=ID)


def uninstrument() -> None:
    """Make no spans any more."""
    for signal in (request_sent, delivery_started, delivery_ended):
        signal.disconnect(dispatch_uid=ID)


def _receivers(spans: _Spans) -> tuple[tuple[Any, Any], ...]:
    return (
        (request_sent, spans.request_sent),
        (delivery_started, spans.delivery_started),
        (delivery_ended, spans.delivery_ended),
    )


class _Spans:
    """Turns what the signals tell into spans."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._open = threading.local()

    def request_sent(self, *, method: str, path: str, status: int | None, seconds: float, **_: Any) -> None:
        from opentelemetry.trace import SpanKind, Status, StatusCode

        end = time.time_ns()
        span = self._tracer.start_span(
            f"{method} {_route(path)}",
            kind=SpanKind.CLIENT,
            start_time=end - int(seconds * 1e9),
            attributes={"http.request.method": method, "url.path": path},
        )
        if status is None:
            span.set_status(Status(StatusCode.ERROR, "no answer"))
        else:
            span.set_attribute("http.response.status_code", status)
            if status >= 400:
                span.set_status(Status(StatusCode.ERROR))
        span.end(end)

    def delivery_started(self, *, writes: Sequence[DocumentWrite], **_: Any) -> None:
        """Open a span, which is the parent of all that this thread does until the delivery ends."""
        from opentelemetry import context, trace

        first = writes[0]
        span = self._tracer.start_span(
            f"{first.action} {first.doctype}",
            attributes={
                "erpnext_bridge.site": first.site,
                "erpnext_bridge.action": first.action,
                "erpnext_bridge.doctype": first.doctype,
                "erpnext_bridge.writes": [str(write.pk) for write in writes],
                "erpnext_bridge.attempt": first.attempts,
            },
        )
        self._open.span = span
        self._open.token = context.attach(trace.set_span_in_context(span))

    def delivery_ended(self, *, writes: Sequence[DocumentWrite], **_: Any) -> None:
        from opentelemetry import context
        from opentelemetry.trace import Status, StatusCode

        span = self._open.__dict__.pop("span", None)
        if span is None:
            return
        context.detach(self._open.__dict__.pop("token"))
        states = [write.state for write in writes]
        span.set_attribute("erpnext_bridge.states", states)
        wrong = [write.error_type for write in writes if write.error_type]
        if wrong:
            span.set_status(Status(StatusCode.ERROR, ", ".join(sorted(set(wrong)))))
        span.end()


def _route(path: str) -> str:
    """Return a path without the names in it, of which there are too many for the name of a span."""
    parts = path.split("/")
    for marker, kept in (("resource", 1), ("document", 1), ("method", 1)):
        if marker in parts[:4]:
            return "/".join(parts[: parts.index(marker) + 1 + kept])
    return path
