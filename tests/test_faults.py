"""The judge of `make faults`: it sees each thing that could go wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.faults.plan import CREATE, CREATE_SUBMITTED, DELETE, SUBMIT, DocumentPlan, plans
from tests.faults.verdict import judge, seen_in
from tests.services import PostgreSQL, RabbitMQ, Redis

UPDATED = DocumentPlan("F1", (CREATE, 1, 2))


def event(kind, step=0, docstatus=0, name="T-1", reference="F1"):
    return [kind, name, reference, step, docstatus]


INSERT, FIRST, SECOND = event("insert"), event("update", 1), event("update", 2)


def verdict(journal, plan=UPDATED, name="T-1", states=("done",)):
    return judge([plan], seen_in(journal), {plan.reference: name}, Counter(states))


@pytest.mark.parametrize(
    ("journal", "plan"),
    [
        ([INSERT, FIRST, SECOND], UPDATED),
        # Sent again with the same value: the document is none the worse for it.
        ([INSERT, FIRST, FIRST, SECOND], UPDATED),
        ([INSERT, event("update", 0, 1)], DocumentPlan("F1", (CREATE_SUBMITTED,))),
        (
            [INSERT, FIRST, event("update", 1, 1), event("update", 2, 1)],
            DocumentPlan("F1", (CREATE, 1, SUBMIT, 2)),
        ),
        ([INSERT, FIRST, event("delete", 1)], DocumentPlan("F1", (CREATE, 1, DELETE))),
    ],
)
def test_what_was_promised_is_good(journal, plan):
    assert verdict(journal, plan).is_good


@pytest.mark.parametrize(
    ("journal", "kind"),
    [
        ([], "lost"),
        ([INSERT, FIRST], "lost"),
        ([INSERT, SECOND], "lost"),
        ([INSERT, FIRST, SECOND, event("delete", 2)], "lost"),
        ([INSERT, FIRST, SECOND, event("insert", name="T-2")], "doubled"),
        ([INSERT, SECOND, FIRST, SECOND], "disordered"),
        ([INSERT, FIRST, SECOND, FIRST, SECOND], "disordered"),
        ([INSERT, FIRST, SECOND, event("insert", reference="F9", name="T-2")], "foreign"),
    ],
)
def test_what_was_not_promised_is_seen(journal, kind):
    found = verdict(journal)
    assert not found.is_good
    assert getattr(found, kind)


@pytest.mark.parametrize("name", ["", "T-2"])
def test_a_write_has_to_know_the_name_of_its_document(name):
    assert verdict([INSERT, FIRST, SECOND], name=name).nameless


@pytest.mark.parametrize("state", ["refused", "uncertain", "retrying", "sending"])
def test_a_write_that_is_not_done_is_not_good(state):
    found = verdict([INSERT, FIRST, SECOND], states=("done", state))
    assert not found.is_good
    assert f"1 {state}" in str(found)


def test_the_same_seed_plans_the_same_and_leaves_nothing_out():
    assert plans(300, 7) == plans(300, 7) != plans(300, 8)
    steps = {str(step) for plan in plans(300, 7) for step in plan.steps}
    assert steps >= {"create", "create and submit", "submit", "cancel", "delete", "1", "4"}


@pytest.mark.service
@pytest.mark.parametrize(
    ("version", "strategy", "broker"),
    [("15", "marker", "redis"), ("16", "key", "rabbitmq")],
)
def test_a_small_storm_loses_and_doubles_nothing(version, strategy, broker):
    """`make faults` does the same with thousands."""
    for kind in (PostgreSQL, {"redis": Redis, "rabbitmq": RabbitMQ}[broker]):
        if not kind.is_installed():
            pytest.skip(f"{kind.label} is not installed: make services")
    options = (
        "--count",
        "12",
        "--seed",
        "5",
        "--version",
        version,
        "--strategy",
        strategy,
        "--broker",
        broker,
    )
    command = [sys.executable, "-m", "tests.faults", *options]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ERPNEXT_")}
    run = subprocess.run(command, env=kept, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    assert (
        "0 lost, 0 doubled, 0 without their name, 0 out of order, 0 not done" in run.stdout.splitlines()[-1]
    )
