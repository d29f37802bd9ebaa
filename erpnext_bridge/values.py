"""
Values on both sides of the wire: what a Django field holds, and what Frappe sends and wants.

Frappe's times are naive and in the site's time zone (frappe/utils/data.py `now_datetime`), its Check is 1 or 0,
its numbers are never NULL, and a Time has no leading zeros: `9:05:0.5` is 09:05:00.5.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import (
    DecimalValidator,
    MaxLengthValidator,
    MaxValueValidator,
    MinValueValidator,
)
from django.db import models
from django.db.backends.base.operations import BaseDatabaseOperations
from django.utils import timezone

from erpnext_bridge.errors import UnsupportedQuery
from erpnext_bridge.payloads import Promised

_TIME = re.compile(r"(-?)(\d+):(\d{1,2}):(\d{1,2})(?:\.(\d{1,6}))?$")
_TINY = re.compile(r"(-?\d+:\d{1,2}:)(\d(?:\.\d+)?e-\d+)$")


def column_of(field: Any) -> str:
    """Return the fieldname that Frappe knows a model field by."""
    return str(field.column)


def to_payload(field: models.Field[Any, Any], value: Any) -> Any:
    """
    Return a field's value for a document's payload: numbers stay numbers, and a moment stays aware.

    A write stands for the name of the document that it creates. Raises Django's ValidationError for a value that the
    field cannot hold, and UnsupportedQuery for an expression.
    """
    if isinstance(value, Promised):
        return value
    refuse_expression(field.name, value)
    target = _target(field)
    kind = target.get_internal_type()
    with _told_as_invalid(field, value):
        if value is None or kind not in _PAYLOADS:
            found = to_wire(field, value, None)
        else:
            found = _PAYLOADS[kind](target, value)
        _check_that_it_fits(target, kind, found)
    return found


def refuse_expression(name: str, value: Any) -> None:
    """Raise UnsupportedQuery for `F("…") + 1` and its like, where a database would compute it."""
    if hasattr(value, "resolve_expression"):
        raise UnsupportedQuery(
            f"ERPNext cannot compute {name}={value!r}. Set a value on each document, and save them or use bulk_update()."
        )


def to_wire(field: models.Field[Any, Any], value: Any, zone: ZoneInfo | None) -> Any:
    """
    Return a field's value as Frappe wants it; `zone` is the site's, for the fields that need one.

    Raises Django's ValidationError for a value that the field cannot hold.
    """
    if value is None:
        return None
    target = _target(field)
    encode: _Codec = _ENCODERS.get(target.get_internal_type(), _encode_text)
    with _told_as_invalid(field, value):
        return encode(target, value, zone)


@contextmanager
def _told_as_invalid(field: models.Field[Any, Any], value: Any) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        if hasattr(error, "error_dict"):
            raise
        raise ValidationError({field.name: error.error_list}) from error
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ValidationError({field.name: f"{value!r} is not a value for this field."}) from error


def _check_that_it_fits(field: Any, kind: str, value: Any) -> None:
    """Refuse what MariaDB's column of the field cannot hold, which ERPNext would refuse, cut off or fail over."""
    if value is None:
        return
    if kind in _WHOLE:
        low, high = _WHOLE[kind]
        MinValueValidator(low)(value)
        MaxValueValidator(high)(value)
    elif isinstance(field, models.CharField) and field.max_length is not None:
        MaxLengthValidator(field.max_length)(value)
    elif isinstance(field, models.DecimalField) and field.max_digits and field.decimal_places is not None:
        # More decimals than the column has are rounded there.
        rounded = value.quantize(Decimal(1).scaleb(-field.decimal_places), context=_WIDE)
        DecimalValidator(field.max_digits, field.decimal_places)(rounded)


_WIDE = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
_WHOLE: Mapping[str, tuple[int, int]] = BaseDatabaseOperations.integer_field_ranges
"""Internal type → its limits in every database of Django's, which are those of Frappe's Int and Long Int."""


