"""Times two ways to one result in turns, so that what else the machine does meets both alike."""

from __future__ import annotations

import os
import statistics
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "15"))
"""How often each way is timed."""

Work = Callable[[], Any]


@dataclass(frozen=True)
class Pair:
    """The median times of one thing, in seconds."""

    title: str
    package: float
    by_hand: float

    @property
    def ratio(self) -> float:
        """Above 1 is what the package costs, below 1 what it saves."""
        return self.package / self.by_hand

    def __str__(self) -> str:
        package, by_hand = (f"{seconds * 1000:9.1f} ms" for seconds in (self.package, self.by_hand))
        return f"{self.title:<48} package {package}, by hand {by_hand}: {self.ratio:.2f}"


def measure(title: str, package: Work, by_hand: Work, *, rounds: int = ROUNDS) -> Pair:
    """Return the median times of both, after one run each that is not timed; print them."""
    seconds: dict[Work, list[float]] = {package: [], by_hand: []}
    for work in (package, by_hand):
        work()
    for _ in range(rounds):
        for work, times in seconds.items():
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
    pair = Pair(title, statistics.median(seconds[package]), statistics.median(seconds[by_hand]))
    print(pair, flush=True)
    return pair


def peak_memory(work: Work) -> int:
    """Return the most bytes that the work held at once, beyond what was there before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
