from __future__ import annotations

import datetime as dt
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.test import override_settings

from erpnext_bridge import values
from erpnext_bridge.fields import Attach, Currency, DynamicLink, Link, Rating

ZONE = ZoneInfo("America/New_York")


def field(made, name="value"):
    made.set_attributes_from_name(name)
    return made


def to_wire(made, value):
    return values.to_wire(field(made), value, ZONE)


def from_wire(made, value):
    return values.decoder(field(made), ZONE)(value)


SAME_BOTH_WAYS = [
    (models.CharField(), "Zoë", "Zoë"),
    (models.BooleanField(), True, 1),
    (models.BooleanField(), False, 0),
    (models.IntegerField(), -7, -7),
    (Currency(), Decimal("12.340"), "12.340"),
    (Currency(), Decimal("1E+20"), "100000000000000000000"),
    (models.FloatField(), 0.1, "0.1"),
    (models.DateField(), dt.date(2024, 2, 29), "2024-02-29"),
    (models.DateTimeField(), dt.datetime(2024, 7, 1, 12, tzinfo=dt.UTC), "2024-07-01 08:00:00.000000"),
    (
        models.DateTimeField(),
        dt.datetime(2024, 1, 1, 12, 0, 0, 5, tzinfo=dt.UTC),
        "2024-01-01 07:00:00.000005",
    ),
    (models.TimeField(), dt.time(9, 5, 0, 500000), "09:05:00.500000"),
    (models.DurationField(), dt.timedelta(days=1, microseconds=1), "86400.000001"),
    (models.JSONField(), {"a": [1, None]}, '{"a": [1, null]}'),
    (Link("Territory"), "North", "North"),
]


@pytest.mark.parametrize(("made", "value", "wire"), SAME_BOTH_WAYS, ids=range(len(SAME_BOTH_WAYS)))
def test_a_value_survives_the_wire(made, value, wire):
    assert to_wire(made, value) == wire
    assert from_wire(made, wire) == value


@pytest.mark.parametrize(
    ("made", "sent", "value"),
    [
        (models.TimeField(), "9:5:0", dt.time(9, 5)),
        (models.TimeField(), "10:20:5.25", dt.time(10, 20, 5, 250000)),
        (models.DateField(), "2024-02-29 00:00:00", dt.date(2024, 2, 29)),
        (models.FloatField(), Decimal("0.5"), 0.5),
        (Currency(), 12.5, Decimal("12.5")),
        (models.CharField(), 12, "12"),
        (Link("Territory"), "", None),
        (models.CharField(null=True), "", ""),
        (models.JSONField(), {"a": 1}, {"a": 1}),
        (models.DateField(), "", None),
    ],
    ids=range(10),
)
def test_frappes_spellings_are_read(made, sent, value):
    assert from_wire(made, sent) == value


def test_null_reads_as_the_field_declares_it():
    assert from_wire(models.CharField(), None) == ""
    assert from_wire(models.CharField(null=True), None) is None
    assert from_wire(models.DateField(), None) is None
    assert to_wire(models.DateField(), None) is None


def test_a_clock_that_was_set_back_keeps_its_hour():
    """01:30 came twice in New York on that day; the first is meant."""
    assert from_wire(models.DateTimeField(), "2024-11-03 01:30:00") == dt.datetime(
        2024, 11, 3, 5, 30, tzinfo=dt.UTC
    )


@pytest.mark.parametrize(
    "name", ["America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Monrovia", "America/St_Johns"]
)
def test_a_column_of_times_is_read_as_the_zone_has_each_of_them(name):
    """Around each change of a clock, also by half an hour or at an odd second, and far from any."""
    zone, step = ZoneInfo(name), dt.timedelta(minutes=7, seconds=13, microseconds=5)
    days = [dt.datetime(1972, 1, 6, 22), dt.datetime(2024, 4, 6, 23), dt.datetime(2024, 10, 5, 23)]
    days += [dt.datetime(2024, 3, 9, 23), dt.datetime(2024, 11, 2, 23), dt.datetime(1900, 1, 1)]
    moments = [day + step * number for day in days for number in range(60)]
    decode = values.decoder(field(models.DateTimeField()), zone)
    read = [decode(moment.isoformat(" ")) for moment in moments * 2]
    assert read == [moment.replace(tzinfo=zone).astimezone(dt.UTC) for moment in moments] * 2


def test_times_of_many_hours_are_read_right():
    start = dt.datetime(2020, 1, 1)
    moments = [start + dt.timedelta(hours=number) for number in range(2 * values.REMEMBERED_HOURS)]
    decode = values.decoder(field(models.DateTimeField()), ZONE)
    assert [decode(str(moment)) for moment in moments] == [
        moment.replace(tzinfo=ZONE).astimezone(dt.UTC) for moment in moments
    ]


@override_settings(USE_TZ=False, TIME_ZONE="Asia/Tokyo")
def test_without_time_zones_times_are_in_djangos_zone():
    assert from_wire(models.DateTimeField(), "2024-07-01 08:00:00") == dt.datetime(2024, 7, 1, 21, 0)
    assert to_wire(models.DateTimeField(), dt.datetime(2024, 7, 1, 21, 0)) == "2024-07-01 08:00:00.000000"


