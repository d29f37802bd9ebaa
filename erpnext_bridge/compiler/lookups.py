"""
Django's lookups as tests of one column, and each test as the Frappe filters that say it.

A test that Frappe cannot say exactly is said wider, and the rows are tested again here (`passes`). What was
measured on Frappe 15.55.1 and 16.4.1 about NULL, `like` and `in` is in `docs/queries.md`.

Text is compared as the site's collation does: case, accents and trailing blanks do not count. The
case-sensitive lookups (`contains`, `startswith`, `endswith`) are pushed as `like` and tested again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from erpnext_bridge import collation, values
from erpnext_bridge.compiler.dialects import Dialect
from erpnext_bridge.compiler.formula import (
    FALSE,
    TRUE,
    And,
    Check,
    Formula,
    Leaf,
    Literal,
    Or,
    all_of,
    any_of,
    flat,
)
from erpnext_bridge.compiler.rows import Row

TEXT = "text"
"""Nullable text, in which NULL and '' differ."""
BLANK = "blank"
"""Text of a field that is declared without `null=True`: NULL and '' both read as '', as Frappe treats them."""
LINK = "link"
"""The name of another document; '' and NULL both mean that there is none."""
NUMBER = "number"
"""Whole numbers and Check; the columns are NOT NULL."""
DECIMAL = "decimal"
"""Float, Currency and Percent; the columns are NOT NULL."""
DATE = "date"
"""Date and Datetime; nullable."""
TIME = "time"
"""Time; nullable, and Frappe compares NULL as midnight."""
DURATION = "duration"
"""Duration, a nullable number of seconds; Frappe compares NULL as 0."""
JSON = "json"
"""JSON; nullable, and nothing but its presence can be asked for."""
STAMP = "stamp"
"""`creation` and `modified`: Datetime, never NULL and compared without IFNULL."""
NAME = "name"
"""The primary key: text that is never NULL."""

NEVER_NULL = frozenset({NUMBER, DECIMAL, STAMP, NAME, BLANK})
"""Kinds without NULL: Frappe declares the columns NOT NULL with a default, or the NULLs read as ''."""
TEXTS = frozenset({TEXT, BLANK, LINK, NAME})
ZEROED = frozenset({TIME, DURATION})
"""Kinds whose NULL is compared as if it were zero."""

COMPLEMENTS = {
    "eq": "ne",
    "in": "not_in",
    "lt": "gte",
    "lte": "gt",
    "contains": "not_contains",
    "icontains": "not_icontains",
    "startswith": "not_startswith",
    "istartswith": "not_istartswith",
    "endswith": "not_endswith",
    "iendswith": "not_iendswith",
    "in_query": "not_in_query",
    "descendants_of": "not_descendants_of",
    "descendants_of_inclusive": "not_descendants_of_inclusive",
    "ancestors_of": "not_ancestors_of",
    "timespan": "not_timespan",
}
COMPLEMENTS |= {"any": "none", "set": "unset"}
COMPLEMENTS |= {other: test for test, other in COMPLEMENTS.items()}

LOOKUPS = {
    "exact": "eq",
    "iexact": "eq",
    "in": "in",
    "gt": "gt",
    "gte": "gte",
    "lt": "lt",
    "lte": "lte",
    "contains": "contains",
    "icontains": "icontains",
    "startswith": "startswith",
    "istartswith": "istartswith",
    "endswith": "endswith",
    "iendswith": "iendswith",
    **{test: test for test in ("descendants_of", "descendants_of_inclusive", "ancestors_of", "timespan")},
}
"""Django's lookup → test; `isnull` and `range` are built from these. What is not here is tested by `compiler/judges.py`."""

PATTERNS = {
    "contains": "%{}%",
    "startswith": "{}%",
    "endswith": "%{}",
}
"""Case-sensitive pattern test → its `like` pattern; the same with an `i` before it ignores case."""

_TREE_OPERATORS = {
    "descendants_of": "descendants of",
    "descendants_of_inclusive": "descendants of (inclusive)",
    "ancestors_of": "ancestors of",
}
_TREE_OPERATORS |= {f"not_{test}": f"not {operator}" for test, operator in _TREE_OPERATORS.items()}

