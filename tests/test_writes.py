"""Writes over a real socket: what becomes of each, whatever happens to requests, answers and workers."""

from __future__ import annotations

import datetime as dt
import logging
import socket
import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils import timezone

from erpnext_bridge import writes
from erpnext_bridge.access import open_site
from erpnext_bridge.errors import RefusedError
from erpnext_bridge.identity import Identity
from erpnext_bridge.models import Connection, DocumentWrite
from erpnext_bridge.models.write import KeyStrategy, State
from erpnext_bridge.outbox.delivery import perform
from erpnext_bridge.outbox.outcomes import outcome_of
from erpnext_bridge.signals import connected
from erpnext_bridge.writes import (
    WriteStateError,
    can_resolve,
    can_retry,
    cancel,
    enqueue,
    resolve,
    retry,
    sweep,
)
from tests.write_site import (
    SERVICE,
    connect,
    due_now,
    folder_broker,
    meanwhile,
    modified,
    open_write_site,
    service_account,
    writes_seen,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(params=[15, 16], ids="v{}".format)
def site(request, settings, tmp_path):
    with open_write_site(settings, version=request.param) as running, folder_broker(tmp_path):
        yield running


def queue(action, doctype="Ticket", name="", payload=None, identity=SERVICE, **options):
    return enqueue(action, identity, doctype, name, payload, **options)


def deliver(write):
    """Deliver a write once, and return it as the database has it."""
    perform(write.pk)
    write.refresh_from_db()
    return write


def delivered(action, *args, **options):
    return deliver(queue(action, *args, **options))


def ticket(**values):
    """Create a ticket by a write, and return that write."""
    write = delivered("create", payload={"subject": "Printer on fire", **values})
    assert write.state == State.DONE, write.last_error
    return write


def deal(**options):
    write = delivered("create", "Deal", payload={"subject": "Hundred printers"}, **options)
    assert write.state == State.DONE, write.last_error
    return write


class TestQueueing:
    def test_a_write_lives_and_dies_with_the_callers_transaction(self, site):
        with transaction.atomic():
            queue("create", payload={"subject": "x"})
            assert DocumentWrite.objects.exists()
            transaction.set_rollback(True)
        assert not DocumentWrite.objects.exists()
        assert site.requests == []

    def test_queueing_needs_no_site_that_answers(self, settings):
        settings.ERPNEXT_BRIDGE = {"SITES": {"default": {"URL": "http://127.0.0.1:1"}}}
        moment = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
        assert queue("create", payload={"subject": "x", "opens": moment}).state == State.PENDING

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            ({"action": "update", "name": "TK-1"}, "nothing to update"),
            ({"action": "update", "payload": {"a": 1}}, "To update a document, name it"),
            ({"action": "delete"}, "To delete a document, name it"),
            ({"action": "delete", "name": "TK-1", "payload": {"a": 1}}, "takes no payload"),
            ({"action": "submit", "name": "TK-1", "submit": True}, "Only a document that is created"),
            ({"action": "create", "doctype": ""}, "needs a DocType"),
            ({"action": "rename", "name": "TK-1"}, "not a valid"),
        ],
    )
    def test_what_could_never_be_sent_is_refused_at_once(self, settings, arguments, problem):
        settings.ERPNEXT_BRIDGE = {"SITES": {"default": {"URL": "http://127.0.0.1:1"}}}
        with pytest.raises(ValueError, match=problem):
            queue(**arguments)

    def test_a_site_that_the_settings_do_not_name_is_refused_at_once(self, settings):
        settings.ERPNEXT_BRIDGE = {"SITES": {}}
        with pytest.raises(ImproperlyConfigured):
            queue("create", payload={"subject": "x"})


