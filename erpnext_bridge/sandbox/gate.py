"""What the site remembers of its callers between requests: sessions, failed logins, endpoint limits."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .budget import Budget
from .web import Session

SESSION_SECONDS = 170 * 3600
"""System Settings "Session Expiry" of v15 and v16: 170:00."""
MAX_FAILED_LOGINS = 10
LOCK_SECONDS = 60


@dataclass
class Gate:
    """All of it lives in memory, as it lives in Redis with Frappe."""

    clock: Callable[[], float] = time.monotonic
    rotate_refresh_tokens: bool = False
    """Revoke the old pair on refresh, as Frappe has done since July 2026."""
    token_seconds: int = 3600
    """How long access tokens live: oauthlib's default."""
    budget: Budget | None = None
    """The site-wide rate limiter, where the site has one."""
    sessions: dict[str, Session] = field(default_factory=dict, repr=False)
    failures: dict[str, tuple[float, int]] = field(default_factory=dict)
    calls: dict[str, tuple[float, int]] = field(default_factory=dict)
    guard: threading.RLock = field(default_factory=threading.RLock, repr=False)

    # -- sessions

    def start(self, user: str) -> Session:
        session = Session(user, secrets.token_hex(28), last_used=self.clock())
        with self.guard:
            self.sessions[session.sid] = session
        return session

    def find(self, sid: str) -> Session | None:
        with self.guard:
            session = self.sessions.get(sid)
            if session is None:
                return None
            if self.clock() - session.last_used > SESSION_SECONDS:
                del self.sessions[sid]
                return None
            session.last_used = self.clock()
            return session

    def end(self, sid: str) -> None:
        with self.guard:
            self.sessions.pop(sid, None)

    def end_all(self, user: str | None = None) -> None:
        with self.guard:
            self.sessions = {
                sid: session for sid, session in self.sessions.items() if user not in (None, session.user)
            }

    # -- failed logins (v15 auth.py, LoginAttemptTracker)

    def locked(self, key: str) -> bool:
        first, count = self.failures.get(key, (0.0, 0))
        return count > MAX_FAILED_LOGINS and first + LOCK_SECONDS > self.clock()

    def failed(self, *keys: str) -> None:
        now = self.clock()
        with self.guard:
            for key in keys:
                first, count = self.failures.get(key, (now, 0))
                fresh = first + LOCK_SECONDS > now
                self.failures[key] = (first, count + 1) if fresh else (now, 1)

    def succeeded(self, *keys: str) -> None:
        with self.guard:
            for key in keys:
                self.failures.pop(key, None)

    # -- endpoint limits (v15 rate_limiter.py, the rate_limit decorator)

    def exceeds(self, key: str, limit: int, seconds: float) -> bool:
        """Count a call; True when it is one too many within its window."""
        now = self.clock()
        with self.guard:
            first, count = self.calls.get(key, (now, 0))
            if first + seconds <= now:
                first, count = now, 0
            self.calls[key] = (first, count + 1)
        return count + 1 > limit
