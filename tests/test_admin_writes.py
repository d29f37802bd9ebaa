"""The admin shows every write, keeps secrets, and lets people do what the state allows."""

from __future__ import annotations

import uuid

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse

from erpnext_bridge.models import DocumentWrite
from erpnext_bridge.models.write import State

pytestmark = pytest.mark.django_db

LIST = "admin:erpnext_bridge_documentwrite_changelist"
CHANGE = "admin:erpnext_bridge_documentwrite_change"
DELETE = "admin:erpnext_bridge_documentwrite_delete"


@pytest.fixture(autouse=True)
def _settings(settings):
    settings.ERPNEXT_BRIDGE = {"SITES": {"default": {"URL": "https://erp.example.com"}}}


@pytest.fixture
def browser(admin_client):
    return admin_client


def make(**values):
    fields = {"site": "default", "action": "update", "doctype": "Lead", "document_name": "LEAD-1"}
    fields |= {"payload": {"notes": "<script>alert(1)</script>"}, "is_service": "user" not in values}
    return DocumentWrite.objects.create(**fields | values)


def do(browser, action, *writes):
    data = {"action": action, "_selected_action": [str(write.pk) for write in writes]}
    response = browser.post(reverse(LIST), data, follow=True)
    for write in writes:
        write.refresh_from_db()
    return [str(message) for message in response.context["messages"]]


def test_the_list_filters_and_searches(browser):
    alice = User.objects.create(username="alice")
    hers = make(user=alice, document_name="LEAD-7", state=State.REFUSED, last_error="Email is taken")
    make()
    for query in ({"state": "refused"}, {"q": "LEAD-7"}, {"q": "taken"}, {"q": "alice"}, {"q": str(hers.pk)}):
        assert [row.pk for row in browser.get(reverse(LIST), query).context["cl"].result_list] == [hers.pk]


def test_the_list_asks_the_database_as_often_for_many_rows(browser, django_assert_max_num_queries):
    for number in range(30):
        make(user=User.objects.create(username=f"user-{number}"))
    with django_assert_max_num_queries(12):
        browser.get(reverse(LIST))


def test_a_write_is_shown_with_payload_message_and_history_and_escaped(browser):
    write = make(state=State.REFUSED, last_error="Notes: <b>no</b>")
    write.remember("refused", attempt=1, error="ValidationError")
    write.advance((State.REFUSED,))
    page = browser.get(reverse(CHANGE, args=[write.pk])).text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert(1)" not in page
    assert "Notes: &lt;b&gt;no&lt;/b&gt;" in page
    assert "error: ValidationError" in page
    assert "choose “Send again”" in page


def test_a_lease_is_nobodys_business(browser):
    write = make(state=State.SENDING, lease_token=uuid.uuid4())
    page = browser.get(reverse(CHANGE, args=[write.pk])).text
    assert str(write.lease_token) not in page
    assert write.lease_token.hex not in page


def test_nothing_is_added_or_edited_by_hand(browser):
    write = make(state=State.REFUSED)
    assert browser.get(reverse("admin:erpnext_bridge_documentwrite_add")).status_code == 403
    page = browser.get(reverse(CHANGE, args=[write.pk])).text
    assert 'name="_save"' not in page
    browser.post(reverse(CHANGE, args=[write.pk]), {"state": "done", "document_name": "LEAD-2"})
    write.refresh_from_db()
    assert (write.state, write.document_name) == (State.REFUSED, "LEAD-1")


@pytest.mark.parametrize("state", State)
def test_only_what_is_finished_can_be_deleted(browser, state):
    write = make(state=state)
    browser.post(reverse(DELETE, args=[write.pk]), {"post": "yes"})
    is_finished = state in (State.DONE, State.CANCELLED)
    assert DocumentWrite.objects.filter(pk=write.pk).exists() != is_finished
    assert "delete_selected" not in browser.get(reverse(LIST)).text


def test_a_refused_write_is_sent_again(browser):
    write = make(state=State.REFUSED, attempts=3, last_error="no")
    assert do(browser, "send_again", write) == ["1 write queued again."]
    assert (write.state, write.attempts) == (State.PENDING, 0)
    assert write.history[-1]["by"] == "admin"


