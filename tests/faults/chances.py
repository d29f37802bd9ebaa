"""How often what goes wrong with a request: one dice for the sandbox and for the proxy before a real site."""

from __future__ import annotations

import random
import threading
from collections import Counter

LOST, CUT, LIMITED, UNAVAILABLE, FINE = "lost", "cut", "limited", "unavailable", "fine"

CHANCES = {
    LOST: 0.20,  # carried out, and the answer is lost
    CUT: 0.10,  # the connection is cut before the site has heard of it
    LIMITED: 0.01,  # 429, which asks everybody to wait for a second
    UNAVAILABLE: 0.04,  # 503
}


class Dice:
    """Throws for each request, until told to be calm; counts what came up."""

    def __init__(self, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self.is_calm = True
        self._chance = random.Random(seed)
        self._guard = threading.Lock()

    def throw(self) -> str:
        with self._guard:
            if self.is_calm:
                return FINE
            fate = self._chance.choices([*CHANCES, FINE], [*CHANCES.values(), 1 - sum(CHANCES.values())])[0]
            self.counts[fate] += 1
            return fate
