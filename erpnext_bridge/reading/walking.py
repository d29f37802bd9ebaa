"""Pages of a branch's rows, one after the other, and what its links lead to, a page at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from erpnext_bridge import collation
from erpnext_bridge.compiler import lookups
from erpnext_bridge.compiler.formula import TRUE, matches
from erpnext_bridge.compiler.plan import Branch, ListRequest, OrderKey, Plan, Selection
from erpnext_bridge.compiler.rows import Column, Join, Row, joins_for, pages

if TYPE_CHECKING:
    from erpnext_bridge.reading.reader import Reader

GROWTH = 4
"""How many times larger than the first page of a long walk its later ones are: fewer requests for what is large."""


class Walker:
    """Reads rows page by page."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def send(self, request: ListRequest) -> list[Row]:
        """Send one list request."""
        return _made(request, self.reader.client.list(request.doctype, **request.arguments()))

    def slice(self, plan: Plan, branch: Branch) -> list[Row]:
        """Return the rows of a slice with an end."""
        start, stop = plan.selection.start, plan.selection.stop
        if stop is None or stop <= start:
            return []
        return self._page(plan, branch, limit=stop - start, start=start)

    def checked(self, plan: Plan, branch: Branch) -> Iterator[Row]:
        """Yield the rows of a branch that pass its recheck, from the first one on."""
        whole = replace(plan, selection=replace(plan.selection, start=0, stop=None))
        rows = self.walk(whole, branch)
        if branch.recheck == TRUE:
            return rows
        return (row for row in rows if matches(branch.recheck, row, lookups.passes))

    def walk(self, plan: Plan, branch: Branch) -> Iterator[Row]:
        """Yield the rows of a branch in order, each page asked for when it is needed."""
        page_size = self.reader.page_size
        rows = self._page(plan, branch, limit=page_size, start=plan.selection.start)
        if len(rows) < page_size:
            yield from rows
            return
        if all(key.walkable for key in plan.selection.sort_keys):
            yield from self._by_keys(plan, branch, rows)
        else:
            yield from self._by_names(plan, branch, rows)

    def _page(self, plan: Plan, branch: Branch, *, limit: int, start: int = 0) -> list[Row]:
        rows = self.send(plan.request(branch, plan.columns(branch), limit=limit, start=start))
        self.link(rows, plan.needed(branch))
        return rows

    def _by_keys(self, plan: Plan, branch: Branch, rows: list[Row]) -> Iterator[Row]:
        """Yield these rows and those after them; from the second page on, the site makes the next one meanwhile."""
        keys, page_size = plan.selection.sort_keys, self.reader.page_size * GROWTH
        request = plan.request(branch, plan.columns(branch), limit=page_size)
        # Lists of values are sent sooner than dicts, and take less memory. The first page has told that this user
        # is shown every field.
        request = replace(request, as_dict=not _names_each(rows[-1], request.fields))

        def begin() -> Callable[[], list[Any]]:
            asked = replace(request, filters=branch.filters + _after(keys, ties, last))
            return self.reader.client.begin_list(asked.doctype, **asked.arguments())

        last = rows[-1]
        yield from _handed_over(rows)
        # First the rows that tie with the last one on all keys but the last, then on fewer and fewer.
        ties = len(keys) - 1
        waiting = begin()
        while ties >= 0:
            page = waiting()
            if not request.as_dict and not _fits(page, request.fields):
                # A field is shown no more: ERPNext leaves its values out, and does not say which those were.
                request = replace(request, as_dict=True)
                page = begin()()
            if page:
                last = _row(request, page[-1])
            ties = len(keys) - 1 if len(page) == page_size else ties - 1
            if ties >= 0:
                waiting = begin()
            _made(request, page)
            self.link(page, plan.needed(branch))
            yield from _handed_over(page)

    def _by_names(self, plan: Plan, branch: Branch, first: list[Row]) -> Iterator[Row]:
        listed = self.send(plan.request(branch, ("name",), limit=0))
        yield from first
        seen = {row["name"] for row in first}
        names = [row["name"] for row in listed[plan.selection.start :] if row["name"] not in seen]
        for chunk in pages(names, self.reader.page_size):
            yield from self._of_names(plan, branch, chunk)

    def _of_names(self, plan: Plan, branch: Branch, names: Sequence[str]) -> Iterator[Row]:
        """Yield the rows of these names, in their order; one that is gone or no longer matches is left out."""
        where = lookups.leaf(lookups.NAME, "name", "in", tuple(names), negated=False)
        chunk = self.reader.make_plan(replace(plan.selection, where=where, order=()))
        found: dict[str, Row] = {}
        for part in chunk.branches:
            both = _both(branch, part)
            rows = self.send(chunk.request(both, plan.columns(branch), limit=len(names)))
            found |= {row["name"]: row for row in rows}
        self.link(found.values(), plan.needed(branch))
        return (found[name] for name in names if name in found)

    # What links lead to.

    def link(self, rows: Iterable[Row], columns: Iterable[Column]) -> None:
        """Read what these columns need of linked documents, each link's in one request, and tie it to the rows."""
        for join in joins_for(columns):
            self._join(list(rows), join)

    def _join(self, rows: list[Row], join: Join) -> None:
        fieldname = join.link.fieldname
        names = tuple(dict.fromkeys(name for row in rows if (name := row[fieldname])))
        found = self._linked(names, join)
        for row in rows:
            name = row[fieldname]
            row.linked = row.linked | {fieldname: found.get(collation.sort_key(name)) if name else None}

    def _linked(self, names: tuple[str, ...], join: Join) -> dict[str, Row]:
        if not names:
            return {}
        where = lookups.leaf(lookups.NAME, "name", "in", names, negated=False)
        selection = Selection(join.link.doctype, join.columns, where, linked=_columns_of(join.joins))
        return {collation.sort_key(row["name"]): row for row in self.reader.all_rows(selection)}


def _made(request: ListRequest, rows: list[Any]) -> list[Row]:
    """Make rows of what came, in place, so that no page is ever in memory twice."""
    for position, row in enumerate(rows):
        rows[position] = _row(request, row)
    return rows


def _row(request: ListRequest, row: Any) -> Row:
    return Row(row if request.as_dict else zip(request.fields, row, strict=True))


def _fits(rows: list[Any], fields: Sequence[Any]) -> bool:
    """Tell whether each row is a list with a value for each field; a virtual DocType's may be dicts all the same."""
    return all(isinstance(row, list) and len(row) == len(fields) for row in rows)


def _names_each(row: Row, fields: Sequence[Any]) -> bool:
    """Tell whether a row has each field under the name by which it was asked for."""
    return (
        all(isinstance(each, str) for each in fields)
        and len(row) == len(fields)
        and row.keys() == set(fields)
    )


def _handed_over(rows: list[Row]) -> Iterator[Row]:
    """Yield the rows, and keep none of them: the next page comes when this one is gone."""
    rows.reverse()
    while rows:
        yield rows.pop()


def _columns_of(joins: Iterable[Join]) -> tuple[Column, ...]:
    found = []
    for join in joins:
        found += [Column(name, (join.link,)) for name in join.columns]
        found += [Column(each.fieldname, (join.link, *each.links)) for each in _columns_of(join.joins)]
    return tuple(found)


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