def decoder(field: models.Field[Any, Any], zone: ZoneInfo) -> Callable[[Any], Any]:
    """Return the function that turns what Frappe sent for a column into the field's value."""
    make = _DECODERS.get(_target(field).get_internal_type())
    if make is None:
        return _link_text if field.is_relation or getattr(field, "blank_is_null", False) else _text(field)
    decode = make(zone)
    if own := getattr(_target(field), "decoder", None):
        decode = partial(_decode_json, decoder=own)
    # A list of thousands of rows calls it for each column: one call, and no look at the field.
    return lambda value: None if value is None or value == "" else decode(value)


def canonical(text: str) -> str:
    """Return the one spelling of a date, datetime or time as Frappe may spell it."""
    if match := _TINY.match(text):
        # Python writes a few microseconds so: 12:00:1e-06.
        text = f"{match[1]}{Decimal(match[2]):.6f}"
    if match := _TIME.match(text):
        return _time_text(*match.groups())
    date, _, time = text.partition(" ")
    return f"{date} {canonical(time)}" if time else date


def _link_text(value: Any) -> str | None:
    return str(value) if value else None


def _text(field: models.Field[Any, Any]) -> Callable[[Any], str | None]:
    """Frappe makes no difference between NULL and ''; neither does a field without `null=True`."""
    missing = None if field.null else ""
    return lambda value: missing if value is None else str(value)


def _target(field: models.Field[Any, Any]) -> models.Field[Any, Any]:
    """Return the field whose values this one holds: a link holds names."""
    return field.target_field if field.is_relation else field  # type: ignore[attr-defined]


def _time_text(sign: str, hours: str, minutes: str, seconds: str, fraction: str | None) -> str:
    return f"{sign}{int(hours):02}:{int(minutes):02}:{int(seconds):02}.{(fraction or '').ljust(6, '0')}"


def _aware(field: models.Field[Any, Any], value: Any) -> dt.datetime:
    moment: dt.datetime = field.to_python(value)
    return (
        timezone.make_aware(moment, timezone.get_default_timezone()) if timezone.is_naive(moment) else moment
    )


def _encode_text(field: models.Field[Any, Any], value: Any, zone: ZoneInfo) -> str:
    text = str(value)
    text.encode()  # half of a surrogate pair is text to Python, and to nobody else
    return text


def _encode_datetime(field: models.Field[Any, Any], value: Any, zone: ZoneInfo) -> str:
    # All six digits: Frappe 16 compares a nullable Datetime as text (frappe/database/query.py).
    return _aware(field, value).astimezone(zone).replace(tzinfo=None).isoformat(" ", "microseconds")


def _encode_time(field: models.Field[Any, Any], value: Any, zone: ZoneInfo) -> str:
    time: dt.time = field.to_python(value)
    if time.tzinfo is not None:
        raise ValueError("A Time has no time zone.")
    return time.isoformat("microseconds")


def _datetime_decoder(zone: ZoneInfo) -> Callable[[Any], dt.datetime]:
    parse, utc = dt.datetime.fromisoformat, dt.UTC
    if not settings.USE_TZ:
        own = timezone.get_default_timezone()
        return lambda value: timezone.make_naive(parse(value).replace(tzinfo=zone), own)
    offsets: dict[str, dt.timedelta | None] = {}

    def decode(value: str) -> dt.datetime:
        # In UTC as from a database: Python never finds a time in the hour that comes twice equal to one of another zone.
        moment, hour = parse(value), value[:HOUR]
        if hour not in offsets:
            if len(offsets) >= REMEMBERED_HOURS:
                offsets.clear()
            offsets[hour] = _offset_in_hour(moment, zone)
        offset = offsets[hour]
        if offset is None:
            return moment.replace(tzinfo=zone).astimezone(utc)
        return moment.replace(tzinfo=utc) - offset

    return decode