class TestDelivery:
    def test_a_create_tells_the_new_documents_name(self, site):
        write = ticket(amount=Decimal("12.50"), due=dt.date(2026, 1, 9))
        stored = site.document("Ticket", write.document_name)
        assert (stored["subject"], float(stored["amount"]), str(stored["due"])) == (
            "Printer on fire",
            12.5,
            "2026-01-09",
        )
        assert write.answer == {"name": write.document_name, "docstatus": 0}
        assert write.finished_at is not None
        assert write.lease_token is None

    def test_a_moment_arrives_in_the_sites_own_time(self, site):
        write = ticket(opens=dt.datetime(2026, 1, 9, 12, tzinfo=dt.UTC))
        stored = site.document("Ticket", write.document_name)
        assert str(stored["opens"]).startswith("2026-01-09 07:00:00")

    def test_a_chosen_name_of_a_create_is_a_wish_in_the_payload(self, site):
        write = queue("create", name="MINE", payload={"subject": "x"})
        assert (write.document_name, write.payload["name"]) == ("", "MINE")
        assert deliver(write).document_name.startswith("TK-")

    def test_update_submit_cancel_and_delete(self, site):
        name = ticket().document_name
        assert delivered("update", name=name, payload={"priority": "High"}).state == State.DONE
        assert site.document("Ticket", name)["priority"] == "High"
        assert delivered("delete", name=name).state == State.DONE
        assert site.document("Ticket", name) is None
        name = deal().document_name
        assert delivered("submit", "Deal", name).answer["docstatus"] == 1
        assert delivered("cancel", "Deal", name).answer["docstatus"] == 2

    def test_create_and_submit_are_one_promise(self, site):
        write = deal(submit=True)
        assert site.document("Deal", write.document_name)["docstatus"] == 1
        assert [event["event"] for event in write.history] == ["created", "done"]

    def test_a_write_carries_the_rights_of_its_user_and_of_nobody_else(self, site):
        alice = connect(site, "alice", "reader@example.com", "reader-password")
        write = delivered("create", payload={"subject": "x"}, identity=Identity.for_user(alice))
        assert (write.state, write.error_type) == (State.REFUSED, "PermissionRefused")
        bob = connect(site, "bob")
        write = delivered("create", payload={"subject": "x"}, identity=Identity.for_user(bob))
        assert site.document("Ticket", write.document_name)["owner"] == "clerk@example.com"

    def test_what_is_done_is_not_done_again(self, site):
        write = ticket()
        assert perform(write.pk) is None
        assert perform(uuid.uuid4()) is None
        assert writes_seen(site) == [("POST", 200)]

    @pytest.mark.django_db(transaction=True)
    def test_of_two_workers_at_once_one_sends(self, site):
        write = queue("create", payload={"subject": "x"})
        assert meanwhile(site, write, lambda: perform(write.pk)) is None
        assert (write.state, writes_seen(site)) == (State.DONE, [("POST", 200)])


class TestRefused:
    def test_refused_is_final_and_keeps_erpnexts_message_and_the_payload(self, site):
        write = delivered("create", payload={"subject": "x", "priority": "Whenever"})
        assert (write.state, write.error_type) == (State.REFUSED, "ValidationRefused")
        assert 'Priority cannot be "Whenever"' in write.last_error
        assert "<" not in write.last_error
        assert write.payload == {"subject": "x", "priority": "Whenever"}
        assert perform(write.pk) is None
        assert sweep(timezone.now() + timedelta(days=1)) == []
        assert writes_seen(site) == [("POST", 417)]

    def test_a_change_of_something_newer_is_refused(self, site):
        write = ticket()
        base = modified(site, "Ticket", write.document_name)
        newer = delivered("update", name=write.document_name, payload={"notes": "a"}, base_modified=base)
        assert newer.state == State.DONE
        late = delivered("update", name=write.document_name, payload={"notes": "b"}, base_modified=base)
        assert (late.state, late.error_type) == (State.REFUSED, "Conflict")
        assert site.document("Ticket", write.document_name)["notes"] == "a"

    def test_something_newer_is_not_deleted(self, site):
        write = ticket()
        late = delivered("delete", name=write.document_name, base_modified="2020-01-01 00:00:00.000000")
        assert (late.state, late.error_type) == (State.REFUSED, "Conflict")
        assert site.document("Ticket", write.document_name) is not None
        base = modified(site, "Ticket", write.document_name)
        done = delivered("delete", name=write.document_name, base_modified=base)
        assert done.state == State.DONE

    def test_a_refusal_without_a_message_still_tells_something(self, site):
        outcome = outcome_of(
            queue("delete", name="TK-9999"), RefusedError(status=404, exc_type="Gone"), sent=True
        )
        assert (outcome.state, outcome.text) == (State.REFUSED, "ERPNext gave no message. 404 Gone")

    def test_when_the_submit_is_refused_the_draft_is_known_and_the_rest_can_be_retried(self, site, settings):
        sites = settings.ERPNEXT_BRIDGE["SITES"]
        sites["default"] |= service_account(site, "maker@example.com")
        write = delivered("create", "Deal", payload={"subject": "x"}, submit=True)
        assert (write.state, write.error_type) == (State.REFUSED, "PermissionRefused")
        assert site.document("Deal", write.document_name)["docstatus"] == 0
        sites["default"] |= service_account(site, "clerk@example.com")
        retry(write)
        assert deliver(write).state == State.DONE
        assert [deal["docstatus"] for deal in site.rows("Deal")] == [1]


