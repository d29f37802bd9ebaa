"""
Attacks on connecting and on connections, each by its name, and each refused.

The victim is Alice in her browser, or the server; the attacker sends links, answers as a site, or reads what is left
lying about: logs, pages, pickles, the database.
"""

from __future__ import annotations

import gzip
import logging
import os
import pickle
import sqlite3
import sys
from datetime import timedelta
from secrets import token_urlsafe
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import connection as database
from django.test import Client
from django.utils import timezone
from django.views.debug import ExceptionReporter

from erpnext_bridge import access, connecting, errors
from erpnext_bridge.access import open_site
from erpnext_bridge.client import FrappeClient
from erpnext_bridge.conf import get_settings, get_site
from erpnext_bridge.credentials import ApiKey, Bearer, Secret
from erpnext_bridge.identity import Identity
from erpnext_bridge.models import Connection, PendingRevocation
from erpnext_bridge.tokens.endpoints import endpoints_of
from erpnext_bridge.tokens.pending import MAX_PENDING, SESSION_KEY
from erpnext_bridge.transport import Timeouts
from tests.conftest import PASSWORDS, REDIRECT_URI
from tests.erp.models import ToDo
from tests.erp_browser import ErpBrowser
from tests.wire_server import Reply, WireServer

pytestmark = pytest.mark.django_db(transaction=True)

CALLBACK = "/erpnext/callback/"
OAUTH = "/api/method/frappe.integrations.oauth2."


@pytest.fixture(autouse=True)
def nothing_known():
    cache.clear()
    access._facts.clear()
    access._sessions.clear()


@pytest.fixture
def alice(site):
    """Alice's browser at ERPNext."""
    with ErpBrowser(site.url, "alice@example.com", PASSWORDS["alice@example.com"]) as browser:
        yield browser


@pytest.fixture
def ours(erpnext, user, client):
    """Alice's browser at our site."""
    client.force_login(user)
    return client


def leave(ours, site="", **data):
    """Start to connect; return where our site sends the browser."""
    return ours.post(f"/erpnext/connect/{site}", data)["Location"]


def state_of(url):
    return parse_qs(urlsplit(url).query)["state"][0]


def code_of(url):
    return parse_qs(urlsplit(url).query)["code"][0]


def refused(answer):
    return answer.status_code == 400 and not Connection.objects.exists()


# The state


@pytest.mark.parametrize("state", ["", "forged", "' OR 1=1 --", "ü" * 3000, "\x00", "null"])
def test_attack_state_forged(ours, site, state):
    leave(ours)
    site.requests.clear()
    assert refused(ours.get(CALLBACK, {"code": "x", "state": state}))
    assert site.requests == []


def test_attack_state_replayed(ours, alice):
    back = alice.allow(leave(ours))
    assert ours.get(back).status_code == 302
    before = Connection.objects.values().get()
    assert ours.get(back).status_code == 400
    assert Connection.objects.values().get() == before


def test_attack_state_replayed_with_a_session_cookie_of_before(erpnext, alice, user, settings):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    ours = Client()
    ours.force_login(user)
    back = alice.allow(leave(ours))
    cookie = ours.cookies["sessionid"].value
    assert ours.get(back).status_code == 302
    ours.cookies["sessionid"] = cookie
    assert ours.get(back).status_code == 400


def test_attack_state_from_another_session(ours, alice, user):
    back = alice.allow(leave(ours))
    other = Client()
    other.force_login(user)
    assert refused(other.get(back))


def test_attack_state_of_another_user(ours, alice, django_user_model):
    back = alice.allow(leave(ours))
    bob = django_user_model.objects.create_user("bob")
    session = ours.session
    session["_auth_user_id"], session["_auth_user_hash"] = str(bob.pk), bob.get_session_auth_hash()
    session.save()
    answer = ours.get(back)
    assert refused(answer)
    assert "started by somebody else" in answer.content.decode()


def test_attack_state_of_another_site(ours, alice, settings):
    settings.ERPNEXT_BRIDGE["SITES"]["other"] = settings.ERPNEXT_BRIDGE["SITES"]["default"]
    query = urlsplit(alice.allow(leave(ours))).query
    assert refused(ours.get(f"{CALLBACK}other/?{query}"))


