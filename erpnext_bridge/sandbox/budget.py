"""The site-wide rate limiter (frappe/rate_limiter.py, RateLimiter): seconds of work a window, then 429."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

MICRO = 1_000_000


@dataclass
class Budget:
    """What `rate_limit` of site_config.json sets: a request that begins once more than `limit` is spent is refused."""

    limit: float
    """Seconds of work in a window."""
    window: int
    """Seconds. Frappe's windows follow the clock, these begin with the first request."""
    cost: float | None = None
    """Seconds that each request counts as; None: as long as it took."""
    began: float | None = None
    spent: int = 0
    """Microseconds, as Frappe counts."""
    guard: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def open(self) -> Slip:
        now = time.monotonic()
        with self.guard:
            if self.began is None:
                self.began = now
            passed = int(now - self.began)
            if passed >= self.window:
                self.began, self.spent, passed = now, 0, 0
            return Slip(self, now, self.spent, self.window - passed)

    def charge(self, microseconds: int) -> None:
        with self.guard:
            self.spent += microseconds


@dataclass
class Slip:
    """One request's view of the budget, as it stood when the request began."""

    budget: Budget
    start: float
    spent: int
    reset: int
    """Seconds until the window ends."""

    @property
    def limit(self) -> int:
        return int(self.budget.limit * MICRO)

    @property
    def rejected(self) -> bool:
        return self.spent > self.limit

    @property
    def used(self) -> int:
        cost = self.budget.cost
        return int((time.monotonic() - self.start if cost is None else cost) * MICRO)

    def settle(self) -> None:
        """Refused requests cost what they took, too (frappe/app.py, after_response_wrapper)."""
        self.budget.charge(self.used)

    def headers(self) -> dict[str, str]:
        found = {
            "X-RateLimit-Reset": str(self.reset),
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(self.limit - self.spent, 0)),
        }
        if self.rejected:
            found["Retry-After"] = str(self.reset)
        else:
            found["X-RateLimit-Used"] = str(self.used)
        return found
