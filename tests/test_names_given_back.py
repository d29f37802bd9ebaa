"""Deleting the newest document of a series gives its name back (frappe/model/naming.py): writes are not mixed up by it."""

from __future__ import annotations

import pytest

from erpnext_bridge.writes import drain, enqueue, perform, sweep
from tests.write_site import SERVICE, open_write_site

pytestmark = pytest.mark.django_db(transaction=True)

INSERT = "/api/method/frappe.client.insert_many"


@pytest.fixture
def site(settings):
    with open_write_site(settings) as running:
        yield running


def create(subject):
    return enqueue("create", SERVICE, "Ticket", payload={"subject": subject})


def deliver():
    for _ in range(5):
        drain(10.0)
        sweep()


def test_a_lost_answer_finds_a_document_under_a_name_that_another_had(site):
    first = create("first")
    enqueue("delete", SERVICE, "Ticket", first)
    deliver()
    assert site.rows("Ticket") == []
    site.trouble("drop_after", match=INSERT)
    second = create("second")
    deliver()
    first.refresh_from_db()
    second.refresh_from_db()
    assert (second.state, second.document_name) == ("done", first.document_name)
    assert [row["subject"] for row in site.rows("Ticket")] == ["second"]


def test_a_delete_whose_answer_was_lost_spares_the_next_document_of_that_name(site):
    first = create("first")
    deliver()
    first.refresh_from_db()
    site.trouble("drop_after", match=lambda incoming: incoming.method == "DELETE")
    gone = enqueue("delete", SERVICE, "Ticket", first)
    # The answer is lost, and before it is sent again the name belongs to another document.
    perform(gone.pk)
    gone.refresh_from_db()
    assert (gone.state, site.rows("Ticket")) == ("retrying", [])
    second = create("second")
    perform(second.pk)
    deliver()
    gone.refresh_from_db()
    second.refresh_from_db()
    assert (gone.state, second.state, second.document_name) == ("done", "done", first.document_name)
    assert [row["subject"] for row in site.rows("Ticket")] == ["second"]
