"""A person decides about a conflict, field by field, in the admin."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse

from erpnext_bridge.conflicts import is_open, settle, sides
from erpnext_bridge.models import DocumentWrite
from erpnext_bridge.models.write import State
from erpnext_bridge.writes import WriteStateError

pytestmark = pytest.mark.django_db

THEIRS_AT, OURS_AT = "2026-03-04 12:00:00.000000", "2026-03-04 11:00:00.000000"
VIEWS = {
    "base": {"subject": "Bolt", "notes": "", "lines": []},
    "ours": {"subject": "Bolt M8", "notes": "<b>urgent</b>", "lines": [{"item": "M8"}]},
    "theirs": {"subject": "Bolt M10", "notes": "", "lines": []},
    "base_modified": OURS_AT,
    "modified": THEIRS_AT,
    "modified_by": "bob@example.com",
}


@pytest.fixture(autouse=True)
def _settings(settings):
    settings.ERPNEXT_BRIDGE = {"SITES": {"default": {"URL": "https://erp.example.com"}}}


@pytest.fixture
def write():
    return DocumentWrite.objects.create(
        site="default", is_service=True, action="update", doctype="Ticket", document_name="TK-1",
        payload=VIEWS["ours"], base_modified=OURS_AT, conflict=VIEWS, state=State.REFUSED, error_type="Conflict",
    )  # fmt: skip


def url_of(write):
    return reverse("admin:erpnext_bridge_documentwrite_conflict", args=[write.pk])


def test_what_both_have_changed_stands_out(write):
    assert {side.fieldname: side.both_changed for side in sides(write)} == {
        "subject": True,
        "notes": False,
        "lines": False,
    }


def test_ours_goes_on_top_of_theirs(write):
    settle(write, by="admin")
    write.refresh_from_db()
    assert (write.state, write.payload, write.base_modified) == (State.PENDING, VIEWS["ours"], THEIRS_AT)
    assert write.base_values == VIEWS["theirs"]
    assert not is_open(write)
    assert [event["event"] for event in write.history] == ["merged", "retried"]


def test_a_field_that_stays_theirs_is_not_sent(write):
    settle(write, theirs=["subject"])
    write.refresh_from_db()
    assert write.payload == {"notes": "<b>urgent</b>", "lines": [{"item": "M8"}]}
    assert set(write.base_values) == {"notes", "lines"}


def test_where_nothing_is_ours_the_write_is_cancelled(write):
    settle(write, theirs=["subject", "notes", "lines"])
    assert DocumentWrite.objects.get().state == State.CANCELLED


def test_what_is_no_conflict_cannot_be_decided(write):
    other = DocumentWrite.objects.get()
    settle(other)
    with pytest.raises(WriteStateError, match="in the meantime"):
        settle(write)
    with pytest.raises(WriteStateError, match="no conflict to decide"):
        settle(other)


def test_the_admin_shows_three_sides_and_leads_there(admin_client, write):
    detail = admin_client.get(reverse("admin:erpnext_bridge_documentwrite_change", args=[write.pk])).text
    assert url_of(write) in detail
    page = admin_client.get(url_of(write)).text
    for text in (
        "Bolt M10",
        "Bolt M8",
        "&lt;b&gt;urgent&lt;/b&gt;",
        "bob@example.com",
        THEIRS_AT,
        "changed by both",
    ):
        assert text in page
    assert "<b>urgent" not in page


def test_the_admin_sends_what_was_chosen(admin_client, write):
    response = admin_client.post(
        url_of(write), {"field:subject": "theirs", "field:notes": "ours", "field:lines": "ours"}
    )
    assert response.status_code == 302
    write.refresh_from_db()
    assert (write.state, sorted(write.payload), write.history[0]["by"]) == (
        State.PENDING,
        ["lines", "notes"],
        "admin",
    )


def test_a_conflict_that_is_decided_leads_back(admin_client, write):
    settle(write)
    assert admin_client.get(url_of(write)).status_code == 302


def test_who_may_only_look_decides_nothing(client, write):
    client.force_login(User.objects.create(username="nobody", is_staff=True))
    assert client.get(url_of(write)).status_code == 403
    viewer = User.objects.create(username="viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_documentwrite"))
    client.force_login(viewer)
    assert "Send what is ours" not in client.get(url_of(write)).text
    client.post(url_of(write), {"field:subject": "ours"})
    assert is_open(DocumentWrite.objects.get())
