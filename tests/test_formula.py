from __future__ import annotations

import itertools

import pytest

from erpnext_bridge.compiler.formula import (
    FALSE,
    TRUE,
    And,
    Literal,
    Or,
    all_of,
    any_of,
    branches,
    literals,
    matches,
)


def lit(fieldname, test="eq", value="x", *, null_ok=False):
    return Literal(fieldname, "text", test, value, null_ok)


def is_null(fieldname):
    return Literal(fieldname, "text", "none", null_ok=True)


def not_null(fieldname):
    return Literal(fieldname, "text", "any")


def passes(literal, value):
    if value is None:
        return literal.null_ok
    return {"eq": value == literal.value, "ne": value != literal.value, "any": True, "none": False}[
        literal.test
    ]


def rows():
    return [
        dict(zip("abcd", values, strict=True)) for values in itertools.product(("x", "y", None), repeat=4)
    ]


def truth(formula):
    return [matches(formula, row, passes) for row in rows()]


def test_or_null_moves_into_the_test():
    assert any_of([lit("a", "ne"), is_null("a")]) == lit("a", "ne", null_ok=True)


def test_and_not_null_takes_null_away_from_every_test_of_the_field():
    assert all_of([lit("a", "ne", null_ok=True), not_null("a")]) == lit("a", "ne")


def test_null_and_not_null_is_never_true():
    assert all_of([is_null("a"), not_null("a")]) == FALSE


def test_null_or_not_null_is_always_true():
    assert any_of([is_null("a"), not_null("a")]) == TRUE


def test_empty_parts_vanish_or_decide():
    assert all_of([]) == TRUE
    assert any_of([]) == FALSE
    assert all_of([lit("a"), FALSE]) == FALSE
    assert any_of([lit("a"), TRUE]) == TRUE
    assert all_of([lit("a"), TRUE]) == lit("a")
    assert any_of([lit("a"), FALSE]) == lit("a")


@pytest.mark.parametrize(
    "parts",
    [
        [lit("a"), lit("a", "ne", null_ok=True)],
        [lit("a", "ne"), is_null("a"), lit("b")],
        [lit("a", "ne", null_ok=True), not_null("a"), is_null("b")],
        [And((lit("a"), lit("b"))), is_null("a"), lit("a", "ne")],
        [Or((lit("a"), is_null("b"))), not_null("b"), lit("c", "ne", null_ok=True)],
    ],
)
def test_joining_changes_no_row(parts):
    assert truth(all_of(parts)) == truth(And(tuple(parts)))
    assert truth(any_of(parts)) == truth(Or(tuple(parts)))


@pytest.mark.parametrize(
    ("formula", "count"),
    [
        (TRUE, 1),
        (lit("a"), 1),
        (all_of([lit("a"), lit("b")]), 1),
        (any_of([lit("a"), lit("b")]), 1),
        (all_of([lit("a"), any_of([lit("b"), lit("c")])]), 1),
        (all_of([any_of([lit("a"), lit("b")]), any_of([lit("c"), lit("d")])]), 2),
        (any_of([all_of([lit("a"), lit("b")]), lit("c"), lit("d")]), 2),
        (any_of([all_of([lit("a"), lit("b")]), all_of([lit("c"), lit("d")])]), 2),
        (FALSE, 0),
    ],
)
def test_branches_are_few_and_their_union_is_the_formula(formula, count):
    found = branches(formula, 8)
    assert len(found) == count
    assert truth(formula) == truth(Or(tuple(And(branch) for branch in found)))
    for branch in found:
        groups = [part for part in branch if isinstance(part, Or)]
        assert len(groups) <= 1
        assert all(isinstance(part, Literal) for group in groups for part in group.parts)


def test_too_many_branches_are_refused():
    groups = [
        any_of([all_of([lit("a"), lit("b")]), all_of([lit("c"), lit("d", value=str(n))])]) for n in range(4)
    ]
    assert branches(all_of(groups), 8) is None
    assert branches(all_of(groups), 16) is not None


def test_literals_come_left_to_right():
    formula = And((lit("a"), Or((lit("b"), lit("c")))))
    assert [each.fieldname for each in literals(formula)] == ["a", "b", "c"]
