"""
Groups and aggregates: ERPNext groups by the columns that are needed, and the rest is put together here.

Where ERPNext cannot say which rows are meant, or a sum would not come through JSON with all its digits, the rows are
walked instead, and the result is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from erpnext_bridge.compiler import lookups
from erpnext_bridge.compiler.folding import WEIGHT, Fold, Group, Grouping, Relation, comparable, is_exact
from erpnext_bridge.compiler.formula import all_of
from erpnext_bridge.compiler.plan import Branch, ListRequest, Plan, Selection
from erpnext_bridge.compiler.rows import Column, Row, Term

if TYPE_CHECKING:
    from erpnext_bridge.reading.reader import Reader


class Grouper:
    """Computes aggregates through one reader."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def count(self, plan: Plan, branch: Branch) -> int:
        """Return how many rows an exact branch has."""
        rows = self.reader.walker.send(plan.grouped(branch, (), ()))
        return int(rows[0][WEIGHT]) if rows else 0

    def groups(self, selection: Selection, grouping: Grouping) -> list[Row]:
        """Return one row for each group, with its aggregates, in no order."""
        rows, grouped = self._rows(selection, grouping)
        return _finished(_put_together(rows, grouping, grouped=grouped), grouping)

    def groups_of(self, results: Iterable[Row], grouping: Grouping) -> list[Row]:
        """Return the groups of what another query found."""
        bare = (_stripped(row) for row in results)
        return _finished(_put_together(bare, grouping, grouped=False), grouping)

    def folded(self, row: Row, folds: Sequence[Fold]) -> list[Any]:
        """Return the aggregates of one document."""
        group = Group.of(row, folds)
        group.take(row, grouped=False)
        return group.results()

    def relate(self, rows: Sequence[Row], relations: Sequence[Relation], folds: Sequence[Fold]) -> None:
        """Aggregate the related rows of a page of documents, each relation in one request."""
        groups = [
            self._related(rows, relation, [fold for fold in folds if fold.relation == position])
            for position, relation in enumerate(relations)
        ]
        for row in rows:
            keys = [comparable(relation.key.of(row)) for relation in relations]
            row.related = [found.get((key,)) for key, found in zip(keys, groups, strict=True)]

    def _related(
        self, rows: Sequence[Row], relation: Relation, folds: list[Fold]
    ) -> dict[tuple[Any, ...], Group]:
        names = tuple(dict.fromkeys(name for row in rows if (name := relation.key.of(row))))
        named = lookups.leaf(lookups.LINK, relation.fieldname, "in", names, negated=False)
        selection = replace(relation.selection, where=all_of([relation.selection.where, named]))
        name = relation.fieldname
        key = Term(name, (Column(name),), lambda row: row[name])
        # Of the relation's own rows, the folds are about the rows themselves.
        own = [replace(fold, relation=None) for fold in folds]
        grouping = Grouping((key,), tuple(own))
        found_rows, grouped = self._rows(selection, grouping)
        found = _put_together(found_rows, grouping, grouped=grouped)
        for group in found.values():
            for tally, fold in zip(group.tallies, folds, strict=True):
                tally.fold = fold
        return found

    def request(self, selection: Selection, grouping: Grouping) -> tuple[Plan, ListRequest | None]:
        """Return the plan of the rows of an inner-query-free selection, and the request that groups them if one can."""
        needed = _needed(selection, grouping)
        plan = self.reader.make_plan(replace(selection, linked=needed))
        columns = tuple(dict.fromkeys(column.own for column in needed))
        single = len(plan.branches) == 1 and plan.branches[0].exact
        if not single or selection.relations or selection.is_single or "name" in columns:
            return plan, None
        return plan, plan.grouped(plan.branches[0], columns, grouping.folds)

    def _rows(self, selection: Selection, grouping: Grouping) -> tuple[Iterable[Row], bool]:
        """Return the rows to put together, and whether ERPNext grouped them already."""
        selection = replace(selection, where=self.reader.resolved(selection))
        plan, request = self.request(selection, grouping)
        if not plan.branches:
            return (), False
        if request is not None:
            rows = self.reader.walker.send(request)
            if all(is_exact(row, grouping.folds) for row in rows):
                self.reader.walker.link(rows, plan.selection.linked)
                return rows, True
        return self._walked(selection, grouping), False

    def _walked(self, selection: Selection, grouping: Grouping) -> Iterator[Row]:
        columns = [column for fold in grouping.folds if fold.relation is None for column in fold.columns]
        whole = replace(selection, linked=(*_needed(selection, grouping), *columns))
        related = replace(whole, folds=tuple(fold for fold in grouping.folds if fold.relation is not None))
        return self.reader.with_related(self.reader.all_rows(whole), related)


def _put_together(rows: Iterable[Row], grouping: Grouping, *, grouped: bool) -> dict[tuple[Any, ...], Group]:
    found: dict[tuple[Any, ...], Group] = {}
    for row in rows:
        key = tuple(comparable(term.value(row)) for term in grouping.keys)
        group = found.get(key)
        if group is None:
            group = found[key] = Group.of(row, grouping.folds)
        group.take(row, grouped=grouped)
    return found


def _finished(found: dict[tuple[Any, ...], Group], grouping: Grouping) -> list[Row]:
    if grouping.whole and not found:
        found = {(): Group.of(Row(), grouping.folds)}
    rows = []
    for group in found.values():
        row = group.row
        row.folded = group.results()
        rows.append(row)
    return rows


def _stripped(row: Row) -> Row:
    # One result is one row, however many rows of relations it was made of.
    row.related = ()
    return row


def _needed(selection: Selection, grouping: Grouping) -> tuple[Column, ...]:
    """Return the columns that rows must have to be put into their groups, and to be aggregated here."""
    columns = [*selection.linked, *(column for term in grouping.keys for column in term.columns)]
    columns += [
        column
        for fold in grouping.folds
        if fold.relation is None and not fold.pushable
        for column in fold.columns
    ]
    return tuple(dict.fromkeys([*columns, *(relation.key for relation in selection.relations)]))