def test_attack_state_expired(ours, alice, settings):
    back = alice.allow(leave(ours))
    settings.ERPNEXT_BRIDGE["STATE_TTL"] = 0.000001
    answer = ours.get(back)
    assert refused(answer)
    assert "took too long" in answer.content.decode()


# Codes and accounts of the attacker's


def test_attack_code_injected_into_the_victims_session(ours, site, django_user_model, settings):
    """The attacker's code comes with the victim's own state: PKCE ties the code to who asked for it."""
    mallory = Client()
    mallory.force_login(django_user_model.objects.create_user("mallory"))
    with ErpBrowser(site.url, "bob@example.com", PASSWORDS["bob@example.com"]) as browser:
        code = code_of(browser.allow(leave(mallory)))
    answer = ours.get(CALLBACK, {"code": code, "state": state_of(leave(ours))})
    assert refused(answer)


def test_attack_code_stolen_on_its_way(ours, alice, erpnext, django_user_model):
    """A code of the victim's that leaked is worth nothing in the attacker's session."""
    code = code_of(alice.allow(leave(ours)))
    mallory = Client()
    mallory.force_login(django_user_model.objects.create_user("mallory"))
    assert refused(mallory.get(CALLBACK, {"code": code, "state": state_of(leave(mallory))}))


def test_attack_login_csrf_on_connect(ours):
    """No link and no foreign form starts a connect, with which an attacker's ERPNext account could be slipped in."""
    assert ours.get("/erpnext/connect/").status_code == 200
    assert SESSION_KEY not in ours.session
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = ours.cookies
    assert strict.post("/erpnext/connect/").status_code == 403
    assert SESSION_KEY not in ours.session


def test_attack_csrf_on_disconnect(connection, client):
    assert client.get("/erpnext/disconnect/").status_code == 200
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = client.cookies
    assert strict.post("/erpnext/disconnect/").status_code == 403
    assert Connection.objects.exists()


def test_attack_disconnecting_somebody_else(connection, client, django_user_model):
    client.force_login(django_user_model.objects.create_user("mallory"))
    assert client.post("/erpnext/disconnect/").status_code == 302
    assert Connection.objects.get() == connection


# Where the browser is sent


FOREIGN = [
    "https://evil.example/",
    "http://evil.example/",
    "//evil.example/",
    "///evil.example/",
    "/\\evil.example",
    "\\\\evil.example",
    "\t//evil.example",
    "http:///evil.example",
    "https:evil.example",
    "javascript:alert('evil')",
    "data:text/html,evil",
    "//evil%E3%80%82example/",
    "http://testserver@evil.example/",
    "http://testserver.evil.example/",
    "http://[::1]:evil",
]


@pytest.mark.parametrize("target", FOREIGN)
def test_attack_next_leads_elsewhere(ours, alice, target):
    assert "evil" not in ours.get("/erpnext/connect/", {"next": target}).content.decode()
    assert ours.get(alice.allow(leave(ours, next=target)))["Location"] == "/erpnext/"


@pytest.mark.parametrize(
    "target", ["/%09/evil.example", "/%2F/evil.example", "/%5Cevil.example", "/..//evil.example"]
)
def test_attack_next_is_a_path_that_only_looks_foreign(ours, alice, target):
    """Browsers do not decode a path to find a host in it: it is sent on as it is, and stays here."""
    gone = ours.get(alice.allow(leave(ours, next=target)))["Location"]
    assert gone in (target, "/erpnext/")
    assert gone[1:2] not in "/\\"


def test_attack_next_in_the_callback_itself(ours, alice):
    back = alice.allow(leave(ours))
    assert ours.get(f"{back}&next=https://evil.example/")["Location"] == "/erpnext/"


@pytest.mark.parametrize("error", ["access_denied", "server_error", "https://evil.example/"])
def test_attack_open_redirect_through_the_deny_link(ours, error):
    """ERPNext's Deny link carries no state, so anybody can send one: it leads nowhere and quotes nothing."""
    hostile = {
        "error": error,
        "error_description": "Call 555-1234 <script>",
        "error_uri": "https://evil.example/",
        "next": "https://evil.example/",
        "redirect_uri": "https://evil.example/",
    }
    answer = ours.get(CALLBACK, hostile)
    assert answer.status_code in (200, 400)
    assert "Location" not in answer
    assert not any(text in answer.content.decode() for text in ("evil", "555", "<script>"))


