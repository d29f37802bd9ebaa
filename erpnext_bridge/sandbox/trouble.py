"""Faults on demand: what networks, proxies and busy sites do to requests."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from . import pages
from .server import Answer

HTML = ("Content-Type", "text/html; charset=utf-8")
JSON = ("Content-Type", "application/json")
HUGE_BYTES = 20 * 1024 * 1024


@dataclass(frozen=True)
class Incoming:
    """What a `match` function is shown of a request."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    doctype: str | None = None


Match = Callable[[Incoming], bool]
Serve = Callable[[], Answer]
Effect = Callable[[Serve, dict[str, Any]], Answer]


@dataclass
class Trouble:
    """One fault, waiting for the requests it is meant for."""

    kind: str
    match: Match
    times: int | None
    options: dict[str, Any] = field(default_factory=dict)

    def takes(self, incoming: Incoming) -> bool:
        return self.times != 0 and self.match(incoming)

    def apply(self, serve: Serve) -> Answer:
        return EFFECTS[self.kind](serve, self.options)


class Troubles:
    """The faults of one sandbox; each request meets at most one."""

    def __init__(self) -> None:
        self.waiting: list[Trouble] = []
        self.guard = threading.Lock()

    def add(self, kind: str, times: int | None, match: Match | str | None, options: dict[str, Any]) -> None:
        if kind not in EFFECTS:
            raise ValueError(f"There is no trouble {kind!r}. Choose one of {', '.join(sorted(EFFECTS))}.")
        unknown = options.keys() - OPTIONS.get(kind, frozenset())
        if unknown:
            raise TypeError(f"The trouble {kind!r} takes no option {sorted(unknown)[0]!r}.")
        with self.guard:
            self.waiting.append(Trouble(kind, matcher(match), times, options))

    def clear(self) -> None:
        with self.guard:
            self.waiting.clear()

    def take(self, incoming: Incoming) -> Trouble | None:
        with self.guard:
            for trouble in self.waiting:
                if trouble.takes(incoming):
                    if trouble.times is not None:
                        trouble.times -= 1
                    return trouble
        return None


def matcher(match: Match | str | None) -> Match:
    if match is None:
        return lambda incoming: True
    if isinstance(match, str):
        return lambda incoming: incoming.path.startswith(match)
    return match


# -- effects -------------------------------------------------------------------------------------------


def latency(serve: Serve, options: dict[str, Any]) -> Answer:
    time.sleep(options.get("seconds", 1.0))
    return serve()


def drop_before(serve: Serve, options: dict[str, Any]) -> Answer:
    return Answer(0, silent=True)


def drop_after(serve: Serve, options: dict[str, Any]) -> Answer:
    serve()
    return Answer(0, silent=True)


def truncated(serve: Serve, options: dict[str, Any]) -> Answer:
    """The body breaks off in the middle, and the connection with it."""
    answer = serve()
    half = answer.body[: len(answer.body) // 2]
    return replace(answer, body=half, declared_length=len(answer.body), close=True)


def rate_limited(serve: Serve, options: dict[str, Any]) -> Answer:
    """The site-wide limiter (frappe/rate_limiter.py): Retry-After and the budget in headers."""
    seconds = options.get("retry_after", 1)
    headers = [JSON, ("X-RateLimit-Limit", "60000000"), ("X-RateLimit-Remaining", "0")]
    headers.append(("X-RateLimit-Reset", str(seconds or 1)))
    if seconds is not None:
        headers.append(("Retry-After", str(seconds)))
    return Answer(429, headers, failure("TooManyRequestsError", "Too Many Requests"))


def unavailable(serve: Serve, options: dict[str, Any]) -> Answer:
    headers = [JSON]
    if options.get("retry_after") is not None:
        headers.append(("Retry-After", str(options["retry_after"])))
    return Answer(503, headers, failure("SessionStopped", "Session Stopped"))


def deadlock(serve: Serve, options: dict[str, Any]) -> Answer:
    text = "(1213, 'Deadlock found when trying to get lock; try restarting transaction')"
    return Answer(500, [JSON], failure("QueryDeadlockError", text))


def maintenance(serve: Serve, options: dict[str, Any]) -> Answer:
    text = "The system is being updated. Please refresh again after a few moments."
    return Answer(503, [HTML], pages.message("Updating", text).encode())


def html(serve: Serve, options: dict[str, Any]) -> Answer:
    """A page where JSON was expected, as captive portals and sign-on proxies send."""
    return Answer(200, [HTML], pages.message("Welcome", "Please sign in to this network.").encode())


def huge(serve: Serve, options: dict[str, Any]) -> Answer:
    line = b"<p>Internal Server Error</p>\n"
    return Answer(
        options.get("status", 500), [HTML], line * (options.get("size", HUGE_BYTES) // len(line) + 1)
    )


def bad_gateway(serve: Serve, options: dict[str, Any]) -> Answer:
    """What a proxy says of a worker that has died."""
    page = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    page += (
        "<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )
    return Answer(502, [("Content-Type", "text/html")], page.encode())


def failure(exc_type: str, text: str) -> bytes:
    return json.dumps({"exception": f"frappe.exceptions.{exc_type}: {text}", "exc_type": exc_type}).encode()


EFFECTS: dict[str, Effect] = {
    effect.__name__: effect
    for effect in (
        latency,
        drop_before,
        drop_after,
        truncated,
        rate_limited,
        unavailable,
        deadlock,
        maintenance,
        html,
        huge,
        bad_gateway,
    )
}
OPTIONS = {
    "latency": frozenset({"seconds"}),
    "rate_limited": frozenset({"retry_after"}),
    "unavailable": frozenset({"retry_after"}),
    "huge": frozenset({"size", "status"}),
}
