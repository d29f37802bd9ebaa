"""
Aggregates, and how the parts that ERPNext computed become one.

ERPNext groups rows by columns of one DocType. Where a group is made of more than that (a linked document's field, a
part of a date, a condition, distinct values), it groups finer, and the rest is summed here: `Tally.take` adds a row of
such a finer group, `Tally.merge` another tally.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from erpnext_bridge import collation
from erpnext_bridge.compiler.formula import Check
from erpnext_bridge.compiler.rows import Column, Row, Term

COUNT, SUM, AVG, MIN, MAX = "count", "sum", "avg", "min", "max"

WEIGHT = "n"
"""Alias of the number of rows that a row of a group stands for."""

EXACT_DIGITS = 15
"""Digits that survive the double which a sum travels in; a longer one is summed here, from the rows."""


def comparable(value: Any) -> Any:
    """Return what two values compare by: texts as the site's collation does, numbers as numbers."""
    if isinstance(value, str):
        return collation.sort_key(value)
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True, default=str)
    return value


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """One aggregate over the rows of a group."""

    function: str
    term: Term | None
    """What of each row; None counts the rows."""
    finish: Callable[[Any], Any]
    """Sum, or the like, as Django returns it."""
    decode: Callable[[Any], Any] | None = None
    """How a value that ERPNext aggregated is read; None when it cannot aggregate the term."""
    distinct: bool = False
    condition: Check | None = None
    relation: int | None = None
    """Position of the relation whose rows are aggregated; None for the documents themselves."""

    @property
    def pushable(self) -> bool:
        """Whether ERPNext can aggregate a part of the rows so that the parts can be put together here."""
        return self.condition is None and not self.distinct and (self.term is None or self.decode is not None)

    @property
    def columns(self) -> tuple[Column, ...]:
        found = () if self.term is None else self.term.columns
        return found if self.condition is None else (*found, *self.condition.columns)

    def parts(self) -> tuple[tuple[str, str], ...]:
        """Return the functions, and the columns, that ERPNext is asked for."""
        if self.term is None:
            return ()
        fieldname = self.term.columns[0].fieldname
        wanted = (SUM, COUNT) if self.function == AVG else (self.function,)
        return tuple((function, fieldname) for function in wanted)


def own_columns(folds: Sequence[Fold]) -> list[Column]:
    """Return what the aggregates over the documents themselves read of each document."""
    return [column for fold in folds if fold.relation is None for column in fold.columns]


def part_alias(function: str, fieldname: str) -> str:
    return f"{function}_{fieldname}"


@dataclass(slots=True)
class Tally:
    """What a fold has come to so far."""

    fold: Fold
    count: int = 0
    total: Decimal | None = None
    best: Any = None
    best_key: Any = None
    seen: dict[Any, Any] = field(default_factory=dict)
    """Comparable value → value, of a distinct aggregate."""

    def take(self, row: Row, *, grouped: bool) -> None:
        """Add a row, or, `grouped`, the rows that a row of a group by ERPNext stands for."""
        fold = self.fold
        times = int(row[WEIGHT]) if grouped else 1
        if fold.condition is not None and not fold.condition.passes(row):
            return
        if fold.term is None:
            self.count += times
        elif grouped and fold.pushable:
            self._take_parts(row)
        else:
            self._add(fold.term.value(row), times)

    def merge(self, other: Tally, times: int = 1) -> None:
        """Add what another tally of the fold came to, as often as its rows are joined."""
        self.count += other.count * times
        if other.total is not None:
            self.total = (self.total or Decimal()) + other.total * times
        if other.best_key is not None:
            self._choose(other.best)
        for key, value in other.seen.items():
            self.seen.setdefault(key, value)

    def result(self) -> Any:
        fold = self.fold
        if fold.distinct:
            values = list(self.seen.values())
            self.count = len(values)
            if fold.function in (SUM, AVG) and values:
                self.total = sum(map(_number, values), Decimal())
        if fold.function == COUNT:
            return self.count
        found = self.best if fold.function in (MIN, MAX) else self._number()
        return None if found is None else fold.finish(found)

    def _number(self) -> Decimal | None:
        if self.total is None or self.fold.function == SUM:
            return self.total
        return self.total / self.count

    def _add(self, value: Any, times: int) -> None:
        if value is None:
            return
        if self.fold.distinct:
            self.seen.setdefault(comparable(value), value)
        elif self.fold.function in (MIN, MAX):
            self._choose(value)
        else:
            self.count += times
            if self.fold.function != COUNT:
                self.total = (self.total or Decimal()) + _number(value) * times

    def _take_parts(self, row: Row) -> None:
        fold = self.fold
        parts = {function: row[part_alias(function, name)] for function, name in fold.parts()}
        self.count += int(parts.get(COUNT) or 0)
        if parts.get(SUM) is not None:
            self.total = (self.total or Decimal()) + Decimal(str(parts[SUM]))
        if fold.function in (MIN, MAX) and parts[fold.function] is not None and fold.decode is not None:
            self._choose(fold.decode(parts[fold.function]))

    def _choose(self, value: Any) -> None:
        key = comparable(value)
        better = self.best_key is None or (
            key < self.best_key if self.fold.function == MIN else key > self.best_key
        )
        if better:
            self.best, self.best_key = value, key


