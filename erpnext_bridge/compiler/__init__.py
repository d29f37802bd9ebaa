"""
Django's query tree, read into what is asked of ERPNext. The only place that touches the insides of `django.db.models.sql`.

What is read: `Query.where` (`WhereNode.connector/negated/children`, `split_having_qualify()`, `NothingNode`),
`Query.alias_map` (`Join.join_field`, `join_type`, `parent_alias`, `filtered_relation`), `alias_refcount`, `Query.select`,
`default_cols`, `get_select_mask()`, `selected`, `values_select`, `order_by`, `extra_order_by`, `default_ordering`,
`standard_ordering`, `low_mark`, `high_mark`, `distinct`, `distinct_fields`, `annotation_select`, `annotations`,
`combinator`, `extra`, `select_for_update`, `group_by`, `get_meta()`, `get_initial_alias()`, `setup_joins()`, `trim_joins()`,
`clone()`, `Col.alias/target`, `Ref.source`, `Lookup.lookup_name/lhs/rhs`, `TupleIn` over `ColPairs.get_cols()`,
`Exists.query`, `Aggregate.distinct/filter/order_by`, `TruncBase.kind`, `Extract.lookup_name`, `Case.cases/default`,
`OrderBy`, `F`. `tests/test_compiler.py` names each of them.

The rule is an allow-list: what is not known here is refused by name, and never dropped. There is no switch on
Django's version: what 5.2 and 6.1 do differently is met by asking what is there (`AggregateFilter`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models.expressions import Col

from erpnext_bridge import values
from erpnext_bridge.compiler.aggregates import Aggregates, resolved_aggregates
from erpnext_bridge.compiler.conditions import Conditions
from erpnext_bridge.compiler.folding import Grouping, own_columns
from erpnext_bridge.compiler.formula import TRUE, Check, Formula, all_of
from erpnext_bridge.compiler.kinds import Field, kind_of, rows_of
from erpnext_bridge.compiler.ordering import SHUFFLED, Ordering
from erpnext_bridge.compiler.plan import Compiled, OrderKey, Selection
from erpnext_bridge.compiler.related import asked_of, of_document
from erpnext_bridge.compiler.rows import Column, Term
from erpnext_bridge.compiler.scope import Scope, cols_of
from erpnext_bridge.compiler.terms import Terms
from erpnext_bridge.errors import UnsupportedQuery

__all__ = ["Compiled", "Compiler", "kind_of", "resolved_aggregates", "rows_of"]


class Compiler:
    """Reads one query for one site: times are written in the site's zone."""

    def __init__(self, query: Any, zone: ZoneInfo) -> None:
        # Any: what is read of it below is not in the stubs, or not typed there. A copy, because to read an order is
        # to join what it leads to.
        self.query: Any = query.clone()
        self.identity = getattr(query, "identity", None)
        self.zone = zone
        self.scope = Scope(self.query, zone, self.identity)
        self._conditions = Conditions(self.scope, lambda inner: Compiler(inner, zone).compile())
        where, self._having, qualify = self.query.where.split_having_qualify(
            must_group_by=self.query.group_by is not None
        )
        if qualify is not None:
            raise UnsupportedQuery("Frappe has no window functions. Read the documents and compute there.")
        self.rows: Formula = self._conditions.rows(where)
        self.aggregates = Aggregates(self.scope, lambda alias: asked_of(self.scope, self.rows, alias))
        self.terms = Terms(self.scope, register=self.aggregates.register)
        self._further: list[Column] = []
        """What else is read of each row, for aggregates over the results."""

    def compile(self) -> Compiled:
        """Return what is read and what is made of it. UnsupportedQuery names what cannot be done."""
        self._refuse_features()
        if self._is_grouped():
            return self._groups(self._group_keys())
        if self.query.distinct and not self._selects_name():
            return self._distinct()
        return self._documents()

    def condition(self) -> Formula:
        """Return the formula of the documents for which `where` is true."""
        return of_document(self.scope, self.rows)

    def totals(self, aggregates: Mapping[str, Any]) -> Compiled:
        """Return what computes these resolved aggregates over all results: one row, with an output for each."""
        self._refuse_features()
        if self._is_aggregated():
            return self._totals_of_results(aggregates)
        outputs = tuple(map(self.terms.of, aggregates.values()))
        columns = [column for term in outputs for column in term.columns]
        return replace(self._grouped(Grouping((), whole=True), outputs, columns, ()), start=0, stop=None)

    def _is_aggregated(self) -> bool:
        """Whether aggregate() is over something else than the documents that pass `where`."""
        query = self.query
        inside = any(each.contains_aggregate for each in query.annotations.values())
        distinct = query.distinct and not self._selects_name()
        return query.is_sliced or inside or distinct or self._having is not None or self._is_grouped()

    def _totals_of_results(self, aggregates: Mapping[str, Any]) -> Compiled:
        outer = Aggregates(self.scope, lambda alias: TRUE, of_results=self.terms)
        outputs = tuple(map(Terms(self.scope, register=outer.register).of, aggregates.values()))
        self._further = [column for fold in outer.folds for column in fold.columns]
        over = self.compile()
        return Compiled(
            over.selection, (), outputs, (), Grouping((), tuple(outer.folds), whole=True), over=over
        )

    # One result for each document.

    def _documents(self) -> Compiled:
        query = self.query
        fields = tuple(self._fields()) if query.default_cols else ()
        outputs = () if query.default_cols else tuple(self._outputs())
        annotations = tuple((name, self.terms.of(each)) for name, each in query.annotation_select.items())
        keys = self._order()
        having = self._having_check(self.terms)
        read = [*outputs, *(term for _, term in annotations)]
        linked = [*self._further, *(column for term in read for column in term.columns)]
        linked += having.columns if having is not None else ()
        linked += own_columns(self.aggregates.folds)
        selection = replace(
            self._selection(),
            columns=tuple(dict.fromkeys([*map(values.column_of, fields), *_own(linked)])),
            linked=tuple(dict.fromkeys(column for column in linked if column.links)),
            order=tuple(key for key in keys if key != SHUFFLED),
            shuffled=SHUFFLED in keys,
            start=query.low_mark,
            stop=query.high_mark,
            relations=tuple(self.aggregates.relations),
            folds=tuple(self.aggregates.folds),
            having=having,
        )
        return Compiled(selection, fields or self._plain_fields(), outputs, annotations)

    def _fields(self) -> Iterator[Field]:
        query = self.query
        mask = query.get_select_mask()
        for field in query.get_meta().concrete_fields:
            # Without `modified` a document that is saved later could not tell that it was changed meanwhile.
            if not mask or field in mask or field.column == "modified":
                yield field

    def _plain_fields(self) -> tuple[Field, ...]:
        """Return the fields of values() of plain columns."""
        select = self.query.select
        plain = all(isinstance(each, Col) and each.alias == self.scope.root for each in select)
        return tuple(each.target for each in select) if plain else ()

    def _outputs(self) -> Iterator[Term]:
        """Yield the terms of values(), in the order that its names were given."""
        for expression in self._output_expressions():
            yield self.terms.of(expression)

    def _output_expressions(self) -> list[Any]:
        query = self.query
        if query.selected:
            return [
                query.select[each] if isinstance(each, int) else query.annotations[name]
                for name, each in query.selected.items()
            ]
        return [*query.select, *query.annotation_select.values()]

    def _selects_name(self) -> bool:
        if self.query.default_cols:
            return True
        return any(self._is_name(each) for each in self._output_expressions())

    def _is_name(self, expression: Any) -> bool:
        return (
            isinstance(expression, Col)
            and expression.alias == self.scope.root
            and expression.target.primary_key
        )

    # One result for several documents.

    def _is_grouped(self) -> bool:
        """Whether the query groups by anything but the documents themselves."""
        keys = self.query.group_by
        return isinstance(keys, tuple) and not any(map(self._is_name, keys))

    def _group_keys(self) -> tuple[Term, ...]:
        return tuple(self.terms.of(key) for key in self.query.group_by)

    def _groups(self, keys: tuple[Term, ...]) -> Compiled:
        order = tuple(self._order())
        outputs = tuple(self._outputs())
        having = self._having_check(self.terms)
        keys = (*keys, *self._further_keys(order))
        read = [*keys, *outputs, *(key.term for key in order if key.term is not None)]
        columns = [column for term in read for column in term.columns]
        columns += [Column(key.fieldname) for key in order if key.term is None]
        columns += having.columns if having is not None else ()
        return self._grouped(Grouping(keys, having=having, whole=not keys), outputs, columns, order)

    def _further_keys(self, order: tuple[OrderKey, ...]) -> Iterator[Term]:
        """Yield what SQL must group by as well, because groups are sorted or tested by it."""
        for key in order:
            term = self._term_of(key)
            if not term.aggregate:
                yield term
        yield from map(self.terms.of, cols_of(self._having, within_aggregates=False))

    def _distinct(self) -> Compiled:
        order = tuple(self._order())
        outputs = tuple(self._outputs())
        sorts = [self._term_of(key) for key in order]
        keys = (*outputs, *sorts)
        columns = [column for term in keys for column in term.columns]
        return self._grouped(Grouping(keys), outputs, columns, order)

    def _term_of(self, key: OrderKey) -> Term:
        if key.term is not None:
            return key.term
        name = key.fieldname
        return Term(name, (Column(name),), lambda row: row[name])

    def _grouped(
        self,
        grouping: Grouping,
        outputs: tuple[Term, ...],
        columns: list[Column],
        order: tuple[OrderKey, ...],
    ) -> Compiled:
        if SHUFFLED in order:
            raise UnsupportedQuery("Groups cannot be sorted at random. Read them and use random.shuffle().")
        folds = tuple(self.aggregates.folds)
        selection = replace(
            self._selection(),
            linked=tuple(dict.fromkeys([*columns, *self._further])),
            relations=tuple(self.aggregates.relations),
        )
        grouping = replace(grouping, folds=folds)
        start, stop = self.query.low_mark, self.query.high_mark
        return Compiled(selection, (), outputs, (), grouping, order, start, stop)

    # What both have.

    def _selection(self) -> Selection:
        model = self.query.model
        return Selection(
            doctype=model.doctype,
            columns=(),
            where=all_of([rows_of(model), self.condition()]),
            parent=getattr(model, "parent_doctype", None) or None,
            identity=self.identity,
            is_single=bool(getattr(model, "is_single", False)),
        )

    def _order(self) -> list[OrderKey]:
        return Ordering(self.query, self.terms).keys()

    def _having_check(self, terms: Terms) -> Check | None:
        if self._having is None:
            return None
        found = terms.condition(self._having)
        return Check(found.text, found.columns, found.judge)

    def _refuse_features(self) -> None:
        query = self.query
        if query.combinator:
            raise UnsupportedQuery(
                f"Frappe cannot combine querysets ({query.combinator}). Use Q objects joined by | or &."
            )
        if query.extra or query.extra_order_by:
            raise UnsupportedQuery("extra() is SQL, which Frappe does not take. Use filter() and order_by().")
        if query.select_for_update:
            raise UnsupportedQuery(
                "Frappe cannot lock rows for a client. save() refuses a document that changed."
            )
        if query.distinct_fields:
            raise UnsupportedQuery(
                "distinct() of some fields keeps a row of each as PostgreSQL happens to find them. "
                "Use values(…).distinct(), or order the documents and pick in Python."
            )


def _own(columns: list[Column]) -> list[str]:
    return [column.fieldname for column in columns if not column.links]
