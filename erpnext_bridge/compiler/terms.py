"""Django's expressions as terms: functions of a row. What is not known here is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, NoReturn

from django.db.models.aggregates import Aggregate
from django.db.models.expressions import (
    Case,
    Col,
    CombinedExpression,
    ExpressionWrapper,
    OrderBy,
    Ref,
    Value,
)
from django.db.models.functions import Abs, Coalesce, Concat, Extract, Length, Lower, Upper
from django.db.models.functions.datetime import TruncBase
from django.db.models.functions.text import ConcatPair
from django.db.models.sql import Query

from erpnext_bridge import values
from erpnext_bridge.compiler import moments
from erpnext_bridge.compiler.judges import Judged, judged
from erpnext_bridge.compiler.rows import Column, Row, Term
from erpnext_bridge.compiler.scope import Scope
from erpnext_bridge.errors import UnsupportedQuery

Register = Callable[[Any], int]
"""Takes an aggregate and returns its position in `Row.folded`."""


class Terms:
    """Reads expressions over one anchor's rows."""

    def __init__(self, scope: Scope, anchor: str | None = None, register: Register | None = None) -> None:
        self.scope = scope
        self.anchor = anchor or scope.root
        self.register = register

    def of(self, expression: Any) -> Term:
        """Return the term of a resolved expression. UnsupportedQuery for one that is not known."""
        for kind, read in _KNOWN.items():
            if isinstance(expression, kind):
                return read(self, expression)
        return _refuse(expression)

    def condition(self, node: Any) -> Judged:
        """Return the judge of a lookup, or of a tree of them."""
        return judged(node, self.of)

    def column(self, col: Col) -> Column:
        if self.scope.anchor(col.alias) != self.anchor:
            raise UnsupportedQuery(
                f"{col.target.name!r} is of rows of which a document has several. Query those rows, "
                "and reach the document through their link to it."
            )
        return Column(values.column_of(col.target), self.scope.links(col.alias))

    def _col(self, col: Col) -> Term:
        column = self.column(col)
        decode = values.decoder(col.target, self.scope.zone)
        if column.links:
            # A document that is not there has no columns: what is empty text in one is NULL without.
            def value(row: Row) -> Any:
                found = row.along(column.links)
                return None if found is None else decode(found[column.fieldname])
        else:

            def value(row: Row) -> Any:
                return decode(row[column.fieldname])

        return Term(str(column), (column,), value)

    def _aggregate(self, aggregate: Any) -> Term:
        if self.register is None:
            raise UnsupportedQuery(f"{aggregate.name} is not supported here. Filter by an annotation of it.")
        position = self.register(aggregate)
        return Term(str(aggregate.name), (), lambda row: row.folded[position], aggregate=True)

    def _value(self, expression: Any) -> Term:
        constant = expression.value
        return Term(repr(constant), (), lambda row: constant)

    def _wrapped(self, expression: Any) -> Term:
        (inner,) = (part for part in expression.get_source_expressions() if part is not None)
        return self.of(inner)

    def _combined(self, expression: Any) -> Term:
        compute = _ARITHMETIC.get(expression.connector)
        kind = expression.output_field.get_internal_type()
        if compute is None or kind not in _NUMBERS:
            raise UnsupportedQuery(
                f"Databases differ in what {expression.connector!r} makes of {kind}. Compute it from the documents."
            )
        number = _NUMBERS[kind]

        def value(left: Any, right: Any) -> Any:
            return None if left is None or right is None else compute(number(left), number(right))

        return self._function(expression.connector, expression, value)

    def _function(self, text: str, expression: Any, compute: Callable[..., Any]) -> Term:
        parts = [self.of(part) for part in expression.get_source_expressions() if part is not None]
        return Term(
            f"{text}({', '.join(part.text for part in parts)})",
            tuple(column for part in parts for column in part.columns),
            lambda row: compute(*(part.value(row) for part in parts)),
            any(part.aggregate for part in parts),
        )

    def _coalesce(self, expression: Any) -> Term:
        def first(*found: Any) -> Any:
            return next((each for each in found if each is not None), None)

        return self._function("Coalesce", expression, first)

    def _text_function(self, expression: Any) -> Term:
        compute = _TEXT_FUNCTIONS[type(expression)]
        return self._function(
            type(expression).__name__, expression, lambda text: None if text is None else compute(str(text))
        )

    def _concat(self, expression: Any) -> Term:
        # Django joins NULL as an empty text.
        return self._function(
            "Concat", expression, lambda *parts: "".join("" if part is None else str(part) for part in parts)
        )

    def _abs(self, expression: Any) -> Term:
        return self._function("Abs", expression, lambda value: None if value is None else abs(value))

    def _extract(self, expression: Any) -> Term:
        compute = moments.EXTRACTS.get(expression.lookup_name)
        if compute is None or expression.lhs.output_field.get_internal_type() == "DurationField":
            _refuse(expression)
        zone = moments.zone_of(expression)
        return self._function(
            expression.lookup_name,
            expression,
            lambda value: None if value is None else compute(moments.local(value, zone)),
        )

    def _trunc(self, expression: Any) -> Term:
        kind, zone = expression.kind or expression.lookup_name, moments.zone_of(expression)
        output = expression.output_field.get_internal_type()
        if kind not in moments.TRUNCATIONS:
            _refuse(expression)

        def compute(value: Any) -> Any:
            return None if value is None else moments.truncated(moments.local(value, zone), kind, output)

        return self._function(str(kind), expression, compute)

    def _case(self, expression: Any) -> Term:
        whens = [(self.condition(when.condition), self.of(when.result)) for when in expression.cases]
        default = self.of(expression.default)

        def value(row: Row) -> Any:
            for condition, result in whens:
                if condition.judge(row):
                    return result.value(row)
            return default.value(row)

        parts = [*(part for when in whens for part in when), default]
        found = tuple(column for part in parts for column in part.columns)
        return Term("Case", found, value, any(part.aggregate for part in parts))


def _refuse(expression: Any) -> NoReturn:
    # Django resolves a Subquery() to its query.
    name = "Subquery" if isinstance(expression, Query) else type(expression).__name__
    if name in ("Exists", "Subquery", "OuterRef", "ResolvedOuterRef"):
        raise UnsupportedQuery(
            f"Frappe has no {name} as a value. Filter with it, or read the other documents too."
        )
    raise UnsupportedQuery(f"Frappe cannot compute {name}. Compute the value from the documents.")


_KNOWN: dict[type, Callable[[Terms, Any], Term]] = {
    Col: Terms._col,
    Ref: lambda terms, ref: terms.of(ref.source),
    Aggregate: Terms._aggregate,
    Value: Terms._value,
    ExpressionWrapper: Terms._wrapped,
    OrderBy: Terms._wrapped,
    CombinedExpression: Terms._combined,
    Coalesce: Terms._coalesce,
    Lower: Terms._text_function,
    Upper: Terms._text_function,
    Length: Terms._text_function,
    Concat: Terms._wrapped,
    ConcatPair: Terms._concat,
    Abs: Terms._abs,
    Extract: Terms._extract,
    TruncBase: Terms._trunc,
    Case: Terms._case,
}

_TEXT_FUNCTIONS: dict[type, Callable[[str], Any]] = {Lower: str.lower, Upper: str.upper, Length: len}

_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
}

_NUMBERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("IntegerField", "BigIntegerField", "SmallIntegerField", "PositiveIntegerField"), int),
    "FloatField": float,
    "DecimalField": lambda value: value if isinstance(value, Decimal) else Decimal(str(value)),
}
"""Internal type of the result → what to compute with."""
