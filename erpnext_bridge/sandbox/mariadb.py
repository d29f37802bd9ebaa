"""What MariaDB makes of comparing values of different types, said in SQLite's SQL.

Dates are kept as `YYYY-MM-DD`, datetimes as text with six decimals, times as microseconds, decimals as REAL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from erpnext_bridge import collation

TEXT, INT, DECIMAL, DATE, DATETIME, TIME = "text", "int", "decimal", "date", "datetime", "time"
NUMBERS = frozenset({INT, DECIMAL})
TEMPORAL = frozenset({DATE, DATETIME, TIME})
COLLATION = "unicode_ci"

KINDS = {
    "Int": INT,
    "Long Int": INT,
    "Check": INT,
    "Float": DECIMAL,
    "Currency": DECIMAL,
    "Percent": DECIMAL,
    "Rating": DECIMAL,
    "Duration": DECIMAL,
    "Date": DATE,
    "Datetime": DATETIME,
    "Time": TIME,
}

_ZERO_DATE = "0000-00-00"
_NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_DATE = re.compile(
    r"\s*(\d{4}|\d\d)[-/.](\d{1,2})[-/.](\d{1,2})(?:[ T]+(.+?))?\s*$|\s*(\d{4}|\d\d)(\d\d)(\d\d)\s*$"
)
_DATE_BEFORE = re.compile(r"\s*(\d{4})-(\d{1,2})-(\d{1,2})(?=\D)()()()()")
_CLOCK = re.compile(r"(\d{1,2})(?::(\d{1,2}))?(?::(\d{1,2})(?:\.(\d{0,6})\d*)?)?\s*(.*)$")
_TIME = re.compile(r"\s*(-?)(\d+):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,6})\d*)?)?")
_TIME_DIGITS = re.compile(r"\s*(-?)(\d{1,7})(?:\.(\d{1,6})\d*)?")


class Expr(NamedTuple):
    sql: str
    kind: str
    params: tuple[Any, ...] = ()


class Condition(NamedTuple):
    sql: str
    params: tuple[Any, ...] = ()


NEVER = Condition("0")
NULL_RESULT = Condition("NULL")


def kind_of(fieldtype: str) -> str:
    return KINDS.get(fieldtype, TEXT)


# -- reading literals --------------------------------------------------------------------------------------


def number(text: str) -> float:
    """The number at the beginning of a text; 0 without one."""
    match = _NUMBER.match(text)
    return float(match.group()) if match else 0.0


@lru_cache(maxsize=4096)
def moment(text: str, *, lenient: bool = False) -> tuple[str, str]:
    """A text as DATE or DATETIME; the zero date when it is neither. Comparing forgives what follows a date."""
    match = _DATE.match(text) or (_DATE_BEFORE.match(text) if lenient else None)
    if match is None:
        return DATE, _ZERO_DATE
    year, month, day = (
        (match.group(n) or match.group(n + 4) for n in (1, 2, 3))
        if match.group(1)
        else (
            match.group(5),
            match.group(6),
            match.group(7),
        )
    )
    try:
        day_text = date(_year(year), int(month), int(day)).isoformat()
    except ValueError:
        return DATE, _ZERO_DATE
    clock = match.group(4)
    if not clock:
        return DATE, day_text
    return DATETIME, f"{day_text} {_clock(clock)}"


def _year(text: str) -> int:
    """Two digits are a year of this century, from 70 on one of the last."""
    if len(text) > 2:
        return int(text)
    return int(text) + (2000 if int(text) < 70 else 1900)


def _clock(text: str) -> str:
    match = _CLOCK.match(text)
    if match is None or not _is_of_a_day(match):
        return "00:00:00.000000"
    hours, minutes, seconds = (int(part or 0) for part in match.group(1, 2, 3))
    return f"{hours:02}:{minutes:02}:{seconds:02}.{(match.group(4) or '').ljust(6, '0')}"


def _is_of_a_day(clock: re.Match[str]) -> bool:
    hours, minutes, seconds = (int(part or 0) for part in clock.group(1, 2, 3))
    return hours < 24 and minutes < 60 and seconds < 60


def microseconds(text: str) -> int:
    """A text as TIME; bare digits count from the right, as HHMMSS."""
    if (stamp := _DATE.match(text)) and stamp.group(4):
        text = _clock(stamp.group(4))
    if match := _TIME.match(text):
        sign, hours, minutes, seconds, fraction = match.groups()
    elif match := _TIME_DIGITS.match(text):
        sign, digits, fraction = match.groups()
        digits = digits.rjust(7, "0")
        hours, minutes, seconds = digits[:-4], digits[-4:-2], digits[-2:]
    else:
        return 0
    total = int(hours) * 3600 + int(minutes) * 60 + int(seconds or 0)
    value = total * 1_000_000 + int((fraction or "").ljust(6, "0"))
    return -value if sign else value


def is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text.rstrip()) is not None


def is_time(text: str) -> bool:
    """Whether a TIME column takes the text: a clock, or digits whose minutes and seconds are below sixty."""
    if clock := _TIME.match(text):
        return all(int(part) < 60 for part in re.findall(r":(\d+)", clock[0]))
    if (stamp := _DATE.match(text)) and stamp.group(4):
        clock = _CLOCK.match(stamp.group(4))
        return clock is not None and not clock[5] and _is_of_a_day(clock)
    match = _TIME_DIGITS.fullmatch(text)
    if match is None:
        return False
    digits = match.group(2).rjust(7, "0")
    return int(digits[-2:]) < 60 and int(digits[-4:-2]) < 60


def time_text(value: int) -> str:
    """TIME(6) as MariaDB prints it."""
    sign, value = ("-", -value) if value < 0 else ("", value)
    seconds, micro = divmod(value, 1_000_000)
    return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{micro:06}"


def timedelta_text(value: int) -> str:
    """TIME as Frappe's format_timedelta shows it: no padding once there is a fraction (utils/data.py)."""
    sign, value = ("-", -value) if value < 0 else ("", value)
    seconds, micro = divmod(value, 1_000_000)
    hours, minutes, rest = seconds // 3600, seconds // 60 % 60, seconds % 60
    if not micro:
        return f"{sign}{hours}:{minutes:02}:{rest:02}"
    fraction = f"{micro:06}".rstrip("0")
    return f"{sign}{hours}:{minutes:02}:{rest}.{fraction}"


