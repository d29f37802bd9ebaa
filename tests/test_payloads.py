"""What is queued can be stored as JSON, and reaches Frappe as it takes it."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.db.models import TextChoices
from django.utils.translation import gettext_lazy

from erpnext_bridge.payloads import decode, encode

NEW_YORK = ZoneInfo("America/New_York")


class Priority(TextChoices):
    HIGH = "High", "high"


def sent(value):
    stored = json.loads(json.dumps(encode({"field": value}), allow_nan=False))
    return decode(stored, lambda: NEW_YORK)["field"]


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (None, None),
        ("text", "text"),
        (gettext_lazy("late"), "late"),
        (Priority.HIGH, "High"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (True, 1),
        (False, 0),
        (7, 7),
        (1.5, 1.5),
        (Decimal("12.50"), 12.5),
        (Decimal("12.00"), 12),
        (Decimal("12345678901234567890"), 12345678901234567890),
        (dt.date(2026, 1, 9), "2026-01-09"),
        (dt.time(9, 5), "09:05:00.000000"),
        (dt.timedelta(minutes=1, milliseconds=500), 60.5),
        (dt.datetime(2026, 1, 9, 8, 7), "2026-01-09 08:07:00.000000"),
        (dt.datetime(2026, 1, 9, 8, 7, tzinfo=dt.UTC), "2026-01-09 03:07:00.000000"),
        (dt.datetime(2026, 7, 9, 8, 7, tzinfo=ZoneInfo("Europe/Berlin")), "2026-07-09 02:07:00.000000"),
        ([{"qty": Decimal("0.5"), "on": dt.date(2026, 1, 9)}], [{"qty": 0.5, "on": "2026-01-09"}]),
        (({"at": dt.datetime(2026, 1, 9, tzinfo=dt.UTC)},), [{"at": "2026-01-08 19:00:00.000000"}]),
    ],
)
def test_values_become_what_frappe_takes(value, wire):
    assert sent(value) == wire
    assert type(sent(value)) is type(wire)


def test_the_zone_of_the_site_is_needed_only_for_a_moment():
    def unknown():
        raise AssertionError("nobody may ask")

    assert decode(encode({"a": 1, "rows": [{"b": dt.date(2026, 1, 9)}]}), unknown)["a"] == 1


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", object()])
def test_what_cannot_be_sent_is_refused_with_its_place(value):
    with pytest.raises(TypeError, match=r"^rows\[1\]\.thing: a \w+ cannot be sent"):
        encode({"rows": [{}, {"thing": value}]})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN")])
def test_a_number_that_json_does_not_know_is_refused(value):
    with pytest.raises(ValueError, match=r"^amount: .* is not a number"):
        encode({"amount": value})