@pytest.mark.parametrize(
    ("made", "value"),
    [
        (models.DateField(), "tomorrow"),
        (models.DateField(), 20240229),
        (models.DateTimeField(), "2024-02-30 00:00"),
        (models.DateTimeField(), dt.datetime.min.replace(tzinfo=dt.UTC)),
        (models.TimeField(), "25:00"),
        (models.TimeField(), dt.time(9, tzinfo=dt.UTC)),
        (models.DurationField(), "long"),
        (models.IntegerField(), "seven"),
        (models.IntegerField(), float("inf")),
        (models.FloatField(), float("nan")),
        (Currency(), "much"),
        (Currency(), Decimal("Infinity")),
        (Currency(), [1]),
        (models.BooleanField(), "perhaps"),
        (models.JSONField(), {"a": float("nan")}),
        (models.JSONField(), {1, 2}),
        (models.CharField(), "\ud800"),
    ],
    ids=range(17),
)
def test_a_value_that_the_field_cannot_hold_is_a_validation_error_of_that_field(made, value):
    for encode in (to_wire, lambda made, value: values.to_payload(field(made), value)):
        if (
            encode is not to_wire
            and isinstance(made, models.DateTimeField)
            and isinstance(value, dt.datetime)
        ):
            continue  # which day it is over there is not known before it is sent
        with pytest.raises(ValidationError) as told:
            encode(made, value)
        assert list(told.value.message_dict) == ["value"]


@pytest.mark.parametrize(
    ("made", "most", "more"),
    [
        (models.CharField(max_length=5), "12345", "123456"),
        (models.EmailField(max_length=7), "a@b.org", "aa@b.org"),
        (models.IntegerField(), 2**31 - 1, 2**31),
        (models.PositiveSmallIntegerField(), 0, -1),
        (models.BigIntegerField(), -(2**63), -(2**63) - 1),
        (Currency(), Decimal("999999999999.999999999"), Decimal("1000000000000")),
        (Currency(), Decimal("0.12345678949"), Decimal("1E+40")),
        (Rating(), Decimal("0.8"), 10),
    ],
    ids=range(8),
)
def test_what_is_too_much_for_the_column_is_not_sent(made, most, more):
    assert values.to_payload(field(made), most) == most
    with pytest.raises(ValidationError) as told:
        values.to_payload(field(made), more)
    assert list(told.value.message_dict) == ["value"]
    # A filter may ask for it, and finds nothing.
    assert to_wire(made, more) is not None


def test_early_years_and_encoders_are_written_as_mariadb_reads_them():
    assert to_wire(models.DateTimeField(), dt.datetime(33, 4, 3, 15, tzinfo=dt.UTC)).startswith(
        "0033-04-03 1"
    )
    assert to_wire(models.DateField(), dt.date(33, 4, 3)) == "0033-04-03"
    made = models.JSONField(encoder=DjangoJSONEncoder)
    assert to_wire(made, {"on": dt.date(2024, 1, 2)}) == '{"on": "2024-01-02"}'


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("12:00:1e-06", "12:00:00.000001"),
        ("9:05:2.5e-05", "09:05:00.000025"),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01 9:05:00", "2024-01-01 09:05:00.000000"),
        ("9:5:0.5", "09:05:00.500000"),
    ],
)
def test_two_spellings_of_one_moment_are_one(text, canonical):
    assert values.canonical(text) == canonical


def test_a_payload_keeps_numbers_and_moments():
    """Controllers of ERPNext compute with numbers before they are cast, and a site's zone may be unknown."""
    moment = dt.datetime(2024, 7, 1, 12, tzinfo=dt.UTC)
    assert values.to_payload(field(Currency()), "10.50") == Decimal("10.50")
    assert values.to_payload(field(models.FloatField()), "1.5") == 1.5
    assert values.to_payload(field(models.DateTimeField()), moment) is moment
    assert values.to_payload(field(models.BooleanField()), True) == 1
    assert values.to_payload(field(models.DateField()), dt.date(2024, 1, 2)) == "2024-01-02"
    assert values.to_payload(field(models.DateField()), None) is None
    with pytest.raises(ValidationError):
        values.to_payload(field(Currency()), "much")


def test_ratings_are_parts_of_one():
    field(Rating()).clean(Decimal("0.8"), None)
    with pytest.raises(ValidationError):
        field(Rating()).clean(Decimal(4), None)
    assert from_wire(Rating(), Decimal("0.8")) == Decimal("0.8")


def test_a_dynamic_link_is_a_name_whose_doctype_another_field_tells():
    link = field(DynamicLink("reference_type"))
    assert (link.doctype_field, link.max_length, link.null) == ("reference_type", 140, True)
    assert link.clone().doctype_field == "reference_type"
    assert values.decoder(link, ZONE)("") is None


def test_a_file_is_a_short_text_in_forms():
    assert field(Attach()).formfield().widget.input_type == "text"
