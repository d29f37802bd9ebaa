"""What one request of the sandbox knows: the site it runs on and the caller's side of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .store import Store
    from .world import World

TIME_FORMAT = "%Y-%m-%d %H:%M:%S.%f"


@dataclass
class Site:
    """One sandboxed ERPNext: its world, the rows behind it, and the version whose manners it has.

    A request holds `lock` from its first look at the store to `store.commit()` or `store.rollback()`;
    Frappe commits after POST, PUT, PATCH and DELETE and rolls back after a GET or an error.
    """

    world: World
    version: int
    store: Store
    base_url: str = ""
    traceback_allowed: bool = True
    """System Settings "Allow error traceback"."""
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    offset: timedelta = timedelta()
    """How far the site's date is ahead of the machine's, by its world."""
    skew: timedelta = timedelta()
    """How far the site's clock is wrong besides: what clients see, such as `Date`, is wrong with it."""

    @classmethod
    def open(cls, world: World, version: int = 15, base_url: str = "") -> Site:
        """A site of its own, filled with the world."""
        zone = ZoneInfo(world.time_zone)
        offset = _offset(world.today, zone)
        now = (datetime.now(zone) + offset).strftime(TIME_FORMAT)
        return cls(world, version, world.store(version, now), base_url, offset=offset)

    def __post_init__(self) -> None:
        self.zone = ZoneInfo(self.world.time_zone)

    @property
    def frappe_version(self) -> str:
        return self.world.installed_apps(self.version)["frappe"]["version"]

    def clock(self) -> datetime:
        return datetime.now(self.zone) + self.offset + self.skew

    def time(self) -> float:
        """Seconds since the epoch, as this clock has them."""
        return time.time() + self.skew.total_seconds()

    def now_text(self) -> str:
        """Frappe stores naive text in the site's time zone."""
        return self.clock().strftime(TIME_FORMAT)

    def today(self) -> str:
        return self.now_text()[:10]


def _offset(today: str | None, zone: ZoneInfo) -> timedelta:
    if today is None:
        return timedelta()
    return date.fromisoformat(today) - datetime.now(zone).date()


@dataclass
class Context:
    """One request."""

    site: Site
    user: str = "Guest"
    form: dict[str, Any] = field(default_factory=dict)
    """Frappe's form_dict: path segments, query, form or JSON body in one dict."""
    request_method: str = "GET"
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    api_version: int = 1
    language: str = "en"
    files: dict[str, Any] = field(default_factory=dict)

    messages: list[dict[str, Any]] = field(default_factory=list)
    """What msgprint and throw said, in order: `_server_messages` of v1, `messages` of v2."""
    response: dict[str, Any] = field(default_factory=dict)
    """Further top-level keys of the answer, such as `docs` or `_error_message`; sent with errors too."""
    response_headers: dict[str, str] = field(default_factory=dict)
    status: int | None = None
    """HTTP status of a success when it is not 200."""
    debug_messages: list[str] = field(default_factory=list)
    """SQL texts, for `debug=1` and after a failed query: `_debug_messages` of v1, `debug` of v2."""
    after_commit: list[Callable[[], None]] = field(default_factory=list, repr=False)
    events: list[tuple[str, str, str, dict[str, Any]]] = field(default_factory=list, repr=False)
    """Document events (event, doctype, name, document) in order, for webhooks."""
    cache: dict[Any, Any] = field(default_factory=dict, repr=False)
    """Answers that hold for one request only, such as the user's roles."""

    @property
    def version(self) -> int:
        return self.site.version

    @property
    def store(self) -> Store:
        return self.site.store