SAID_BY_FRAPPE = frozenset({*_TREE_OPERATORS, "timespan", "not_timespan"})
"""Tests that only the site can decide: it knows the trees, and on which day its weeks begin."""
SAID_ANYWHERE = frozenset({"timespan"})
"""Those of them that one filter says, also in `or_filters`."""
NEVER_SAID = frozenset({"not_timespan", "not_descendants_of_inclusive"})
"""Those of them for which Frappe has no operator: what the opposite finds is named and left out."""

_OPERATORS = {
    "eq": "=",
    "ne": "!=",
    "lt": "<",
    "lte": "<=",
    "gt": ">",
    "gte": ">=",
    "in": "in",
    "not_in": "not in",
}

# Frappe wraps the column in IFNULL for these operators (frappe/model/db_query.py), so that a NULL row
# passes: a second filter takes it away again where it must not.
_PASSES_NULL = frozenset({"ne", "lt", "lte", "not_in"})

Filter = tuple[str, str, Any]
"""fieldname, operator, value."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What Frappe is asked for one literal."""

    filters: tuple[Filter, ...]
    """All of them must hold; none asks for every row."""
    exact: bool = True
    """Whether they ask for just the literal's rows; otherwise for more, and `passes` decides."""


def leaf(
    kind: str,
    fieldname: str,
    test: str,
    value: Any,
    *,
    negated: bool,
    null_ok: bool = False,
    alias: str = "",
) -> Formula:
    """
    Return the formula of a comparison that is true (or, `negated`, false).

    NULL is neither, as in SQL, unless `null_ok` is set. A column of a related row, which has an `alias`, is
    NULL where there is no such row, whatever its kind.
    """
    if test == "in" and not value:
        return TRUE if negated else FALSE
    if negated:
        test = COMPLEMENTS[test]
    if kind in TEXTS and kind != NAME and test in _OF_EMPTY and _is_empty(value):
        return _leaf_empty(Literal(fieldname, kind, _OF_EMPTY[test], None, null_ok, alias))
    return Literal(fieldname, kind, test, value, null_ok, alias)


def _is_empty(value: Any) -> bool:
    """Whether a text is equal to '': trailing blanks do not count."""
    return isinstance(value, str) and not value.strip(" ")


_OF_EMPTY = {"eq": "eq", "lte": "eq", "ne": "ne", "gt": "ne", "gte": "any", "lt": "none"}
"""Comparison with '' → what it comes to: nothing sorts before the empty text."""


def _leaf_empty(plain: Literal) -> Formula:
    """Compare with '': a link is never that, and the text of a field without NULL is that when it is not set."""
    kind, test, null_ok = plain.kind, plain.test, plain.null_ok
    if kind == LINK or test in ("any", "none"):
        found = not_null(kind, plain.fieldname, plain.alias) if test in ("any", "ne") else FALSE
        return any_of([found, is_null(kind, plain.fieldname, plain.alias)]) if null_ok else found
    if kind == BLANK:
        return replace(plain, test="set" if test == "ne" else "unset", null_ok=null_ok and bool(plain.alias))
    return replace(plain, test="set") if test == "ne" else replace(plain, test="eq", value="")


def is_null(kind: str, fieldname: str, alias: str = "") -> Formula:
    if kind in NEVER_NULL and not alias:
        return FALSE
    return Literal(fieldname, kind, "none", null_ok=True, alias=alias)


def not_null(kind: str, fieldname: str, alias: str = "") -> Formula:
    if kind in NEVER_NULL and not alias:
        return TRUE
    return Literal(fieldname, kind, "any", alias=alias)


def of_its_own(formula: Formula) -> Formula:
    """Return the formula about a related row as one about the document itself, which is there."""
    if isinstance(formula, Check):
        return replace(formula, alias="")
    if isinstance(formula, Literal):
        if formula.kind in NEVER_NULL and formula.test in ("any", "none"):
            return TRUE if formula.test == "any" else FALSE
        null_ok = formula.null_ok and formula.kind not in NEVER_NULL
        return replace(formula, alias="", null_ok=null_ok)
    join = all_of if isinstance(formula, And) else any_of
    return join(of_its_own(part) for part in formula.parts)


