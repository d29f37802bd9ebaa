"""What is written: for each document a chain of steps, and what the site has to show of it in the end."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

CREATE, SUBMIT, CANCEL, DELETE = "create", "submit", "cancel", "delete"
"""Any other step is an update: the number that it writes."""

CREATE_SUBMITTED = "create and submit"
"""One promise of two requests."""

Step = str | int


@dataclass(frozen=True)
class DocumentPlan:
    """One document, told apart by its reference, which no other has."""

    reference: str
    steps: tuple[Step, ...]

    @property
    def numbers(self) -> list[int]:
        """What its field has to show, one after the other."""
        return [0, *(step for step in self.steps if isinstance(step, int))]

    @property
    def docstatuses(self) -> list[int]:
        found = [0]
        found += [1] if {SUBMIT, CREATE_SUBMITTED} & set(self.steps) else []
        return [*found, 2] if CANCEL in self.steps else found

    @property
    def is_deleted(self) -> bool:
        return DELETE in self.steps


def plans(count: int, seed: int) -> list[DocumentPlan]:
    """Return the same plans for the same seed: half of the documents change after they are created."""
    chance = random.Random(seed)
    return [DocumentPlan(f"F{seed}-{number:05d}", _steps(chance)) for number in range(count)]


def _steps(chance: random.Random) -> tuple[Step, ...]:
    numbers = iter(range(1, 100))

    def updates(most: int) -> Iterator[int]:
        return (next(numbers) for _ in range(chance.randint(1, most)))

    kind = chance.choices(
        ("created", "updated", "submitted", "at once", "cancelled", "deleted"), (40, 30, 10, 7, 5, 8)
    )[0]
    match kind:
        case "updated":
            return (CREATE, *updates(4))
        case "submitted":
            return (CREATE, *updates(2), SUBMIT, *updates(2))
        case "at once":
            return (CREATE_SUBMITTED, *updates(2))
        case "cancelled":
            return (CREATE, SUBMIT, *updates(2), CANCEL)
        case "deleted":
            return (CREATE, *updates(2), DELETE)
        case _:
            return (CREATE,)
