"""The gate of a site that fails: who tries it again, and what becomes of the try."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from erpnext_bridge.conf import get_site
from erpnext_bridge.errors import SiteUnreachable
from erpnext_bridge.models import DocumentWrite
from erpnext_bridge.models.gate import SiteGate
from erpnext_bridge.outbox import gate
from erpnext_bridge.writes import enqueue, perform
from tests.write_site import SERVICE, open_write_site

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def site(settings):
    with open_write_site(settings, WRITE_BREAKER=(1, 60.0, 60.0)) as running:
        yield running


@pytest.fixture
def closed(site):
    """The site has failed, and its pause is just over."""
    gate.report(gate.ask(get_site()), SiteUnreachable("down"))
    assert gate.ask(get_site()).seconds > 0
    SiteGate.objects.update(closed_until=timezone.now())
    return site


def test_of_all_who_ask_one_may_try(closed):
    first, second = gate.ask(get_site()), gate.ask(get_site())
    assert first.seconds == 0 < second.seconds


def test_a_try_that_is_not_made_is_left_to_the_next(closed):
    gate.give_back(gate.ask(get_site()))
    assert gate.ask(get_site()).seconds == 0


def test_a_try_that_somebody_else_has_decided_about_is_not_given_back(closed):
    passage = gate.ask(get_site())
    gate.report(passage, SiteUnreachable("still down"))
    gate.give_back(passage)
    assert gate.ask(get_site()).seconds > 0


def test_a_try_that_was_killed_holds_nobody_up_for_longer_than_its_lease(closed, settings):
    settings.ERPNEXT_BRIDGE["WRITE_LEASE"] = 5.0
    passage = gate.ask(get_site())
    assert passage.trial_until - timezone.now() <= timedelta(seconds=5)


def test_a_write_without_a_place_does_not_use_up_the_try(closed, settings):
    settings.ERPNEXT_BRIDGE["SITES"]["default"]["WRITE_CONCURRENCY"] = 1
    first, second = (enqueue("create", SERVICE, "Ticket", payload={"subject": str(n)}) for n in range(2))
    DocumentWrite.objects.filter(pk=first.pk).update(
        state="sending",
        slot_lock="default 0",
        lease_expires_at=timezone.now() + timedelta(hours=1),
        next_attempt_at=None,
    )
    assert perform(second.pk) is None
    DocumentWrite.objects.filter(pk=first.pk).update(state="done", slot_lock=None, lease_expires_at=None)
    assert perform(second.pk).state == "done"