def test_attack_deny_link_ends_nothing(connection, client):
    assert client.get(CALLBACK, {"error": "access_denied"}).status_code == 200
    assert Connection.objects.get().is_healthy


def test_attack_a_page_of_ours_in_a_frame_or_as_a_referrer(ours):
    """The address of a callback holds a code: no other site may read it, or show the page as its own."""
    answer = ours.get(CALLBACK, {"code": "x", "state": "y"})
    assert answer["Referrer-Policy"] == "same-origin"
    assert "no-store" in answer["Cache-Control"]
    assert answer["X-Frame-Options"] == "DENY"


# Sites of the attacker's


def test_attack_mix_up_between_two_sites(ours, alice, settings, site):
    """An evil site sends the browser on to the honest one, to be given the code that comes back."""
    with WireServer() as evil:
        honest = settings.ERPNEXT_BRIDGE["SITES"]["default"]
        settings.ERPNEXT_BRIDGE["SITES"]["evil"] = {**honest, "URL": evil.url}
        state = state_of(leave(ours, "evil/"))
        to_honest = leave(ours)
        mixed = to_honest.replace(quote(state_of(to_honest)), quote(state))
        back = alice.allow(mixed)
        assert urlsplit(back).path == CALLBACK
        assert refused(ours.get(back))
        assert refused(ours.get(f"{CALLBACK}evil/?{urlsplit(back).query}"))
        assert not any(code_of(back).encode() in seen.body for seen in evil.seen)


def test_attack_the_sites_address_is_changed_to_an_evil_one(connection, erpnext):
    """Tokens go only to where they were issued."""
    with WireServer() as evil:
        erpnext(URL=evil.url)
        with pytest.raises(errors.NeedsReconnect, match="another address"):
            open_site(connection.identity).client.logged_user()
        assert evil.seen == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_attack_redirect_of_an_api_call_to_a_foreign_host(connection, erpnext, status):
    with WireServer() as elsewhere, WireServer() as evil:
        erpnext(URL=evil.url)
        Connection.objects.update(site_url=evil.url)
        evil.reply = Reply(status, [("Location", f"{elsewhere.url}/api/method/ping")])
        client = open_site(connection.identity).client
        for call in (client.logged_user, lambda: client.create("ToDo", {"description": "x"})):
            with pytest.raises(errors.UnreadableAnswer, match="redirects"):
                call()
        assert elsewhere.seen == []


def test_attack_file_url_of_a_foreign_host(connection):
    """Where a document names a file elsewhere, no token goes along."""
    with WireServer() as elsewhere:
        with (
            pytest.raises(ValueError, match="without credentials"),
            open_site(connection.identity).client.download(f"{elsewhere.url}/files/a.txt"),
        ):
            raise AssertionError
        assert elsewhere.seen == []


def test_attack_netrc_of_the_server(erpnext, tmp_path, connection):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login mallory password evil\n")
    before = dict(os.environ)
    os.environ["NETRC"] = str(tmp_path / "netrc")
    try:
        with WireServer() as wire:
            wire.reply = Reply(body=b'{"message": "pong"}')
            FrappeClient(wire.url).ping()
            FrappeClient(wire.url, Bearer("token")).call("x")
            endpoints = endpoints_of(get_site())
            endpoints.introspect("token")
            assert [seen.headers.get("Authorization") for seen in wire.seen] == [None, "Bearer token"]
    finally:
        os.environ.clear()
        os.environ.update(before)


def test_attack_sid_cookie_planted_by_a_site(connection, connect, django_user_model, erpnext):
    """A live `sid` beats a token at ERPNext: one that a site sets would make the next user somebody else."""
    with WireServer() as evil:
        cookies = [("Set-Cookie", f"{name}=mallory; Path=/") for name in ("sid", "user_id", "system_user")]
        evil.reply = Reply(
            200, [("Content-Type", "application/json"), *cookies], b'{"message": "alice@example.com"}'
        )
        bob = django_user_model.objects.create_user("bob")
        connect(bob, "bob@example.com")
        erpnext(URL=evil.url)
        Connection.objects.update(site_url=evil.url)
        for _ in range(2):
            for identity in (connection.identity, Identity.for_user(bob)):
                open_site(identity).client.logged_user()
        assert len(evil.seen) == 4
        assert not any("Cookie" in seen.headers for seen in evil.seen)


