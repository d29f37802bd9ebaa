"""Which writes are taken: found by an index however many are queued, the urgent ones first, and never more than the site has places."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from erpnext_bridge.models import DocumentWrite, SiteGate
from erpnext_bridge.models.write import Priority, State
from erpnext_bridge.outbox import claiming, gate
from erpnext_bridge.outbox.delivery import drain, perform
from erpnext_bridge.outbox.ordering import release_all
from erpnext_bridge.writes import enqueue, enqueue_many, sweep
from tests.write_site import SERVICE, folder_broker, open_write_site, writes_seen

pytestmark = pytest.mark.django_db


@pytest.fixture
def site(settings):
    gate._open_until.clear()
    with open_write_site(settings) as running:
        yield running
    gate._open_until.clear()


@pytest.fixture
def down(settings):
    """A site that nobody needs to ask."""
    settings.ERPNEXT_BRIDGE = {"SITES": {"default": {"URL": "http://127.0.0.1:1"}}}
    gate._open_until.clear()
    return settings.ERPNEXT_BRIDGE["SITES"]["default"]


def update(name, **options):
    return enqueue("update", SERVICE, "Ticket", name, {"notes": "n"}, **options)


def plans(act):
    """How the database goes about the queries for writes, by its own account."""
    with CaptureQueriesContext(
        connection,
    ) as captured:
        act()
    found = []
    for query in captured.captured_queries:
        sql = query["sql"]
        # Of those that are being sent there are few.
        if (
            sql.startswith("SELECT")
            and 'FROM "erpnext_bridge_documentwrite"' in sql
            and "'sending'" not in sql
        ):
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN QUERY PLAN {sql.replace('%', '%%')}")
                found += [row[-1] for row in cursor.fetchall() if "erpnext_bridge_documentwrite" in row[-1]]
    return found


@pytest.mark.skipif(connection.vendor != "sqlite", reason="asks SQLite how it would go about it")
def test_no_query_looks_at_more_than_it_needs(down):
    for number in range(3):
        update(f"TK-{number}")
        enqueue_many(SERVICE, "Ticket", [{"subject": "x"}] * 60)
    used = plans(lambda: [claiming.next_due(), release_all(), sweep(timezone.now() + timedelta(hours=1))])
    assert used
    for plan in used:
        # That of the states would walk through all that waits.
        assert "INDEX" in plan, used
        assert "write_state" not in plan, used
        assert plan.startswith("SEARCH"), used


class TestWhoseTurn:
    def test_the_urgent_go_first_and_the_oldest_among_equals(self, down):
        low, first, second = update("TK-1", priority=Priority.LOW), update("TK-2"), update("TK-3")
        high = update("TK-4", priority=Priority.HIGH)
        assert claiming.upcoming() == [high.pk, first.pk, second.pk, low.pk]

    @pytest.mark.django_db(transaction=True)
    def test_what_an_urgent_write_waits_for_is_urgent_too(self, down, tmp_path):
        with folder_broker(tmp_path):
            tickets = enqueue_many(SERVICE, "Ticket", [{"subject": str(number)} for number in range(3)])
            low = {"priority": Priority.LOW}
            notes = enqueue("update", SERVICE, "Ticket", tickets[1], {"notes": "n"}, **low)
            deal = enqueue("create", SERVICE, "Deal", payload={"ticket": tickets[2]}, **low)
            high = {"priority": Priority.HIGH, "after": [deal]}
            enqueue("update", SERVICE, "Ticket", tickets[1], {"notes": "m"}, **high)
        for write in (*tickets, notes, deal):
            write.refresh_from_db()
        assert [write.priority for write in tickets] == [Priority.LOW, Priority.HIGH, Priority.HIGH]
        assert (notes.priority, deal.priority) == (Priority.HIGH, Priority.HIGH)
        assert claiming.next_due() == tickets[1].pk

    def test_of_a_lane_one_is_told(self, down):
        writes = enqueue_many(SERVICE, "Ticket", [{"subject": "x"}] * 5)
        other = enqueue("create", SERVICE, "Deal", payload={"subject": "x"})
        assert claiming.upcoming() == [other.pk, writes[0].pk]

    def test_what_is_behind_a_lane_that_is_busy_is_found(self, down):
        writes = enqueue_many(SERVICE, "Ticket", [{"subject": "x"}] * (claiming.LOOKED_AT + 5))
        behind = update("TK-1", priority=Priority.LOW)
        DocumentWrite.objects.filter(pk=behind.pk).update(next_attempt_at=timezone.now())
        assert claiming.take(writes[0].pk) is not None
        assert claiming.next_due() == behind.pk

    def test_a_later_write_to_the_document_waits_even_when_it_is_asked_for(self, site):
        first, second = update("TK-1"), update("TK-1")
        DocumentWrite.objects.filter(pk=second.pk).update(next_attempt_at=timezone.now(), waits_since=None)
        assert claiming.take(second.pk) is None
        second.refresh_from_db()
        assert (second.state, second.next_attempt_at) == (State.PENDING, None)
        perform(first.pk)
        second.refresh_from_db()
        assert second.next_attempt_at is not None


class TestPlaces:
    def test_no_more_are_under_way_than_the_site_has_places(self, down):
        down["WRITE_CONCURRENCY"] = 2
        writes = [update(f"TK-{number}") for number in range(3)]
        taken = [claiming.take(write.pk) for write in writes]
        assert [delivery is not None for delivery in taken] == [True, True, False]
        assert len({delivery.leader.slot_lock for delivery in taken[:2]}) == 2

    def test_one_is_kept_for_what_is_in_a_hurry(self, down):
        down["WRITE_CONCURRENCY"] = 2
        low = [update(f"TK-{number}", priority=Priority.LOW) for number in range(2)]
        urgent = update("TK-9", priority=Priority.HIGH)
        taken = [claiming.take(write.pk) is not None for write in (*low, urgent)]
        assert taken == [True, False, True]

    def test_where_there_is_no_limit_all_go(self, down):
        down["WRITE_CONCURRENCY"] = None
        assert all(claiming.take(update(f"TK-{number}").pk) for number in range(6))

    def test_a_lease_that_is_over_makes_its_place_free(self, down):
        down["WRITE_CONCURRENCY"] = 1
        assert claiming.take(update("TK-1").pk) is not None
        DocumentWrite.objects.update(lease_expires_at=timezone.now())
        sweep()
        assert claiming.take(update("TK-2").pk) is not None

    def test_who_has_lost_the_lease_does_nothing_more(self, down):
        delivery = claiming.take(update("TK-1").pk)
        DocumentWrite.objects.update(state=State.RETRYING)
        with pytest.raises(claiming.LeaseLost):
            delivery.renew(delivery.writes)
        delivery.deadline = 0.0
        with pytest.raises(claiming.LeaseLost):
            delivery.check()


class TestGate:
    def test_a_site_that_fails_again_and_again_is_left_alone_then_tried_with_one(self, site, settings):
        settings.ERPNEXT_BRIDGE |= {"WRITE_BREAKER": (3, 60.0, 60.0), "WRITE_ATTEMPTS": 99}
        writes = [update(f"TK-{number}") for number in range(5)]
        site.trouble("unavailable", times=None)
        drain(10)
        assert len(writes_seen(site)) == 3
        assert sweep(timezone.now() + timedelta(seconds=30)) == []
        site.trouble_clear()
        SiteGate.objects.update(closed_until=timezone.now())
        assert claiming.take(writes[0].pk) is not None
        assert claiming.take(writes[1].pk) is None

    def test_once_it_answers_all_go_on(self, site, settings):
        settings.ERPNEXT_BRIDGE |= {"WRITE_BREAKER": (2, 60.0, 60.0), "WRITE_ATTEMPTS": 99}
        for number in range(4):
            update(f"TK-{number}")
        site.trouble("unavailable", times=2)
        drain(10)
        SiteGate.objects.update(closed_until=timezone.now())
        drain(10)
        assert {State(write.state) for write in DocumentWrite.objects.all()} == {State.REFUSED}
        assert SiteGate.objects.get().failures == 0

    def test_a_budget_is_spent_and_fills_again(self, site, settings):
        settings.ERPNEXT_BRIDGE["SITES"]["default"]["WRITE_RATE"] = 0.01
        writes = [update(f"TK-{number}") for number in range(2)]
        drain(10)
        assert len(writes_seen(site)) == 1
        SiteGate.objects.update(next_send_at=timezone.now())
        drain(10)
        assert len(writes_seen(site)) == len(writes)
