"""Django's aggregates as folds, and the rows that each is over."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from decimal import Context, Decimal
from typing import Any

from django.db.models.aggregates import Avg, Count, Max, Min, Sum
from django.db.models.expressions import Col, Ref, Star

from erpnext_bridge import values
from erpnext_bridge.compiler import folding, lookups
from erpnext_bridge.compiler.folding import Fold, Relation
from erpnext_bridge.compiler.formula import TRUE, Check, Formula, all_of
from erpnext_bridge.compiler.kinds import kind_of, rows_of
from erpnext_bridge.compiler.plan import Selection
from erpnext_bridge.compiler.rows import Column, Term
from erpnext_bridge.compiler.scope import Scope, cols_of
from erpnext_bridge.compiler.terms import Terms
from erpnext_bridge.errors import UnsupportedQuery

_FUNCTIONS = {Count: folding.COUNT, Sum: folding.SUM, Avg: folding.AVG, Min: folding.MIN, Max: folding.MAX}

_COUNTED = frozenset({lookups.TEXT, lookups.DATE, lookups.TIME, lookups.DURATION})
"""Kinds whose NULLs are those that ERPNext's COUNT leaves out as well."""
_SUMMED = frozenset({lookups.NUMBER, lookups.DECIMAL, lookups.DURATION})
_RANKED = _SUMMED | {lookups.DATE, lookups.STAMP, lookups.TIME}
"""Kinds that ERPNext's MIN and MAX compare as Django does."""

_PUSHED = {
    folding.COUNT: _COUNTED,
    folding.SUM: _SUMMED,
    folding.AVG: _SUMMED,
    folding.MIN: _RANKED,
    folding.MAX: _RANKED,
}


class Aggregates:
    """The aggregates of one query, each once."""

    def __init__(
        self, scope: Scope, asked_of: Callable[[str], Formula], *, of_results: Terms | None = None
    ) -> None:
        self.scope = scope
        self.of_results = of_results
        """Reads what is aggregated, where that are a query's results and not its documents."""
        self.asked_of = asked_of
        """Alias → what the query asks of its rows."""
        self.folds: list[Fold] = []
        self.relations: list[Relation] = []
        self._aliases: list[str] = []

    def register(self, aggregate: Any) -> int:
        """Add an aggregate and return its position in `Row.folded`."""
        self.folds.append(self._fold(aggregate))
        return len(self.folds) - 1

    def _fold(self, aggregate: Any) -> Fold:
        function = _FUNCTIONS.get(type(aggregate))
        if function is None or getattr(aggregate, "order_by", None):
            raise UnsupportedQuery(
                f"{aggregate.name} is not supported: only Count, Sum, Avg, Min and Max. Compute it from the documents."
            )
        anchor = self.scope.root if self.of_results else self._anchor(aggregate)
        terms = self.of_results or Terms(self.scope, anchor)
        expression = aggregate.get_source_expressions()[0]
        term = self._term(terms, expression, counts=function == folding.COUNT and not aggregate.distinct)
        return Fold(
            function,
            term,
            _finisher(function, aggregate),
            self._decoder(expression, function),
            bool(aggregate.distinct) and term is not None,
            _condition(terms, aggregate.filter),
            None if anchor == self.scope.root else self._relation(anchor),
        )

    def _anchor(self, aggregate: Any) -> str:
        anchors = {self.scope.anchor(col.alias) for col in cols_of(aggregate)}
        if len(anchors) > 1:
            raise UnsupportedQuery(
                f"{aggregate.name} cannot combine a document with its child rows. "
                "Aggregate the rows, and reach the document through their link to it."
            )
        return anchors.pop() if anchors else self.scope.root

    def _term(self, terms: Terms, expression: Any, *, counts: bool) -> Term | None:
        """Return what is aggregated; None where that is to count the rows, because there is no NULL to leave out."""
        own = isinstance(expression, Col) and self.scope.anchor(expression.alias) == expression.alias
        never_null = own and kind_of(expression.target) in lookups.NEVER_NULL
        if isinstance(expression, Star) or (counts and never_null and not self.of_results):
            return None
        return terms.of(expression)

    def _decoder(self, expression: Any, function: str) -> Callable[[Any], Any] | None:
        own = isinstance(expression, Col) and self.scope.anchor(expression.alias) == expression.alias
        if not own or kind_of(expression.target) not in _PUSHED[function]:
            return None
        return values.decoder(expression.target, self.scope.zone)

    def _relation(self, alias: str) -> int:
        if alias not in self._aliases:
            self.relations.append(self._make_relation(alias))
            self._aliases.append(alias)
        return self._aliases.index(alias)

    def _make_relation(self, alias: str) -> Relation:
        join = self.scope.join(alias)
        parent = self.scope.parent(alias)
        if self.scope.anchor(parent) != self.scope.root:
            raise UnsupportedQuery(
                "Aggregates over rows of rows are not supported. Aggregate the documents in between, one by one."
            )
        relation = join.join_field
        model, field = relation.related_model, relation.field
        asked = self.asked_of(alias)
        return Relation(
            key=_key(self.scope, parent),
            fieldname=values.column_of(field),
            selection=Selection(
                doctype=model.doctype,
                columns=(),
                where=all_of([rows_of(model), lookups.of_its_own(asked)]),
                parent=getattr(model, "parent_doctype", None) or None,
                identity=self.scope.identity,
            ),
            required=asked != TRUE and not lookups.passes_without(asked),
        )