# Answers that are too much


JSON, HTML = ("Content-Type", "application/json"), ("Content-Type", "text/html")

HOSTILE = {
    "endless": lambda: Reply(200, [JSON], b"x" * (65 << 20)),
    "gzip bomb": lambda: Reply(200, [JSON, ("Content-Encoding", "gzip")], gzip.compress(b" " * (100 << 20))),
    "longer than it says": lambda: Reply(200, [JSON], b"{}", length=10 << 30),
    "huge error page": lambda: Reply(500, [HTML], b"<p>" * (5 << 20)),
    "drip": lambda: Reply(200, [JSON], b'{"message": "a"}' * 500, drip=0.05),
    "drip in the headers": lambda: Reply(200, [JSON], b"{}" * 500, drip=0.05, drip_headers=True),
    "silence": lambda: Reply(hang=True),
}


@pytest.mark.parametrize("kind", list(HOSTILE))
def test_attack_oversized_and_slow_answers(kind):
    with WireServer() as evil:
        evil.reply = HOSTILE[kind]()
        client = FrappeClient(evil.url, timeout=Timeouts(0.5, 0.5, 1.0))
        with pytest.raises(errors.ERPNextBridgeError) as ended:
            client.logged_user()
        assert len(str(ended.value)) < 1000


@pytest.mark.parametrize("kind", ["drip", "drip in the headers", "silence", "huge error page"])
def test_attack_oversized_and_slow_answers_to_a_callback(ours, alice, settings, kind):
    back = alice.allow(leave(ours))
    settings.ERPNEXT_BRIDGE["TIMEOUT"] = (0.5, 0.5)
    with WireServer() as evil:
        settings.ERPNEXT_BRIDGE["SITES"]["default"]["URL"] = evil.url
        evil.reply = HOSTILE[kind]()
        answer = ours.get(back)
    assert answer.status_code in (502, 503)
    assert len(answer.content) < 10_000
    assert not Connection.objects.exists()


def test_attack_callback_flood(ours, site, settings):
    """A thousand forged answers cost ERPNext nothing, store nothing, and leave the connect that is under way alone."""
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"
    before = state_of(leave(ours))
    sessions = Session.objects.count()
    site.requests.clear()
    anonymous = Client()
    for number in range(500):
        assert ours.get(CALLBACK, {"code": "x", "state": f"forged-{number}"}).status_code == 400
        assert anonymous.get(CALLBACK, {"code": "x", "state": f"forged-{number}"}).status_code == 400
    assert site.requests == []
    assert not Connection.objects.exists()
    assert Session.objects.count() == sessions
    assert [entry["state"] for entry in ours.session[SESSION_KEY]] == [before]


def test_attack_flood_of_started_connects(ours):
    for _ in range(50):
        leave(ours)
    assert len(ours.session[SESSION_KEY]) == MAX_PENDING


# What is left lying about


@pytest.fixture
def life(ours, alice, site, user, caplog):
    """A connection that has seen everything, with all loggers at DEBUG: pages, errors and secrets of its life."""
    caplog.set_level(logging.DEBUG)
    with database.cursor() as cursor:
        cursor.execute("SELECT 1")
    user.is_staff = user.is_superuser = True
    user.save()
    back = alice.allow(leave(ours))
    pages = [ours.get(back)]
    secrets = {code_of(back), site.rows("OAuth Client")[0]["client_secret"]}

    def note_tokens():
        connection = Connection.objects.get()
        secrets.update(token.open() for token in connection.tokens)
        return connection

    note_tokens()
    for trouble in ("", "bad_gateway", "html", "truncated", "unavailable"):
        Connection.objects.update(expires_at=timezone.now() - timedelta(hours=1), next_refresh_at=None)
        if trouble:
            site.trouble(trouble, match=f"{OAUTH}get_token")
        try:
            open_site(Identity.for_user(user)).client.logged_user()
        except errors.ERPNextBridgeError:
            note_tokens()
    Connection.objects.update(expires_at=timezone.now() - timedelta(hours=1), next_refresh_at=None)
    open_site(Identity.for_user(user)).client.list("User")
    connection = note_tokens()
    pages += [ours.get(page) for page in ("/erpnext/", "/erpnext/connect/", "/erpnext/disconnect/", back)]
    pages += [ours.get("/erpnext/health/")]
    site.revoke_tokens()
    caught = []
    for _ in range(2):
        Connection.objects.update(expires_at=timezone.now() - timedelta(hours=1))
        try:
            open_site(Identity.for_user(user)).client.logged_user()
        except errors.ERPNextBridgeError as error:
            caught.append(error)
    pages += [ours.get("/erpnext/")]
    assert len(caught) == 2
    assert len(secrets) >= 6
    return Life(connection, pages, caught, secrets, caplog)


