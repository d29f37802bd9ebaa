"""Faults on demand: what networks, proxies and busy sites do to requests."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from random import Random
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
    chance: float = 1.0
    """The share of its requests that meet it."""
    options: dict[str, Any] = field(default_factory=dict)
    met: int = 0
    """How many requests have met it."""

    def takes(self, incoming: Incoming) -> bool:
        return self.times != 0 and self.match(incoming)

    def apply(self, serve: Serve) -> Answer:
        return EFFECTS[self.kind](serve, self.options)


class Troubles:
    """
    The faults of one sandbox; each request meets at most one.

    One throw of the dice decides about all faults that a request may meet, so that their chances add up: of a hundred
    requests, chances of 0.2 and 0.1 leave seventy in peace. The same seed throws the same numbers in the same order.
    """

    def __init__(self, seed: int = 0) -> None:
        self.waiting: list[Trouble] = []
        self.guard = threading.Lock()
        self.seed(seed)

    def seed(self, seed: int) -> None:
        self.dice = Random(seed)  # noqa: S311 - faults are no secrets

    def add(
        self,
        kind: str,
        times: int | None = 1,
        match: Match | str | None = None,
        method: str | Collection[str] | None = None,
        chance: float = 1.0,
        options: dict[str, Any] | None = None,
    ) -> Trouble:
        options = options or {}
        if kind not in EFFECTS:
            raise ValueError(f"There is no trouble {kind!r}. Choose one of {', '.join(sorted(EFFECTS))}.")
        unknown = options.keys() - OPTIONS.get(kind, frozenset())
        if unknown:
            raise TypeError(f"The trouble {kind!r} takes no option {sorted(unknown)[0]!r}.")
        if not 0 < chance <= 1:
            raise ValueError(f"A chance is above 0 and at most 1, not {chance!r}.")
        made = Trouble(kind, matcher(match, method), times, chance, options)
        with self.guard:
            self.waiting.append(made)
        return made

    def clear(self) -> None:
        with self.guard:
            self.waiting.clear()

    def take(self, incoming: Incoming) -> Trouble | None:
        with self.guard:
            possible = [trouble for trouble in self.waiting if trouble.takes(incoming)]
            found = self.throw(possible)
            if found is not None:
                found.met += 1
                if found.times is not None:
                    found.times -= 1
                    self.waiting = [trouble for trouble in self.waiting if trouble.times != 0]
        return found

    def throw(self, possible: list[Trouble]) -> Trouble | None:
        if all(trouble.chance == 1 for trouble in possible):
            return possible[0] if possible else None
        thrown = self.dice.random()
        for trouble in possible:
            if trouble.chance == 1 or thrown < trouble.chance:
                return trouble
            thrown -= trouble.chance
        return None


def matcher(match: Match | str | None, method: str | Collection[str] | None = None) -> Match:
    """Whether a request is meant: by the start of its path, a pattern with `*`, or a function; and by its method."""
    path = path_matcher(match)
    if method is None:
        return path
    methods = {name.upper() for name in ([method] if isinstance(method, str) else method)}
    return lambda incoming: incoming.method in methods and path(incoming)


def path_matcher(match: Match | str | None) -> Match:
    if match is None:
        return lambda incoming: True
    if not isinstance(match, str):
        return match
    if "*" in match:
        return lambda incoming: fnmatchcase(incoming.path, match)
    return lambda incoming: incoming.path.startswith(match)


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
