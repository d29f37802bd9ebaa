"""A form that was sent when the connection had ended is offered again once the user is connected."""

from __future__ import annotations

import html
import re
import time

import pytest
from django.contrib.sessions.models import Session
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from django.urls import include, path
from django.views.decorators.debug import sensitive_post_parameters

from erpnext_bridge.access import open_site
from erpnext_bridge.decorators import connection_required
from erpnext_bridge.identity import Identity
from erpnext_bridge.interruptions import SESSION_KEY
from erpnext_bridge.models import Connection
from erpnext_bridge.tokens import refreshing
from tests.conftest import PASSWORDS
from tests.erp_browser import ErpBrowser

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]

FORM = {"note": ["\nfirst line\r\n<b>second</b>", "ü"], "empty": "", "qty": "2"}


def save(request):
    """Ask ERPNext in the middle of a view."""
    user = open_site(Identity.for_user(request.user)).client.logged_user()
    return HttpResponse(f"{user}: {sorted(request.POST.lists())}")


@connection_required
def guarded(request):
    return save(request)


@connection_required
async def guarded_async(request):
    return HttpResponse(f"{sorted(request.POST.lists())}")


@sensitive_post_parameters("qty")
def sensitive(request):
    return save(request)


urlpatterns = [
    path("save/", save),
    path("guarded/", guarded),
    path("guarded-async/", guarded_async),
    path("sensitive/", sensitive),
    path("erpnext/", include("erpnext_bridge.urls")),
]


@pytest.fixture
def ended(connection, site):
    """Alice's connection, which ERPNext has revoked."""
    site.revoke_tokens()
    Connection.objects.update(expires_at="2020-01-01T00:00:00Z")
    return connection


@pytest.fixture
def strict(client):
    """The same browser, and a server that wants its CSRF tokens."""
    browser = Client(enforce_csrf_checks=True)
    browser.cookies = client.cookies
    return browser


def csrf(page):
    return re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.content.decode())[1]


def reconnect(client, site, url):
    start = client.post(
        "/erpnext/connect/",
        {"next": re.search(r"next=([^&]*)", url)[1].replace("%2F", "/")} if "next=" in url else {},
    )
    with ErpBrowser(site.url, "alice@example.com", PASSWORDS["alice@example.com"]) as browser:
        return client.get(browser.allow(start["Location"]))


def fields_of(page):
    text = page.content.decode()
    return [
        (html.unescape(name), html.unescape(value))
        for name, value in re.findall(r'<textarea name="([^"]*)" hidden>\n(.*?)</textarea>', text, re.DOTALL)
    ]


@pytest.mark.parametrize("target", ["/save/?draft=1", "/guarded/", "/guarded-async/"])
def test_a_form_is_kept_and_sent_again_by_its_user(ended, client, strict, site, target):
    if target != "/save/?draft=1":
        refreshing.end(ended, "Over.")
    answer = client.post(target, FORM, headers={"referer": "http://testserver/form/"})
    assert (answer.status_code, answer["Location"]) == (302, "/erpnext/connect/?next=%2Fform%2F")
    shown = client.get(answer["Location"]).content.decode()
    assert "was not finished" in shown
    assert "you can send it again" in shown

    back = reconnect(client, site, answer["Location"])
    assert (back.status_code, back["Location"]) == (302, "/erpnext/resume/?next=%2Fform%2F")
    page = client.get(back["Location"])
    fields = fields_of(page)
    assert fields == [("note", FORM["note"][0]), ("note", "ü"), ("empty", ""), ("qty", "2")]

    data = {
        "csrfmiddlewaretoken": csrf(page),
        **{name: [v for n, v in fields if n == name] for name, _ in fields},
    }
    sent = strict.post("/erpnext/resume/", data, follow=True)
    assert sent.redirect_chain == [(target, 307)]
    assert (
        str(sorted({"note": FORM["note"], "empty": [""], "qty": ["2"]}.items()))[1:-1]
        in sent.content.decode()
    )
    assert SESSION_KEY not in client.session


def test_nothing_is_sent_again_without_our_csrf_token(ended, client, strict, site):
    answer = client.post("/save/", FORM)
    reconnect(client, site, answer["Location"])
    assert strict.post("/erpnext/resume/", FORM).status_code == 403