class TestTroubleThatPasses:
    @pytest.mark.parametrize("kind", ["unavailable", "rate_limited", "deadlock", "maintenance"])
    def test_a_busy_site_is_asked_again_until_it_is_done(self, site, kind):
        options = {"retry_after": None} if kind == "rate_limited" else {}
        site.trouble(kind, **options)
        write = delivered("create", payload={"subject": "x"})
        assert (write.state, write.error_type, write.outcome_unknown) == (State.RETRYING, "SiteBusy", False)
        assert deliver(write).state == State.DONE
        assert (write.attempts, write.last_error, write.error_type) == (2, "", "")
        assert len(site.rows("Ticket")) == 1

    def test_a_retry_after_is_waited_for(self, site):
        site.trouble("rate_limited", retry_after=120)
        write = delivered("create", payload={"subject": "x"})
        assert write.next_attempt_at > timezone.now() + timedelta(seconds=100)
        assert perform(write.pk) is None

    def test_a_site_that_is_down_keeps_the_write_and_the_connection(self, settings):
        with open_write_site(settings) as site:
            alice = connect(site, "alice")
        write = delivered("create", payload={"subject": "x"}, identity=Identity.for_user(alice))
        assert (write.state, write.error_type, write.outcome_unknown) == (
            State.RETRYING,
            "SiteUnreachable",
            False,
        )
        assert write.payload == {"subject": "x"}
        assert Connection.objects.get(user=alice).is_healthy

    def test_used_up_attempts_leave_it_to_a_person_and_nothing_was_created(self, site):
        site.trouble("unavailable", times=3)
        write = queue("create", payload={"subject": "x"})
        for _ in range(3):
            deliver(write)
        assert (write.state, write.outcome_unknown) == (State.UNCERTAIN, False)
        assert "Given up after 3 attempts" in write.last_error
        assert can_retry(write)
        assert not can_resolve(write)
        retry(write)
        assert deliver(write).state == State.DONE
        assert write.attempts == 1

    def test_something_else_than_erpnext_leaves_an_update_to_be_tried_again(self, site):
        name = ticket().document_name
        site.trouble("html")
        write = delivered("update", name=name, payload={"notes": "n"})
        assert (write.state, write.error_type) == (State.RETRYING, "UnreadableAnswer")
        assert deliver(write).state == State.DONE

    def test_a_mistake_in_the_settings_is_told_and_mended(self, site, settings):
        write = queue("create", payload={"subject": "x"})
        complete = settings.ERPNEXT_BRIDGE
        settings.ERPNEXT_BRIDGE = {**complete, "SITES": {}}
        deliver(write)
        assert (write.state, write.error_type) == (State.RETRYING, "ImproperlyConfigured")
        assert "'default'" in write.last_error
        settings.ERPNEXT_BRIDGE = complete
        assert deliver(write).state == State.DONE

    def test_an_unexpected_error_is_recorded_without_its_text(self, site):
        write = queue("update", name="TK-0001", payload={"subject": "x"})
        # No key of this payload could be one that enqueue() has stored.
        DocumentWrite.objects.filter(pk=write.pk).update(payload={"opens": {"$at": "secret nonsense"}})
        deliver(write)
        assert (write.state, write.error_type) == (State.RETRYING, "ValueError")
        assert write.last_error.startswith("Unexpected ValueError in payloads.py, line ")
        assert "secret" not in str(write.history)


