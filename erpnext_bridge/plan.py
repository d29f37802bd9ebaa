"""
What is sent for a queryset: a selection of documents as a union of Frappe list requests.

Everything here is a value: it can be printed, compared and tested without a site.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from erpnext_bridge.dialects import Dialect
from erpnext_bridge.errors import UnsupportedQuery
from erpnext_bridge.formula import TRUE, Formula, Literal, Or, all_of, branches, literals
from erpnext_bridge.identity import Identity
from erpnext_bridge.lookups import NAME, NUMBER, STAMP, TEXT, Filter, prepare, push


@dataclass(frozen=True, slots=True)
class OrderKey:
    """One column that rows are sorted by."""

    fieldname: str
    kind: str
    descending: bool = False

    @property
    def walkable(self) -> bool:
        """Whether the next page can be asked for by the last value: never NULL, and exact in JSON."""
        return self.kind in (NAME, STAMP, NUMBER)

    def __str__(self) -> str:
        # The direction is always said: v2 lists sort downwards without it, v1 lists upwards.
        return f"{self.fieldname} {'desc' if self.descending else 'asc'}"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which columns of which documents, in what order: a queryset without Django."""

    doctype: str
    columns: tuple[str, ...]
    """Fieldnames to read."""
    where: Formula = TRUE
    order: tuple[OrderKey, ...] = ()
    """Empty when any order will do."""
    start: int = 0
    stop: int | None = None
    parent: str | None = None
    """The parent DocType, when `doctype` is a child table; Frappe refuses the list without it."""
    identity: Identity | None = None
    member_kind: str = TEXT
    """How the one column of an inner query is read: one of the kinds in `lookups.py`."""
    null_spoils: bool = False
    """Whether no value is "not in" an inner query that finds a NULL, as in SQL."""

    @property
    def is_sliced(self) -> bool:
        return self.start > 0 or self.stop is not None

    @property
    def sort_keys(self) -> tuple[OrderKey, ...]:
        """The order with `name` as its last key, so that no two rows tie."""
        if any(key.fieldname == "name" for key in self.order):
            return self.order
        return (*self.order, OrderKey("name", NAME))

    def single_name(self) -> str | None:
        """Return the name when the condition is just `name = …`."""
        where = self.where
        if isinstance(where, Literal) and where.kind == NAME and where.test == "eq":
            return str(where.value)
        return None


@dataclass(frozen=True, slots=True)
class ListRequest:
    """One request for rows of a DocType, as `FrappeClient.list` takes it."""

    doctype: str
    fields: tuple[Any, ...]
    filters: tuple[Filter, ...] = ()
    or_filters: tuple[Filter, ...] = ()
    order_by: str | None = None
    limit_start: int = 0
    limit: int = 0
    """0 asks for all rows."""
    parent: str | None = None

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments for the client; filters name their DocType."""
        return {
            "fields": list(self.fields),
            "filters": [[self.doctype, *each] for each in self.filters],
            "or_filters": [[self.doctype, *each] for each in self.or_filters],
            "order_by": self.order_by,
            "limit_start": self.limit_start,
            "limit_page_length": self.limit,
            "parent": self.parent,
        }


@dataclass(frozen=True, slots=True)
class Branch:
    """One list request's conditions, and what of them is tested again here."""

    filters: tuple[Filter, ...]
    or_filters: tuple[Filter, ...]
    recheck: Formula

    @property
    def exact(self) -> bool:
        return self.recheck == TRUE


@dataclass(frozen=True, slots=True)
class Plan:
    """A selection and the branches whose union are its rows; no branch means no row and no request."""

    selection: Selection
    branches: tuple[Branch, ...]

    def request(self, branch: Branch, columns: tuple[Any, ...], *, limit: int, start: int = 0) -> ListRequest:
        """Return the sorted request for some rows of a branch."""
        selection = self.selection
        return ListRequest(
            doctype=selection.doctype,
            fields=columns,
            filters=branch.filters,
            or_filters=branch.or_filters,
            order_by=", ".join(map(str, selection.sort_keys)),
            limit_start=start,
            limit=limit,
            parent=selection.parent,
        )

    def for_names(self) -> Plan:
        """Return the plan that finds the names of the rows, before slicing and in any order."""
        bare = replace(self.selection, columns=("name",), order=(), start=0, stop=None)
        return Plan(bare, self.branches)

    def columns(self, branch: Branch) -> tuple[str, ...]:
        """Return the selected columns, those of the sort keys and those that the recheck needs."""
        needed = [key.fieldname for key in self.selection.sort_keys]
        needed += [literal.fieldname for literal in literals(branch.recheck)]
        return tuple(dict.fromkeys([*self.selection.columns, *needed]))


def make_plan(selection: Selection, dialect: Dialect, max_branches: int) -> Plan:
    """
    Return the plan of a selection whose inner queries are resolved.

    Raises UnsupportedQuery when its ORs need more than `max_branches` requests.
    """
    found = branches(prepare(selection.where, dialect), max_branches)
    if found is None:
        raise UnsupportedQuery(
            f"The conditions on {selection.doctype} nest ORs that Frappe cannot nest; spread out they need more "
            f"than {max_branches} requests. Simplify them, split the query, or raise MAX_BRANCHES."
        )
    return Plan(selection, tuple(_branch(parts, dialect) for parts in found))


def _branch(parts: tuple[Literal | Or, ...], dialect: Dialect) -> Branch:
    filters: list[Filter] = []
    or_filters: list[Filter] = []
    recheck: list[Formula] = []
    for part in parts:
        if isinstance(part, Literal):
            pushed = push(part, dialect)
            filters += pushed.filters
            if not pushed.exact:
                recheck.append(part)
            continue
        group, exact = _group(part, dialect)
        or_filters += group
        if not exact:
            recheck.append(part)
    return Branch(tuple(filters), tuple(or_filters), all_of(recheck))


def _group(group: Or, dialect: Dialect) -> tuple[list[Filter], bool]:
    """Return one filter for each part of an OR, and whether they say it exactly."""
    pushed = [push(part, dialect) for part in group.parts if isinstance(part, Literal)]
    if not all(each.filters for each in pushed):
        return [], False
    # Where a part needs two filters, its first one alone is wider; `or_filters` cannot hold an AND.
    return [each.filters[0] for each in pushed], all(each.exact and len(each.filters) == 1 for each in pushed)