def passes_without(formula: Formula) -> bool:
    """Return whether a formula about a related row is true where there is no such row: all columns are NULL."""
    if isinstance(formula, Literal):
        return formula.null_ok
    if isinstance(formula, Check):
        return formula.passes(Row(dict.fromkeys(column.own for column in formula.columns)))
    combine = all if isinstance(formula, And) else any
    return combine(passes_without(part) for part in formula.parts)


def always(literal: Literal) -> Formula:
    """Return what the literal comes to when its test is true of every value."""
    return TRUE if literal.null_ok else not_null(literal.kind, literal.fieldname, literal.alias)


def never(literal: Literal) -> Formula:
    """Return what the literal comes to when its test is true of no value."""
    return is_null(literal.kind, literal.fieldname, literal.alias) if literal.null_ok else FALSE


def with_nulls(formula: Formula, literal: Literal) -> Formula:
    """Return the formula with the literal's way of taking NULL: it lets it pass, or it does not."""
    if literal.null_ok:
        return any_of([formula, is_null(literal.kind, literal.fieldname, literal.alias)])
    return all_of([formula, not_null(literal.kind, literal.fieldname, literal.alias)])


def otherwise(formula: Formula) -> Formula:
    """Return the formula that is true of just those rows for which this one is not."""
    if isinstance(formula, Literal):
        return _other_rows(formula)
    if isinstance(formula, Check):
        return replace(formula, accepts=frozenset({True, False, None}) - formula.accepts)
    join = any_of if isinstance(formula, And) else all_of
    return join(otherwise(part) for part in formula.parts)


def _other_rows(literal: Literal) -> Formula:
    bare = literal.kind in NEVER_NULL and not literal.alias
    other = replace(literal, null_ok=literal.null_ok if bare else not literal.null_ok)
    if literal.kind == TEXT and literal.test == "set":
        return replace(other, test="eq", value="")
    if literal.kind == TEXT and literal.test == "eq" and literal.value == "":
        return replace(other, test="set", value=None)
    return replace(other, test=COMPLEMENTS[literal.test])


def prepare(formula: Formula, dialect: Dialect) -> Formula:
    """Return the formula with each literal split that one set of filters cannot say, in this dialect."""
    if isinstance(formula, Literal):
        return _split(formula, dialect)
    if isinstance(formula, Check):
        return formula
    # Not joined by any_of(), which would fold "or NULL" into the literal it was split from.
    return flat(type(formula), (prepare(part, dialect) for part in formula.parts))


def push(leaf: Leaf, dialect: Dialect) -> Pushed:
    """Return the filters for a literal, as narrow as the dialect allows, and none for a check."""
    return Pushed((), exact=False) if isinstance(leaf, Check) else _push_literal(leaf, dialect)


def _push_literal(literal: Literal, dialect: Dialect) -> Pushed:
    if literal.test in SAID_BY_FRAPPE:
        return _push_own(literal)
    if literal.test in ("any", "none", "set", "unset"):
        return _push_presence(literal, dialect)
    base = literal.test.removeprefix("not_").removeprefix("i")
    if base in PATTERNS:
        return _push_pattern(literal, PATTERNS[base], dialect)
    if literal.kind == TEXT and literal.value == "" and literal.test == "eq":
        return _push_empty(literal, dialect)
    filters: tuple[Filter, ...] = ((literal.fieldname, _OPERATORS[literal.test], _wire(literal)),)
    if not literal.null_ok and (literal.test in _PASSES_NULL or literal.kind in ZEROED):
        filters += _presence(literal, dialect)
    return Pushed(filters)


def member(kind: str, value: Any) -> Any:
    """Return a value that Frappe sent as a filter wants it; None when it is read as NULL."""
    if value is None:
        return "" if kind == BLANK else None
    if value == "" and kind == LINK:
        return None
    return _MEMBERS[kind](value) if kind in _MEMBERS else value


