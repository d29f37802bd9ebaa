"""Users see what became of their own writes, live or not, and of nobody else's."""

from __future__ import annotations

import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.contrib.staticfiles import finders
from django.urls import reverse
from django.utils import timezone

from erpnext_bridge.models import DocumentWrite
from erpnext_bridge.models.write import State
from erpnext_bridge.write_views import ADVICE, status_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _settings(settings):
    settings.ERPNEXT_BRIDGE = {"SITES": {"default": {"URL": "https://erp.example.com", "TITLE": "Our ERP"}}}


@pytest.fixture
def alice():
    return User.objects.create(username="alice")


@pytest.fixture
def browser(client, alice):
    client.force_login(alice)
    return client


def make(user=None, **values):
    fields = {"site": "default", "action": "create", "doctype": "Lead", "payload": {"lead_name": "hush"}}
    return DocumentWrite.objects.create(user=user, is_service=user is None, **fields | values)


def pages_of(write):
    return [reverse(f"erpnext_bridge:{name}", args=[write.pk]) for name in ("write", "write_status")]


def test_a_visitor_is_sent_to_sign_in(client):
    for url in [reverse("erpnext_bridge:writes"), *pages_of(make())]:
        assert client.get(url).status_code == 302


@pytest.mark.parametrize("is_staff", [False, True])
def test_the_writes_of_others_and_of_the_service_account_are_not_there(client, alice, is_staff):
    alice.is_staff = alice.is_superuser = is_staff
    alice.save()
    client.force_login(alice)
    others = make(User.objects.create(username="bob")), make()
    for write in others:
        assert [client.get(url).status_code for url in pages_of(write)] == [404, 404]
    assert "There are none" in client.get(reverse("erpnext_bridge:writes")).text


def test_the_list_shows_ones_own_newest_first_and_by_state(browser, alice):
    now = timezone.now()
    make(alice, document_name="LEAD-1", state=State.DONE, created_at=now - timedelta(hours=1))
    make(alice, document_name="LEAD-2", state=State.REFUSED, last_error="Status is <wrong>")
    page = browser.get(reverse("erpnext_bridge:writes")).text
    assert page.index("LEAD-2") < page.index("LEAD-1")
    assert "Status is &lt;wrong&gt;" in page
    page = browser.get(reverse("erpnext_bridge:writes"), {"state": "refused"}).text
    assert ("LEAD-2" in page, "LEAD-1" in page) == (True, False)
    assert "LEAD-1" in browser.get(reverse("erpnext_bridge:writes"), {"state": "nonsense"}).text


def test_the_list_has_pages(browser, alice):
    for number in range(26):
        make(alice, document_name=f"LEAD-{number:02}")
    first = browser.get(reverse("erpnext_bridge:writes")).text
    assert first.count('class="bridge-card"') == 25
    second = browser.get(reverse("erpnext_bridge:writes"), {"page": 2}).text
    assert second.count('class="bridge-card"') == 1
    assert "Page 2 of 2" in second


@pytest.mark.parametrize("state", State)
def test_every_state_is_told_in_words(browser, alice, state):
    write = make(alice, state=state, last_error="ERPNext said: no" if state == State.REFUSED else "")
    page, status = (browser.get(url) for url in pages_of(write))
    assert ADVICE[state] in page.text
    assert status.json() == status_of(write)
    assert status.json()["settled"] == (state not in ("pending", "sending", "retrying"))
    assert ("ERPNext said: no" in page.text) == (state == State.REFUSED)


def test_the_document_is_linked_once_it_has_a_name(browser, alice):
    write = make(alice)
    assert "has no name yet" in browser.get(pages_of(write)[0]).text
    DocumentWrite.objects.filter(pk=write.pk).update(document_name="LEAD-7")
    assert 'href="https://erp.example.com/app/lead/LEAD-7"' in browser.get(pages_of(write)[0]).text


def test_a_payload_and_internals_are_on_no_page(browser, alice):
    write = make(alice, state=State.SENDING, lease_token=uuid.uuid4())
    for url in [*pages_of(write), reverse("erpnext_bridge:writes")]:
        text = browser.get(url).text
        assert "hush" not in text
        assert str(write.lease_token) not in text


def test_a_page_follows_its_write_with_javascript_and_without(browser, alice):
    write = make(alice)
    page, status = pages_of(write)
    text = browser.get(page).text
    assert 'src="/static/erpnext_bridge/writes.js"' in text
    assert f'data-bridge-write="{status}"' in text
    assert '<noscript><meta http-equiv="refresh"' in text
    assert 'aria-live="polite"' in text
    assert ">Look again</a>" in text
    assert "<script>" not in text


def test_a_settled_write_is_not_followed(browser, alice):
    text = browser.get(pages_of(make(alice, state=State.DONE))[0]).text
    assert "writes.js" not in text
    assert 'http-equiv="refresh"' not in text


def test_the_script_fills_every_part_that_the_page_has(browser, alice):
    text = browser.get(pages_of(make(alice))[0]).text
    script = Path(finders.find("erpnext_bridge/writes.js")).read_text()
    parts = {part.split('"')[0] for part in text.split('data-bridge="')[1:]}
    named = {part.split('"')[0] for call in ('part("', 'say("') for part in script.split(call)[1:]}
    assert parts == named


def test_pages_are_read_only_and_never_cached(browser, alice):
    for url in [*pages_of(make(alice)), reverse("erpnext_bridge:writes")]:
        assert browser.post(url).status_code == 405
        assert "no-store" in browser.get(url)["Cache-Control"]