class Life:
    def __init__(self, connection, pages, caught, secrets, caplog):
        self.connection, self.pages, self.caught = connection, pages, caught
        self.secrets, self.caplog = secrets, caplog

    def found_in(self, *texts):
        return [secret for secret in self.secrets for text in texts if secret in text]


def test_attack_token_in_logs_at_debug(life):
    # The sandbox serves in this very process, and oauthlib's server logs what it issues.
    logged = [
        record for record in life.caplog.get_records("setup") if not record.threadName.startswith("sandbox")
    ]
    names = {record.name.partition(".")[0] for record in logged}
    assert {"requests_oauthlib", "urllib3", "erpnext_bridge"} <= names
    assert not life.found_in(*(f"{record.getMessage()} {record.exc_text} {record.args}" for record in logged))


def test_attack_token_in_exceptions(life):
    told = [f"{error} {error!r} {vars(error)} {error.__cause__} {error.__context__}" for error in life.caught]
    assert not life.found_in(*told)


def test_attack_token_in_repr(life, user):
    identity = Identity.for_user(user)
    held = [
        life.connection,
        str(life.connection),
        vars(life.connection),
        list(Connection.objects.all()),
        Connection.objects.values(),
        open_site(identity),
        ToDo.objects.for_user(user),
        get_site(),
        endpoints_of(get_site()),
        life.connection.access_token,
        Secret("secret"),
    ]
    assert not life.found_in(*map(repr, held), *map(str, held))


def test_attack_token_in_pickled_querysets(life, user):
    evaluated = Connection.objects.all()
    assert len(evaluated) == 1
    pickled = [
        pickle.dumps(what)
        for what in (evaluated, life.connection, ToDo.objects.for_user(user).query, life.caught)
    ]
    assert not life.found_in(*(text.decode("latin-1") for text in pickled))
    bearer = Bearer("a-token")
    for secret in (bearer, ApiKey("key", "secret"), Secret("secret")):
        with pytest.raises(TypeError):
            pickle.dumps(secret)


def test_attack_token_in_pages_and_in_the_admin(life, ours):
    pk = life.connection.pk
    admin = "/admin/erpnext_bridge"
    urls = [f"{admin}/connection/", f"{admin}/connection/{pk}/change/", f"{admin}/connection/{pk}/history/"]
    urls += [f"{admin}/connection/{pk}/delete/", f"{admin}/pendingrevocation/"]
    pages = [*life.pages, *map(ours.get, urls)]
    assert {page.status_code for page in pages} <= {200, 302, 400}
    texts = [page.content.decode() for page in pages]
    assert not life.found_in(*texts)
    assert not [text for text in texts if life.connection.access_token.stored in text]


def test_attack_token_in_the_database_file(life, tmp_path, site):
    site.trouble("drop_before", times=None)
    connecting.disconnect(Connection.objects.get())
    assert PendingRevocation.objects.exists()
    file = tmp_path / "stolen.sqlite3"
    with database.cursor() as cursor:
        cursor.execute("VACUUM INTO %s", [str(file)])
    stolen = file.read_bytes().decode("latin-1")
    assert "alice@example.com" in stolen
    assert not life.found_in(stolen)
    rows = sqlite3.connect(file)
    try:
        sessions = [row[0] for row in rows.execute("SELECT session_data FROM django_session")]
    finally:
        rows.close()
    assert sessions
    decoded = [str(Session(session_data=data).get_decoded()) for data in sessions]
    assert not life.found_in(*decoded)


