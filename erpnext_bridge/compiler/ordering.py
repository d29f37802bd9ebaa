"""What a query is ordered by, as keys of rows: columns, linked documents' columns, annotations and expressions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from django.core.exceptions import FieldError
from django.db.models.constants import LOOKUP_SEP
from django.db.models.expressions import Col, F, OrderBy
from django.db.models.functions import Random

from erpnext_bridge import values
from erpnext_bridge.compiler.kinds import kind_of
from erpnext_bridge.compiler.plan import OrderKey, without_ties
from erpnext_bridge.compiler.terms import Terms
from erpnext_bridge.errors import UnsupportedQuery

SHUFFLED = OrderKey("?", "")
"""Stands for `order_by("?")`."""


class Ordering:
    """Reads the order of one query."""

    def __init__(self, query: Any, terms: Terms) -> None:
        self.query = query
        self.terms = terms

    def keys(self) -> list[OrderKey]:
        query = self.query
        ordering = query.order_by
        if not ordering and query.default_ordering and query.group_by is None:
            ordering = tuple(query.get_meta().ordering)
        keys = [key for item in ordering for key in self._keys(item)]
        if query.standard_ordering:
            return keys
        # The order of documents that is reversed has the name as its last key, whoever wrote it down.
        is_of_documents = query.group_by is None and not query.distinct
        return [_reversed(key) for key in (without_ties(tuple(keys)) if is_of_documents else keys)]

    def _keys(self, item: Any) -> Iterator[OrderKey]:
        if isinstance(item, str):
            yield from self._named(item.removeprefix("-"), descending=item.startswith("-"))
        elif isinstance(item, OrderBy):
            for key in self._keys(item.expression):
                nulls_first = True if item.nulls_first else False if item.nulls_last else None
                yield replace(key, descending=item.descending != key.descending, nulls_first=nulls_first)
        elif isinstance(item, F):
            yield from self._named(str(getattr(item, "name", "")), descending=False)
        else:
            yield self._expression(item)

    def _expression(self, item: Any) -> OrderKey:
        if isinstance(item, Random):
            return SHUFFLED
        if not hasattr(item, "resolve_expression"):
            raise UnsupportedQuery(f"Frappe cannot sort by {item!r}. Sort by a field.")
        return self._of(item.resolve_expression(self.query, allow_joins=True, reuse=None))

    def _named(self, name: str, *, descending: bool) -> Iterator[OrderKey]:
        if name == "?":
            yield SHUFFLED
            return
        if name in self.query.annotations:
            yield replace(self._of(self.query.annotations[name]), descending=descending)
            return
        meta = self.query.get_meta()
        yield from self._field(meta, name.split(LOOKUP_SEP), name, descending=descending, seen=())

    def _field(
        self, meta: Any, path: list[str], name: str, *, descending: bool, seen: tuple[Any, ...]
    ) -> Iterator[OrderKey]:
        """Yield the keys of a field; a link sorts by the order of the documents it leads to."""
        found = self.query.setup_joins(path, meta, self.query.get_initial_alias())
        field, targets, opts = found.final_field, found.targets, found.opts
        targets, alias, _ = self.query.trim_joins(targets, found.joins, found.path)
        if not getattr(field, "concrete", False):
            raise FieldError(f"Cannot resolve keyword {name!r} into a field that can be sorted by.")
        by_itself = path[-1] in ("pk", getattr(field, "attname", ""))
        if not field.is_relation or by_itself or not opts.ordering:
            yield replace(self._of(targets[0].get_col(alias)), descending=descending)
            return
        if opts in seen:
            raise FieldError("Infinite loop caused by ordering.")
        for item in opts.ordering:
            yield from self._inherited(item, path, name, descending=descending, seen=(*seen, opts))

    def _inherited(
        self, item: Any, path: list[str], name: str, *, descending: bool, seen: tuple[Any, ...]
    ) -> Iterator[OrderKey]:
        if not isinstance(item, str):
            raise UnsupportedQuery(
                f"The order of the documents that {name!r} leads to is an expression. Sort by a field of theirs."
            )
        further = [*path, *item.removeprefix("-").split(LOOKUP_SEP)]
        meta = self.query.get_meta()
        for key in self._field(meta, further, name, descending=item.startswith("-"), seen=seen):
            yield replace(key, descending=key.descending != descending)

    def _of(self, expression: Any) -> OrderKey:
        if isinstance(expression, Col) and expression.alias == self.terms.anchor:
            return OrderKey(values.column_of(expression.target), kind_of(expression.target))
        return OrderKey("", "", term=self.terms.of(expression))


def _reversed(key: OrderKey) -> OrderKey:
    if key == SHUFFLED:
        return key
    nulls_first = None if key.nulls_first is None else not key.nulls_first
    return replace(key, descending=not key.descending, nulls_first=nulls_first)
