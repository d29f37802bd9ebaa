"""
Conditions on one document, as boolean logic with two values.

SQL has three: a comparison with NULL is neither true nor false, and `NOT` keeps it so. A formula has the
NULLs worked out: each literal says by `null_ok` whether a NULL field satisfies it, each check which of the three
values do. A negation is built by taking the complement of every leaf (`lookups.py`), so no formula holds a NOT.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from erpnext_bridge.compiler.rows import Column, Judge, Row


@dataclass(frozen=True, slots=True)
class Literal:
    """A test of one field: true of a row when its value passes `test`, or is NULL and `null_ok` is set."""

    fieldname: str
    """Column of the DocType."""
    kind: str
    """How Frappe compares the column: one of the kinds in `lookups.py`."""
    test: str
    """Name of the test: one of the tests in `lookups.py`."""
    value: Any = None
    """What to compare with, as Frappe wants it on the wire; a tuple of those for `in` and `not_in`."""
    null_ok: bool = False
    alias: str = ""
    """Which related row the column is of, while a query is compiled; '' for the document itself."""


@dataclass(frozen=True, slots=True)
class Check:
    """A condition that no filter says: it is tested on the rows that the filters around it leave."""

    text: str
    """What `explain()` calls it."""
    columns: tuple[Column, ...]
    """What it reads of a row."""
    judge: Judge
    accepts: frozenset[bool | None] = frozenset({True})
    """Which of SQL's three values let a row pass."""
    alias: str = ""

    def passes(self, row: Row) -> bool:
        return self.judge(row) in self.accepts


@dataclass(frozen=True, slots=True)
class And:
    """True when every part is; the empty one is always true."""

    parts: tuple[Formula, ...] = ()


@dataclass(frozen=True, slots=True)
class Or:
    """True when one part is; the empty one is never true."""

    parts: tuple[Formula, ...] = ()


Leaf = Literal | Check
Formula = Literal | Check | And | Or

TRUE = And()
FALSE = Or()

Matcher = Callable[[Literal, Any], bool]
"""Whether a row with this value satisfies a literal."""


def all_of(parts: Iterable[Formula]) -> Formula:
    """Return the conjunction, flattened; a field that some part needs not NULL is not NULL in all."""
    flat = list(dict.fromkeys(_flatten(parts, And)))
    if FALSE in flat:
        return FALSE
    not_null = {_field(part) for part in flat if isinstance(part, Literal) and not part.null_ok}
    tight = [
        replace(part, null_ok=False) if isinstance(part, Literal) and _field(part) in not_null else part
        for part in flat
    ]
    stronger = {
        _field(part) for part in tight if isinstance(part, Literal) and part.test not in ("any", "none")
    }
    kept = [part for part in dict.fromkeys(tight) if _not_null_field(part) not in stronger]
    if any(isinstance(part, Literal) and part.test == "none" and not part.null_ok for part in kept):
        return FALSE
    return kept[0] if len(kept) == 1 else And(tuple(kept))


def any_of(parts: Iterable[Formula]) -> Formula:
    """Return the disjunction, flattened; "or is NULL" moves into the tests of the same field."""
    flat = list(dict.fromkeys(_flatten(parts, Or)))
    if TRUE in flat:
        return TRUE
    null = {
        _field(part) for part in flat if isinstance(part, Literal) and part.test == "none" and part.null_ok
    }
    widened = {
        _field(part)
        for part in flat
        if isinstance(part, Literal) and _field(part) in null and part.test != "none"
    }
    kept = [
        replace(part, null_ok=True) if isinstance(part, Literal) and _field(part) in widened else part
        for part in flat
        if not (isinstance(part, Literal) and part.test == "none" and _field(part) in widened)
    ]
    if any(isinstance(part, Literal) and part.test == "any" and part.null_ok for part in kept):
        return TRUE
    kept = list(dict.fromkeys(kept))
    return kept[0] if len(kept) == 1 else Or(tuple(kept))


def flat(kind: type[And] | type[Or], parts: Iterable[Formula]) -> Formula:
    """Return the parts joined as they are, without any of them being changed."""
    found = tuple(dict.fromkeys(_flatten(parts, kind)))
    absorbing, neutral = (FALSE, TRUE) if kind is And else (TRUE, FALSE)
    if absorbing in found:
        return absorbing
    kept = tuple(part for part in found if part != neutral)
    return kept[0] if len(kept) == 1 else kind(kept)


def leaves(formula: Formula) -> Iterator[Leaf]:
    """Yield each literal and check of a formula, left to right."""
    if isinstance(formula, Literal | Check):
        yield formula
        return
    for part in formula.parts:
        yield from leaves(part)


