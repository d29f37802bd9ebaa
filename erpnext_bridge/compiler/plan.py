"""
What is sent for a queryset: a selection of documents as a union of Frappe list requests.

Everything here is a value: it can be printed, compared and tested without a site.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from erpnext_bridge.compiler.dialects import Dialect
from erpnext_bridge.compiler.folding import (
    WEIGHT,
    Fold,
    Grouping,
    Relation,
    comparable,
    own_columns,
    part_alias,
)
from erpnext_bridge.compiler.formula import (
    TRUE,
    And,
    Check,
    Formula,
    Leaf,
    Literal,
    Or,
    all_of,
    branches,
    columns,
    widest,
)
from erpnext_bridge.compiler.lookups import (
    BLANK,
    LINK,
    NAME,
    NEVER_NULL,
    NUMBER,
    STAMP,
    TEXT,
    Filter,
    Pushed,
    key_of,
    prepare,
    push,
)
from erpnext_bridge.compiler.rows import Column, Row, Term, pages
from erpnext_bridge.identity import Identity

BLANKS = frozenset({BLANK, LINK})
"""Kinds whose NULL and '' are one and the same, while MariaDB sorts the one before the other."""


@dataclass(frozen=True, slots=True)
class OrderKey:
    """What rows are sorted by: a column, or a term that is computed from the row."""

    fieldname: str
    kind: str
    descending: bool = False
    nulls_first: bool | None = None
    """None where MariaDB's way will do: NULL sorts before every value."""
    term: Term | None = None

    @property
    def walkable(self) -> bool:
        """Whether the next page can be asked for by the last value: never NULL, and exact in JSON."""
        return self.kind in (NAME, STAMP, NUMBER)

    @property
    def sayable(self) -> bool:
        """Whether ERPNext can sort by it."""
        natural = self.nulls_first is None or self.nulls_first != self.descending
        return self.term is None and (natural or self.kind in NEVER_NULL)

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column(self.fieldname),) if self.term is None else self.term.columns

    def place(self, row: Row) -> tuple[int, Any]:
        """Return what the row sorts by; turned round where the key is descending."""
        if self.term is None:
            value = key_of(self.kind, row[self.fieldname])
        else:
            value = comparable(self.term.value(row))
        if value is None:
            return (0 if self._nulls_are_less else 2), 0
        return 1, value

    @property
    def _nulls_are_less(self) -> bool:
        first = not self.descending if self.nulls_first is None else self.nulls_first
        return first != self.descending

    def said(self, dialect: Dialect) -> str:
        """Return the key as a part of `order_by`."""
        name = dialect.filled(self.fieldname)[0] if self.kind in BLANKS else dialect.name(self.fieldname)
        # The direction is always said: v2 lists sort downwards without it, v1 lists upwards.
        return f"{name} {'desc' if self.descending else 'asc'}"

    def fills(self, dialect: Dialect) -> tuple[Any, ...]:
        """Return what has to be among `fields` to sort by the key."""
        return dialect.filled(self.fieldname)[1] if self.kind in BLANKS else ()


def sorted_by(rows: Iterable[Row], keys: tuple[OrderKey, ...]) -> list[Row]:
    """Return the rows sorted here; those that tie on all keys keep their order."""
    found = list(rows)
    for key in reversed(keys):
        found.sort(key=key.place, reverse=key.descending)
    return found


