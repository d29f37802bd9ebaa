"""Dates as Frappe's utils read them, dateutil's tolerance included, and the ranges behind its timespans."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from . import errors

if TYPE_CHECKING:
    from .context import Context

_MONTHS = {
    name: number
    for number, name in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1
    )
}
_CLOCK = re.compile(
    r"(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,6})\d*)?)?\s*(am|pm)?\s*(?:z|utc|[+-]\d{1,2}:?\d{2})?$",
    re.IGNORECASE,
)
_NUMBERS = re.compile(r"\d+|[a-z]+", re.IGNORECASE)
_TIME_FORMAT = "%H:%M:%S.%f"


def parse(text: str, today: date) -> datetime | None:
    """What dateutil's parser makes of a text; parts that are missing come from today. None when it is no date."""
    text = text.strip()
    match = re.match(r"(.*?)(?:[T ]|^)(\d{1,2}:\d.*)$", text)
    day_text, clock = (match.group(1), match.group(2)) if match else (text, "")
    day = _day(day_text.strip(), today) if day_text.strip() else today
    moment = _moment(clock) if clock else (0, 0, 0, 0)
    if day is None or moment is None:
        return None
    try:
        return datetime(day.year, day.month, day.day, *moment)  # noqa: DTZ001 - Frappe's times are naive
    except ValueError:
        return None


def _moment(text: str) -> tuple[int, int, int, int] | None:
    match = _CLOCK.match(text.strip())
    if match is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in match.group(1, 2, 3))
    half = (match.group(5) or "").lower()
    if half:
        hours = hours % 12 + (12 if half == "pm" else 0)
    return hours, minutes, seconds, int((match.group(4) or "").ljust(6, "0"))


def _day(text: str, today: date) -> date | None:
    if not re.fullmatch(r"[\w\s./,-]+", text, re.ASCII):
        return None
    parts = _NUMBERS.findall(text)
    if len(parts) == 1 and len(parts[0]) == 8 and parts[0].isdigit():
        parts = [text[:4], text[4:6], text[6:]]
    numbers: list[str] = []
    month = None
    for part in parts:
        if part.isdigit():
            numbers.append(part)
        elif part[:3].lower() in _MONTHS:
            month = _MONTHS[part[:3].lower()]
        else:
            return None
    return _from_numbers(numbers, month, today)


def _from_numbers(numbers: list[str], month: int | None, today: date) -> date | None:
    year = next((number for number in numbers if len(number) > 2), None)
    rest = [int(number) for number in numbers if number is not year]
    if year is None and len(rest) + (month is not None) == 3:
        year = f"20{rest.pop():02}"
    if len(numbers) == 1 and rest and month is None:
        # One number is a day, or a year where no month has so many.
        (day,) = rest
        return _date(today.year, today.month, day) if day <= 31 else _date(2000 + day, today.month, today.day)
    if month is None and rest:
        # Month first, unless that cannot be one.
        month = rest.pop(1) if rest[0] > 12 and len(rest) > 1 else rest.pop(0)
    day = rest.pop(0) if rest else today.day
    if rest or not (numbers or month):
        return None
    return _date(int(year or today.year), month or today.month, day)


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def getdate(ctx: Context, value: Any) -> date:
    """frappe.utils.getdate: nothing means today."""
    today = ctx.site.clock().date()
    if not value:
        return today
    if isinstance(value, date):
        return value
    if not isinstance(value, str):
        raise errors.TypeError(f"Parser must be a string or character stream, not {type(value).__name__}")
    found = parse(value, today)
    if found is None:
        errors.throw(ctx, f"<strong>{value}</strong> is not a valid date string.", title="Invalid Date")
    return found.date()


def get_datetime(ctx: Context, value: Any) -> datetime:
    """frappe.utils.get_datetime."""
    if not value:
        return ctx.site.clock().replace(tzinfo=None)
    if not isinstance(value, str):
        raise errors.TypeError(f"Parser must be a string or character stream, not {type(value).__name__}")
    found = parse(value, ctx.site.clock().date())
    if found is None:
        raise errors.ParserError(f"Unknown string format: {value}")
    return found


def date_text(ctx: Context, value: Any) -> str:
    """frappe.db.format_date."""
    _refuse_no_text(value)
    return getdate(ctx, value).isoformat()


def datetime_text(ctx: Context, value: Any) -> str:
    """frappe.db.format_datetime."""
    if not value:
        return FALLBACK_DATETIME
    _refuse_no_text(value)
    return get_datetime(ctx, value).strftime("%Y-%m-%d " + _TIME_FORMAT)


