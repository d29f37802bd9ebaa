"""How long to wait before the next attempt: exponentially longer, spread at random, and never less than the site asks."""

from __future__ import annotations

from collections.abc import Callable
from random import SystemRandom

LONGEST_ASKED = 24 * 3600.0
"""A longer Retry-After than a day is taken for a mistake."""

Spread = Callable[[float, float], float]
"""Lower and upper bound → a number between them."""

_uniform = SystemRandom().uniform


def wait_before(
    attempt: int,
    *,
    first: float,
    longest: float,
    retry_after: float | None = None,
    spread: Spread = _uniform,
) -> float:
    """
    Return the seconds between the failed `attempt` (1 is the first) and the next.

    The wait is random, between nothing and a bound that doubles each time, so that writes which failed together
    do not come back together. A `Retry-After` is waited for in full, and a little more, for the same reason.
    """
    asked = min(max(retry_after or 0.0, 0.0), LONGEST_ASKED)
    if asked:
        return asked + spread(0.0, first)
    # 2.0 ** 64 is no overflow, and no write is tried more often.
    return spread(0.0, min(longest, first * 2.0 ** min(attempt - 1, 64)))
