"""
What a write carries: values as the JSON that Frappe takes, whenever they are sent.

Numbers stay numbers. A controller's `validate` computes with them before Frappe casts its own numeric fields,
and text there is a TypeError (frappe/model/document.py, `insert`). Frappe keeps them as floats itself.

Frappe's times are naive and in the site's zone, which may be unknown while the site is down. So an aware
datetime waits as {"$at": …}, and becomes the site's own time when it is sent. The name of a document that is still to
be created waits as {"$write": …}, and the content of a file as {"$file": its size}, beside the write.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from math import isfinite
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.functional import Promise

MOMENT = "$at"
"""The key is no fieldname, so no child row can be taken for a moment."""
WRITE = "$write"
FILE = "$file"


class Promised:
    """What stands in a payload for the name that it will have: a write that creates a document."""

    pk: Any


def encode(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the payload as JSON can hold it. TypeError or ValueError, naming the field, where it cannot."""
    return {str(key): _encode(value, str(key)) for key, value in payload.items()}


def decode(payload: Mapping[str, Any], zone: Callable[[], ZoneInfo]) -> dict[str, Any]:
    """Return an encoded payload as Frappe takes it; the site's zone is asked for only when a moment is in it."""
    return {key: _decode(value, zone) for key, value in payload.items()}


def references(value: Any) -> set[str]:
    """Return the writes whose documents an encoded payload names."""
    if isinstance(value, list):
        return {found for entry in value for found in references(entry)}
    if not isinstance(value, dict):
        return set()
    if value.keys() == {WRITE}:
        return {str(value[WRITE])}
    return {found for entry in value.values() for found in references(entry)}


def fill_names(value: Any, names: Mapping[str, str]) -> Any:
    """Return an encoded payload with the names of documents that are created by now: write → name."""
    if isinstance(value, list):
        return [fill_names(entry, names) for entry in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {WRITE}:
        return names.get(value[WRITE], value)
    return {key: fill_names(entry, names) for key, entry in value.items()}


def _encode(value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _encode(entry, f"{where}.{key}") for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(entry, f"{where}[{index}]") for index, entry in enumerate(value)]
    for types, encoder in _ENCODERS:
        if isinstance(value, types):
            try:
                return encoder(value)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
    raise TypeError(f"{where}: a {type(value).__name__} cannot be sent to ERPNext. Send text or a number.")


def _decode(value: Any, zone: Callable[[], ZoneInfo]) -> Any:
    if isinstance(value, list):
        return [_decode(entry, zone) for entry in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {WRITE}:
        raise ValueError("A document that this write names has no name yet.")
    if value.keys() == {MOMENT}:
        return _naive_text(dt.datetime.fromisoformat(value[MOMENT]).astimezone(zone()))
    return {key: _decode(entry, zone) for key, entry in value.items()}


def _datetime(value: dt.datetime) -> Any:
    if value.tzinfo is None:
        return _naive_text(value)
    return {MOMENT: value.astimezone(dt.UTC).isoformat()}


def _naive_text(value: dt.datetime) -> str:
    # Frappe drops a "T" and an offset without a word (frappe/utils/data.py, get_datetime).
    return value.strftime("%Y-%m-%d %H:%M:%S.%f")


def _number(value: Decimal | float) -> int | float:
    if not isfinite(value):
        raise ValueError(f"{value} is not a number that ERPNext can store.")
    return int(value) if isinstance(value, Decimal) and value == value.to_integral_value() else float(value)


# In this order: a datetime is a date, a bool is an int, and a lazy text is nothing but a promise.
_ENCODERS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (type(None), lambda value: None),
    (Promised, lambda value: {WRITE: str(value.pk)}),
    ((str, Promise, uuid.UUID), str),
    (bool, int),
    (int, int),
    ((float, Decimal), _number),
    (dt.datetime, _datetime),
    (dt.date, dt.date.isoformat),
    (dt.time, lambda value: value.isoformat(timespec="microseconds")),
    (dt.timedelta, lambda value: _number(Decimal(value // dt.timedelta(microseconds=1)) / 1_000_000)),
)