def datetime_text(value: str) -> str:
    """DATETIME(6) as str(datetime) shows it: without a zero fraction."""
    return value.removesuffix(".000000")


def shown(kind: str, value: Any) -> Any:
    """A stored value as the driver and Frappe's JSON show it."""
    if value is None:
        return None
    if kind == DATETIME:
        return datetime_text(value)
    if kind == TIME:
        return timedelta_text(value)
    if kind == DECIMAL:
        return float(value)
    return value


# -- expressions -------------------------------------------------------------------------------------------


def as_text(expr: Expr) -> Expr:
    if expr.kind == TEXT:
        return expr
    if expr.kind in (DATE, DATETIME):
        return Expr(expr.sql, TEXT, expr.params)
    function = {INT: "int_text", DECIMAL: "decimal_text", TIME: "time_text"}[expr.kind]
    return Expr(f"{function}({expr.sql})", TEXT, expr.params)


def as_number(expr: Expr) -> Expr:
    if expr.kind in NUMBERS:
        return expr
    function = {TEXT: "to_number", DATE: "date_number", DATETIME: "date_number", TIME: "time_number"}[
        expr.kind
    ]
    return Expr(f"{function}({expr.sql})", DECIMAL, expr.params)


def ifnull(expr: Expr, fallback: str | float) -> Expr:
    """IFNULL(x, 'text') is text whatever x is; with a number it is a number only when x is one."""
    if isinstance(fallback, str) or expr.kind not in NUMBERS:
        text = as_text(expr)
        return Expr(f"ifnull({text.sql}, ?)", TEXT, (*text.params, str(fallback)))
    return Expr(f"ifnull({expr.sql}, ?)", expr.kind, (*expr.params, fallback))


def _collated(expr: Expr) -> str:
    return f"{expr.sql} COLLATE {COLLATION}" if expr.kind == TEXT else expr.sql


def compare(expr: Expr, operator: str, value: str | float | None) -> Condition:
    """`expr operator literal`, converting as MariaDB does."""
    if value is None:
        return NULL_RESULT
    left, right = _aligned(expr, value)
    return Condition(f"{_collated(left)} {operator} ?", (*left.params, right))


def _aligned(expr: Expr, value: str | float) -> tuple[Expr, Any]:
    if isinstance(value, bool):
        value = int(value)
    if isinstance(value, str):
        return _TEXT_LITERAL[expr.kind](expr, value)
    if expr.kind in NUMBERS:
        return expr, _bounded(value)
    return as_number(expr), _bounded(value)


def _bounded(value: float) -> float:
    """SQLite cannot bind integers beyond 64 bits."""
    return value if -(2**63) <= value < 2**63 else float(value)


def _date_literal(expr: Expr, text: str) -> tuple[Expr, Any]:
    kind, value = moment(text, lenient=True)
    if kind == DATE:
        return expr, value
    return Expr(f"({expr.sql} || ' 00:00:00.000000')", DATETIME, expr.params), value


def _datetime_literal(expr: Expr, text: str) -> tuple[Expr, Any]:
    kind, value = moment(text, lenient=True)
    return expr, value if kind == DATETIME else f"{value} 00:00:00.000000"


_TEXT_LITERAL: dict[str, Callable[[Expr, str], tuple[Expr, Any]]] = {
    TEXT: lambda expr, text: (expr, text),
    INT: lambda expr, text: (expr, number(text)),
    DECIMAL: lambda expr, text: (expr, number(text)),
    DATE: _date_literal,
    DATETIME: _datetime_literal,
    TIME: lambda expr, text: (expr, microseconds(text)),
}