def is_exact(row: Row, folds: Sequence[Fold]) -> bool:
    """Whether every sum that ERPNext computed came through JSON with all its digits."""
    for fold in folds:
        for function, name in fold.parts() if fold.pushable else ():
            if function == SUM and _digits(row[part_alias(function, name)]) > EXACT_DIGITS:
                return False
    return True


def _digits(number: Any) -> int:
    return 0 if number is None else len(Decimal(str(number)).normalize().as_tuple().digits)


def _number(value: Any) -> Decimal:
    if isinstance(value, dt.timedelta):
        return Decimal(value // dt.timedelta(microseconds=1)) / 1_000_000
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


@dataclass(slots=True)
class Group:
    """Rows that are one, or the rows of a relation that belong to one document."""

    row: Row
    """One of them."""
    tallies: list[Tally]
    size: int = 0

    @classmethod
    def of(cls, row: Row, folds: Sequence[Fold]) -> Group:
        return cls(row, [Tally(fold) for fold in folds])

    def take(self, row: Row, *, grouped: bool) -> None:
        """Add a row, and as often as the relations' rows repeat it, as a join in a database does."""
        for tally in self.tallies:
            part = _own_part(tally.fold, row, grouped=grouped)
            tally.merge(part, _repeats(row, tally.fold.relation))
        self.size += int(row[WEIGHT]) if grouped else _repeats(row, None)

    def results(self) -> list[Any]:
        return [tally.result() for tally in self.tallies]


def _own_part(fold: Fold, row: Row, *, grouped: bool) -> Tally:
    """Return what one row adds to a fold: its own value, or what the rows of the fold's relation came to."""
    if fold.relation is None:
        tally = Tally(fold)
        tally.take(row, grouped=grouped)
        return tally
    group = row.related[fold.relation]
    if group is None:
        return Tally(fold)
    found: Tally = next(tally for tally in group.tallies if tally.fold is fold)
    return found


def _repeats(row: Row, relation: int | None) -> int:
    """Return how often the other relations repeat a row."""
    times = 1
    for position, group in enumerate(row.related):
        if position != relation and group is not None:
            times *= max(1, group.size)
    return times


@dataclass(frozen=True, slots=True, eq=False)
class Relation:
    """Rows of another DocType that name the document: its child rows, or documents that link to it."""

    key: Column
    """The column of the document, or of one it is linked to, that they name."""
    fieldname: str
    """Their column that names it."""
    selection: Any
    """The `plan.Selection` of the rows."""
    required: bool
    """Whether a document without such rows is left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Grouping:
    """How rows become groups, and groups results."""

    keys: tuple[Term, ...]
    """Rows with equal values of these are one group."""
    folds: tuple[Fold, ...] = ()
    having: Check | None = None
    whole: bool = False
    """Whether there is one group also when there is no row."""
