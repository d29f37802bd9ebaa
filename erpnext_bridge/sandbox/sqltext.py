"""The SQL expressions that Frappe 15 lets through in fields, order_by and group_by, read as MariaDB would."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import errors, mariadb
from .mariadb import DATE, DATETIME, DECIMAL, INT, TEXT, Expr
from .store import quoted

if TYPE_CHECKING:
    from .store import Store

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<name>`(?:[^`])*`)
      | (?P<text>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*")
      | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
      | (?P<word>[^\W\d][\w$]*)
      | (?P<sign><=|>=|!=|<>|[-+*/%(),.=<>])
    )""",
    re.VERBOSE,
)
AGGREGATES = frozenset({"count", "sum", "avg", "min", "max", "group_concat"})


def syntax_error() -> errors.SandboxError:
    return errors.SQLProgrammingError('(1064, "<SQL syntax error>")')


def no_list(value: Any) -> Any:
    """The literal of a comparison: a list stays in its brackets, where SQL takes the empty text and no other."""
    if not isinstance(value, list):
        return value
    if value != [""]:
        raise syntax_error()
    return ""


def members(value: Any) -> list[Any]:
    """The members of an IN of the query builder; a text is taken apart at its commas."""
    values = value.split(",") if isinstance(value, str) else value
    if not isinstance(values, list):
        raise errors.AttributeError(f"'{type(values).__name__}' object has no attribute 'nodes_'")
    return values


def no_routine(name: str) -> errors.SandboxError:
    """What is called through a dot is a stored routine to MariaDB, in a database that the site's user may not enter."""
    denied = f"execute command denied to user '<database>'@'%' for routine '{name}'"
    return errors.SQLOperationalError(f'(1370, "{denied}")')


def unknown_column(name: str, clause: str) -> errors.SandboxError:
    return errors.SQLOperationalError(f"(1054, \"Unknown column '{name}' in '{clause}'\")")


def ambiguous_column(name: str, clause: str) -> errors.SandboxError:
    return errors.SQLOperationalError(f"(1052, \"Column '{name}' in {clause} is ambiguous\")")


@dataclass
class Scope:
    """The tables of a query by their aliases, in the order they were joined, and the names it gives its results."""

    store: Store
    tables: dict[str, str] = field(default_factory=dict)
    """Alias, such as `tabCustomer`, -> DocType."""
    results: dict[str, Expr] = field(default_factory=dict)
    doubled: set[str] = field(default_factory=set)
    """Names that several different results have."""

    def name_result(self, name: str, expr: Expr) -> None:
        if self.results.setdefault(name, expr) != expr:
            self.doubled.add(name)
        self.results[name] = expr

    def column(self, alias: str, name: str) -> Expr | None:
        doctype = self.tables.get(alias)
        if doctype is None:
            return None
        stored = self._stored_name(doctype, name)
        if stored is None:
            return None
        return Expr(f"{quoted(alias)}.{quoted(stored)}", self.store.kinds(doctype)[stored])

    def _stored_name(self, doctype: str, name: str) -> str | None:
        """Columns are found in any case."""
        kinds = self.store.kinds(doctype)
        if name in kinds:
            return name
        lower = name.lower()
        return lower if lower in kinds else None

    def result(self, name: str, clause: str) -> Expr:
        if name in self.doubled:
            raise ambiguous_column(name, clause)
        return self.results[name]

    def resolve(self, name: str, clause: str) -> Expr:
        """A bare name: a column of exactly one table, or a result's name where those count."""
        found = [expr for alias in self.tables if (expr := self.column(alias, name)) is not None]
        if clause == "ORDER BY" and name in self.results:
            return self.result(name, clause)
        if len(found) > 1:
            raise ambiguous_column(name, clause)
        if found:
            return found[0]
        if name in self.results and clause != "SELECT":
            return self.results[name]
        raise unknown_column(name, clause)


# MariaDB's reserved words: none of them is a column unless it is quoted.
_RESERVED = """
add all alter analyze and as asc before between by call cascade change check collate column
condition constraint continue convert create cross cursor database databases default delayed delete
desc describe deterministic distinct div drop dual each else elseif enclosed escaped except exists
exit explain fetch float for force foreign from fulltext grant group having ignore in index infile
inner insert int integer intersect into is iterate join key keys kill leading leave left like limit
linear lines load lock long loop match natural not null numeric offset on optimize option optionally
or order out outer over partition precision primary procedure range read reads real recursive
references regexp release rename repeat replace require restrict return returning revoke right rlike
row_number rows select sensitive separator set show signal smallint spatial sql starting
straight_join table terminated then to trailing trigger undo union unique unlock unsigned update
usage use using values varchar varying when where while window with write xor zerofill
"""
RESERVED = frozenset(_RESERVED.split())


