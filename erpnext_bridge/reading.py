"""
Runs a selection at a site: resolves inner queries, pages, tests again what Frappe could not say exactly.

A walk over many rows never uses offsets: the next page is asked for by the last row's values, or, where those
cannot be compared exactly (NULLs, decimals, text), by a list of names taken at once. No row that stays put is lost or
repeated while others write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from erpnext_bridge import lookups
from erpnext_bridge.client import FrappeClient
from erpnext_bridge.dialects import Dialect
from erpnext_bridge.errors import DocumentDoesNotExist, PermissionRefused, UnsupportedQuery
from erpnext_bridge.formula import TRUE, Formula, Literal, literals, matches, substitute
from erpnext_bridge.plan import Branch, ListRequest, OrderKey, Plan, Selection, make_plan


class Row(dict[str, Any]):
    """Fieldname → value as Frappe sent it, which leaves out what the user may not see."""

    def __missing__(self, fieldname: str) -> Any:
        raise PermissionRefused(f"ERPNext does not show the field {fieldname!r} to this user.")


class Reader:
    """Reads selections through one client."""

    def __init__(
        self, client: FrappeClient, dialect: Dialect, *, page_size: int, max_branches: int, max_members: int
    ) -> None:
        self.client = client
        self.dialect = dialect
        self.page_size = page_size
        self.max_branches = max_branches
        self.max_members = max_members

    def document(self, doctype: str, name: str) -> Row | None:
        """Return a whole document with its child rows, or None when there is none of this name."""
        try:
            return Row(self.client.read(doctype, name))
        except DocumentDoesNotExist:
            return None

    def single(self, selection: Selection) -> list[Row]:
        """Return the one document of a Single DocType, unless the selection leaves it out: Frappe has no list of it."""
        row = self.document(selection.doctype, selection.doctype)
        if row is None:
            return []
        # Frappe leaves NULL out of a document (frappe/utils/response.py).
        whole = Row(dict.fromkeys(selection.columns)) | row
        where = substitute(selection.where, self._resolve)
        return [Row(whole)][selection.start : selection.stop] if matches(where, whole, lookups.passes) else []

    def rows(self, selection: Selection) -> Iterator[Row]:
        """Yield the rows in order, one page in memory."""
        plan = self._single_branch_plan(selection)
        if not plan.branches:
            return iter(())
        (branch,) = plan.branches
        if not branch.exact:
            return islice(self._checked(plan, branch), selection.start, selection.stop)
        if selection.stop is not None:
            return iter(self._slice(plan, branch))
        return self._walk(plan, branch)

    def count(self, selection: Selection) -> int:
        """Return how many rows there are, after slicing."""
        plan = self.plan(selection)
        if all(branch.exact for branch in plan.branches) and len(plan.branches) < 2:
            total = sum(self._count_branch(plan, branch) for branch in plan.branches)
        else:
            total = len(self._names(plan))
        stop = total if selection.stop is None else min(total, selection.stop)
        return max(0, stop - selection.start)

    def exists(self, selection: Selection) -> bool:
        """Return whether there is a row, reading one at the most where Frappe can say the condition."""
        if selection.stop is not None and selection.stop <= selection.start:
            return False
        stop = selection.start + 1
        first = replace(selection, columns=("name",), order=(), stop=stop)
        return next(iter(self.rows(first)), None) is not None

    # Plans.

    def plan(self, selection: Selection) -> Plan:
        """Return the plan, after reading the names that its inner queries find."""
        where = substitute(selection.where, self._resolve)
        return make_plan(replace(selection, where=where), self.dialect, self.max_branches)

    def _single_branch_plan(self, selection: Selection) -> Plan:
        """Return the plan of a selection; a union becomes a list of names, which ERPNext then sorts."""
        plan = self.plan(selection)
        if len(plan.branches) < 2:
            return plan
        names = self._names(plan)
        where = lookups.leaf(
            lookups.NAME, "name", "in", self._bounded(names, selection.doctype), negated=False
        )
        return make_plan(replace(selection, where=where), self.dialect, self.max_branches)

    def _resolve(self, literal: Literal) -> Formula:
        if literal.test not in ("in_query", "not_in_query"):
            return literal
        inner: Selection = literal.value
        (column,) = inner.columns
        negated = literal.test == "not_in_query"
        found = dict.fromkeys(lookups.member(inner.member_kind, row[column]) for row in self.rows(inner))
        if None in found and inner.null_spoils:
            return lookups.always(literal) if not negated else lookups.never(literal)
        members = self._bounded((member for member in found if member is not None), inner.doctype)
        if not members:
            return lookups.always(literal) if negated else lookups.never(literal)
        return replace(literal, test="not_in" if negated else "in", value=members)

    def _bounded(self, names: Iterable[str], doctype: str) -> tuple[str, ...]:
        members = tuple(names)
        if len(members) > self.max_members:
            raise UnsupportedQuery(
                f"The inner query on {doctype} finds {len(members)} documents, more than {self.max_members} "
                "that one filter may name. Narrow it, or raise MAX_MEMBERS."
            )
        return members

    def _names(self, plan: Plan) -> dict[str, None]:
        """Return the names that the branches find, each once."""
        bare = plan.for_names()
        return {row["name"]: None for branch in bare.branches for row in self._checked(bare, branch)}

    # Requests.

    def send(self, request: ListRequest) -> list[Row]:
        """Send one list request."""
        return list(map(Row, self.client.list(request.doctype, **request.arguments())))

    def _count_branch(self, plan: Plan, branch: Branch) -> int:
        request = replace(plan.request(branch, (self.dialect.count_field,), limit=1), order_by=None)
        rows = self.send(request)
        return int(rows[0]["n"]) if rows else 0

    def _slice(self, plan: Plan, branch: Branch) -> list[Row]:
        start, stop = plan.selection.start, plan.selection.stop
        if stop is None or stop <= start:
            return []
        return self.send(plan.request(branch, plan.columns(branch), limit=stop - start, start=start))

    def _checked(self, plan: Plan, branch: Branch) -> Iterator[Row]:
        """Yield the rows of a branch that pass its recheck, from the first one on."""
        whole = Plan(replace(plan.selection, start=0, stop=None), plan.branches)
        return (row for row in self._walk(whole, branch) if self._passes(branch, row))

    def _passes(self, branch: Branch, row: Mapping[str, Any]) -> bool:
        return branch.recheck == TRUE or matches(branch.recheck, row, lookups.passes)

    # Walks.

    def _walk(self, plan: Plan, branch: Branch) -> Iterator[Row]:
        columns = plan.columns(branch)
        rows = self.send(plan.request(branch, columns, limit=self.page_size, start=plan.selection.start))
        if len(rows) < self.page_size:
            yield from rows
            return
        if all(key.walkable for key in plan.selection.sort_keys):
            yield from rows
            yield from self._walk_by_keys(plan, branch, columns, rows[-1])
        else:
            yield from self._walk_by_names(plan, branch, columns, rows)

    def _walk_by_keys(self, plan: Plan, branch: Branch, columns: tuple[str, ...], last: Row) -> Iterator[Row]:
        keys = plan.selection.sort_keys
        # First the rows that tie with the last one on all keys but the last, then on fewer and fewer.
        ties = len(keys) - 1
        while ties >= 0:
            after = replace(branch, filters=branch.filters + _after(keys, ties, last))
            rows = self.send(plan.request(after, columns, limit=self.page_size))
            yield from rows
            if rows:
                last = rows[-1]
            ties = len(keys) - 1 if len(rows) == self.page_size else ties - 1

    def _walk_by_names(
        self, plan: Plan, branch: Branch, columns: tuple[str, ...], first: list[Row]
    ) -> Iterator[Row]:
        listed = self.send(plan.request(branch, ("name",), limit=0))
        yield from first
        seen = {row["name"] for row in first}
        names = [row["name"] for row in listed[plan.selection.start :] if row["name"] not in seen]
        for position in range(0, len(names), self.page_size):
            chunk = names[position : position + self.page_size]
            yield from self._by_name(plan, branch, columns, chunk)

    def _by_name(
        self, plan: Plan, branch: Branch, columns: tuple[str, ...], names: list[str]
    ) -> Iterator[Row]:
        """Yield the rows of these names, in their order; one that is gone or no longer matches is left out."""
        where = lookups.leaf(lookups.NAME, "name", "in", tuple(names), negated=False)
        chunk = make_plan(replace(plan.selection, where=where, order=()), self.dialect, self.max_branches)
        found: dict[str, Row] = {}
        for part in chunk.branches:
            for row in self.send(chunk.request(_both(branch, part), columns, limit=len(names))):
                found[row["name"]] = row
        return (found[name] for name in names if name in found)


def _both(branch: Branch, named: Branch) -> Branch:
    # One request has one OR. Names that need theirs have blanks around them, which Frappe strips from new ones.
    if branch.or_filters and named.or_filters:
        return named
    return replace(
        named, filters=branch.filters + named.filters, or_filters=branch.or_filters or named.or_filters
    )


def _after(keys: tuple[OrderKey, ...], ties: int, last: Row) -> tuple[lookups.Filter, ...]:
    equal = tuple((key.fieldname, "=", last[key.fieldname]) for key in keys[:ties])
    key = keys[ties]
    return (*equal, (key.fieldname, "<" if key.descending else ">", last[key.fieldname]))


def inner_selections(formula: Formula) -> Iterator[Selection]:
    """Yield the inner queries of a formula."""
    for literal in literals(formula):
        if isinstance(literal.value, Selection):
            yield literal.value