HOUR = len("2026-01-31 12")
REMEMBERED_HOURS = 1000


def _offset_in_hour(moment: dt.datetime, zone: ZoneInfo) -> dt.timedelta | None:
    """Return the zone's offset during the whole hour of a moment, or None where it changes within: looking it up is slow."""
    first = moment.replace(minute=0, second=0, microsecond=0, tzinfo=zone)
    last = first.replace(minute=59, second=59, microsecond=999_999)
    return first.utcoffset() if first.utcoffset() == last.utcoffset() else None


def _finite(value: Any) -> Decimal:
    number = Decimal(str(value))
    if not number.is_finite():
        raise ValueError(f"{number} is not a number that ERPNext can store.")
    return number


def _encode_decimal(field: models.Field[Any, Any], value: Any, zone: ZoneInfo) -> str:
    return format(_finite(value), "f")


def _encode_duration(field: models.Field[Any, Any], value: Any, zone: ZoneInfo) -> str:
    return _encode_decimal(field, Decimal(value // dt.timedelta(microseconds=1)) / 1_000_000, zone)


def _decode_decimal(value: Any) -> Decimal:
    return value if type(value) is Decimal else Decimal(str(value))


def _decode_duration(value: Any) -> dt.timedelta:
    return dt.timedelta(microseconds=int(Decimal(str(value)) * 1_000_000))


def _encode_json(field: Any, value: Any, zone: ZoneInfo) -> str:
    # MariaDB's JSON has no NaN.
    return json.dumps(value, cls=field.encoder, allow_nan=False)


def _decode_json(value: Any, decoder: type[json.JSONDecoder] | None = None) -> Any:
    return json.loads(value, cls=decoder) if isinstance(value, str) else value


_Codec = Callable[[Any, Any, Any], Any]

_PAYLOADS: dict[str, Callable[[Any, Any], Any]] = {
    "DateTimeField": _aware,
    "DecimalField": lambda field, value: _finite(value),
    "FloatField": lambda field, value: float(_finite(value)),
    "DurationField": lambda field, value: field.to_python(value),
}
"""What waits in a payload as Python has it; `payloads.py` encodes it."""

_ENCODERS: dict[str, _Codec] = {
    "BooleanField": lambda field, value, zone: int(bool(field.to_python(value))),
    "DateField": lambda field, value, zone: field.to_python(value).isoformat(),
    "DateTimeField": _encode_datetime,
    "TimeField": _encode_time,
    "DecimalField": _encode_decimal,
    "FloatField": _encode_decimal,
    "DurationField": _encode_duration,
    "JSONField": _encode_json,
    **dict.fromkeys(
        ("IntegerField", "BigIntegerField", "SmallIntegerField", "PositiveIntegerField", "PositiveBigIntegerField",
         "PositiveSmallIntegerField"),
        lambda field, value, zone: int(value),
    ),
}  # fmt: skip


def _always(decode: Callable[[Any], Any]) -> Callable[[ZoneInfo], Callable[[Any], Any]]:
    return lambda zone: decode


_DECODERS: dict[str, Callable[[ZoneInfo], Callable[[Any], Any]]] = {
    "BooleanField": _always(lambda value: bool(int(value))),
    "DateField": _always(lambda value: dt.date.fromisoformat(value[:10])),
    "DateTimeField": _datetime_decoder,
    "TimeField": _always(lambda value: dt.time.fromisoformat(canonical(value))),
    "DecimalField": _always(_decode_decimal),
    "FloatField": _always(float),
    "DurationField": _always(_decode_duration),
    "JSONField": _always(_decode_json),
    **dict.fromkeys(
        ("IntegerField", "BigIntegerField", "SmallIntegerField", "PositiveIntegerField", "PositiveBigIntegerField",
         "PositiveSmallIntegerField"),
        _always(int),
    ),
}  # fmt: skip
"""Internal type → what makes the decoder for a site's zone."""