def without_ties(order: tuple[OrderKey, ...]) -> tuple[OrderKey, ...]:
    """Return the order with `name` as its last key, so that no two rows tie."""
    if any(key.fieldname == "name" for key in order):
        return order
    return (*order, OrderKey("name", NAME))


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
    is_single: bool = False
    """Whether there is one document of the DocType, of which Frappe has no list."""
    linked: tuple[Column, ...] = ()
    """Columns of other documents, that links lead to, to read along."""
    relations: tuple[Relation, ...] = ()
    """Rows that name the document, to aggregate along."""
    folds: tuple[Fold, ...] = ()
    """The aggregates over them."""
    having: Check | None = None
    """What is tested on each document once its aggregates are there."""
    shuffled: bool = False
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
        return without_ties(self.order)

    @property
    def sorted_here(self) -> bool:
        """Whether ERPNext cannot sort the rows."""
        return self.shuffled or not all(key.sayable for key in self.order)

    @property
    def places(self) -> Selection:
        """The selection of what the rows are sorted and picked by, and of nothing else."""
        keys = [column for key in self.sort_keys for column in key.columns]
        keys += self.having.columns if self.having is not None else ()
        aggregates = self.having is not None or any(key.term and key.term.aggregate for key in self.order)
        folds = self.folds if aggregates else ()
        keys += own_columns(folds)
        return replace(
            self,
            columns=("name",),
            linked=tuple(keys),
            start=0,
            stop=None,
            relations=self.relations if aggregates else (),
            folds=folds,
        )

    def single_name(self) -> str | None:
        """Return the name when the condition is just `name = …`."""
        where = self.where
        if isinstance(where, Literal) and where.kind == NAME and where.test == "eq":
            return str(where.value)
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """A queryset as what is read at ERPNext and what is made of it here."""

    selection: Selection
    """In groups, of the rows that are grouped: without order and slice."""
    fields: tuple[Any, ...] = ()
    """The Django fields of each document."""
    outputs: tuple[Term, ...] = ()
    """What values() returns of each row, in the order it was asked for."""
    annotations: tuple[tuple[str, Term], ...] = ()
    """Attribute → value of each document."""
    grouping: Grouping | None = None
    order: tuple[OrderKey, ...] = ()
    """Of the groups."""
    start: int = 0
    stop: int | None = None
    over: Compiled | None = None
    """Whose results are grouped, in place of the selection's rows."""


@dataclass(frozen=True, slots=True, eq=False)
class Inner:
    """An inner query whose one value is computed."""

    compiled: Compiled
    encode: Callable[[Any], Any]
    """Its value as a filter wants it."""
    null_spoils: bool


