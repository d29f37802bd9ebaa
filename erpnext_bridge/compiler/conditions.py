"""
`Query.where` as a formula.

Negation is pushed to the leaves: a node is asked for the formula of the rows for which it is true, or for which it is
false, and NULL is neither. A leaf about a related row carries the alias of its join, until `related.py` makes
an inner query of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

from django.db.models.expressions import Col, Exists, NegatedExpression, Value
from django.db.models.fields.tuple_lookups import TupleIn
from django.db.models.functions import Extract
from django.db.models.functions.datetime import TruncBase, TruncDate
from django.db.models.lookups import In, Lookup
from django.db.models.sql import Query
from django.db.models.sql.where import AND, OR, NothingNode, WhereNode

from erpnext_bridge import values
from erpnext_bridge.compiler import lookups, moments
from erpnext_bridge.compiler.formula import FALSE, TRUE, Check, Formula, Literal, all_of, any_of
from erpnext_bridge.compiler.judges import sides
from erpnext_bridge.compiler.kinds import Field, kind_of, rows_of
from erpnext_bridge.compiler.plan import Compiled, Inner, Selection
from erpnext_bridge.compiler.related import of_document
from erpnext_bridge.compiler.rows import Column
from erpnext_bridge.compiler.scope import Scope, cols_of
from erpnext_bridge.compiler.terms import Terms
from erpnext_bridge.errors import UnsupportedQuery

CompileInner = Callable[[Any], Compiled]
"""Compiles an inner query."""


class Conditions:
    """Reads the conditions of one query."""

    def __init__(self, scope: Scope, compile_inner: CompileInner) -> None:
        self.scope = scope
        self.compile_inner = compile_inner
        self.outer: list[Any] = []
        """Lookups that tie an inner query to its outer one, which are answered by the outer one's filter."""
        self._expected: list[str] = []
        """Links in checks without which Django finds no row at all: it reads F() with an inner join."""

    def of(self, node: Any) -> Formula:
        """Return the formula of the documents for which a tree is true."""
        return of_document(self.scope, self.rows(node))

    def rows(self, node: Any) -> Formula:
        """Return the formula of the joined rows for which a tree is true: its leaves carry aliases."""
        if node is None:
            return TRUE
        found = self._node(node, negated=False)
        if _has_xor(node):
            # Beside an XOR, Django leaves joins inner that an OR would have made outer ones (`JoinPromoter`).
            self._expected += [each for col in cols_of(node) for each in self.scope.inner_joins(col.alias)]
        there = [part for alias in dict.fromkeys(self._expected) for part in self._is_there(alias)]
        return all_of([found, *there])

    def _is_there(self, alias: str) -> list[Formula]:
        """Return what an inner join asks: that there is a row, or that the link is set, and not to nothing."""
        if not self.scope.is_link(alias):
            return [lookups.not_null(lookups.NAME, "name", self._named(alias))]
        link, parent = self.scope.join(alias).join_field, self.scope.parent(alias)
        column = Column("name", self.scope.links(alias))
        anchor = self._named(self.scope.anchor(alias))
        check = Check(
            f"{column} is there", (column,), lambda row: row.along(column.links) is not None, alias=anchor
        )
        return [lookups.not_null(kind_of(link), values.column_of(link), self._named(parent)), check]

    def _named(self, alias: str) -> str:
        return "" if alias == self.scope.root else alias

    # Trees.

    def _node(self, node: Any, *, negated: bool) -> Formula:
        if isinstance(node, NothingNode):
            return TRUE if negated else FALSE
        if isinstance(node, WhereNode):
            return self._tree(node, negated=negated != node.negated)
        if isinstance(node, Exists | NegatedExpression):
            return self._exists(node, negated=negated)
        if isinstance(node, Lookup):
            return self._lookup(node, negated=negated)
        return _refuse_condition(node)

    def _tree(self, node: WhereNode, *, negated: bool) -> Formula:
        if any(node is known for known in self.outer):
            return TRUE
        if node.connector not in (AND, OR):
            return self._xor(node, negated=negated)
        join = all_of if (node.connector == AND) != negated else any_of
        return join(
            self._node(child, negated=negated)
            for child in node.children
            if not any(child is known for known in self.outer)
        )

    def _xor(self, node: WhereNode, *, negated: bool) -> Formula:
        """Django counts the parts that are true; one that compares with NULL is not (`WhereNode.as_sql`)."""
        odd: Formula = FALSE
        for child in node.children:
            true = self._node(child, negated=False)
            odd = any_of([all_of([odd, lookups.otherwise(true)]), all_of([lookups.otherwise(odd), true])])
        return lookups.otherwise(odd) if negated else odd

    # Lookups.

    def _lookup(self, node: Any, *, negated: bool) -> Formula:
        if isinstance(node.lhs, Exists | NegatedExpression) and node.lookup_name == "exact":
            return self._exists(node.lhs, negated=negated == bool(node.rhs))
        if isinstance(node, TupleIn) and len(node.lhs) == 1:
            node = _plain_in(node)
        if isinstance(node.lhs, Col) and _is_constant(node) and node.lookup_name not in ("regex", "iregex"):
            return self._comparison(node, negated=negated)
        ranges = _ranges(node)
        if ranges is not None:
            return self._ranges(node.lhs.lhs, ranges, negated=negated)
        return self._check(node, negated=negated)

    def _alias(self, col: Col) -> str:
        return self._named(str(col.alias))

    def _comparison(self, node: Any, *, negated: bool) -> Formula:
        """Return the formula of a lookup that compares one column with what is given."""
        field, name = node.lhs.target, str(node.lookup_name)
        kind, column, alias = kind_of(field), field.column, self._alias(node.lhs)
        if name == "isnull":
            null = bool(node.rhs) != negated
            return lookups.is_null(kind, column, alias) if null else lookups.not_null(kind, column, alias)
        if kind == lookups.JSON:
            raise UnsupportedQuery(
                f"Frappe cannot compare {field.name!r}, which is JSON. Read the documents and compare there."
            )
        if isinstance(node.rhs, Query):
            return self._inner_query(node, kind, column, negated=negated)
        if name == "range":
            return self._range(node.lhs, node.rhs, negated=negated)
        if name not in lookups.LOOKUPS:
            _refuse_lookup(name)
        return self._leaf(node.lhs, lookups.LOOKUPS[name], node.rhs, negated=negated)

    def _range(self, col: Col, bounds: Any, *, negated: bool) -> Formula:
        low, high = (
            self._leaf(col, test, bound, negated=negated)
            for test, bound in zip(("gte", "lte"), bounds, strict=True)
        )
        return any_of([low, high]) if negated else all_of([low, high])

    def _leaf(self, col: Col, test: str, rhs: Any, *, negated: bool) -> Formula:
        field: Any = col.target
        kind, alias = kind_of(field), self._alias(col)
        if test.removeprefix("i") in lookups.PATTERNS:
            if kind not in lookups.TEXTS:
                raise UnsupportedQuery(
                    f"Frappe cannot search inside {field.name!r}, which is not text. Compare it instead."
                )
            text = str(_constant(rhs))
            return lookups.leaf(kind, field.column, test, text, negated=negated, alias=alias)
        if test in lookups.SAID_BY_FRAPPE:
            wire = _constant(rhs)
        elif test == "in":
            members = (values.to_wire(field, _constant(member), self.scope.zone) for member in rhs)
            wire = tuple(dict.fromkeys(member for member in members if member is not None))
        else:
            wire = values.to_wire(field, _constant(rhs), self.scope.zone)
            if wire is None:
                # Nothing compares with NULL, and neither does its negation.
                return FALSE
        null_ok = negated and not alias and _is_surprising_null(field, kind)
        return lookups.leaf(kind, field.column, test, wire, negated=negated, null_ok=null_ok, alias=alias)

    def _ranges(self, col: Col, ranges: list[tuple[Any, Any]], *, negated: bool) -> Formula:
        """Return "the column is in one of these ranges": from the first value up to, and without, the second."""
        found = []
        for low, high in ranges:
            parts = [] if low is None else [self._leaf(col, "gte", low, negated=negated)]
            parts += [] if high is None else [self._leaf(col, "lt", high, negated=negated)]
            found.append(any_of(parts) if negated else all_of(parts))
        return all_of(found) if negated else any_of(found)

    # What no filter says.

    def _check(self, node: Any, *, negated: bool) -> Formula:
        cols = list(cols_of(node.lhs)) + [col for each in sides(node) for col in cols_of(each)]
        anchors = {self.scope.anchor(col.alias) for col in cols}
        anchor = anchors.pop() if anchors else self.scope.root
        if anchors:
            raise UnsupportedQuery(
                "Frappe cannot compare a document with its child rows. "
                "Query the rows, and reach the document through their link to it."
            )
        found = Terms(self.scope, anchor).condition(node)
        self._expected += [each for col in cols for each in self.scope.inner_joins(col.alias)]
        alias = "" if anchor == self.scope.root else anchor
        check = Check(found.text, found.columns, found.judge, frozenset({not negated}), alias)
        return all_of([*self._implied(node, negated=negated), check])

    def _implied(self, node: Any, *, negated: bool) -> list[Formula]:
        """Return what holds for all the rows that a check leaves, so that fewer are read."""
        lhs: Any = node.lhs.lhs if isinstance(node.lhs, Extract | TruncBase) else node.lhs
        if node.lookup_name == "isnull" or not isinstance(lhs, Col) or self.scope.links(lhs.alias):
            return []
        # Whatever is computed of NULL is NULL, neither true nor false.
        found = [lookups.not_null(kind_of(lhs.target), values.column_of(lhs.target), self._alias(lhs))]
        if node.lookup_name in ("regex", "iregex") and not negated and isinstance(node.rhs, str):
            prefix = _regex_prefix(node.rhs)
            found += [self._leaf(lhs, "istartswith", prefix, negated=False)] if prefix else []
        return found

    # Conditions on other documents.

    def _inner_query(self, node: Any, kind: str, column: str, *, negated: bool) -> Formula:
        if node.lookup_name not in ("in", "exact"):
            _refuse_lookup(f"{node.lookup_name} with a queryset")
        if negated and node.lookup_name == "exact":
            raise UnsupportedQuery(
                f"Frappe cannot say that {column!r} is not what a queryset finds. Use __in."
            )
        query = node.rhs
        if not hasattr(query, "identity"):
            raise UnsupportedQuery(
                "A queryset of the database cannot be an inner query. Wrap it in list() first."
            )
        if query.identity != self.scope.identity:
            raise UnsupportedQuery(
                "The inner queryset acts as somebody else. Use the same identity for both."
            )
        if not query.has_select_fields:
            query = query.clone()
            query.clear_select_clause()
            query.add_fields(["pk"])
        inner = _found(self.compile_inner(query), node.lhs.target, self.scope, null_spoils=negated)
        test = "not_in_query" if negated else "in_query"
        return Literal(column, kind, test, inner, alias=self._alias(node.lhs))

    def _exists(self, node: Any, *, negated: bool) -> Formula:
        """Return the formula of EXISTS over rows of which one column must be equal to one of this query's."""
        if isinstance(node, NegatedExpression):
            (inner,) = node.get_source_expressions()
            return self._exists(inner, negated=not negated)
        if not isinstance(node, Exists):
            _refuse_condition(node)
        query: Any = node.query
        root = _root_of(query)
        ties = [child for child in query.where.children if self._ties(query, child, root)]
        # Django itself limits EXISTS to one row, which changes nothing.
        sliced = query.low_mark > 0 or query.high_mark == 0
        if not ties or query.where.connector != AND or query.where.negated or sliced:
            raise UnsupportedQuery(
                "Exists() needs filter(link=OuterRef('pk')), or the like, to say which rows are meant."
            )
        # A child row that is named by itself needs not be found by its parent as well.
        tie = max(ties, key=lambda each: self.scope.depth(each.rhs.alias))
        inner = self._inner_of(query, tie, ties)
        col = tie.rhs
        found = Literal(col.target.column, kind_of(col.target), "in_query", inner, alias=self._alias(col))
        return lookups.otherwise(found) if negated else found

    def _ties(self, query: Any, child: Any, root: str) -> bool:
        """Whether a lookup ties a column of an inner query's documents to one of this query."""
        compares = isinstance(child, Lookup) and child.lookup_name == "exact" and isinstance(child.lhs, Col)
        tied = compares and isinstance(child.rhs, Col) and child.rhs.alias not in query.alias_map
        return tied and child.lhs.alias == root

    def _inner_of(self, query: Any, tie: Any, ties: list[Any]) -> Selection:
        col = tie.lhs
        scope = Scope(query, self.scope.zone, self.scope.identity, root=_root_of(query))
        scope.model = col.target.model
        conditions = Conditions(scope, self.compile_inner)
        conditions.outer = ties
        model = _model_of(query, scope.root, col)
        return Selection(
            doctype=model.doctype,
            columns=(values.column_of(col.target),),
            where=all_of([rows_of(model), conditions.of(query.where)]),
            parent=getattr(model, "parent_doctype", None) or None,
            identity=self.scope.identity,
            member_kind=kind_of(col.target),
        )