class TestLostAnswers:
    @pytest.mark.parametrize("kind", ["drop_after", "truncated"])
    def test_without_a_key_a_create_is_never_sent_twice(self, site, settings, kind):
        settings.ERPNEXT_BRIDGE["SITES"]["default"]["CREATE_KEY"] = "none"
        site.trouble(kind, match=lambda request: request.method == "POST")
        write = delivered("create", payload={"subject": "x"})
        assert (write.state, write.outcome_unknown) == (State.UNCERTAIN, True)
        assert "may have carried it out" in write.last_error
        assert perform(write.pk) is None
        assert sweep(timezone.now() + timedelta(days=1)) == []
        assert len(site.rows("Ticket")) == 1

    @pytest.mark.parametrize("kind", ["drop_before", "bad_gateway", "html"])
    def test_nor_when_it_may_not_have_arrived(self, site, settings, kind):
        settings.ERPNEXT_BRIDGE["SITES"]["default"]["CREATE_KEY"] = "none"
        site.trouble(kind)
        assert delivered("create", payload={"subject": "x"}).state == State.UNCERTAIN
        assert site.rows("Ticket") == []

    def test_an_update_that_arrived_is_recognised(self, site):
        name = ticket().document_name
        site.trouble("drop_after")
        payload = {"notes": "n", "amount": Decimal("1.5"), "closed": True, "due": dt.date(2026, 1, 9)}
        write = delivered("update", name=name, payload=payload)
        assert (write.state, write.outcome_unknown) == (State.RETRYING, True)
        sent = len(writes_seen(site))
        assert deliver(write).state == State.DONE
        assert len(writes_seen(site)) == sent
        assert write.answer["modified"] == str(site.document("Ticket", name)["modified"])

    def test_an_update_that_did_not_arrive_is_sent_again(self, site):
        made = ticket()
        site.trouble("drop_before")
        write = delivered(
            "update",
            name=made.document_name,
            payload={"notes": "n"},
            base_modified=modified(site, "Ticket", made.document_name),
        )
        assert write.outcome_unknown
        assert deliver(write).state == State.DONE
        assert site.document("Ticket", made.document_name)["notes"] == "n"

    def test_an_update_is_uncertain_when_somebody_has_changed_the_document_since(self, site):
        made = ticket()
        name = made.document_name
        base = modified(site, "Ticket", name)
        site.trouble("drop_after")
        write = delivered("update", name=name, payload={"notes": "mine"}, base_modified=base)
        open_site(SERVICE).client.update("Ticket", name, {"notes": "theirs"})
        assert deliver(write).state == State.UNCERTAIN
        assert site.document("Ticket", name)["notes"] == "theirs"
        assert can_resolve(write)

    def test_child_rows_are_recognised(self, site):
        name = deal().document_name
        site.trouble("drop_after")
        lines = [{"item": "A", "qty": 2}, {"item": "B", "qty": Decimal("0.5")}]
        write = delivered("update", "Deal", name, {"lines": lines})
        assert deliver(write).state == State.DONE
        assert writes_seen(site)[-1][0] == "PUT"
        assert len([method for method, _ in writes_seen(site) if method == "PUT"]) == 1

    def test_a_submit_that_arrived_is_recognised(self, site):
        name = deal().document_name
        site.trouble("drop_after")
        write = delivered("submit", "Deal", name)
        sent = len(writes_seen(site))
        assert deliver(write).state == State.DONE
        assert (len(writes_seen(site)), write.answer["docstatus"]) == (sent, 1)

    def test_a_submit_of_a_document_that_is_cancelled_by_now_is_uncertain(self, site):
        name = deal().document_name
        site.trouble("drop_after")
        write = delivered("submit", "Deal", name)
        open_site(SERVICE).client.cancel("Deal", name)
        assert deliver(write).state == State.UNCERTAIN

    def test_a_cancel_that_arrived_is_recognised(self, site):
        name = deal(submit=True).document_name
        site.trouble("drop_after")
        write = delivered("cancel", "Deal", name)
        sent = len(writes_seen(site))
        assert deliver(write).state == State.DONE
        assert len(writes_seen(site)) == sent

    def test_a_delete_that_arrived_is_recognised(self, site):
        name = ticket().document_name
        site.trouble("drop_after")
        write = delivered("delete", name=name)
        sent = len(writes_seen(site))
        assert deliver(write).state == State.DONE
        assert len(writes_seen(site)) == sent

    def test_a_delete_spares_a_new_document_that_got_the_name(self, site):
        """Frappe gives the number of the newest document back when it is deleted."""
        name = ticket().document_name
        site.trouble("drop_after")
        write = delivered("delete", name=name)
        assert ticket().document_name == name
        DocumentWrite.objects.filter(pk=write.pk).update(created_at=timezone.now() - timedelta(minutes=5))
        assert deliver(write).state == State.DONE
        assert site.document("Ticket", name) is not None

    def test_a_delete_that_did_not_arrive_is_sent_again(self, site):
        name = ticket().document_name
        site.trouble("drop_before")
        write = delivered("delete", name=name)
        assert deliver(write).state == State.DONE
        assert site.document("Ticket", name) is None

    def test_a_refusal_after_a_look_is_a_refusal(self, site):
        site.trouble("drop_before")
        write = delivered("update", name="TK-9999", payload={"notes": "n"})
        assert deliver(write).state == State.REFUSED
        assert write.error_type == "DocumentDoesNotExist"

    def test_a_document_that_may_not_be_looked_at_leaves_it_uncertain(self, site, settings):
        name = ticket().document_name
        site.trouble("drop_before", match=lambda request: request.method == "DELETE")
        write = delivered("delete", name=name)
        settings.ERPNEXT_BRIDGE["SITES"]["default"] |= service_account(site, "nobody@example.com")
        assert deliver(write).state == State.UNCERTAIN
        assert "does not show the document" in write.last_error

    def test_an_attempt_that_was_still_at_work_is_recognised_after_the_refusal(self, site):
        made = ticket()
        name = made.document_name
        base = modified(site, "Ticket", name)
        site.trouble("drop_before")
        write = delivered("update", name=name, payload={"notes": "n"}, base_modified=base)

        def earlier_attempt_ends(request):
            if request.method == "PUT":
                with site.site.lock:
                    change = {"notes": "n", "modified": "2026-01-01 00:00:00.123456"}
                    site.site.store.update("Ticket", name, change)
                    site.site.store.commit()
            return False

        site.trouble("unavailable", match=earlier_attempt_ends)
        assert deliver(write).state == State.DONE
        assert [request.method for request in site.requests][-3:] == ["GET", "PUT", "GET"]
        assert write.answer["modified"] == "2026-01-01 00:00:00.123456"

    def test_a_create_is_not_repeated_whatever_the_row_says(self, site):
        write = queue("create", payload={"subject": "x"})
        DocumentWrite.objects.filter(pk=write.pk).update(outcome_unknown=True)
        assert deliver(write).state == State.UNCERTAIN
        assert site.requests == []

    def test_the_submit_of_a_create_is_looked_for_not_the_create_repeated(self, site):
        site.trouble("drop_after", match=lambda request: request.method == "PUT")
        write = delivered("create", "Deal", payload={"subject": "x"}, submit=True)
        assert (write.state, write.outcome_unknown) == (State.RETRYING, True)
        assert deliver(write).state == State.DONE
        assert [deal["docstatus"] for deal in site.rows("Deal")] == [1]
        assert [method for method, _ in writes_seen(site)] == ["POST", "PUT"]


