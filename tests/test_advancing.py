"""Many writes by one UPDATE: each becomes its own, and one that somebody else has moved stays as it is."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from erpnext_bridge.models import DocumentWrite
from erpnext_bridge.models.write import State
from erpnext_bridge.outbox.advancing import AT_ONCE, advance_together
from erpnext_bridge.signals import write_changed
from erpnext_bridge.writes import enqueue_many
from tests.write_site import SERVICE, folder_broker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def down(settings, tmp_path):
    """A site that nothing is sent to, and a broker that nobody listens to."""
    settings.ERPNEXT_BRIDGE = {"SITES": {"default": {"URL": "http://127.0.0.1:1"}}}
    with folder_broker(tmp_path):
        yield


def sending(count):
    """Return as many writes that one worker has."""
    writes = enqueue_many(SERVICE, "Ticket", [{"subject": str(number)} for number in range(count)])
    DocumentWrite.objects.update(state=State.SENDING, lease_token=uuid4(), next_attempt_at=None)
    for write in writes:
        write.refresh_from_db()
    return writes


def outcomes(writes):
    now = timezone.now()
    return {
        write: {
            "state": State.RETRYING if number % 3 else State.DONE,
            "document_name": f"TK-'{number}",
            "answer": {"name": f"TK-{number}", "docstatus": 0},
            "conflict": {"of": number} if number % 2 else None,
            "next_attempt_at": now + timedelta(seconds=number) if number % 3 else None,
            "lease_token": None,
        }
        for number, write in enumerate(writes)
    }


def as_stored(write):
    fields = ("state", "document_name", "answer", "conflict", "next_attempt_at", "lease_token", "history")
    return {name: getattr(DocumentWrite.objects.get(pk=write.pk), name) for name in fields}


def test_each_gets_its_own_values_by_one_statement():
    writes = sending(AT_ONCE)
    changes = outcomes(writes)
    for number, write in enumerate(writes):
        write.remember("done", attempt=number)
    heard = []

    def hear(*, write, previous, **_):
        heard.append((write.pk, previous))

    write_changed.connect(hear)
    try:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert advance_together(list(changes.items()), [State.SENDING]) == writes
    finally:
        write_changed.disconnect(hear)
    assert sum(query["sql"].startswith("UPDATE") for query in queries) == 1
    for write, each in changes.items():
        stored = as_stored(write)
        assert stored == {**each, "history": write.history}
        assert {name: getattr(write, name) for name in each} == each
    assert heard == [(write.pk, State.SENDING) for write in writes]


def test_what_somebody_else_has_moved_is_left_to_them():
    writes = sending(3)
    DocumentWrite.objects.filter(pk=writes[1].pk).update(state=State.CANCELLED, lease_token=None)
    assert advance_together(list(outcomes(writes).items()), [State.SENDING]) == [writes[0], writes[2]]
    assert [as_stored(write)["document_name"] for write in writes] == ["TK-'0", "", "TK-'2"]
    assert as_stored(writes[1])["state"] == State.CANCELLED
    assert writes[1].state == State.SENDING


def test_more_than_a_statement_takes():
    writes = sending(AT_ONCE + 1)
    assert advance_together(list(outcomes(writes).items()), [State.SENDING]) == writes
    assert as_stored(writes[-1])["document_name"] == f"TK-'{AT_ONCE}"
