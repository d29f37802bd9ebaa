"""How the database compares texts: utf8mb4_unicode_ci."""

from __future__ import annotations

import pytest

from erpnext_bridge import collation


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("ACME", "acme"),
        ("Müller", "MULLER"),
        ("École", "ecole"),
        ("straße", "STRASSE"),
        ("Œuvre", "oeuvre"),
        ("acme", "acme   "),
        ("🚀", "🎉"),
        ("e\u0301", "é"),
        ("ｱ", "ア"),
        ("", "  "),
    ],
)
def test_texts_that_are_equal(left, right):
    assert collation.equal(left, right)
    assert collation.sort_key(left) == collation.sort_key(right)
    assert collation.compare(left, right) == 0


@pytest.mark.parametrize(
    ("left", "right"),
    [("acme", " acme"), ("a", "b"), ("a-b", "ab"), ("Łódź", "Lodz"), ("東京", "京東"), ("и", "н")],
)
def test_texts_that_differ(left, right):
    assert not collation.equal(left, right)


def test_punctuation_sorts_before_digits_and_letters():
    texts = ["zebra", "Äpfel", "apfel2", "10", "9", "_x", "Ж", "東"]
    assert sorted(texts, key=collation.sort_key) == ["_x", "10", "9", "Äpfel", "apfel2", "zebra", "Ж", "東"]


def test_a_prefix_sorts_first():
    assert collation.compare("acme", "acme corp") == -1


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("%mull%", "Herr MÜLLER", True),
        ("a_c", "abc", True),
        ("a_c", "abbc", False),
        ("100\\%", "100%", True),
        ("100\\%", "1000", False),
        ("acme", "acme ", False),
        ("%", "", True),
        ("a%\nb", "a\nb", True),
        ("ß", "ss", False),
        ("🚀", "🎉", False),
    ],
)
def test_like(pattern, text, expected):
    assert collation.like(pattern, text) is expected


def test_like_without_escapes_takes_a_backslash_as_itself():
    assert collation.like("a\\%", "a\\b", escape=False)
    assert not collation.like("a\\%", "a%", escape=False)