def _has_xor(node: Any) -> bool:
    if not isinstance(node, WhereNode):
        return False
    return node.connector not in (AND, OR) or any(map(_has_xor, node.children))


def _root_of(query: Any) -> str:
    """Return the first join in use: Django trims those that lead from the outer query's model to the rows."""
    return next(str(alias) for alias in query.alias_map if query.alias_refcount[alias])


def _model_of(query: Any, root: str, col: Col) -> Any:
    return query.model if root == next(iter(query.alias_map)) else col.target.model


def _found(compiled: Compiled, field: Field, scope: Scope, *, null_spoils: bool) -> Selection | Inner:
    """Return an inner query as the selection of its one column, or as what finds its one value."""
    if len(compiled.outputs) != 1:
        raise UnsupportedQuery("An inner queryset must have one column. Narrow it with values('…').")
    (output,) = compiled.outputs
    selection = compiled.selection
    plain = compiled.grouping is None and len(selection.columns) == 1 and not selection.folds
    if plain and output.columns and not output.columns[0].links and compiled.fields:
        return replace(selection, member_kind=kind_of(compiled.fields[0]), null_spoils=null_spoils)
    return Inner(compiled, lambda value: values.to_wire(field, value, scope.zone), null_spoils)


def _is_surprising_null(field: Field, kind: str) -> bool:
    """
    Whether a column may be NULL although the model says that it is not.

    A column is nullable at ERPNext whatever the model says; where it says there is no NULL, an exclude() forgets none.
    """
    return not field.null and kind not in lookups.NEVER_NULL


