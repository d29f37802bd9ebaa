"""Parts of dates, times and datetimes: those that are a range of values, and those that are computed here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.utils import timezone

ONE_DAY = dt.timedelta(days=1)


def zone_of(expression: Any) -> dt.tzinfo | None:
    """Return the zone that Django computes the expression in; None without `USE_TZ`."""
    if not settings.USE_TZ:
        return None
    return getattr(expression, "tzinfo", None) or timezone.get_current_timezone()


def local(value: Any, zone: dt.tzinfo | None) -> Any:
    aware = isinstance(value, dt.datetime) and zone is not None and timezone.is_aware(value)
    return value.astimezone(zone) if aware else value


# Ranges: the first moment of a part, and the first one after it.


def day_bounds(day: dt.date, zone: dt.tzinfo | None) -> tuple[dt.datetime, dt.datetime]:
    """Return midnight, and the next one."""
    return _midnight(day, zone), _midnight(day + ONE_DAY, zone)


def year_bounds(year: int, *, iso: bool) -> tuple[dt.date, dt.date]:
    """Return the first day of the year, and of the next one."""
    if iso:
        return dt.date.fromisocalendar(year, 1, 1), dt.date.fromisocalendar(year + 1, 1, 1)
    return dt.date(year, 1, 1), dt.date(year + 1, 1, 1)


def _midnight(day: dt.date, zone: dt.tzinfo | None) -> dt.datetime:
    moment = dt.datetime.combine(day, dt.time.min)
    return moment if zone is None else moment.replace(tzinfo=zone)


# Parts, as Django's functions for SQLite compute them.

EXTRACTS: dict[str, Callable[[Any], int]] = {
    "year": lambda value: int(value.year),
    "iso_year": lambda value: int(value.isocalendar().year),
    "quarter": lambda value: int((value.month + 2) // 3),
    "month": lambda value: int(value.month),
    "week": lambda value: int(value.isocalendar().week),
    "day": lambda value: int(value.day),
    "week_day": lambda value: int(value.isoweekday() % 7 + 1),
    "iso_week_day": lambda value: int(value.isoweekday()),
    "hour": lambda value: int(value.hour),
    "minute": lambda value: int(value.minute),
    "second": lambda value: int(value.second),
}

_DAYS: dict[str, Callable[[dt.date], dt.date]] = {
    "year": lambda day: day.replace(month=1, day=1),
    "quarter": lambda day: day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1),
    "month": lambda day: day.replace(day=1),
    "week": lambda day: day - dt.timedelta(days=day.weekday()),
    "day": lambda day: day,
}

_TIMES: dict[str, dict[str, int]] = {
    "hour": {"minute": 0, "second": 0, "microsecond": 0},
    "minute": {"second": 0, "microsecond": 0},
    "second": {"microsecond": 0},
}

TRUNCATIONS = frozenset({*_DAYS, *_TIMES, "date", "time"})


def truncated(value: Any, kind: str, output: str) -> Any:
    """Return the value cut down to a part, as what its output field holds (its internal type)."""
    if kind == "date":
        return value.date()
    if kind == "time":
        return value.time()
    if kind in _TIMES:
        return value.replace(**_TIMES[kind])
    if not isinstance(value, dt.datetime):
        return _DAYS[kind](value)
    day = _DAYS[kind](value.date())
    if output == "DateField":
        return day
    return dt.datetime.combine(day, dt.time.min, tzinfo=value.tzinfo)