class TestConnections:
    def test_who_is_not_connected_is_waited_for_without_using_up_attempts(self, site):
        alice = User.objects.create(username="alice")
        write = queue("create", payload={"subject": "x"}, identity=Identity.for_user(alice))
        for _ in range(5):
            due_now(write)
            deliver(write)
        assert (write.state, write.attempts, write.outcome_unknown) == (State.RETRYING, 0, False)
        assert write.last_error.startswith("Waiting for alice to connect at Test site.")
        assert writes_seen(site) == []

    def test_connecting_sends_what_has_waited_and_only_of_that_user(self, site):
        alice = User.objects.create(username="alice")
        bob = User.objects.create(username="bob")
        mine, other = (
            delivered("create", payload={"subject": "x"}, identity=Identity.for_user(user))
            for user in (alice, bob)
        )
        for write in (mine, other):
            DocumentWrite.objects.filter(pk=write.pk).update(
                next_attempt_at=timezone.now() + timedelta(hours=1)
            )
        connect(site, "alice")
        connected.send(sender=None, connection=Connection.objects.get(user=alice), replaced="")
        assert deliver(mine).state == State.DONE
        other.refresh_from_db()
        assert other.next_attempt_at > timezone.now()

    def test_credentials_that_erpnext_refuses_settle_no_write(self, site, settings):
        good = settings.ERPNEXT_BRIDGE
        wrong = {**good["SITES"]["default"], "API_SECRET": "wrong"}
        settings.ERPNEXT_BRIDGE = {**good, "SITES": {"default": wrong}}
        write = delivered("create", payload={"subject": "x"})
        assert (write.state, write.attempts) == (State.RETRYING, 0)
        assert write.last_error.startswith("Waiting for the service account to be accepted at Test site.")
        assert "wrong" not in write.last_error
        settings.ERPNEXT_BRIDGE = good
        assert deliver(write).state == State.DONE

    def test_a_create_is_not_uncertain_because_its_token_could_not_be_refreshed(self, site):
        alice = connect(site, "alice")
        site.expire_tokens()
        site.trouble("drop_after", match="/api/method/frappe.integrations.oauth2.get_token")
        write = delivered("create", payload={"subject": "x"}, identity=Identity.for_user(alice))
        assert (write.state, write.outcome_unknown) == (State.RETRYING, False)
        assert deliver(write).state == State.DONE
        assert len(site.rows("Ticket")) == 1

    def test_the_writes_of_a_deleted_user_are_sent_as_nobody(self, site):
        alice = connect(site, "alice")
        write = queue("create", payload={"subject": "x"}, identity=Identity.for_user(alice))
        alice.delete()
        deliver(write)
        assert (write.state, writes_seen(site)[1:]) == (State.CANCELLED, [])
        assert "Its user was deleted" in write.last_error
        assert not can_retry(write)

    def test_a_refused_write_of_a_deleted_user_cannot_be_sent_again(self, site):
        alice = connect(site, "alice", "reader@example.com", "reader-password")
        write = delivered("create", payload={"subject": "x"}, identity=Identity.for_user(alice))
        alice.delete()
        write.refresh_from_db()
        with pytest.raises(WriteStateError, match="was deleted"):
            retry(write)