class Parser:
    """One expression after the other out of a text."""

    def __init__(self, text: str, scope: Scope, clause: str) -> None:
        self.scope, self.clause = scope, clause
        self.tokens = list(_tokens(text))
        self.position = 0
        self.problem: errors.SandboxError | None = None
        """The first name that means nothing; a text that does not even parse is reported before it."""

    def finish(self) -> None:
        if not self.done:
            raise syntax_error()
        if self.problem is not None:
            raise self.problem

    def _unknown(self, problem: errors.SandboxError) -> Expr:
        self.problem = self.problem or problem
        return Expr("NULL", TEXT)

    # -- tokens ------------------------------------------------------------------------------------------

    def peek(self, offset: int = 0) -> tuple[str, str]:
        index = self.position + offset
        return self.tokens[index] if index < len(self.tokens) else ("end", "")

    def take(self) -> tuple[str, str]:
        token = self.peek()
        self.position += 1
        return token

    def at(self, *values: str) -> bool:
        kind, value = self.peek()
        return kind in ("word", "sign") and value.lower() in values

    def accept(self, *values: str) -> bool:
        if self.at(*values):
            self.position += 1
            return True
        return False

    def expect(self, value: str) -> None:
        if not self.accept(value):
            raise syntax_error()

    @property
    def done(self) -> bool:
        return self.position >= len(self.tokens)

    # -- expressions -------------------------------------------------------------------------------------

    def expression(self) -> Expr:
        left = self.sum()
        while self.at("=", "<", ">", "<=", ">=", "!=", "<>"):
            operator = self.take()[1]
            right = self.sum()
            left = Expr(f"({left.sql} {operator} {right.sql})", INT, left.params + right.params)
        return left

    def sum(self) -> Expr:
        left = self.product()
        while self.at("+", "-"):
            left = self._arithmetic(left, self.take()[1], self.product())
        return left

    def product(self) -> Expr:
        left = self.primary()
        while self.at("*", "/", "%"):
            left = self._arithmetic(left, self.take()[1], self.primary())
        return left

    def _arithmetic(self, left: Expr, operator: str, right: Expr) -> Expr:
        return arithmetic(left, operator, right)

    def primary(self) -> Expr:
        kind, value = self.take()
        if kind == "number":
            return Expr(
                "?", DECIMAL if "." in value else INT, (float(value) if "." in value else int(value),)
            )
        if kind == "text":
            return Expr("?", TEXT, (value[1:-1],))
        if kind == "sign":
            return self._signed(value)
        if kind == "word" and self.at("("):
            return self._function(value)
        # A word before a dot is a name whatever it is.
        if kind == "name" or (kind == "word" and (self.at(".") or value.lower() not in RESERVED)):
            return self._name(value.strip("`"))
        raise syntax_error()

    def _signed(self, sign: str) -> Expr:
        if sign == "-":
            inner = mariadb.as_number(self.primary())
            return Expr(f"(-{inner.sql})", inner.kind, inner.params)
        if sign != "(":
            raise syntax_error()
        self.accept("select")
        inner = self.expression()
        self.expect(")")
        return inner

    def _name(self, name: str) -> Expr:
        if not self.accept("."):
            try:
                return self.scope.resolve(name, self.clause)
            except errors.DriverError as problem:
                return self._unknown(problem)
        kind, second = self.take()
        if kind not in ("word", "name"):
            raise syntax_error()
        column = self.scope.column(name, second.strip("`"))
        if column is None:
            return self._unknown(unknown_column(f"{name}.{second.strip('`')}", self.clause))
        return column

    def _function(self, name: str) -> Expr:
        self.expect("(")
        distinct = self.accept("distinct")
        arguments = []
        if self.at("*") and name.lower() == "count":
            self.take()
            arguments.append(Expr("*", INT))
        while not self.at(")"):
            arguments.append(self.expression())
            if not self.accept(","):
                break
        self.expect(")")
        return call(name, arguments, distinct=distinct)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise syntax_error()
        kind = match.lastgroup or ""
        yield kind, match.group(kind)
        position = match.end()


# -- functions ---------------------------------------------------------------------------------------------------


def arithmetic(left: Expr, operator: str, right: Expr) -> Expr:
    one, other = mariadb.as_number(left), mariadb.as_number(right)
    params = one.params + other.params
    if operator == "/":
        # MariaDB divides decimals, and by zero to NULL.
        return Expr(f"(CAST({one.sql} AS REAL) / nullif({other.sql}, 0))", DECIMAL, params)
    kind = INT if one.kind == other.kind == INT else DECIMAL
    return Expr(f"({one.sql} {operator} {other.sql})", kind, params)