@dataclass(frozen=True, slots=True)
class ListRequest:
    """One request for rows of a DocType, as `FrappeClient.list` takes it."""

    doctype: str
    fields: tuple[Any, ...]
    filters: tuple[Filter, ...] = ()
    or_filters: tuple[Filter, ...] = ()
    order_by: str | None = None
    group_by: str | None = None
    limit_start: int = 0
    limit: int = 0
    """0 asks for all rows."""
    parent: str | None = None
    as_dict: bool = True
    """Whether a row names its values, or is a list of them, in the order of the fields."""

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments for the client; filters name their DocType."""
        asked = {
            "fields": list(self.fields),
            "filters": [[self.doctype, *each] for each in self.filters],
            "or_filters": [[self.doctype, *each] for each in self.or_filters],
            "order_by": self.order_by,
            "group_by": self.group_by,
            "limit_start": self.limit_start,
            "limit_page_length": self.limit,
            "parent": self.parent,
        }
        return asked if self.as_dict else asked | {"as_dict": False}


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
    dialect: Dialect

    def request(self, branch: Branch, columns: tuple[Any, ...], *, limit: int, start: int = 0) -> ListRequest:
        """Return the sorted request for some rows of a branch."""
        selection = self.selection
        filled = [field for key in selection.sort_keys for field in key.fills(self.dialect)]
        return ListRequest(
            doctype=selection.doctype,
            fields=(*columns, *filled),
            filters=branch.filters,
            or_filters=branch.or_filters,
            order_by=", ".join(key.said(self.dialect) for key in selection.sort_keys),
            limit_start=start,
            limit=limit,
            parent=selection.parent,
        )

    def grouped(self, branch: Branch, columns: tuple[str, ...], folds: tuple[Fold, ...]) -> ListRequest:
        """Return the request that counts and aggregates the rows for each combination of values of these columns."""
        dialect = self.dialect
        parts = dict.fromkeys(part for fold in folds if fold.pushable for part in fold.parts())
        fields = [dialect.aggregate("count", "name", WEIGHT)]
        fields += [dialect.aggregate(function, name, part_alias(function, name)) for function, name in parts]
        names = [dialect.name(column) for column in columns]
        return ListRequest(
            doctype=self.selection.doctype,
            fields=(*columns, *fields),
            filters=branch.filters,
            or_filters=branch.or_filters,
            order_by=", ".join(f"{name} asc" for name in names) or None,
            group_by=", ".join(names) or None,
            parent=self.selection.parent,
        )

    @property
    def exact(self) -> bool:
        """Whether nothing has to be tested again."""
        return all(branch.exact for branch in self.branches)

    def for_names(self) -> Plan:
        """Return the plan that finds the names of the rows, before slicing and in any order."""
        bare = replace(
            self.selection, columns=("name",), linked=(), relations=(), folds=(), order=(), start=0, stop=None
        )
        return Plan(bare, self.branches, self.dialect)

    def needed(self, branch: Branch) -> tuple[Column, ...]:
        """Return what is read of each row: for the caller, to sort by, and for the recheck."""
        selection = self.selection
        return (
            *map(Column, selection.columns),
            *(column for key in selection.sort_keys if key.sayable for column in key.columns),
            *selection.linked,
            *(relation.key for relation in selection.relations),
            *columns(branch.recheck),
        )

    def columns(self, branch: Branch) -> tuple[str, ...]:
        """Return the columns of the DocType itself that are read."""
        return tuple(dict.fromkeys(column.own for column in self.needed(branch)))


def make_plan(selection: Selection, dialect: Dialect, max_branches: int, max_members: int = 5000) -> Plan:
    """
    Return the plan of a selection whose inner queries are resolved.

    A list of more than `max_members` values is asked for in several requests. ORs that would need more than
    `max_branches` of them are asked for wider, in one, and tested here.
    """
    found: list[Branch] = []
    for where in _chunks(selection.where, max_members):
        found += _branches(prepare(where, dialect), dialect, max_branches, max_members)
    return Plan(selection, tuple(found), dialect)


def _chunks(where: Formula, size: int) -> list[Formula]:
    """Return formulas whose union is `where`, in which a long list of values is cut into pieces."""
    parts = where.parts if isinstance(where, And) else (where,)
    long = next(
        (
            part
            for part in parts
            if isinstance(part, Literal) and part.test == "in" and len(part.value) > size
        ),
        None,
    )
    if long is None:
        return [where]
    rest = [part for part in parts if part is not long]
    nulls = [True] if long.null_ok else []
    pieces = [replace(long, value=tuple(piece), null_ok=False) for piece in pages(long.value, size)]
    pieces += [Literal(long.fieldname, long.kind, "none", null_ok=True) for _ in nulls]
    return [all_of([*rest, piece]) for piece in pieces]


def _branches(where: Formula, dialect: Dialect, max_branches: int, max_members: int) -> list[Branch]:
    found = branches(where, max_branches)
    if found is None:
        return [_wide_branch(where, dialect, max_members)]
    return [_branch(parts, dialect, max_members) for parts in found]


def _wide_branch(where: Formula, dialect: Dialect, max_members: int) -> Branch:
    """Return one request's conditions that hold for all the rows, and test again all that they may not say."""
    wide = _branch(widest(where), dialect, max_members)
    parts = where.parts if isinstance(where, And) else (where,)
    inexact = [
        part
        for part in parts
        if not isinstance(part, Literal | Check) or not _push(part, dialect, max_members).exact
    ]
    return replace(wide, recheck=all_of(inexact))


def _push(leaf: Leaf, dialect: Dialect, max_members: int) -> Pushed:
    """Return the filters for a leaf; a list that is too long for one is tested here."""
    if isinstance(leaf, Literal) and leaf.test in ("in", "not_in") and len(leaf.value) > max_members:
        return Pushed((), exact=False)
    return push(leaf, dialect)


def _branch(parts: tuple[Leaf | Or, ...], dialect: Dialect, max_members: int) -> Branch:
    filters: list[Filter] = []
    or_filters: list[Filter] = []
    recheck: list[Formula] = []
    for part in parts:
        if isinstance(part, Literal | Check):
            pushed = _push(part, dialect, max_members)
            filters += pushed.filters
            if not pushed.exact:
                recheck.append(part)
            continue
        group, exact = _group(part, dialect, max_members)
        or_filters += group
        if not exact:
            recheck.append(part)
    return Branch(tuple(filters), tuple(or_filters), all_of(recheck))


def _group(group: Or, dialect: Dialect, max_members: int) -> tuple[list[Filter], bool]:
    """Return one filter for each part of an OR, and whether they say it exactly."""
    pushed = [_push(part, dialect, max_members) for part in group.parts if isinstance(part, Literal | Check)]
    if not all(each.filters for each in pushed):
        return [], False
    # Where a part needs two filters, its first one alone is wider; `or_filters` cannot hold an AND.
    return [each.filters[0] for each in pushed], all(each.exact and len(each.filters) == 1 for each in pushed)
