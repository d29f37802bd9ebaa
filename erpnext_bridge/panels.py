"""
A panel for django-debug-toolbar: the requests that a page sent to ERPNext, whose rights they carried, what repeats.

    DEBUG_TOOLBAR_PANELS = [..., "erpnext_bridge.panels.ERPNextPanel"]

The toolbar is a tool of developers: the panel shows what was asked, filters and their values too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from debug_toolbar.panels import Panel
from debug_toolbar.utils import get_stack_trace, get_template_info, render_stacktrace
from django.dispatch import receiver
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from erpnext_bridge.signals import request_sent

Call = dict[str, Any]
"""One request as the template shows it; the toolbar keeps it as JSON."""

_PACKAGE = Path(__file__).parent
_WAYS_IN = tuple(
    str(_PACKAGE / name)
    for name in (
        "query.py",
        "running.py",
        "iterables.py",
        "documents.py",
        "fields.py",
        "access.py",
        "client.py",
    )
)
"""Where a developer's code goes over into this package: the line before it is the one that is looked for."""

_calls: ContextVar[list[Call] | None] = ContextVar("erpnext_bridge_panel", default=None)
"""The requests of the page that is being made, in this thread or task and in those that it starts."""


@receiver(request_sent)
def _record(
    *,
    method: str,
    path: str,
    status: int | None,
    seconds: float,
    received: int,
    error: str,
    identity: Any,
    arguments: Mapping[str, Any],
    **_kwargs: Any,
) -> None:
    calls = _calls.get()
    if calls is None:
        return
    asked = {key: value for key, value in arguments.items() if value not in (None, [], {})}
    calls.append(
        {
            "method": method,
            "path": unquote(path),
            "status": status or error or "no answer",
            "failed": status is None or status >= 400,
            "milliseconds": seconds * 1000,
            "received": received,
            "identity": str(identity) if identity is not None else str(_("nobody yet")),
            "asked": [
                (key, json.dumps(value, ensure_ascii=False, default=str)) for key, value in asked.items()
            ],
            "trace": render_stacktrace(
                list(takewhile(lambda frame: frame[0] not in _WAYS_IN, get_stack_trace()))
            ),
            "template": get_template_info(),
        }
    )


class ERPNextPanel(Panel):
    """Requests to ERPNext."""

    template = "erpnext_bridge/debug_toolbar_panel.html"
    title = _("Requests to ERPNext")
    nav_title = _("ERPNext")
    is_async = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.calls: list[Call] = []

    @property
    def nav_subtitle(self) -> str:
        stats = self.get_stats()
        count = len(stats.get("calls", ()))
        told = ngettext("%(count)d request in %(time).0f ms", "%(count)d requests in %(time).0f ms", count)
        return told % {"count": count, "time": stats.get("milliseconds", 0)}

    def enable_instrumentation(self) -> None:
        _calls.set(self.calls)

    def disable_instrumentation(self) -> None:
        _calls.set(None)

    def generate_stats(self, request: Any, response: Any) -> None:
        _mark_repeated(self.calls)
        self.record_stats(
            {
                "calls": self.calls,
                "milliseconds": sum(call["milliseconds"] for call in self.calls),
                "received": sum(call["received"] for call in self.calls),
                "duplicates": sum(call["duplicates"] > 1 for call in self.calls),
                "identities": _by_identity(self.calls),
            }
        )

    def generate_server_timing(self, request: Any, response: Any) -> None:
        stats = self.get_stats()
        title = f"ERPNext {len(stats.get('calls', ()))} requests"
        self.record_server_timing("erpnext", title, stats.get("milliseconds", 0))


def _mark_repeated(calls: Iterable[Call]) -> None:
    """Count for each request how many are the same, and how many differ by the document's name alone."""
    same = Counter(map(_sameness, calls))
    similar = Counter(map(_shape, calls))
    for call in calls:
        call["duplicates"] = same[_sameness(call)]
        call["similar"] = similar[_shape(call)]


def _sameness(call: Call) -> tuple[Any, ...]:
    return call["method"], call["path"], tuple(call["asked"]), call["identity"]


def _shape(call: Call) -> tuple[Any, ...]:
    """Return what a loop repeats: reads of single documents of one DocType, or lists with other values."""
    parts = call["path"].split("/", 4)
    place = "/".join(parts[:4]) + ("/…" if len(parts) > 4 else "")
    return call["method"], place, tuple(key for key, _value in call["asked"]), call["identity"]


def _by_identity(calls: Iterable[Call]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for call in calls:
        entry = found.setdefault(
            call["identity"], {"identity": call["identity"], "requests": 0, "milliseconds": 0.0}
        )
        entry["requests"] += 1
        entry["milliseconds"] += call["milliseconds"]
    return list(found.values())
