"""Which document each join of a query leads to, and on which way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models.aggregates import Aggregate
from django.db.models.expressions import Col
from django.db.models.fields.related import ForeignKey
from django.db.models.sql.constants import INNER

from erpnext_bridge.compiler.rows import Link
from erpnext_bridge.errors import UnsupportedQuery
from erpnext_bridge.identity import Identity


class Scope:
    """
    One query, and the site's time zone.

    A join over a link finds one document at the most; one over child rows, or over the documents that link to this
    one, finds several. The *anchor* of an alias is the last of those on the way to it, or the document itself.
    """

    def __init__(
        self, query: Any, zone: ZoneInfo, identity: Identity | None, root: str | None = None
    ) -> None:
        self.query = query
        self.zone = zone
        self.identity = identity
        self.root: str = root or query.get_initial_alias()
        self.model: Any = query.model

    def join(self, alias: str) -> Any:
        join = self.query.alias_map.get(alias)
        if join is None:
            raise UnsupportedQuery(
                "An inner query, which exclude() makes of child rows, cannot be compared with the outer one. "
                "Query the rows: pk__in=Row.objects.filter(qty=F('parent__…')).values('parent')."
            )
        if getattr(join, "filtered_relation", None) is not None:
            raise UnsupportedQuery("FilteredRelation is not supported. Filter with a queryset and __in.")
        return join

    def is_link(self, alias: str) -> bool:
        """Whether the join follows a link, so that it finds one document at the most."""
        return isinstance(self.join(alias).join_field, ForeignKey)

    def parent(self, alias: str) -> str:
        return str(self.join(alias).parent_alias)

    def depth(self, alias: str) -> int:
        return 0 if alias == self.root else 1 + self.depth(self.parent(alias))

    def anchor(self, alias: str) -> str:
        while alias != self.root and self.is_link(alias):
            alias = self.parent(alias)
        return alias

    def links(self, alias: str) -> tuple[Link, ...]:
        """Return the links from the alias's anchor to it."""
        if alias == self.root or not self.is_link(alias):
            return ()
        field = self.join(alias).join_field
        return (*self.links(self.parent(alias)), Link(field.column, field.related_model.doctype))

    def inner_joins(self, alias: str) -> Iterator[str]:
        """Yield the aliases up to this one that Django joins so that a row must be there."""
        while alias != self.root:
            if self.join(alias).join_type == INNER:
                yield alias
            alias = self.parent(alias)


def cols_of(expression: Any, *, within_aggregates: bool = True) -> Iterator[Col]:
    """Yield the columns in an expression, a lookup or a tree of them."""
    if isinstance(expression, Col):
        yield expression
        return
    if isinstance(expression, Aggregate) and not within_aggregates:
        return
    for part in getattr(expression, "children", None) or _sources(expression):
        yield from cols_of(part, within_aggregates=within_aggregates)


def _sources(expression: Any) -> list[Any]:
    if not hasattr(expression, "get_source_expressions"):
        return []
    return [part for part in expression.get_source_expressions() if part is not None]
