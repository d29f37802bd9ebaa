"""A write's row: whose it is, what it shows, and that one UPDATE decides who changes it."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from erpnext_bridge.errors import NotConnected
from erpnext_bridge.identity import Identity
from erpnext_bridge.models.write import HISTORY_LENGTH, DocumentWrite, State

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _settings(settings):
    settings.ERPNEXT_BRIDGE = {"SITES": {"default": {"URL": "https://erp.example.com", "TITLE": "Our ERP"}}}


@pytest.fixture
def alice():
    return User.objects.create(username="alice")


def make(**values):
    fields = {"site": "default", "action": "update", "doctype": "Sales Order", "document_name": "SO-1"}
    return DocumentWrite.objects.create(**fields | {"is_service": "user" not in values} | values)


def test_a_write_is_sent_with_the_rights_of_its_user(alice):
    assert make(user=alice).identity == Identity.for_user(alice)


def test_a_write_of_the_service_account_says_so():
    assert make().identity == Identity.service()


def test_a_deleted_user_leaves_a_write_that_nobody_can_send(alice):
    write = make(user=alice)
    alice.delete()
    write.refresh_from_db()
    assert write.is_orphan
    assert write.actor == "a deleted user"
    with pytest.raises(NotConnected, match="was deleted"):
        _ = write.identity


def test_no_write_is_both_of_a_user_and_of_the_service_account(alice):
    with pytest.raises(IntegrityError), transaction.atomic():
        make(user=alice, is_service=True)


def test_a_user_sees_no_write_of_others(alice):
    mine = make(user=alice)
    make(user=User.objects.create(username="bob"))
    make()
    assert list(DocumentWrite.objects.for_user(alice)) == [mine]
    assert list(DocumentWrite.objects.for_user(AnonymousUser())) == []


def test_writes_of_an_identity_are_those_at_its_site(alice):
    mine, service = make(user=alice), make()
    make(user=alice, site="other")
    make(site="other")
    assert list(DocumentWrite.objects.for_identity(Identity.for_user(alice))) == [mine]
    assert list(DocumentWrite.objects.for_identity(Identity.service())) == [service]


@pytest.mark.parametrize("state", State)
def test_due_are_writes_that_wait_and_whose_time_has_come(state):
    now = timezone.now()
    due = make(state=state, next_attempt_at=now)
    make(state=state, next_attempt_at=now + timedelta(seconds=1))
    make(state=state, next_attempt_at=None)
    waits = state in (State.PENDING, State.RETRYING)
    assert list(DocumentWrite.objects.due(now)) == ([due] if waits else [])


def test_crashed_are_deliveries_whose_lease_has_ended():
    now = timezone.now()
    crashed = make(state=State.SENDING, lease_expires_at=now)
    make(state=State.SENDING, lease_expires_at=now + timedelta(seconds=1))
    make(state=State.DONE, lease_expires_at=now)
    assert list(DocumentWrite.objects.crashed(now)) == [crashed]


def test_of_two_who_change_a_write_one_is_told_that_it_was_too_late():
    write = make(state=State.REFUSED)
    first, second = (DocumentWrite.objects.get(pk=write.pk) for _ in range(2))
    assert first.advance((State.REFUSED,), state=State.PENDING)
    assert not second.advance((State.REFUSED,), state=State.CANCELLED)
    write.refresh_from_db()
    assert write.state == State.PENDING


def test_who_has_lost_the_lease_cannot_change_the_write():
    write = make(state=State.SENDING, lease_token=uuid.uuid4())
    late = DocumentWrite.objects.get(pk=write.pk)
    DocumentWrite.objects.filter(pk=write.pk).update(lease_token=uuid.uuid4())
    assert not late.advance((State.SENDING,), state=State.DONE)
    write.refresh_from_db()
    assert write.state == State.SENDING


def test_a_change_can_be_bound_to_further_conditions():
    write = make(state=State.SENDING, attempts=3)
    assert not write.advance((State.SENDING,), Q(attempts=2), state=State.RETRYING)
    assert write.state == State.SENDING


def test_the_history_keeps_the_newest_lines():
    write = make()
    for number in range(HISTORY_LENGTH + 5):
        write.remember("refused", attempt=number, text="")
    assert len(write.history) == HISTORY_LENGTH
    assert write.history[-1].items() >= {"event": "refused", "attempt": HISTORY_LENGTH + 4}.items()
    assert "text" not in write.history[-1]


def test_the_document_is_linked_where_a_person_reads_it():
    write = make(doctype="Sales Order", document_name="SO/1 ä")
    assert write.document_url == "https://erp.example.com/app/sales-order/SO%2F1%20%C3%A4"


def test_there_is_no_link_to_a_document_without_a_name_or_that_is_deleted():
    assert make(action="create", document_name="").document_url == ""
    assert make(action="delete", state=State.DONE).document_url == ""
    assert make(action="delete", state=State.REFUSED).document_url != ""


def test_a_write_of_a_site_that_the_settings_name_no_more_can_still_be_shown():
    write = make(site="former")
    assert (write.site_label, write.document_url) == ("former", "")
    assert make().site_label == "Our ERP"


def test_text_tells_what_and_how_far_and_no_payload():
    write = make(payload={"secret": "hush"}, state=State.REFUSED)
    assert str(write) == "Update Sales Order SO-1 (refused)"