def passes(literal: Literal, value: Any) -> bool:
    """Return whether a row with this value, as Frappe sent it, satisfies the literal."""
    if value is None and literal.kind == BLANK:
        value = ""
    if value is None or (literal.kind == LINK and value == ""):
        return literal.null_ok
    if literal.test.startswith("not_"):
        return not _TESTS[literal.test.removeprefix("not_")](literal, value)
    return _TESTS[literal.test](literal, value)


def _split(literal: Literal, dialect: Dialect) -> Formula:
    """Split off "or NULL" where no operator says it, and members that `in` would mangle."""
    if literal.null_ok and not _takes_null(literal):
        plain = replace(literal, null_ok=False)
        return flat(Or, [_split(plain, dialect), _null(literal)])
    if literal.test in ("in", "not_in"):
        return _split_members(literal, dialect)
    return literal


def _takes_null(literal: Literal) -> bool:
    """Whether one filter says "or NULL" along with the test."""
    if literal.test in ("none", "any") or literal.kind in NEVER_NULL:
        return True
    if literal.kind in ZEROED:
        return literal.test == "not_in"
    return literal.test in _PASSES_NULL or literal.test.startswith("not_")


def _split_members(literal: Literal, dialect: Dialect) -> Formula:
    odd = tuple(member for member in literal.value if _is_odd(literal, member, dialect))
    if not odd:
        return literal
    plain = tuple(member for member in literal.value if member not in odd)
    negated = literal.test == "not_in"
    name, kind, null_ok = literal.fieldname, literal.kind, literal.null_ok
    parts = [leaf(kind, name, "eq", member, negated=negated, null_ok=null_ok) for member in odd]
    parts.append(leaf(kind, name, "in", plain, negated=negated, null_ok=null_ok))
    return flat(And if negated else Or, (prepare(part, dialect) for part in parts))


def _is_odd(literal: Literal, member: Any, dialect: Dialect) -> bool:
    """Whether `in` reads a member differently than `=` does."""
    if literal.kind == DECIMAL:
        # v15 compares the text "100.000000000" with "100" in `not in`, and so finds every row.
        return literal.test == "not_in" and not dialect.null_equals
    if literal.kind == DURATION:
        return literal.test == "not_in"
    if literal.kind not in TEXTS or not isinstance(member, str):
        return False
    return _is_empty(member) or (dialect.trims_members and member != member.strip())


def _null(literal: Literal) -> Literal:
    return Literal(literal.fieldname, literal.kind, "none", null_ok=True)


def _presence(literal: Literal, dialect: Dialect) -> tuple[Filter, ...]:
    """Return the filter that takes NULL rows away."""
    if literal.kind in NEVER_NULL:
        return ()
    if literal.kind == TIME:
        return ((literal.fieldname, *dialect.time_is_set),)
    if literal.kind in (TEXT, DURATION):
        # `like` is the one operator without IFNULL on both versions; "is set" means != '', which 0 is not.
        return ((literal.fieldname, "like", "%"),)
    return ((literal.fieldname, "is", "set"),)


def _push_own(literal: Literal) -> Pushed:
    if literal.test in SAID_ANYWHERE:
        return Pushed(((literal.fieldname, literal.test, literal.value),))
    filters: tuple[Filter, ...] = ((literal.fieldname, _TREE_OPERATORS[literal.test], literal.value),)
    # v16 takes a tree operator only beside another filter; and of a name that is nobody's descendant or
    # ancestor, both versions make '', which documents without a link have.
    beside = "name" if literal.null_ok or literal.kind == NAME else literal.fieldname
    return Pushed((*filters, (beside, "is", "set")))


def _push_presence(literal: Literal, dialect: Dialect) -> Pushed:
    name, kind = literal.fieldname, literal.kind
    if literal.test in ("set", "unset"):
        return Pushed(((name, "is", "set" if literal.test == "set" else "not set"),))
    if literal.test == "any":
        return Pushed(() if literal.null_ok else _presence(literal, dialect))
    if (kind == TEXT or kind in ZEROED) and dialect.null_equals:
        return Pushed(((name, "=", None),))
    return Pushed(((name, "is", "not set"),), exact=kind != TEXT)