def _is_constant(node: Any) -> bool:
    return not any(
        hasattr(each, "resolve_expression") for each in sides(node) if not isinstance(each, Value | Query)
    )


def _constant(rhs: Any) -> Any:
    return rhs.value if isinstance(rhs, Value) else rhs


def _plain_in(node: TupleIn) -> In[Any]:
    """Return `(name) IN ((x), (y))`, which is how Django fetches the documents of a link, as `name IN (x, y)`."""
    (column,) = node.lhs.get_cols()
    return In(column, [member for (member,) in node.rhs])


# Parts of a date that are ranges of it.


def _ranges(node: Any) -> list[tuple[Any, Any]] | None:
    """Return the ranges of the column for which a lookup on its year, or its date, is true."""
    lhs, name = node.lhs, node.lookup_name
    if not isinstance(getattr(lhs, "lhs", None), Col) or name not in _OF_RANGES or not _is_constant(node):
        return None
    if isinstance(node.rhs, Query) or None in sides(node):
        return None
    is_year = isinstance(lhs, Extract) and lhs.lookup_name in ("year", "iso_year")
    if not is_year and not isinstance(lhs, TruncDate):
        return None
    bounds = [_bounds(lhs, _constant(each)) for each in sides(node)]
    return _OF_RANGES[name](bounds)