class TestCrashes:
    def crashed(self, *args, **options):
        """A write whose worker has died after it was taken."""
        write = queue(*args, **options)
        DocumentWrite.objects.filter(pk=write.pk).update(
            state=State.SENDING,
            attempts=write.attempts + 1,
            lease_token=uuid.uuid4(),
            lease_expires_at=timezone.now() - timedelta(seconds=1),
        )
        write.refresh_from_db()
        return write

    def test_a_create_without_a_key_that_was_under_way_is_left_to_a_person(self, site):
        write = self.crashed("create", payload={"subject": "x"})
        DocumentWrite.objects.filter(pk=write.pk).update(key_strategy=KeyStrategy.NONE)
        assert sweep() == []
        write.refresh_from_db()
        assert (write.state, write.outcome_unknown, write.error_type) == (State.UNCERTAIN, True, "Crashed")

    def test_a_create_that_was_taken_and_not_sent_is_sent(self, site):
        write = self.crashed("create", payload={"subject": "x"})
        sweep()
        write.refresh_from_db()
        assert (write.state, write.outcome_unknown) == (State.RETRYING, False)
        assert deliver(write).state == State.DONE

    def test_any_other_write_is_looked_at_and_sent_again(self, site):
        name = ticket().document_name
        write = self.crashed("update", name=name, payload={"notes": "n"})
        sweep()
        assert deliver(write).state == State.DONE
        assert [(request.method) for request in site.requests][-2:] == ["GET", "PUT"]

    def test_a_create_whose_document_is_known_goes_on_with_its_submit(self, site):
        name = deal().document_name
        write = self.crashed("create", "Deal", payload={"subject": "x"}, submit=True)
        DocumentWrite.objects.filter(pk=write.pk).update(document_name=name)
        sweep()
        assert deliver(write).state == State.DONE
        assert site.document("Deal", name)["docstatus"] == 1
        assert len(site.rows("Deal")) == 1

    def test_a_write_that_kills_its_workers_does_not_do_so_for_ever(self, site):
        write = self.crashed("update", name="TK-0001", payload={"notes": "n"})
        DocumentWrite.objects.filter(pk=write.pk).update(attempts=3)
        sweep()
        write.refresh_from_db()
        assert write.state == State.UNCERTAIN

    def test_a_delivery_that_is_under_way_is_left_alone(self, site):
        write = self.crashed("create", payload={"subject": "x"})
        DocumentWrite.objects.filter(pk=write.pk).update(
            lease_expires_at=timezone.now() + timedelta(minutes=1)
        )
        sweep()
        write.refresh_from_db()
        assert write.state == State.SENDING

    def test_a_lease_that_is_renewed_under_the_eyes_of_the_sweep_holds(self, site):
        write = self.crashed("create", "Deal", payload={"subject": "x"}, submit=True)
        renewed = timezone.now() + timedelta(minutes=1)
        DocumentWrite.objects.filter(pk=write.pk).update(lease_expires_at=renewed)
        writes._recover(write, timezone.now())
        write.refresh_from_db()
        assert write.state == State.SENDING

    def test_the_sweep_finds_what_no_worker_was_asked_for_and_asks_once(self, site):
        write = queue("create", payload={"subject": "x"})
        later = timezone.now() + timedelta(minutes=1)
        assert sweep() == []
        assert sweep(later) == [write]
        assert sweep(later + timedelta(seconds=60)) == []
        assert sweep(later + timedelta(seconds=300)) == [write]

    @pytest.mark.django_db(transaction=True)
    def test_an_answer_that_comes_after_the_lease_settles_the_write(self, site):
        write = queue("create", payload={"subject": "x"})

        def swept():
            sweep(timezone.now() + timedelta(hours=1))
            return DocumentWrite.objects.get(pk=write.pk).state

        assert meanwhile(site, write, swept) == State.RETRYING
        assert (write.state, write.outcome_unknown) == (State.DONE, False)
        assert site.document("Ticket", write.document_name) is not None

    @pytest.mark.django_db(transaction=True)
    def test_a_refusal_that_comes_after_the_lease_does_so_too(self, site):
        write = queue("create", payload={"notes": "no subject"})
        meanwhile(site, write, lambda: sweep(timezone.now() + timedelta(hours=1)))
        assert (write.state, write.outcome_unknown) == (State.REFUSED, False)

    @pytest.mark.django_db(transaction=True)
    def test_but_not_once_somebody_has_acted_on_it(self, site, caplog):
        write = queue("create", payload={"subject": "x"})

        def swept_and_given_up():
            sweep(timezone.now() + timedelta(hours=1))
            cancel(DocumentWrite.objects.get(pk=write.pk))

        meanwhile(site, write, swept_and_given_up)
        assert (write.state, write.document_name) == (State.CANCELLED, "")
        (made,) = site.rows("Ticket")
        assert f"its lease ended before this delivery did, which came to: done {made['name']}" in caplog.text

    @pytest.mark.django_db(transaction=True)
    def test_what_follows_a_create_goes_on_under_a_new_lease(self, site):
        write = queue("create", "Deal", payload={"subject": "x"}, submit=True)
        meanwhile(site, write, lambda: sweep(timezone.now() + timedelta(hours=1)))
        assert write.state == State.DONE
        assert [deal["docstatus"] for deal in site.rows("Deal")] == [1]