def between(expr: Expr, low: Any, high: Any) -> Condition:
    if low is None or high is None:
        return NULL_RESULT
    if expr.kind == TEXT and isinstance(low, str) is not isinstance(high, str):
        # One number makes numbers of all three.
        expr = as_number(expr)
        low, high = (number(end) if isinstance(end, str) else end for end in (low, high))
    first, second = compare(expr, ">=", low), compare(expr, "<=", high)
    return Condition(f"({first.sql} AND {second.sql})", first.params + second.params)


def member(expr: Expr, values: Sequence[Any], negated: bool = False) -> Condition:
    """IN over literals; one NULL in the list makes every miss NULL. Mixed literals compare one by one."""
    known = [value for value in values if value is not None]
    if expr.kind == TEXT and all(isinstance(value, str) for value in known):
        marks = ", ".join("?" * len(known))
        found = Condition(f"{_collated(expr)} IN ({marks})", (*expr.params, *known))
    else:
        parts = [compare(expr, "=", value) for value in known]
        found = Condition(
            "(" + (" OR ".join(part.sql for part in parts) or "0") + ")",
            tuple(param for part in parts for param in part.params),
        )
    if len(known) < len(values):
        found = Condition(f"({found.sql} OR NULL)", found.params)
    return Condition(f"NOT ({found.sql})", found.params) if negated else found


def like(expr: Expr, pattern: str, *, escape: bool, negated: bool = False) -> Condition:
    text = as_text(expr)
    negation = "NOT " if negated else ""
    return Condition(f"{negation}like_ci(?, {text.sql}, {int(escape)})", (pattern, *text.params))


def unescape(text: str) -> str | None:
    """A text that was written into SQL with only its quotes doubled, as MariaDB reads it.

    None where its last backslash swallows the closing quote.
    """
    if (len(text) - len(text.rstrip("\\"))) % 2:
        return None
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), text, flags=re.DOTALL)


_ESCAPES = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a", "%": "\\%", "_": "\\_"}


# -- what SQLite calls back --------------------------------------------------------------------------------


def _like_ci(pattern: str | None, text: Any, escape: int) -> int | None:
    if pattern is None or text is None:
        return None
    return collation.like(pattern, str(text), bool(escape))


def _null_safe(function: Any) -> Any:
    return lambda value: None if value is None else function(value)


def _date_number(text: str) -> float:
    return float(re.sub(r"[- :]", "", text))


def _time_number(value: int) -> float:
    return float(re.sub(":", "", time_text(value)))


def _date_format(value: str | None, pattern: str | None) -> str | None:
    if value is None or pattern is None:
        return None
    stamp = datetime.fromisoformat(value)
    table = {
        "i": "%M",
        "M": "%B",
        "s": "%S",
        "k": str(stamp.hour),
        "e": str(stamp.day),
        "c": str(stamp.month),
    }
    return stamp.strftime(re.sub(r"%(.)", lambda match: table.get(match[1], "%" + match[1]), pattern))


FUNCTIONS: dict[str, tuple[int, Any]] = {
    "like_ci": (3, _like_ci),
    "to_number": (1, _null_safe(lambda value: number(str(value)))),
    "int_text": (1, _null_safe(lambda value: str(int(value)))),
    "decimal_text": (1, _null_safe(lambda value: f"{value:.9f}")),
    "time_text": (1, _null_safe(time_text)),
    "date_number": (1, _null_safe(_date_number)),
    "time_number": (1, _null_safe(_time_number)),
    "date_format": (2, _date_format),
    "upper_text": (1, _null_safe(lambda value: str(value).upper())),
    "lower_text": (1, _null_safe(lambda value: str(value).lower())),
    "month_name": (1, _null_safe(lambda value: datetime.fromisoformat(value).strftime("%B"))),
}


class DecimalSum:
    """SUM of decimals, which is exact, where SQLite adds doubles; the driver sends a double."""

    def __init__(self) -> None:
        self.total: Decimal | None = None

    def step(self, value: float | None) -> None:
        if value is not None:
            self.total = (self.total or Decimal()) + Decimal(repr(value))

    def finalize(self) -> float | None:
        return None if self.total is None else float(self.total)


class DecimalAverage(DecimalSum):
    """AVG of decimals, which has four places more than they have (div_precision_increment)."""

    places = 13

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def step(self, value: float | None) -> None:
        super().step(value)
        self.count += value is not None

    def finalize(self) -> float | None:
        if self.total is None:
            return None
        return float((self.total / self.count).quantize(Decimal(1).scaleb(-self.places), ROUND_HALF_UP))


class IntegerAverage(DecimalAverage):
    places = 4


AGGREGATES = {"sum": DecimalSum, "avg_decimal": DecimalAverage, "avg_integer": IntegerAverage}