# A developer's error page


@pytest.fixture
def reported(settings, rf):
    """
    Return a function that calls something and returns Django's page about the error that it ends with.

    The page shows lines of this file too, so no secret may be written in it.
    """
    settings.DEBUG = True

    def report(call):
        try:
            call()
        except Exception:
            return ExceptionReporter(rf.get("/"), *sys.exc_info()).get_traceback_html()
        raise AssertionError("It did not fail.")

    return report


@pytest.mark.parametrize("client_auth", ["post", "basic"])
@pytest.mark.parametrize("name", ["exchange", "refresh", "revoke", "introspect", "profile"])
@pytest.mark.parametrize(
    "reply",
    [Reply(500, body=b'{"exc_type": "X"}'), Reply(drop=True), Reply(400, body=b'{"error": "invalid_grant"}')],
)
def test_attack_secret_in_the_local_variables_of_an_error_page(erpnext, reported, name, reply, client_auth):
    hidden = [token_urlsafe() for _ in range(3)]
    given = [Secret(text) for text in (hidden[:2] if name == "exchange" else hidden[:1])]
    with WireServer() as wire:
        wire.reply = reply
        erpnext(URL=wire.url, CLIENT_SECRET=hidden[2], CLIENT_AUTH=client_auth)
        endpoints = endpoints_of(get_site(), REDIRECT_URI)
        page = reported(lambda: getattr(endpoints, name)(*given))
    assert "erpnext_bridge" in page
    assert not [text for text in hidden if text in page]


def test_attack_password_in_the_local_variables_of_an_error_page(erpnext, reported, site):
    password = token_urlsafe()
    erpnext(USERNAME="bob@example.com", PASSWORD=password)
    page = reported(lambda: open_site(Identity.service()).client.logged_user())
    assert "AuthenticationRefused" in page
    assert password not in page


@pytest.mark.parametrize("trouble", ["bad_gateway", "drop_before", "html"])
def test_attack_tokens_in_the_local_variables_of_an_error_page(connection, reported, site, trouble):
    tokens = [token.open() for token in connection.tokens]
    Connection.objects.update(expires_at=timezone.now() - timedelta(hours=1))
    site.trouble(trouble, times=None, match=f"{OAUTH}get_token")
    page = reported(lambda: open_site(connection.identity).client.logged_user())
    assert "refreshing.py" in page
    assert not [token for token in tokens if token in page]


def test_attack_code_in_the_local_variables_of_an_error_page(erpnext, reported, ours, alice, site, user):
    back = alice.allow(leave(ours))
    state, code = state_of(back), Secret(code_of(back))
    site.trouble("bad_gateway", times=None, match=f"{OAUTH}get_token")
    page = reported(lambda: connecting.finish(ours.session, user, get_site(), state=state, code=code))
    assert "connecting.py" in page
    assert code.reveal() not in page


def test_attack_the_settings_on_an_error_page(erpnext, reported, site):
    page = reported(lambda: 1 / 0)
    assert "ERPNEXT_BRIDGE" in page
    assert site.rows("OAuth Client")[0]["client_secret"] not in page
    assert get_settings().token_keys[0] not in page


# One process, many users


def test_attack_one_users_rows_in_anothers_request(connection, connect, django_user_model, site):
    """Interleaved requests of two users over one pool of connections."""
    bob = django_user_model.objects.create_user("bob")
    connect(bob, "bob@example.com")
    clients = {
        "alice@example.com": open_site(connection.identity).client,
        "bob@example.com": open_site(Identity.for_user(bob)).client,
    }
    for _ in range(10):
        for name, client in clients.items():
            assert client.logged_user() == name


def test_attack_a_user_without_a_connection_becomes_nobody_else(erpnext, user, site):
    key, secret = site.api_key("alice@example.com")
    erpnext(API_KEY=key, API_SECRET=secret)
    site.requests.clear()
    with pytest.raises(errors.NotConnected):
        open_site(Identity.for_user(user)).client.logged_user()
    assert site.requests == []
