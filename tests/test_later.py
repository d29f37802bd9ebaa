"""The *_later methods: what documents and querysets queue, in which order it is sent, and that ERPNext is asked nothing."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import models, transaction
from django.test import RequestFactory

from erpnext_bridge.documents import ChildDocument, Document
from erpnext_bridge.errors import NotConnected, UnsupportedQuery
from erpnext_bridge.fields import Currency, Link
from erpnext_bridge.identity import acting_as
from erpnext_bridge.models import DocumentWrite, WriteFile
from erpnext_bridge.models.write import Priority, State
from erpnext_bridge.testing import deliver_writes
from erpnext_bridge.writes import cancel, retry, sweep
from tests.write_site import SERVICE, connect, open_write_site

pytestmark = pytest.mark.django_db


class Ticket(Document):
    subject = models.CharField(max_length=140)
    priority = models.CharField(max_length=140, default="Low")
    amount = Currency()
    notes = models.TextField(blank=True)

    class Meta:
        app_label = "erp"


class Deal(Document):
    subject = models.CharField(max_length=140)
    remarks = models.TextField(blank=True)
    ticket = Link(Ticket, related_name="deals")

    class Meta:
        app_label = "erp"


class DealLine(ChildDocument, parent=Deal, fieldname="lines"):
    item = models.CharField(max_length=140)
    qty = models.FloatField(default=0)
    ticket = Link(Ticket, related_name="+")

    class Meta:
        app_label = "erp"


@pytest.fixture(params=[15, 16], ids="v{}".format)
def site(request, settings):
    with open_write_site(settings, version=request.param) as running, acting_as(SERVICE):
        yield running


def ticket(**values):
    return Ticket.objects.create(subject="Printer on fire", **values)


def states():
    return [State(write.state) for write in DocumentWrite.objects.order_by("created_at")]


def deliver_all():
    while deliver_writes():
        pass


class TestOneDocument:
    def test_a_new_document_is_created_and_a_read_one_sends_what_changed(self, site):
        Ticket(subject="a", amount=2).save_later()
        deliver_all()
        (document,) = Ticket.objects.all()
        document.notes = "n"
        write = document.save_later()
        assert (write.payload, write.base_values) == ({"notes": "n"}, {"notes": ""})
        assert write.base_modified == str(site.document("Ticket", document.name)["modified"])
        deliver_all()
        assert site.document("Ticket", document.name)["notes"] == "n"

    def test_what_was_queued_is_not_queued_again(self, site):
        document = ticket()
        document.notes = "n"
        document.save_later()
        document.amount = 3
        assert document.save_later().payload == {"amount": 3}
        deliver_all()
        assert states() == [State.DONE, State.DONE]
        stored = site.document("Ticket", document.name)
        assert (stored["notes"], float(stored["amount"])) == ("n", 3.0)

    def test_a_new_document_can_be_changed_submitted_and_attached_to_before_it_is_there(self, site):
        deal = Deal(subject="a", lines=[{"item": "x"}])
        create = deal.save_later()
        deal.remarks = "b"
        update = deal.save_later()
        submit = deal.submit_later()
        attach = deal.attach_later(b"hello", filename="a.txt")
        assert [update.follows, submit.follows] == [create, update]
        deliver_all()
        assert states() == [State.DONE] * 4
        (stored,) = site.rows("Deal")
        assert (stored["docstatus"], stored["remarks"]) == (1, "b")
        attach.refresh_from_db()
        uploaded = site.document("File", attach.document_name)
        assert (uploaded["attached_to_name"], uploaded["file_size"]) == (stored["name"], 5)
        assert not WriteFile.objects.exists()

    def test_update_later_sends_the_named_fields_alone(self, site):
        document = ticket()
        document.amount = 9
        assert document.update_later(notes="n").payload == {"notes": "n"}
        assert document.changes() == {"amount": 9}

    def test_submit_later_sends_changes_first(self, site):
        deal = Deal.objects.create(subject="a")
        deal.remarks = "b"
        deal.submit_later()
        deliver_all()
        stored = site.document("Deal", deal.name)
        assert (stored["docstatus"], stored["remarks"]) == (1, "b")

    def test_cancel_call_and_delete(self, site):
        deal = Deal.objects.create(subject="a")
        deal.submit_later()
        deal.cancel_later()
        deliver_all()
        assert site.document("Deal", deal.name)["docstatus"] == 2
        document = ticket()
        write = document.call_later("get_title")
        deliver_all()
        write.refresh_from_db()
        assert write.state in (State.DONE, State.REFUSED)
        document.delete_later()
        deliver_all()
        assert site.document("Ticket", document.name) is None

    def test_what_builds_on_something_refused_is_refused_along_and_comes_back_along(self, site):
        deal = Deal.objects.create(subject="a")
        deal.subject = ""
        update = deal.save_later()
        submit = deal.submit_later()
        deliver_all()
        assert states() == [State.REFUSED, State.REFUSED]
        submit.refresh_from_db()
        assert "builds on another write" in submit.last_error
        assert site.document("Deal", deal.name)["docstatus"] == 0
        DocumentWrite.objects.filter(pk=update.pk).update(payload={"subject": "b"})
        update.refresh_from_db()
        retry(update)
        deliver_all()
        assert states() == [State.DONE, State.DONE]
        assert site.document("Deal", deal.name)["docstatus"] == 1

    def test_after_a_refusal_the_same_document_can_be_saved_again(self, site):
        document = Ticket(subject="a", priority="Whenever")
        document.save_later()
        deliver_all()
        document.priority = "High"
        document.save_later()
        deliver_all()
        assert states() == [State.REFUSED, State.DONE]

    def test_after_a_refusal_a_new_document_is_queued_again_with_its_rows(self, site):
        deal = Deal(subject="", lines=[DealLine(item="a", qty=2)])
        deal.save_later()
        deliver_all()
        deal.subject = "b"
        again = deal.save_later()
        deliver_all()
        assert states() == [State.REFUSED, State.DONE]
        again.refresh_from_db()
        assert [row["item"] for row in site.document("Deal", again.document_name)["lines"]] == ["a"]

    def test_what_was_rolled_back_is_told_when_more_is_queued(self, site):
        document = Ticket(subject="a")
        with transaction.atomic():
            document.save_later()
            transaction.set_rollback(True)
        with pytest.raises(UnsupportedQuery, match="rolled back"):
            document.save_later()

    def test_writes_of_others_to_the_document_go_on_after_a_refusal(self, site):
        document = ticket()
        mine, theirs = Ticket.objects.get(pk=document.name), Ticket.objects.get(pk=document.name)
        mine.update_later(priority="Whenever")
        theirs.update_later(notes="n")
        deliver_all()
        assert states() == [State.REFUSED, State.DONE]

    def test_save_refuses_what_is_queued_to_be_created(self, site):
        document = Ticket(subject="a")
        document.save_later()
        with pytest.raises(UnsupportedQuery, match="is queued to be created"):
            document.save()
        assert site.rows("Ticket") == []

    def test_what_is_not_there_has_nothing_to_submit(self, site):
        with pytest.raises(UnsupportedQuery, match=r"Call save_later\(\) first"):
            Deal(subject="a").submit_later()

    def test_whose_rights_are_said_or_known(self, site):
        alice = connect(site, "alice")
        write = Ticket(subject="a").save_later(user=alice)
        assert write.user == alice
        with pytest.raises(NotConnected):
            Ticket(subject="a").save_later(user=AnonymousUser())


class TestLinks:
    def test_a_link_to_a_document_that_is_queued_waits_for_its_name(self, site):
        first = Ticket(subject="a")
        first.save_later()
        deal = Deal(subject="b", ticket=first, lines=[DealLine(item="x", ticket=first), {"item": "y"}])
        write = deal.save_later()
        assert write.next_attempt_at is None
        deliver_all()
        (made,), (stored,) = site.rows("Ticket"), site.rows("Deal")
        assert stored["ticket"] == made["name"]
        assert [row["ticket"] for row in site.document("Deal", stored["name"])["lines"]] == [
            made["name"],
            None,
        ]

    def test_the_write_itself_may_be_given(self, site):
        create = Ticket(subject="a").save_later()
        Deal(subject="b", ticket=create).save_later()
        deliver_all()
        assert site.rows("Deal")[0]["ticket"] == site.rows("Ticket")[0]["name"]
        create.refresh_from_db()
        assert Deal(subject="c", ticket=create).save_later().next_attempt_at is not None
        deliver_all()
        assert {deal["ticket"] for deal in site.rows("Deal")} == {create.document_name}

    @pytest.mark.parametrize(("end", "state"), [("refused", State.REFUSED), ("cancelled", State.CANCELLED)])
    def test_when_it_is_never_created_the_rest_ends_too(self, site, end, state):
        first = Ticket(subject="a", priority="Whenever")
        create = first.save_later()
        Deal(subject="b", ticket=first).save_later(submit=True)
        if end == "cancelled":
            cancel(create)
        deliver_all()
        assert states() == [state, state]
        assert site.rows("Deal") == []

    @pytest.mark.parametrize("state", [State.REFUSED, State.CANCELLED])
    def test_the_rest_ends_also_where_nobody_has_seen_to_it(self, site, state):
        """A worker is killed, or a write is queued, in the moment in which what it waits for ends."""
        first = Ticket(subject="a")
        write = first.save_later()
        Deal(subject="b", ticket=write).save_later()
        first.submit_later()
        DocumentWrite.objects.filter(pk=write.pk).update(state=state, next_attempt_at=None)
        sweep()
        assert states() == [state] * 3

    def test_nothing_waits_for_what_has_failed_already(self, site):
        create = Ticket(subject="a", priority="Whenever").save_later()
        deliver_all()
        with pytest.raises(ValueError, match="Retry that first"):
            Deal(subject="b", ticket=create).save_later()


class TestQuerysets:
    def test_many_are_created_in_one_request_with_low_priority(self, site):
        documents = [Ticket(subject=f"{number}") for number in range(5)]
        writes = Ticket.objects.bulk_create_later(documents)
        assert {write.priority for write in writes} == {Priority.LOW}
        deliver_all()
        assert states() == [State.DONE] * 5
        assert len([request for request in site.requests if request.method == "POST"]) == 1
        documents[3].notes = "n"
        documents[3].save_later()
        deliver_all()
        assert [row["subject"] for row in site.rows("Ticket") if row["notes"] == "n"] == ["3"]

    def test_one_is_created(self, site):
        Ticket.objects.as_service().create_later(subject="a")
        deliver_all()
        assert [row["subject"] for row in site.rows("Ticket")] == ["a"]

    def test_those_that_are_found_are_updated_and_deleted(self, site):
        for subject in "abc":
            Ticket.objects.create(subject=subject)
        assert len(Ticket.objects.filter(subject__in=["a", "b"]).update_later(notes="n")) == 2
        deliver_all()
        assert sorted(row["subject"] for row in site.rows("Ticket") if row["notes"]) == ["a", "b"]
        assert len(Ticket.objects.filter(notes="n").delete_later()) == 2
        deliver_all()
        assert [row["subject"] for row in site.rows("Ticket")] == ["c"]

    def test_what_is_there_is_not_created_again(self, site):
        with pytest.raises(ValueError, match="for new ones"):
            Ticket.objects.bulk_create_later([ticket()])


class TestNothingIsAsked:
    """A view that queues a write answers without talking to ERPNext, which may be down."""

    def view(self, request):
        with acting_as(request.user):
            Ticket(subject="a").save_later()
            deal = Deal(subject="b", ticket=Ticket(subject="c").save_later(), lines=[{"item": "x"}])
            deal.save_later(submit=True)
            deal.attach_later(b"hello", filename="a.txt")
            Ticket.objects.bulk_create_later([Ticket(subject="d"), Ticket(subject="e")])
            return DocumentWrite.objects.count()

    def request(self, user):
        request = RequestFactory().post("/orders/")
        request.user = user
        return request

    def test_while_it_is_up(self, site):
        alice = connect(site, "alice")
        before = len(site.requests)
        assert self.view(self.request(alice)) == 6
        assert len(site.requests) == before

    def test_while_it_is_down(self, settings):
        with open_write_site(settings) as site:
            alice = connect(site, "alice")
        assert self.view(self.request(alice)) == 6


class TestConflicts:
    def conflict(self, document, policy, theirs):
        mine = Ticket.objects.get(pk=document.name)
        Ticket.objects.get(pk=document.name)
        other = Ticket.objects.get(pk=document.name)
        for name, value in theirs.items():
            setattr(other, name, value)
        other.save()
        mine.notes = "mine"
        write = mine.save_later(on_conflict=policy)
        deliver_all()
        write.refresh_from_db()
        return write

    def test_refused_it_tells_all_three_sides(self, site):
        write = self.conflict(ticket(notes="base"), "", {"notes": "theirs"})
        assert (write.state, write.error_type) == (State.REFUSED, "Conflict")
        sides = {side: write.conflict[side] for side in ("base", "ours", "theirs")}
        assert sides == {"base": {"notes": "base"}, "ours": {"notes": "mine"}, "theirs": {"notes": "theirs"}}
        assert write.conflict["modified_by"] == "clerk@example.com"

    def test_reapplied_where_nobody_has_touched_the_same(self, site):
        document = ticket(notes="base")
        assert self.conflict(document, "reapply", {"amount": 5}).state == State.DONE
        stored = site.document("Ticket", document.name)
        assert (stored["notes"], float(stored["amount"])) == ("mine", 5.0)

    def test_not_reapplied_where_somebody_has(self, site):
        write = self.conflict(ticket(notes="base"), "reapply", {"notes": "theirs"})
        assert (write.state, write.conflict["theirs"]) == (State.REFUSED, {"notes": "theirs"})

    def test_overwritten_where_that_is_wanted(self, site):
        document = ticket(notes="base")
        assert self.conflict(document, "overwrite", {"notes": "theirs"}).state == State.DONE
        assert site.document("Ticket", document.name)["notes"] == "mine"

    def test_the_setting_says_what_is_not_said(self, site, settings):
        settings.ERPNEXT_BRIDGE["WRITE_CONFLICT"] = "overwrite"
        assert self.conflict(ticket(), "", {"notes": "theirs"}).state == State.DONE

    @pytest.mark.parametrize(("policy", "state"), [("refuse", State.UNCERTAIN), ("reapply", State.DONE)])
    def test_a_lost_answer_and_a_change_by_somebody_else(self, site, policy, state):
        document = ticket(notes="base")
        mine, other = Ticket.objects.get(pk=document.name), Ticket.objects.get(pk=document.name)
        mine.notes = "mine"
        write = mine.save_later(on_conflict=policy)
        site.trouble("drop_before", match=lambda request: request.method == "PUT")
        deliver_writes()
        other.amount = 5
        other.save()
        deliver_all()
        write.refresh_from_db()
        assert write.state == state
