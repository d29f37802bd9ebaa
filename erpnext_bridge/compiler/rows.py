"""Rows as Frappe sends them, with the rows that they are linked to, and what is computed from one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from erpnext_bridge.errors import PermissionRefused

_T = TypeVar("_T")


def pages(items: Iterable[_T], size: int) -> Iterator[tuple[_T, ...]]:
    """Yield the items in tuples of at most `size`; `itertools.batched`, which Python 3.11 has not."""
    iterator = iter(items)
    while page := tuple(islice(iterator, size)):
        yield page


class Row(dict[str, Any]):
    """Fieldname → value as Frappe sent it, which leaves out what the user may not see."""

    linked: dict[str, Row | None] = {}
    """Fieldname of a link → the row it leads to; None where there is none, or none that the user may see."""
    folded: Sequence[Any] = ()
    """The values of the aggregates over the rows that this one stands for, or that belong to it."""
    related: Sequence[Any] = ()
    """For each relation, the `folding.Group` of the rows that belong to this one, or None."""

    def __missing__(self, fieldname: str) -> Any:
        raise PermissionRefused(f"ERPNext does not show the field {fieldname!r} to this user.")

    def along(self, links: Iterable[Link]) -> Row | None:
        """Return the row at the end of some links."""
        row: Row | None = self
        for link in links:
            if row is None:
                return None
            row = row.linked.get(link.fieldname)
        return row


@dataclass(frozen=True, slots=True)
class Link:
    """A link field, and the DocType that it leads to."""

    fieldname: str
    doctype: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the document itself, or of one that is reached through links."""

    fieldname: str
    links: tuple[Link, ...] = ()

    @property
    def own(self) -> str:
        """The column of the document itself that leads there."""
        return self.links[0].fieldname if self.links else self.fieldname

    def of(self, row: Row) -> Any:
        """Return the value as Frappe sent it; None behind a link that leads nowhere."""
        found = row.along(self.links)
        return None if found is None else found[self.fieldname]

    def __str__(self) -> str:
        return ".".join([*(link.fieldname for link in self.links), self.fieldname])


Judge = Callable[[Row], bool | None]
"""True, false or, where SQL would find NULL, None."""


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """A value that is computed from a row."""

    text: str
    """What `explain()` calls it."""
    columns: tuple[Column, ...]
    """What it reads of the row."""
    value: Callable[[Row], Any]
    """Row → value as Django returns it."""
    aggregate: bool = False
    """Whether it reads aggregates, which a row has only after they were computed."""


@dataclass(frozen=True, slots=True)
class Join:
    """Which columns are read along, of the documents that a link leads to."""

    link: Link
    columns: tuple[str, ...]
    joins: tuple[Join, ...]


def joins_for(columns: Iterable[Column]) -> tuple[Join, ...]:
    """Return the joins that bring these columns along."""
    behind: dict[Link, list[Column]] = {}
    for column in columns:
        if column.links:
            first, *rest = column.links
            behind.setdefault(first, []).append(Column(column.fieldname, tuple(rest)))
    return tuple(
        Join(link, tuple(dict.fromkeys(["name", *(each.own for each in found)])), joins_for(found))
        for link, found in behind.items()
    )