def resolved_aggregates(query: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the aggregates of aggregate() with what they name, which may be one another, found in the query."""
    found: dict[str, Any] = {}
    replacements: dict[Any, Any] = {}
    for alias, expression in given.items():
        query.check_alias(alias)
        resolved = expression.resolve_expression(query, allow_joins=True, reuse=None, summarize=True)
        if not resolved.contains_aggregate:
            raise TypeError(f"{alias} is not an aggregate expression")
        query.append_annotation_mask([alias])
        resolved = resolved.replace_expressions(replacements)
        found[alias] = query.annotations[alias] = resolved
        replacements[Ref(alias, resolved)] = resolved
    for alias in given:
        del query.annotations[alias]
    query.set_annotation_mask(set(query.annotation_select) - set(given))
    return found


def _key(scope: Scope, parent: str) -> Column:
    """Return the column that holds the name which the related rows name."""
    if parent == scope.root:
        return Column("name")
    return Column(scope.join(parent).join_field.column, scope.links(parent)[:-1])


def _condition(terms: Terms, given: Any) -> Check | None:
    if given is None:
        return None
    # Django 6.1 wraps it: `AggregateFilter`.
    node = given if hasattr(given, "connector") else given.get_source_expressions()[0]
    found = terms.condition(node)
    return Check(found.text, found.columns, found.judge)


def _finisher(function: str, aggregate: Any) -> Callable[[Any], Any]:
    """Return what makes Django's value of a sum."""
    if function in (folding.COUNT, folding.MIN, folding.MAX):
        return lambda value: value
    kind = aggregate.output_field.get_internal_type()
    return _FINISHERS.get(kind, _whole)


def _whole(total: Decimal) -> Any:
    return int(total)


def _flag(total: Decimal) -> Any:
    # As Django reads the sum of a BooleanField.
    return bool(total) if total in (0, 1) else int(total)


def _money(total: Decimal) -> Any:
    return total if -int(total.as_tuple().exponent) <= 9 else _CONTEXT.plus(total)


_CONTEXT = Context(prec=15)
"""What survives the double that ERPNext sends."""

_FINISHERS: dict[str, Callable[[Decimal], Any]] = {
    "DecimalField": _money,
    "FloatField": float,
    "BooleanField": _flag,
    "DurationField": lambda total: dt.timedelta(microseconds=int((total * 1_000_000).to_integral_value())),
}
