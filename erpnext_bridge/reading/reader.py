"""
Runs what was compiled at a site: resolves inner queries, and does here what ERPNext cannot do exactly.

A walk over many rows never uses offsets: the next page is asked for by the last row's values, or, where those
cannot be compared exactly (NULLs, decimals, text), by a list of names taken at once. No row that stays put is lost or
repeated while others write.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from erpnext_bridge.client import FrappeClient
from erpnext_bridge.compiler import lookups
from erpnext_bridge.compiler.dialects import Dialect
from erpnext_bridge.compiler.folding import Grouping
from erpnext_bridge.compiler.formula import (
    And,
    Formula,
    Leaf,
    Literal,
    columns,
    literals,
    matches,
    substitute,
)
from erpnext_bridge.compiler.plan import Compiled, Inner, Plan, Selection, make_plan, sorted_by
from erpnext_bridge.compiler.rows import Column, Row, Term, pages
from erpnext_bridge.errors import DocumentDoesNotExist
from erpnext_bridge.reading.grouping import Grouper
from erpnext_bridge.reading.walking import Walker


class Reader:
    """Reads through one client."""

    def __init__(
        self, client: FrappeClient, dialect: Dialect, *, page_size: int, max_branches: int, max_members: int
    ) -> None:
        self.client = client
        self.dialect = dialect
        self.page_size = page_size
        self.max_branches = max_branches
        self.max_members = max_members
        self.walker = Walker(self)
        self.grouper = Grouper(self)

    # What is asked for.

    def document(self, doctype: str, name: str) -> Row | None:
        """Return a whole document with its child rows, or None when there is none of this name."""
        try:
            return Row(self.client.read(doctype, name))
        except DocumentDoesNotExist:
            return None

    def results(self, compiled: Compiled) -> Iterator[Row]:
        """Yield a row for each result, in order: a document's, or one that stands for a group."""
        if compiled.grouping is None:
            return self.rows(compiled.selection)
        return iter(self._groups(compiled, compiled.grouping))

    def count(self, compiled: Compiled) -> int:
        """Return how many results there are, after slicing."""
        if compiled.grouping is not None:
            return len(self._groups(compiled, compiled.grouping))
        selection = compiled.selection
        if selection.having is not None:
            return len(self._picked_names(selection))
        total = self._count(replace(selection, order=(), shuffled=False))
        stop = total if selection.stop is None else min(total, selection.stop)
        return max(0, stop - selection.start)

    def exists(self, compiled: Compiled) -> bool:
        """Return whether there is a result, reading one row at the most where Frappe can say the condition."""
        selection = compiled.selection
        if compiled.grouping is not None or selection.having is not None:
            return self.count(compiled) > 0
        if selection.stop is not None and selection.stop <= selection.start:
            return False
        first = replace(
            selection,
            columns=("name",),
            linked=(),
            relations=(),
            folds=(),
            order=(),
            shuffled=False,
            stop=selection.start + 1,
        )
        return next(self.rows(first), None) is not None

    # Documents.

    def rows(self, selection: Selection) -> Iterator[Row]:
        """Yield the documents' rows in order, one page in memory where ERPNext can sort them."""
        if selection.is_single:
            found = self._single(selection)[selection.start : selection.stop]
            return self.with_aggregates(found, selection)
        if selection.having is not None or selection.sorted_here:
            return self._by_name(selection, self._picked_names(selection))
        plan = self.plan(selection)
        if len(plan.branches) > 1:
            return self._of_union(plan)
        return self.with_aggregates(self._of_branch(plan), selection)

    def _of_branch(self, plan: Plan) -> Iterator[Row]:
        selection = plan.selection
        if not plan.branches:
            return iter(())
        (branch,) = plan.branches
        if not branch.exact:
            return islice(self.walker.checked(plan, branch), selection.start, selection.stop)
        if selection.stop is not None:
            return iter(self.walker.slice(plan, branch))
        return self.walker.walk(plan, branch)

    def _of_union(self, plan: Plan) -> Iterator[Row]:
        """Yield the rows that several requests find: ERPNext sorts them by a list of their names, or they are sorted here."""
        names = self.names(plan)
        if len(names) > self.max_members:
            return self._by_name(plan.selection, self._picked_names(plan.selection))
        named = lookups.leaf(lookups.NAME, "name", "in", tuple(names), negated=False)
        again = self.make_plan(replace(plan.selection, where=named))
        return self.with_aggregates(self._of_branch(again), plan.selection)

    def _picked_names(self, selection: Selection) -> list[str]:
        """Return the names of the documents, after they are tested, sorted and sliced here."""
        places = selection.places
        rows: Iterable[Row] = self.with_aggregates(self.all_rows(places), places)
        if selection.having is not None:
            rows = (row for row in rows if selection.having.passes(row))
        found = sorted_by(rows, selection.sort_keys)
        if selection.shuffled:
            random.shuffle(found)
        return [row["name"] for row in found[selection.start : selection.stop]]

    def all_rows(self, selection: Selection) -> Iterator[Row]:
        """Yield each matching row once, in any order."""
        if selection.is_single:
            return iter(self._single(selection))
        plan = self.plan(replace(selection, order=(), start=0, stop=None, shuffled=False, having=None))
        if len(plan.branches) == 1:
            return self.walker.checked(plan, plan.branches[0])
        return iter(
            {
                row["name"]: row for branch in plan.branches for row in self.walker.checked(plan, branch)
            }.values()
        )

    def _by_name(self, selection: Selection, names: list[str]) -> Iterator[Row]:
        """Yield the rows of these names in their order; one that is gone by now is left out."""
        bare = replace(selection, order=(), start=0, stop=None, shuffled=False, having=None)
        for chunk in pages(names, self.page_size):
            where = lookups.leaf(lookups.NAME, "name", "in", chunk, negated=False)
            named = replace(bare, where=where)
            found = {row["name"]: row for row in self.with_aggregates(self.all_rows(named), named)}
            yield from (found[name] for name in chunk if name in found)

    def names(self, plan: Plan) -> dict[str, None]:
        """Return the names that the branches find, each once."""
        bare = plan.for_names()
        return {row["name"]: None for branch in bare.branches for row in self.walker.checked(bare, branch)}

    def _single(self, selection: Selection) -> list[Row]:
        """Return the one document of a Single DocType, unless the selection leaves it out."""
        row = self.document(selection.doctype, selection.doctype)
        if row is None:
            return []
        plan = self.plan(selection)
        needed = [column for branch in plan.branches for column in plan.needed(branch)]
        read = [column.own for column in (*needed, *columns(selection.where))]
        # Frappe leaves NULL out of a document (frappe/utils/response.py).
        whole = Row(dict.fromkeys(read) | row)
        self.walker.link([whole], needed)
        return [whole] if matches(plan.selection.where, whole, lookups.passes) else []

    def _count(self, selection: Selection) -> int:
        if selection.is_single:
            return len(self._single(selection))
        plan = self.plan(selection)
        if not plan.branches:
            return 0
        if len(plan.branches) > 1 or not plan.branches[0].exact:
            return len(self.names(plan))
        return self.grouper.count(plan, plan.branches[0])

    # Aggregates.

    def with_aggregates(self, rows: Iterable[Row], selection: Selection) -> Iterator[Row]:
        """Yield the rows with their aggregates, a page at a time."""
        if not selection.folds and not selection.relations:
            yield from rows
            return
        for row in self.with_related(rows, selection):
            row.folded = self.grouper.folded(row, selection.folds)
            yield row

    def with_related(self, rows: Iterable[Row], selection: Selection) -> Iterator[Row]:
        """Yield the rows with the sums of the rows that belong to each, a page at a time."""
        if not selection.relations:
            yield from rows
            return
        for page in pages(rows, self.page_size):
            self.grouper.relate(page, selection.relations, selection.folds)
            yield from page

    def _groups(self, compiled: Compiled, grouping: Grouping) -> list[Row]:
        if compiled.over is not None:
            rows = self.grouper.groups_of(self.results(compiled.over), grouping)
        else:
            rows = self.grouper.groups(compiled.selection, grouping)
        if grouping.having is not None:
            rows = [row for row in rows if grouping.having.passes(row)]
        return sorted_by(rows, compiled.order)[compiled.start : compiled.stop]

    # Plans.

    def plan(self, selection: Selection) -> Plan:
        """Return the plan, after reading what its inner queries find."""
        return self.make_plan(replace(selection, where=self.resolved(selection)))

    def make_plan(self, selection: Selection) -> Plan:
        return make_plan(selection, self.dialect, self.max_branches, self.max_members)

    def resolved(self, selection: Selection) -> Formula:
        """Return the condition with its inner queries answered."""

        def answer(leaf: Leaf) -> Formula:
            return self._resolve(leaf) if isinstance(leaf, Literal) else leaf

        return substitute(askable(selection), answer)

    def _resolve(self, literal: Literal) -> Formula:
        if literal.test not in ("in_query", "not_in_query"):
            return literal
        negated = literal.test == "not_in_query"
        found = dict.fromkeys(self._members(literal.value))
        if None in found and literal.value.null_spoils:
            return lookups.always(literal) if not negated else lookups.never(literal)
        members = tuple(member for member in found if member is not None)
        if not members:
            return lookups.always(literal) if negated else lookups.never(literal)
        return replace(literal, test="not_in" if negated else "in", value=members)

    def _members(self, inner: Selection | Inner) -> Iterator[Any]:
        """Yield what an inner query finds, as a filter wants it."""
        if isinstance(inner, Inner):
            (output,) = inner.compiled.outputs
            return (inner.encode(output.value(row)) for row in self.results(inner.compiled))
        (column,) = inner.columns
        return (lookups.member(inner.member_kind, row[column]) for row in self.results(values_of(inner)))


