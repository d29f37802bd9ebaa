"""Waits grow exponentially, are spread at random, and honour what the site asks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from erpnext_bridge.backoff import LONGEST_ASKED, wait_before


def longest_wait(attempt, **options):
    return wait_before(attempt, **{"first": 2, "longest": 600, **options}, spread=lambda low, high: high)


def test_the_bound_doubles_with_each_attempt_up_to_the_longest():
    assert [longest_wait(attempt) for attempt in (1, 2, 3, 8, 9, 10)] == [2, 4, 8, 256, 512, 600]


def test_any_number_of_attempts_has_a_wait():
    assert longest_wait(10_000) == 600


@given(st.integers(1, 100))
def test_the_whole_wait_is_random(attempt):
    spreads = []
    wait_before(attempt, first=2, longest=600, spread=lambda low, high: spreads.append((low, high)) or 0.0)
    assert spreads == [(0.0, longest_wait(attempt))]


@given(st.integers(1, 100), st.floats(0.001, LONGEST_ASKED))
def test_the_wait_is_never_shorter_than_the_site_asks(attempt, asked):
    assert wait_before(attempt, first=2, longest=600, retry_after=asked) >= asked


def test_those_who_were_asked_to_wait_equally_long_come_back_apart():
    assert longest_wait(1, retry_after=30) == 32


def test_a_mistaken_retry_after_is_cut_to_a_day():
    assert longest_wait(1, retry_after=10**9) == LONGEST_ASKED + 2
    assert longest_wait(3, retry_after=-5) == 8