def test_it_can_be_discarded(ended, client, site):
    answer = client.post("/save/", FORM, headers={"referer": "http://testserver/form/"})
    back = reconnect(client, site, answer["Location"])
    discarded = client.post("/erpnext/resume/?discard=1&next=/form/", FORM)
    assert discarded["Location"] == "/form/"
    assert client.get(back["Location"])["Location"] == "/erpnext/"


def test_a_foreign_next_is_not_gone_to(ended, client, site):
    answer = client.post("/save/", FORM)
    reconnect(client, site, answer["Location"])
    gone = client.post("/erpnext/resume/?discard=1&next=https://evil.example/", FORM)
    assert gone["Location"] == "/erpnext/"


def test_it_is_stored_sealed(ended, client):
    client.post("/save/", {"note": "a note of value"})
    stored = client.session[SESSION_KEY]
    assert "a note of value" not in str(stored)
    assert stored["fields"]
    assert not any("a note of value" in session.session_data for session in Session.objects.all())


@pytest.mark.parametrize(
    ("target", "data"),
    [
        ("/save/", {"password": "hidden"}),
        ("/save/", {"new-pwd": "hidden"}),
        ("/save/", {"card_pin": "hidden"}),
        ("/save/", {"apiKey": "hidden"}),
        ("/sensitive/", {"qty": "2"}),
        ("/save/", {"file": SimpleUploadedFile("a.txt", b"a")}),
        ("/save/", {"note": "x" * 70_000}),
        ("/save/", {}),
    ],
    ids=[
        "a secret",
        "a short word for one",
        "a number that is one",
        "a key",
        "marked as sensitive",
        "a file",
        "too long",
        "nothing",
    ],
)
def test_what_cannot_be_kept_is_said(ended, client, site, target, data):
    answer = client.post(target, data, headers={"referer": "http://testserver/form/"})
    assert client.session[SESSION_KEY]["fields"] == ""
    assert "could not be kept" in client.get(answer["Location"]).content.decode()
    assert reconnect(client, site, answer["Location"])["Location"] == "/form/"
    assert SESSION_KEY not in client.session


@pytest.mark.parametrize("name", ["shipping", "passenger", "opinion", "keyword"])
def test_a_name_that_only_sounds_like_a_secret_is_kept(ended, client, name):
    client.post("/save/", {name: "harmless"})
    assert client.session[SESSION_KEY]["fields"]


def test_a_session_in_a_cookie_takes_less(ended, user, settings):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    client = Client()
    client.force_login(user)
    client.post("/save/", {"note": "x" * 800})
    assert client.session[SESSION_KEY]["fields"]
    assert len(client.cookies["sessionid"].value) < 4000
    client.post("/save/", {"note": "x" * 1100})
    assert client.session[SESSION_KEY]["fields"] == ""


def test_json_is_not_kept_and_not_redirected(ended, client):
    answer = client.post(
        "/save/", {"a": 1}, content_type="application/json", headers={"accept": "application/json"}
    )
    assert answer.status_code == 403
    assert answer.json()["error"]["connect_url"] == "/erpnext/connect/"
    assert SESSION_KEY not in client.session


def test_a_get_keeps_nothing(ended, client):
    client.get("/save/")
    assert SESSION_KEY not in client.session


def test_it_is_for_its_user_alone_and_for_an_hour(ended, client, site, settings, django_user_model):
    client.post("/save/", FORM)
    session = client.session
    for changed in ({"user_pk": "0"}, {"at": time.time() - 3700}):
        before = dict(session[SESSION_KEY])
        session[SESSION_KEY] = {**before, **changed}
        session.save()
        assert client.get("/erpnext/resume/")["Location"] == "/erpnext/"
        session[SESSION_KEY] = before
        session.save()
    assert client.get("/erpnext/resume/").status_code == 200
    settings.ERPNEXT_BRIDGE["TOKEN_KEYS"] = ["another key of the tests, just as long"]
    assert client.get("/erpnext/resume/")["Location"] == "/erpnext/"


def test_without_a_key_it_is_said_that_nothing_was_kept(ended, client, settings):
    settings.ERPNEXT_BRIDGE["TOKEN_KEYS"] = []
    client.post("/save/", FORM)
    assert client.session[SESSION_KEY]["fields"] == ""