def values_of(inner: Selection) -> Compiled:
    """Return what finds the values of an inner query's column: each once, however many rows have it."""
    (column,) = inner.columns
    if inner.is_sliced or column == "name":
        return Compiled(inner)
    value = Term(column, (Column(column),), lambda row: row[column])
    return Compiled(replace(inner, columns=(), order=()), grouping=Grouping((value,)))


def askable(selection: Selection) -> Formula:
    """
    Return the condition with what only the site can decide said by filters of its own.

    A tree operator needs two filters, and its opposite may not exist: within an OR, or negated, an inner query names
    the documents that pass.
    """
    where = selection.where
    parts = where.parts if isinstance(where, And) else (where,)
    said = {part for part in parts if isinstance(part, Literal) and part.test not in lookups.NEVER_SAID}

    def ask(leaf: Leaf) -> Formula:
        asked = isinstance(leaf, Literal) and leaf.test in lookups.SAID_BY_FRAPPE - lookups.SAID_ANYWHERE
        return _named(selection, leaf) if asked and isinstance(leaf, Literal) and leaf not in said else leaf

    return substitute(where, ask)


def _named(selection: Selection, literal: Literal) -> Formula:
    negated = literal.test.startswith("not_")
    asked = replace(literal, test=literal.test.removeprefix("not_"), null_ok=False)
    alone = Selection(
        selection.doctype,
        ("name",),
        asked,
        parent=selection.parent,
        identity=selection.identity,
        member_kind=lookups.NAME,
    )
    found = Literal("name", lookups.NAME, "not_in_query" if negated else "in_query", alone)
    return lookups.with_nulls(found, literal)


def inner_queries(formula: Formula) -> Iterator[Selection | Inner]:
    """Yield the inner queries of a formula."""
    for literal in literals(formula):
        if isinstance(literal.value, Selection | Inner):
            yield literal.value
