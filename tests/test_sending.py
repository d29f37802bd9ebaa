"""Whether a document has the values that a write wanted, as Frappe stores what it is sent."""

from __future__ import annotations

from decimal import Decimal

import pytest

from erpnext_bridge.outbox.sending import holds


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        ("text", "text"),
        ("trimmed", " trimmed "),
        (None, ""),
        ("", None),
        (1, 1),
        (Decimal("12.5"), 12.5),
        (12.5, 12.5),
        ("13.5", 13.5),
        (Decimal("7.125000001"), 7.125000001),
        (0, None),
        (Decimal("0.0"), ""),
        ("2026-01-09 08:07:00", "2026-01-09 08:07:00.000000"),
        ("9:05:00", "09:05:00.000000"),
        ([{"name": "r1", "idx": 1, "item": "A", "qty": 2.0}], [{"item": "A", "qty": 2}]),
        ([], []),
        (None, []),
    ],
)
def test_what_is_equal_to_frappe_is_recognised(stored, sent):
    assert holds({"field": stored, "other": 1}, {"field": sent})


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        ("text", "Text"),
        ("text", ""),
        ("text", None),
        (1, 0),
        (Decimal("12.5"), 12.6),
        ("a word", 5),
        (5, "a word"),
        ([{"item": "A"}], []),
        ([{"item": "A"}], [{"item": "B"}]),
        ([{"item": "A"}], [{"item": "A"}, {"item": "A"}]),
        ("A", [{"item": "A"}]),
        (["A"], [{"item": "A"}]),
    ],
)
def test_what_differs_is_not(stored, sent):
    assert not holds({"field": stored}, {"field": sent})


def test_every_field_counts():
    assert holds({"a": 1, "b": 2}, {"a": 1, "b": 2})
    assert not holds({"a": 1, "b": 2}, {"a": 1, "b": 3})