def _refuse_no_text(value: Any) -> None:
    if value and isinstance(value, int | float | list | tuple | dict):
        raise errors.AttributeError("'NoneType' object has no attribute 'strftime'")


def time_text(ctx: Context, value: Any) -> str:
    if not isinstance(value, str):
        raise errors.TypeError(f"Parser must be a string or character stream, not {type(value).__name__}")
    if not value.strip():
        raise errors.ParserError(f"String does not contain a date: {value}")
    found = parse(value, ctx.site.clock().date())
    if found is None:
        raise errors.ParserError(f"Unknown string format: {value}")
    return found.strftime(_TIME_FORMAT)


FALLBACK_DATETIME = "0001-01-01 00:00:00.000000"


def between(ctx: Context, value: Any, fieldtype: str) -> tuple[str, str]:
    """Both ends of `between` on a date: a missing one is today, and whole days widen on a Datetime."""
    today = ctx.site.today()
    ends = list(value) if isinstance(value, list | tuple) else []
    first = ends[0] if ends else today
    last = ends[1] if len(ends) > 1 else today
    if fieldtype == "Datetime":
        for end in (first, last):
            if isinstance(end, str) and " " not in end.strip():
                # Both become moments before either is written.
                getdate(ctx, end)
        return end_text(ctx, first, "00:00:00.000000"), end_text(ctx, last, "23:59:59.999999")
    return date_text(ctx, first), date_text(ctx, last)


def end_text(ctx: Context, value: Any, clock: str) -> str:
    if isinstance(value, str) and " " in value.strip():
        return datetime_text(ctx, value)
    if isinstance(value, str):
        return f"{date_text(ctx, value)} {clock}"
    if isinstance(value, date):
        return f"{value.isoformat()} {clock}"
    return datetime_text(ctx, value)


# -- timespans ---------------------------------------------------------------------------------------------------

PERIODS = {
    "1 week": "week",
    "1 month": "month",
    "3 months": "quarter",
    "6 months": "6 months",
    "1 year": "year",
}
DAYS = {15: ("7", "14", "30"), 16: ("7", "14", "30", "90")}
_UNIT_MONTHS = {"month": 1, "quarter": 3, "year": 12}


def timespan(name: Any, today: date, version: int) -> tuple[date, date] | None:
    """The days of a timespan such as `last month`; None for a name Frappe does not know."""
    named = {"yesterday": -1, "today": 0, "tomorrow": 1}
    if not isinstance(name, str):
        return None
    if name in named:
        day = today + timedelta(days=named[name])
        return day, day
    which, _, unit = name.partition(" ")
    step = {"last": -1, "this": 0, "next": 1}.get(which)
    if step is None:
        return None
    return _span(step, unit, today, version)


def _span(step: int, unit: str, today: date, version: int) -> tuple[date, date] | None:
    if unit.endswith(" days") and step:
        count = unit.removesuffix(" days")
        if count not in DAYS[version if step < 0 else 15]:
            return None
        other = today + timedelta(days=step * int(count))
        return (other, today) if step < 0 else (today, other)
    if unit == "week":
        # System Settings: the week begins on Sunday.
        start = today + timedelta(days=7 * step - (today.weekday() + 1) % 7)
        return start, start + timedelta(days=6)
    if unit == "6 months" and step:
        near, far = (-6, -3) if step < 0 else (3, 6)
        return _period(today, near, 3)[0], _period(today, far, 3)[1]
    if unit in _UNIT_MONTHS:
        months = _UNIT_MONTHS[unit]
        return _period(today, step * months, months)
    return None


def _period(today: date, offset: int, length: int) -> tuple[date, date]:
    """The calendar month, quarter or year that holds the day `offset` months away."""
    index = (today.year * 12 + today.month - 1 + offset) // length * length
    following = index + length
    return date(index // 12, index % 12 + 1, 1), date(following // 12, following % 12 + 1, 1) - timedelta(
        days=1
    )


def relative(operator: str, value: Any, today: date, version: int) -> tuple[date, date] | None:
    """The operators timespan, previous and next."""
    if operator == "timespan":
        return timespan(value, today, version)
    if value not in PERIODS:
        raise errors.KeyError(repr(value))
    which = {"previous": "last", "next": "next"}[operator]
    return timespan(f"{which} {PERIODS[value]}", today, version)