def _simple(template: str, kind: str | None, count: int) -> Callable[[list[Expr]], Expr]:
    """A function written as SQL with `{0}`, `{1}` for its arguments; kind None keeps the first one's."""

    def build(arguments: list[Expr]) -> Expr:
        if len(arguments) != count:
            raise errors.SQLProgrammingError(
                '(1582, "Incorrect parameter count in the call to native function")'
            )
        sql = template.format(*(argument.sql for argument in arguments))
        params = tuple(param for argument in arguments for param in argument.params)
        return Expr(sql, kind or arguments[0].kind, params)

    return build


def _variadic(function: str, kind: str | None) -> Callable[[list[Expr]], Expr]:
    def build(arguments: list[Expr]) -> Expr:
        if kind == TEXT:
            arguments = [mariadb.as_text(argument) for argument in arguments]
        sql = ", ".join(argument.sql for argument in arguments)
        params = tuple(param for argument in arguments for param in argument.params)
        return Expr(f"{function}({sql})", kind or arguments[0].kind, params)

    return build


def _concat(arguments: list[Expr]) -> Expr:
    texts = [mariadb.as_text(argument) for argument in arguments]
    params = tuple(param for text in texts for param in text.params)
    return Expr("(" + " || ".join(text.sql for text in texts) + ")", TEXT, params)


def _ifnull(arguments: list[Expr]) -> Expr:
    first, second = arguments
    if first.kind != second.kind:
        first, second = mariadb.as_text(first), mariadb.as_text(second)
    return Expr(f"ifnull({first.sql}, {second.sql})", first.kind, first.params + second.params)


FUNCTIONS: dict[str, Callable[[list[Expr]], Expr]] = {
    "year": _simple("CAST(substr({0}, 1, 4) AS INTEGER)", INT, 1),
    "month": _simple("CAST(substr({0}, 6, 2) AS INTEGER)", INT, 1),
    "day": _simple("CAST(substr({0}, 9, 2) AS INTEGER)", INT, 1),
    "quarter": _simple("((CAST(substr({0}, 6, 2) AS INTEGER) + 2) / 3)", INT, 1),
    "monthname": _simple("month_name({0})", TEXT, 1),
    "date": _simple("substr({0}, 1, 10)", DATE, 1),
    "date_format": _simple("date_format({0}, {1})", TEXT, 2),
    "upper": _simple("upper_text({0})", TEXT, 1),
    "lower": _simple("lower_text({0})", TEXT, 1),
    "length": _simple("length(CAST({0} AS BLOB))", INT, 1),
    "char_length": _simple("length({0})", INT, 1),
    "abs": _simple("abs({0})", None, 1),
    "floor": _simple("floor({0})", INT, 1),
    "ceil": _simple("ceil({0})", INT, 1),
    "rand": _simple("random()", DECIMAL, 0),
    "now": _simple("datetime('now')", DATETIME, 0),
    "trim": _simple("trim({0})", TEXT, 1),
    "left": _simple("substr({0}, 1, {1})", TEXT, 2),
    "nullif": _simple("nullif({0}, {1})", None, 2),
    "locate": _simple("instr(lower_text({1}), lower_text({0}))", INT, 2),
    "datediff": _simple("CAST(julianday({0}) - julianday({1}) AS INTEGER)", INT, 2),
    "if": _simple("iif({0}, {1}, {2})", None, 3),
    "round": _variadic("round", DECIMAL),
    "coalesce": _variadic("coalesce", None),
    "concat": _concat,
    "ifnull": _ifnull,
}


_AVERAGES = {INT: "avg_integer", DECIMAL: "avg_decimal"}


def aggregate(name: str, argument: Expr, distinct: bool = False) -> Expr:
    """COUNT gives an integer, MIN and MAX the argument's type, SUM and AVG a decimal; sums of text add numbers."""
    word = "DISTINCT " if distinct else ""
    if name in ("sum", "avg"):
        number = mariadb.as_number(argument)
        function = _AVERAGES.get(argument.kind, name) if name == "avg" else name
        return Expr(f"{function}({word}{number.sql})", DECIMAL, number.params)
    if name in ("min", "max"):
        return Expr(f"{name}({argument.sql})", argument.kind, argument.params)
    if name == "group_concat":
        text = mariadb.as_text(argument)
        return Expr(f"group_concat({word}{text.sql})", TEXT, text.params)
    return Expr(f"count({word}{argument.sql})", INT, argument.params)


def call(name: str, arguments: list[Expr], *, distinct: bool = False) -> Expr:
    lower = name.lower()
    if lower in AGGREGATES and len(arguments) == 1:
        return aggregate(lower, arguments[0], distinct)
    function = FUNCTIONS.get(lower)
    if function is None:
        raise errors.SQLOperationalError(f"(1305, 'FUNCTION <database>.{name} does not exist')")
    return function(arguments)
