"""What came of it: the plans beside what the site has, and beside what the writes themselves say."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from tests.faults.plan import DocumentPlan


@dataclass
class Seen:
    """One reference as the site knows it."""

    names: list[str] = field(default_factory=list)
    """Of each document that was ever made with it."""
    numbers: list[int] | None = field(default_factory=list)
    """What its field has held, one after the other; None where the site does not tell."""
    docstatuses: list[int] | None = field(default_factory=list)
    last_number: int | None = None
    is_deleted: bool = False


def seen_in(journal: list[list[Any]]) -> dict[str, Seen]:
    """Read the journal of a sandbox's database."""
    found: dict[str, Seen] = defaultdict(Seen)
    for event, name, reference, step, docstatus in journal:
        seen = found[reference]
        match event:
            case "insert":
                seen.names.append(name)
            case "delete":
                seen.is_deleted = True
                continue
        seen.numbers.append(step or 0)
        seen.docstatuses.append(docstatus or 0)
        seen.last_number = step or 0
    for seen in found.values():
        seen.numbers, seen.docstatuses = changes(seen.numbers), changes(seen.docstatuses)
    return found


def changes(values: list[int]) -> list[int]:
    return [value for value, _ in groupby(values)]


@dataclass
class Verdict:
    """What is wrong, by kind: references, or texts that name them."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    nameless: list[str] = field(default_factory=list)
    disordered: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    """Documents at the site that nobody asked for."""
    states: Counter[str] = field(default_factory=Counter)
    """Of all writes."""

    @property
    def is_good(self) -> bool:
        wrong = self.lost or self.doubled or self.nameless or self.disordered or self.foreign
        return not wrong and set(self.states) <= {"done"}

    def __str__(self) -> str:
        rest = ", ".join(
            f"{count} {state}" for state, count in sorted(self.states.items()) if state != "done"
        )
        text = (
            f"{len(self.lost)} lost, {len(self.doubled)} doubled, {len(self.nameless)} without their name, "
            f"{len(self.disordered)} out of order"
        )
        return f"{text}, {rest or '0 not done'}"

    def examples(self, most: int = 5) -> str:
        kinds = ("lost", "doubled", "nameless", "disordered", "foreign")
        return "\n".join(
            f"  {kind}: {', '.join(getattr(self, kind)[:most])}" for kind in kinds if getattr(self, kind)
        )


def judge(
    plans: list[DocumentPlan], found: dict[str, Seen], names: dict[str, str], states: Counter[str]
) -> Verdict:
    """Compare. `names` is what the writes say: reference → name of the document that was created."""
    verdict = Verdict(states=states)
    verdict.foreign = sorted(found.keys() - {plan.reference for plan in plans})
    for plan in plans:
        seen = found.get(plan.reference, Seen())
        if len(seen.names) > 1:
            verdict.doubled.append(f"{plan.reference} as {', '.join(seen.names)}")
        elif not seen.names:
            verdict.lost.append(f"{plan.reference} is not there")
        elif problem := _missing(plan, seen):
            verdict.lost.append(f"{plan.reference} {problem}")
        elif problem := _order(plan, seen):
            verdict.disordered.append(f"{plan.reference} {problem}")
        if not names.get(plan.reference) or names[plan.reference] not in seen.names:
            verdict.nameless.append(
                f"{plan.reference}: {names.get(plan.reference) or 'none'} of {seen.names}"
            )
    return verdict


def _missing(plan: DocumentPlan, seen: Seen) -> str:
    """Return what was promised, and is not at the site; "" when nothing is missing."""
    if seen.is_deleted != plan.is_deleted:
        return "was deleted" if seen.is_deleted else "was not deleted"
    if seen.last_number != plan.numbers[-1]:
        return f"has {seen.last_number} in the end, not {plan.numbers[-1]}"
    if seen.numbers is not None and (absent := set(plan.numbers) - set(seen.numbers)):
        return f"has never had {sorted(absent)}"
    if seen.docstatuses is not None and seen.docstatuses[-1:] != plan.docstatuses[-1:]:
        return f"has docstatus {seen.docstatuses[-1:]}, not {plan.docstatuses[-1:]}"
    return ""


def _order(plan: DocumentPlan, seen: Seen) -> str:
    for what, wanted, had in (
        ("values", plan.numbers, seen.numbers),
        ("docstatus", plan.docstatuses, seen.docstatuses),
    ):
        if had is not None and had != wanted:
            return f"had the {what} {had}, not {wanted}"
    return ""