def _bounds(part: Any, value: Any) -> tuple[Any, Any]:
    """Return the first value of the column that is in the part, and the first one after it."""
    zone = moments.zone_of(part)
    of_moments = part.lhs.target.get_internal_type() == "DateTimeField"
    if isinstance(part, TruncDate):
        return moments.day_bounds(value, zone) if of_moments else (value, value + moments.ONE_DAY)
    first, after = moments.year_bounds(int(value), iso=part.lookup_name == "iso_year")
    if not of_moments:
        return first, after
    return moments.day_bounds(first, zone)[0], moments.day_bounds(after, zone)[0]


_OF_RANGES: dict[Any, Callable[[list[tuple[Any, Any]]], list[tuple[Any, Any]]]] = {
    "exact": lambda bounds: bounds,
    "in": lambda bounds: bounds,
    "gt": lambda bounds: [(bounds[0][1], None)],
    "gte": lambda bounds: [(bounds[0][0], None)],
    "lt": lambda bounds: [(None, bounds[0][0])],
    "lte": lambda bounds: [(None, bounds[0][1])],
    "range": lambda bounds: [(bounds[0][0], bounds[1][1])],
}


def _regex_prefix(pattern: str) -> str:
    """Return the text that everything begins with that the pattern finds."""
    if not pattern.startswith("^") or "|" in pattern:
        return ""
    plain = ""
    for character in pattern[1:]:
        if not (character.isalnum() or character == " "):
            # What repeats, or is left out, is not there for sure.
            return plain[:-1] if character in "*?{" else plain
        plain += character
    return plain


def _refuse_lookup(name: str) -> NoReturn:
    known = ", ".join([*lookups.LOOKUPS, "isnull", "range", "regex", "iregex"])
    raise UnsupportedQuery(f"Frappe cannot express the lookup {name!r}. Known lookups: {known}.")


def _refuse_condition(node: Any) -> NoReturn:
    raise UnsupportedQuery(
        f"Frappe cannot express the condition {type(node).__name__}. Use field lookups and Q."
    )