def literals(formula: Formula) -> Iterator[Literal]:
    """Yield each literal of a formula, left to right."""
    return (leaf for leaf in leaves(formula) if isinstance(leaf, Literal))


def columns(formula: Formula) -> Iterator[Column]:
    """Yield each column that testing a row by the formula reads."""
    for leaf in leaves(formula):
        yield from leaf.columns if isinstance(leaf, Check) else (Column(leaf.fieldname),)


def substitute(formula: Formula, change: Callable[[Leaf], Formula]) -> Formula:
    """Return the formula with each leaf replaced by what `change` makes of it."""
    if isinstance(formula, Literal | Check):
        return change(formula)
    join = all_of if isinstance(formula, And) else any_of
    return join(substitute(part, change) for part in formula.parts)


def branches(formula: Formula, limit: int) -> list[tuple[Leaf | Or, ...]] | None:
    """
    Return conjunctions whose union is the formula, or None when more than `limit` would be needed.

    Each is a tuple of leaves with at most one Or among them, and that one holds leaves only: what a
    Frappe list request can say with `filters` and `or_filters`.
    """
    if formula == FALSE:
        return []
    parts = formula.parts if isinstance(formula, And) else (formula,)
    fixed: list[Leaf | Or] = [part for part in parts if isinstance(part, Literal | Check)]
    groups = [part for part in parts if isinstance(part, Or)]
    simple = [group for group in groups if all(isinstance(part, Literal | Check) for part in group.parts)]
    kept = max(simple, key=_usefulness, default=None)
    spread = [group for group in groups if group is not kept]
    if kept is not None:
        fixed.append(kept)
    if not spread:
        return [tuple(fixed)]
    found: list[tuple[Leaf | Or, ...]] = []
    for choice in product(*(_choices(group) for group in spread)):
        inner = branches(all_of([*fixed, *choice]), limit - len(found))
        if inner is None or len(found) + len(inner) > limit:
            return None
        found.extend(inner)
    return found


def widest(formula: Formula) -> tuple[Leaf | Or, ...]:
    """
    Return the conjunction that one request can say and that holds for every row of the formula.

    Of the ORs, the one that seems to leave the fewest rows is kept, each of its parts by one literal.
    """
    parts = formula.parts if isinstance(formula, And) else (formula,)
    fixed: list[Leaf | Or] = [part for part in parts if isinstance(part, Literal | Check)]
    groups = [group for part in parts if isinstance(part, Or) and (group := _by_one_literal(part))]
    return (*fixed, *sorted(groups, key=lambda group: len(group.parts))[:1])


def _by_one_literal(group: Or) -> Or | None:
    """Return the OR with one literal in place of each AND; None when a part has none."""
    found: list[Formula] = []
    for part in group.parts:
        within = part.parts if isinstance(part, And) else (part,)
        literal = next((each for each in within if isinstance(each, Literal)), None)
        if literal is None:
            return None
        found.append(literal)
    return Or(tuple(dict.fromkeys(found)))


def _usefulness(group: Or) -> tuple[bool, int]:
    """Order ORs by what is gained when `or_filters` say them: those with a check cannot be said at all."""
    return all(isinstance(part, Literal) for part in group.parts), len(group.parts)


def _choices(group: Or) -> list[Formula]:
    """Return the parts of an OR, its literals as one where that leaves fewer parts."""
    plain = tuple(part for part in group.parts if isinstance(part, Literal))
    nested = [part for part in group.parts if not isinstance(part, Literal)]
    return [*nested, Or(plain)] if nested and len(plain) > 1 else list(group.parts)


def matches(formula: Formula, row: Row, passes: Matcher) -> bool:
    """Return whether a row satisfies the formula; `passes` judges each literal's value."""
    if isinstance(formula, And):
        return all(matches(part, row, passes) for part in formula.parts)
    if isinstance(formula, Or):
        return any(matches(part, row, passes) for part in formula.parts)
    if isinstance(formula, Check):
        return formula.passes(row)
    return passes(formula, row[formula.fieldname])


def _flatten(parts: Iterable[Formula], kind: type[And] | type[Or]) -> Iterator[Formula]:
    for part in parts:
        if isinstance(part, kind):
            yield from _flatten(part.parts, kind)
        else:
            yield part


def _field(literal: Literal) -> tuple[str, str]:
    return literal.alias, literal.fieldname


def _not_null_field(part: Formula) -> tuple[str, str] | None:
    """Return the field of which a part says no more than that it is not NULL."""
    if isinstance(part, Literal) and part.test == "any" and not part.null_ok:
        return _field(part)
    return None
