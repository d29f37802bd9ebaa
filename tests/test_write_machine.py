"""
The life of writes, walked at random: every state, workers killed at any statement and any request, and no two documents.

A few walks belong to the suite; `make walk` takes more and longer ones.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from erpnext_bridge import tasks
from erpnext_bridge.models import DocumentWrite
from erpnext_bridge.models.write import WAITING, Action, State
from erpnext_bridge.outbox.delivery import perform
from erpnext_bridge.outbox.keyfield import field_of
from erpnext_bridge.signals import request_sent
from erpnext_bridge.writes import WriteStateError, cancel, enqueue, enqueue_many, retry, sweep
from tests.write_site import SERVICE, open_write_site

WALKS = int(os.environ.get("WALKS", "12"))
STEPS = int(os.environ.get("WALK_STEPS", "25"))

TROUBLES = ["drop_before", "drop_after", "truncated", "bad_gateway", "unavailable", "deadlock"]
DOCTYPES = ("Ticket", "Deal")


class Killed(BaseException):
    """What SIGKILL is to a worker, as far as Python lets it be felt: nothing below this line runs any more."""


@contextmanager
def killed_at(statement=None, request=None):
    """Kill what runs inside before its n-th SQL statement, or after its n-th request."""
    seen = {"statements": 0, "requests": 0}

    def execute(run, sql, params, many, context):
        seen["statements"] += 1
        if seen["statements"] == statement:
            raise Killed
        return run(sql, params, many, context)

    def sent(**_):
        seen["requests"] += 1
        if seen["requests"] == request:
            raise Killed

    request_sent.connect(sent)
    try:
        with connection.execute_wrapper(execute):
            yield
    except Killed:
        pass
    finally:
        request_sent.disconnect(sent)


class Writes(RuleBasedStateMachine):
    site = None

    def __init__(self):
        super().__init__()
        DocumentWrite.objects.all().delete()
        self.site.trouble_clear()
        for doctype in (*DOCTYPES, "Tag"):
            self.site.site.store.delete(doctype, {})
        self.site.site.store.commit()
        self.number = 0
        self.given_up = set()
        self.seen = {}

    def next_number(self):
        self.number += 1
        return self.number

    # What the program does

    @rule(count=st.integers(1, 4), bad=st.booleans())
    def queue_tickets(self, count, bad):
        payloads = [{"subject": f"s{self.next_number()}", "notes": "0"} for _ in range(count)]
        if bad:
            payloads[-1]["priority"] = "Whenever"
        enqueue_many(SERVICE, "Ticket", payloads)

    @rule(submit=st.booleans(), linked=st.booleans())
    def queue_deal(self, submit, linked):
        ticket = self.some_create() if linked else None
        payload = {"subject": f"s{self.next_number()}", "ticket": ticket}
        enqueue("create", SERVICE, "Deal", payload=payload, submit=submit)

    @precondition(lambda self: self.some_create() is not None)
    @rule()
    def queue_update(self):
        create = self.some_create()
        number = self.next_number()
        enqueue("update", SERVICE, "Ticket", create.document_name or create, {"notes": str(number)})

    def some_create(self):
        ended = (State.REFUSED, State.CANCELLED, State.UNCERTAIN)
        creates = DocumentWrite.objects.filter(action=Action.CREATE, doctype="Ticket").exclude(
            state__in=ended
        )
        return creates.order_by("-created_at").first()

    # What becomes of it

    @precondition(lambda self: self.due() is not None)
    @rule(
        trouble=st.sampled_from([None, None, *TROUBLES]),
        statement=st.none() | st.integers(1, 25),
        request=st.none() | st.integers(1, 4),
        newest=st.booleans(),
    )
    def deliver(self, trouble, statement, request, newest):
        write = self.due(newest)
        if trouble:
            self.site.trouble(trouble, match=lambda incoming: incoming.method != "GET")
        with killed_at(statement, request):
            perform(write.pk)
        self.site.trouble_clear()

    def due(self, newest=False):
        return DocumentWrite.objects.due().order_by("-created_at" if newest else "created_at").first()

    @rule(statement=st.none() | st.integers(1, 10))
    def sweep(self, statement):
        self.let_leases_end()
        with killed_at(statement):
            sweep()

    def let_leases_end(self):
        DocumentWrite.objects.filter(state=State.SENDING).update(
            lease_expires_at=timezone.now() - timedelta(seconds=1)
        )

    # What people do

    @rule(give_up=st.booleans(), data=st.data())
    def decide(self, give_up, data):
        writes = list(
            DocumentWrite.objects.exclude(state__in=(State.DONE, State.CANCELLED)).order_by("created_at")
        )
        if not writes:
            return
        write = data.draw(st.sampled_from(writes))
        try:
            cancel(write) if give_up else retry(write)
        except WriteStateError:
            return
        if give_up:
            self.given_up.add(write.pk)

    # What is always so

    @invariant()
    def no_two_documents_are_of_one_write(self):
        for doctype in DOCTYPES:
            subjects = [row["subject"] for row in self.site.rows(doctype)]
            assert len(subjects) == len(set(subjects)), subjects

    @invariant()
    def done_means_done(self):
        done = DocumentWrite.objects.filter(state=State.DONE, action=Action.CREATE)
        for write in done:
            document = self.site.document(write.doctype, write.document_name)
            assert document["subject"] == write.payload["subject"]
            assert document["docstatus"] == int(write.submit)

    @invariant()
    def the_order_of_updates_is_kept(self):
        for row in self.site.rows("Ticket"):
            notes = int(row["notes"] or 0)
            assert notes >= self.seen.get(row["name"], 0)
            self.seen[row["name"]] = notes

    @invariant()
    def locks_belong_to_what_is_under_way(self):
        held = DocumentWrite.objects.exclude(lane_lock=None, slot_lock=None)
        for write in held:
            assert write.state == State.SENDING or (write.state in WAITING and write.outcome_unknown)

    def teardown(self):
        """All comes to a good end once nobody is killed any more."""
        for _ in range(200):
            self.let_leases_end()
            sweep()
            waiting = DocumentWrite.objects.filter(state__in=WAITING, next_attempt_at__isnull=False)
            waiting.update(next_attempt_at=timezone.now())
            write = waiting.order_by("created_at").first()
            if write is None:
                break
            perform(write.pk)
        self.no_two_documents_are_of_one_write()
        self.done_means_done()
        self.the_order_of_updates_is_kept()
        left = DocumentWrite.objects.exclude(state__in=(State.DONE, State.REFUSED, State.CANCELLED))
        assert not left, [(str(write), write.last_error, write.history) for write in left]
        assert not DocumentWrite.objects.exclude(lane_lock=None, slot_lock=None).exists()
        self.nothing_is_there_that_no_write_has_made()

    def nothing_is_there_that_no_write_has_made(self):
        for doctype in DOCTYPES:
            known = {write.payload["subject"] for write in self.creates(doctype, State.DONE)}
            unknown = {row["subject"] for row in self.site.rows(doctype)} - known
            lost = {write.payload["subject"] for write in self.creates(doctype, State.CANCELLED)}
            drafts = {
                write.payload["subject"]
                for write in self.creates(doctype, State.REFUSED)
                if write.document_name
            }
            assert unknown <= lost | drafts

    def creates(self, doctype, state):
        return DocumentWrite.objects.filter(doctype=doctype, action=Action.CREATE, state=state)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("version", "key"), [(15, "marker"), (16, "field")])
def test_no_way_leads_to_two_documents(project, version, key):
    with ExitStack() as stack:
        site = stack.enter_context(open_write_site(project, version=version, create_key=key))
        project.ERPNEXT_BRIDGE["WRITE_ATTEMPTS"] = 10_000
        for doctype in DOCTYPES:
            site.insert("Custom Field", **field_of(doctype))
        tasks._broker.rest(3600)
        stack.callback(tasks._broker.rest, 0)
        machine = type("WritesHere", (Writes,), {"site": site})
        options = settings(
            max_examples=WALKS,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize="WALKS" not in os.environ,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        run_state_machine_as_test(machine, settings=options)


@pytest.fixture
def project(settings):
    return settings
