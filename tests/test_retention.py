"""Finished writes are kept for a while, and what somebody still has to look at for ever."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from erpnext_bridge import retention, tasks
from erpnext_bridge.models import DocumentWrite
from erpnext_bridge.models.write import State

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def bridge(settings):
    settings.ERPNEXT_BRIDGE = {
        "SITES": {"default": {"URL": "https://erp.example.com"}},
        "WRITE_RETENTION": 30.0,
    }
    return settings.ERPNEXT_BRIDGE


def make(state=State.DONE, days=31.0):
    finished = timezone.now() - timedelta(days=days)
    fields = {"site": "default", "action": "create", "doctype": "Lead", "is_service": True}
    return DocumentWrite.objects.create(**fields, state=state, finished_at=finished)


def kept():
    return set(DocumentWrite.objects.values_list("pk", flat=True))


def test_what_is_over_for_long_enough_goes():
    young, _, _ = make(days=29), make(), make(State.CANCELLED)
    assert retention.prune() == 2
    assert kept() == {young.pk}


@pytest.mark.parametrize("state", [state for state in State if state not in ("done", "cancelled")])
def test_what_is_not_over_stays(state):
    make(state, days=3650)
    assert retention.prune() == 0


def test_what_others_wait_for_stays_until_they_are_done():
    first, second = make(), make(State.PENDING)
    second.depends_on.add(first)
    assert retention.prune() == 0
    DocumentWrite.objects.filter(pk=second.pk).update(state=State.DONE)
    assert retention.prune() == 2


def test_more_than_one_transaction_holds(monkeypatch):
    monkeypatch.setattr(retention, "CHUNK", 3)
    for _ in range(8):
        make()
    assert retention.prune() == 8
    assert kept() == set()


def test_none_keeps_all(bridge):
    make(days=3650)
    bridge["WRITE_RETENTION"] = None
    assert retention.prune() == 0


def test_days_can_be_given():
    make(days=5)
    assert retention.prune(days=4) == 1


def test_the_task_does_it():
    make()
    tasks.prune()
    assert kept() == set()