class TestPeople:
    @pytest.fixture(autouse=True)
    def _no_key(self, site, settings):
        settings.ERPNEXT_BRIDGE["SITES"]["default"]["CREATE_KEY"] = "none"

    def uncertain(self, site, **options):
        site.trouble("drop_after", match=lambda request: request.method == "POST")
        return delivered("create", "Deal", payload={"subject": "x"}, **options)

    def test_a_refused_write_can_be_sent_again(self, site, settings):
        made = ticket()
        write = delivered("update", name=made.document_name, payload={"notes": "n"}, base_modified="1999")
        DocumentWrite.objects.filter(pk=write.pk).update(base_modified="")
        write.refresh_from_db()
        retry(write, by="admin")
        assert deliver(write).state == State.DONE
        assert {"event": "retried", "by": "admin"}.items() <= write.history[1].items()

    def test_an_uncertain_create_is_sent_again_only_by_who_has_looked(self, site):
        write = self.uncertain(site)
        assert not can_retry(write)
        with pytest.raises(WriteStateError, match="create_again=True"):
            retry(write)
        retry(write, create_again=True)
        assert deliver(write).state == State.DONE
        assert len(site.rows("Deal")) == 2

    def test_an_uncertain_create_is_resolved_by_the_documents_name(self, site):
        write = self.uncertain(site)
        with pytest.raises(WriteStateError, match="Tell the name"):
            resolve(write)
        (found,) = site.rows("Deal")
        resolve(write, found["name"], by="admin")
        write.refresh_from_db()
        assert (write.state, write.document_name, write.last_error) == (State.DONE, found["name"], "")

    def test_resolving_a_create_goes_on_with_the_submit_it_promised(self, site):
        write = self.uncertain(site, submit=True)
        (found,) = site.rows("Deal")
        resolve(write, found["name"])
        assert deliver(write).state == State.DONE
        assert site.document("Deal", found["name"])["docstatus"] == 1

    def test_an_uncertain_call_is_made_again_only_by_who_has_looked(self, site):
        site.trouble("drop_after")
        write = delivered("call", "", payload={"method": "frappe.auth.get_logged_user"})
        assert (write.state, can_retry(write)) == (State.UNCERTAIN, False)
        with pytest.raises(WriteStateError, match="create_again=True"):
            retry(write)
        retry(write, create_again=True)
        assert deliver(write).state == State.DONE

    def test_an_update_of_which_nothing_can_be_told_is_sent_by_who_has_looked(self, site):
        name = ticket().document_name
        site.trouble("drop_before", match=lambda request: request.method == "PUT")
        base = modified(site, "Ticket", name)
        write = delivered("update", name=name, payload={"notes": "mine"}, base_modified=base)
        open_site(SERVICE).client.update("Ticket", name, {"notes": "theirs"})
        assert deliver(write).state == State.UNCERTAIN
        retry(write)
        assert deliver(write).state == State.UNCERTAIN
        retry(write, create_again=True)
        assert (deliver(write).state, write.conflict["theirs"]) == (State.REFUSED, {"notes": "theirs"})

    def test_a_write_can_be_given_up(self, site):
        write = queue("create", payload={"subject": "x"})
        cancel(write, by="admin")
        assert perform(write.pk) is None
        write.refresh_from_db()
        assert (write.state, site.requests) == (State.CANCELLED, [])

    @pytest.mark.parametrize("act", [retry, cancel, resolve])
    @pytest.mark.parametrize("state", [State.SENDING, State.DONE, State.CANCELLED])
    def test_what_is_done_given_up_or_under_way_is_nobodys_to_change(self, settings, act, state):
        settings.ERPNEXT_BRIDGE = {"SITES": {"default": {"URL": "http://127.0.0.1:1"}}}
        write = queue("update", name="TK-1", payload={"notes": "n"})
        DocumentWrite.objects.filter(pk=write.pk).update(state=state)
        write.refresh_from_db()
        with pytest.raises(WriteStateError):
            act(write)
        write.refresh_from_db()
        assert write.state == state

    def test_who_looks_at_an_old_page_is_told_that_it_has_changed(self, site):
        write = delivered("delete", name="TK-9999")
        old = DocumentWrite.objects.get(pk=write.pk)
        cancel(write)
        with pytest.raises(WriteStateError, match="is cancelled by now"):
            retry(old)


def test_no_log_line_tells_what_was_written(site, caplog):
    with caplog.at_level(logging.DEBUG):
        ticket(subject="confidential matter")
        delivered("create", payload={"notes": "confidential matter"})
        site.trouble("drop_after")
        delivered("create", payload={"subject": "confidential matter"})
    assert "confidential" not in caplog.text


def test_a_port_where_nobody_listens_counts_as_not_sent(settings):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    sites = {"default": {"URL": f"http://127.0.0.1:{port}", "API_KEY": "key", "API_SECRET": "secret"}}
    settings.ERPNEXT_BRIDGE = {"SITES": sites, "WRITE_BACKOFF": (0.0, 0.0)}
    write = delivered("create", payload={"subject": "x"})
    assert (write.state, write.outcome_unknown) == (State.RETRYING, False)