def test_what_the_state_does_not_allow_is_told_and_the_others_are_done(browser):
    refused, done = make(state=State.REFUSED), make(state=State.DONE)
    skipped, told = do(browser, "send_again", refused, done)
    assert "This write is done by now" in skipped
    assert told == "1 write queued again."
    assert (refused.state, done.state) == (State.PENDING, State.DONE)


def test_a_create_that_may_have_happened_is_not_sent_again_by_accident(browser):
    write = make(action="create", document_name="", state=State.UNCERTAIN, outcome_unknown=True)
    (told,) = do(browser, "send_again", write)
    assert "ERPNext may have created this document" in told
    assert write.state == State.UNCERTAIN
    assert do(browser, "create_again", write) == ["1 write queued again."]
    assert write.state == State.PENDING


def test_a_create_that_has_happened_is_resolved_by_its_name(browser):
    write = make(action="create", document_name="", state=State.UNCERTAIN, outcome_unknown=True)
    url = reverse(CHANGE, args=[write.pk])
    page = browser.get(url).text
    assert 'name="document_name"' in page
    assert 'name="_save"' in page
    assert "Look for it there" in page
    browser.post(url, {"document_name": "LEAD-9", "_save": "Save"})
    write.refresh_from_db()
    assert (write.state, write.document_name, write.history[-1]["by"]) == (State.DONE, "LEAD-9", "admin")


def test_a_name_is_needed_to_resolve_a_create(browser):
    write = make(action="create", document_name="", state=State.UNCERTAIN, outcome_unknown=True)
    response = browser.post(reverse(CHANGE, args=[write.pk]), {"document_name": ""})
    assert "This field is required" in response.text
    write.refresh_from_db()
    assert write.state == State.UNCERTAIN


def test_an_update_that_has_happened_is_marked_as_done(browser):
    write = make(state=State.UNCERTAIN, outcome_unknown=True)
    assert do(browser, "mark_as_done", write) == ["1 write marked as done."]
    assert write.state == State.DONE


def test_a_write_is_given_up(browser):
    first, second = make(state=State.RETRYING), make(state=State.PENDING)
    assert do(browser, "give_up", first, second) == ["2 writes given up."]
    assert (first.state, second.state) == (State.CANCELLED, State.CANCELLED)


def test_who_may_only_look_can_do_nothing(client):
    viewer = User.objects.create(username="viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_documentwrite"))
    client.force_login(viewer)
    write = make(state=State.REFUSED)
    assert client.get(reverse(CHANGE, args=[write.pk])).status_code == 200
    assert "send_again" not in client.get(reverse(LIST)).text
    client.post(reverse(LIST), {"action": "send_again", "_selected_action": [str(write.pk)]})
    write.refresh_from_db()
    assert write.state == State.REFUSED


@pytest.mark.parametrize(
    "query",
    [
        {"state": "refused"},
        {"site": "default"},
        {"action__exact": "submit"},
        {"error_type": "ValidationRefused"},
        {"doctype": "Task"},
        {"user": "alice"},
        {"is_service__exact": "0"},
    ],
)
def test_the_list_is_narrowed_by(browser, query):
    make(site="old")
    alice = User.objects.create(username="alice")
    facts = {"user": alice, "doctype": "Task", "action": "submit", "error_type": "ValidationRefused"}
    hers = make(state=State.REFUSED, **facts)
    response = browser.get(reverse(LIST), query)
    assert [row.pk for row in response.context["cl"].result_list] == [hers.pk]


def test_what_the_filters_offer_is_what_there_is(browser):
    make(doctype="Task")
    make(doctype="Lead", state=State.REFUSED, error_type="Conflict")
    make(doctype="Lead", state=State.DONE, error_type="")
    page = browser.get(reverse(LIST)).text
    for query in ("doctype=Task", "doctype=Lead", "error_type=Conflict", "site=default"):
        assert f'href="?{query}"' in page
    assert "error_type=%22" not in page


def test_a_name_is_typed_and_the_other_filters_stay(browser):
    page = browser.get(reverse(LIST), {"state": "refused", "user": "al<ice"}).text
    assert 'name="user" value="al&lt;ice"' in page
    assert '<input type="hidden" name="state" value="refused">' in page


def test_a_write_tells_what_it_waits_for(browser):
    first, second = make(action="create", document_name=""), make()
    second.depends_on.add(first)
    assert reverse(CHANGE, args=[first.pk]) in browser.get(reverse(CHANGE, args=[second.pk])).text