def _push_empty(literal: Literal, dialect: Dialect) -> Pushed:
    if dialect.empty_like:
        return Pushed(((literal.fieldname, "like", ""),))
    return Pushed(((literal.fieldname, "is", "not set"), (literal.fieldname, "like", "%")))


def _push_pattern(literal: Literal, pattern: str, dialect: Dialect) -> Pushed:
    text = str(literal.value)
    wild = "%" in text or "_" in text
    if dialect.like_escapes:
        text = _escaped(text)
        wild = False
    negated = literal.test.startswith("not_")
    cased = not literal.test.removeprefix("not_").startswith("i")
    if literal.value == "":
        # Every text holds the empty one, and none is without it.
        return Pushed(() if literal.null_ok else _presence(literal, dialect), exact=not negated)
    if negated and (wild or cased):
        # `not like` of a wider pattern would lose rows: every row is asked for, and tested here.
        return Pushed(() if literal.null_ok else _presence(literal, dialect), exact=False)
    operator = "not like" if negated else "like"
    filters: tuple[Filter, ...] = ((literal.fieldname, operator, pattern.format(text)),)
    if negated and not literal.null_ok:
        filters += _presence(literal, dialect)
    return Pushed(filters, exact=not wild and not cased)


def _wire(literal: Literal) -> Any:
    value = literal.value
    if literal.kind == DURATION:
        # As text, it would be compared with the column as text.
        return [float(each) for each in value] if isinstance(value, tuple) else float(value)
    return list(value) if isinstance(value, tuple) else value


def _compare(relation: Callable[[Any, Any], bool]) -> Callable[[Literal, Any], bool]:
    def test(literal: Literal, value: Any) -> bool:
        key = _KEYS[literal.kind]
        return relation(key(value), key(literal.value))

    return test


_KEYS: dict[str, Callable[[Any], Any]] = {
    TEXT: collation.sort_key,
    BLANK: collation.sort_key,
    LINK: collation.sort_key,
    NAME: collation.sort_key,
    NUMBER: int,
    DECIMAL: lambda value: Decimal(str(value)),
    DATE: lambda value: values.canonical(str(value)),
    STAMP: lambda value: values.canonical(str(value)),
    TIME: lambda value: values.canonical(str(value)),
    DURATION: lambda value: Decimal(str(value)),
}
"""Kind → what to compare in place of a value, so that two spellings of one value are equal."""


def key_of(kind: str, value: Any) -> Any:
    """Return what a column's value, as Frappe sent it, is sorted by; None where it is read as NULL."""
    if value is None or (kind == LINK and value == ""):
        return collation.sort_key("") if kind == BLANK else None
    return _KEYS[kind](value)


_MEMBERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys((DATE, STAMP, TIME), lambda value: values.canonical(str(value))),
    **dict.fromkeys((DECIMAL, DURATION), lambda value: format(Decimal(str(value)), "f")),
}
"""Kind → how a filter wants a value that was read."""


def _like(pattern: str) -> Callable[[Literal, Any], bool]:
    def test(literal: Literal, value: Any) -> bool:
        return collation.like(PATTERNS[pattern].format(_escaped(literal.value)), value, escape=True)

    return test


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _is_member(literal: Literal, value: Any) -> bool:
    key = _KEYS[literal.kind]
    return key(value) in {key(member) for member in literal.value}


_TESTS: dict[str, Callable[[Literal, Any], bool]] = {
    "any": lambda literal, value: True,
    "none": lambda literal, value: False,
    "set": lambda literal, value: value != "",
    "unset": lambda literal, value: value == "",
    "eq": _compare(lambda left, right: left == right),
    "ne": _compare(lambda left, right: left != right),
    "lt": _compare(lambda left, right: left < right),
    "lte": _compare(lambda left, right: left <= right),
    "gt": _compare(lambda left, right: left > right),
    "gte": _compare(lambda left, right: left >= right),
    "in": _is_member,
    "contains": lambda literal, value: literal.value in value,
    "startswith": lambda literal, value: value.startswith(literal.value),
    "endswith": lambda literal, value: value.endswith(literal.value),
    "icontains": _like("contains"),
    "istartswith": _like("startswith"),
    "iendswith": _like("endswith"),
}
