"""Django's lookups as judges: functions that say of a row what SQL would, true, false or NULL."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models.lookups import Lookup
from django.db.models.sql import Query
from django.db.models.sql.where import AND, OR, NothingNode, WhereNode

from erpnext_bridge import collation
from erpnext_bridge.compiler.folding import comparable
from erpnext_bridge.compiler.rows import Column, Judge, Row, Term
from erpnext_bridge.errors import UnsupportedQuery

Compile = Callable[[Any], Term]
"""Turns an expression into a term."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A judge, with what it reads."""

    text: str
    columns: tuple[Column, ...]
    judge: Judge
    aggregate: bool = False


def judged(node: Any, compile_term: Compile) -> Judged:
    """Return the judge of a node of `Query.where`. UnsupportedQuery for a lookup that is not known."""
    if isinstance(node, NothingNode):
        return Judged("nothing", (), lambda row: False)
    if isinstance(node, WhereNode):
        return _tree(node, [judged(child, compile_term) for child in node.children])
    if isinstance(node, Lookup):
        return _lookup(node, compile_term)
    raise UnsupportedQuery(
        f"Frappe cannot express the condition {type(node).__name__}. Use field lookups and Q."
    )


def _tree(node: WhereNode, parts: list[Judged]) -> Judged:
    join = _JOINS.get(node.connector, _odd)
    judges = [part.judge for part in parts]
    negated = node.negated

    def judge(row: Row) -> bool | None:
        found = join([each(row) for each in judges])
        return found if not negated or found is None else not found

    return Judged(
        f" {node.connector} ".join(part.text for part in parts),
        tuple(column for part in parts for column in part.columns),
        judge,
        any(part.aggregate for part in parts),
    )


def _and(found: list[bool | None]) -> bool | None:
    if False in found:
        return False
    return None if None in found else True


def _or(found: list[bool | None]) -> bool | None:
    if True in found:
        return True
    return None if None in found else False


def _odd(found: list[bool | None]) -> bool:
    """XOR: Django counts the parts that are true (`WhereNode.as_sql`)."""
    return sum(each is True for each in found) % 2 == 1


_JOINS: dict[str, Callable[[list[bool | None]], bool | None]] = {AND: _and, OR: _or}


def _lookup(node: Lookup[Any], compile_term: Compile) -> Judged:
    name = str(node.lookup_name)
    left = compile_term(node.lhs)
    if name == "isnull":
        wanted = bool(node.rhs)
        return Judged(
            f"{left.text} isnull",
            left.columns,
            lambda row: (left.value(row) is None) == wanted,
            left.aggregate,
        )
    if name not in TESTS or isinstance(node.rhs, Query):
        raise UnsupportedQuery(
            f"Frappe cannot express the lookup {name!r}. Known lookups: {', '.join(TESTS)}."
        )
    rights = [_side(each, compile_term) for each in sides(node)]
    test, many = TESTS[name], name in _LISTS

    def judge(row: Row) -> bool | None:
        value = left.value(row)
        given = [right.value(row) for right in rights]
        if name == "in":
            return _member(value, given)
        if value is None or None in given:
            return None
        try:
            return bool(test(value, *given))
        except TypeError:
            kinds = " and ".join(dict.fromkeys(type(each).__name__ for each in (value, *given)))
            raise UnsupportedQuery(
                f"Databases differ in how they compare {kinds}. Compare values of one type, such as F('creation__date')."
            ) from None

    columns = (*left.columns, *(column for right in rights for column in right.columns))
    text = f"{left.text} {name}" + ("" if many else f" {rights[0].text}")
    return Judged(text, columns, judge, left.aggregate or any(right.aggregate for right in rights))


def sides(node: Any) -> list[Any]:
    """Return what a lookup compares with: the members of a list one by one."""
    if node.lookup_name not in _LISTS or isinstance(node.rhs, Query):
        return [node.rhs]
    # Django wraps a list that holds expressions.
    given = node.rhs.get_source_expressions() if hasattr(node.rhs, "get_source_expressions") else node.rhs
    return list(given)


def _side(given: Any, compile_term: Compile) -> Term:
    if hasattr(given, "resolve_expression"):
        return compile_term(given)
    return Term(repr(given), (), lambda row: given)


def _member(value: Any, given: list[Any]) -> bool | None:
    # Django leaves NULL out of the list, and finds nothing in an empty one.
    members = [each for each in given if each is not None]
    if not members:
        return False
    return None if value is None else comparable(value) in {comparable(each) for each in members}


def _ordered(relation: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda left, right: relation(comparable(left), comparable(right))


def _like(pattern: str) -> Callable[[Any, Any], bool]:
    def test(value: Any, part: Any) -> bool:
        escaped = str(part).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return collation.like(pattern.format(escaped), str(value))

    return test


def _range(value: Any, low: Any, high: Any) -> bool:
    return bool(comparable(low) <= comparable(value) <= comparable(high))


_equal = _ordered(lambda left, right: left == right)

TESTS: dict[str, Callable[..., bool]] = {
    "exact": _equal,
    "iexact": _equal,
    "gt": _ordered(lambda left, right: left > right),
    "gte": _ordered(lambda left, right: left >= right),
    "lt": _ordered(lambda left, right: left < right),
    "lte": _ordered(lambda left, right: left <= right),
    "in": lambda value, *members: False,
    "range": _range,
    "contains": lambda value, part: str(part) in str(value),
    "startswith": lambda value, part: str(value).startswith(str(part)),
    "endswith": lambda value, part: str(value).endswith(str(part)),
    "icontains": _like("%{}%"),
    "istartswith": _like("{}%"),
    "iendswith": _like("%{}"),
    "regex": lambda value, pattern: re.search(str(pattern), str(value)) is not None,
    "iregex": lambda value, pattern: re.search(str(pattern), str(value), re.IGNORECASE) is not None,
}

_LISTS = frozenset({"in", "range"})
