"""From an identity to a client: whose credentials, refreshed when, and what is known of the site."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
import requests
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from erpnext_bridge import access, signals
from erpnext_bridge.access import open_site
from erpnext_bridge.client import FrappeClient
from erpnext_bridge.credentials import ApiKey
from erpnext_bridge.errors import (
    AuthenticationRefused,
    NeedsReconnect,
    NotConnected,
    SiteUnreachable,
    TransientError,
    UnreadableAnswer,
)
from erpnext_bridge.identity import Identity
from erpnext_bridge.models import Connection
from erpnext_bridge.sandbox import Sandbox
from erpnext_bridge.tokens.crypto import TokensUnreadable
from tests.wire_server import Reply, WireServer

pytestmark = pytest.mark.django_db(transaction=True)

SERVICE = Identity.service()


@pytest.fixture(autouse=True)
def nothing_known():
    cache.clear()
    access._facts.clear()
    access._sessions.clear()


@pytest.fixture
def alice(connection):
    return connection.identity


def expire_here(seconds=-1):
    Connection.objects.update(expires_at=timezone.now() + timedelta(seconds=seconds))


def asked(site):
    return [request.rpc.rpartition(".")[2] for request in site.requests]


# A user


def test_nothing_is_loaded_or_sent_before_it_is_used(alice, site, django_assert_num_queries):
    site.requests.clear()
    with django_assert_num_queries(0):
        assert repr(open_site(alice)) == f"<SiteAccess of {alice}>"
    assert site.requests == []


def test_a_user_reads_as_his_own_account(alice, site):
    site.requests.clear()
    assert open_site(alice).client.logged_user() == "alice@example.com"
    assert asked(site) == ["get_logged_user"]


def test_numbers_are_exact(alice):
    assert open_site(alice).client.parse_float is Decimal


def test_a_user_without_a_connection_is_not_connected(erpnext, user):
    with pytest.raises(NotConnected, match="connect page") as missing:
        _ = open_site(Identity.for_user(user)).client
    assert not isinstance(missing.value, NeedsReconnect)
    assert missing.value.site == "default"


def test_a_user_never_falls_back_to_the_service_account(erpnext, user, site):
    key, secret = site.api_key("bob@example.com")
    erpnext(API_KEY=key, API_SECRET=secret)
    assert open_site(SERVICE).client.logged_user() == "bob@example.com"
    with pytest.raises(NotConnected):
        _ = open_site(Identity.for_user(user)).client


def test_the_tokens_of_one_user_are_never_those_of_another(alice, connect, django_user_model):
    bob = django_user_model.objects.create_user("bob")
    connect(bob, "bob@example.com")
    users = [open_site(identity).client for identity in (alice, Identity.for_user(bob), alice)]
    assert [client.logged_user() for client in users] == [
        "alice@example.com",
        "bob@example.com",
        "alice@example.com",
    ]


def test_tokens_that_expire_soon_are_refreshed_before_they_are_used(alice, site, connection):
    expire_here(seconds=59)
    site.requests.clear()
    assert open_site(alice).client.logged_user() == "alice@example.com"
    revocation = ["revoke_token", "introspect_token", "introspect_token"]
    assert asked(site) == ["get_token", *revocation, "get_logged_user"]
    now = Connection.objects.get()
    assert now.access_token.open() != connection.access_token.open()
    assert now.refreshed_at is not None
    assert not now.expires_within(3000)


def test_tokens_that_live_longer_than_the_margin_are_not_refreshed(alice, site):
    expire_here(seconds=100)
    site.requests.clear()
    open_site(alice).client.logged_user()
    assert asked(site) == ["get_logged_user"]


def test_a_401_refreshes_once_and_repeats_the_request(alice, site):
    site.expire_tokens()
    site.requests.clear()
    assert open_site(alice).client.logged_user() == "alice@example.com"
    assert asked(site)[:2] == ["get_logged_user", "get_token"]
    assert asked(site).count("get_token") == 1
    assert asked(site)[-1] == "get_logged_user"


def test_a_client_that_lives_long_refreshes_each_time_it_has_to(alice, site):
    client = open_site(alice).client
    for _ in range(3):
        site.expire_tokens()
        assert client.logged_user() == "alice@example.com"


def test_tokens_that_a_sibling_refreshed_are_used_as_they_are(alice, site):
    slow = open_site(alice).client
    expire_here()
    open_site(alice).client.logged_user()
    site.requests.clear()
    assert slow.logged_user() == "alice@example.com"
    assert "get_token" not in asked(site)


def test_a_dead_refresh_token_ends_the_connection(alice, site):
    site.revoke_tokens()
    with pytest.raises(NeedsReconnect, match="expired or were revoked") as over:
        open_site(alice).client.logged_user()
    connection = Connection.objects.get()
    assert (connection.health, connection.reason) == ("revoked", str(over.value))
    site.requests.clear()
    with pytest.raises(NeedsReconnect, match="expired or were revoked"):
        _ = open_site(alice).client
    assert site.requests == []


@pytest.mark.parametrize(
    "trouble", ["drop_before", "drop_after", "bad_gateway", "truncated", "html", "huge", "rate_limited"]
)
def test_a_site_in_trouble_keeps_the_connection(alice, site, trouble):
    expire_here()
    before = Connection.objects.get()
    site.trouble(trouble, times=None)
    with pytest.raises(Exception, match=r".") as failed:
        open_site(alice).client.logged_user()
    assert not isinstance(failed.value, NotConnected)
    now = Connection.objects.get()
    assert now.tokens == before.tokens
    assert (now.health, now.is_usable, bool(now.reason)) == ("degraded", True, True)
    site.trouble_clear()
    Connection.objects.update(next_refresh_at=None)
    assert open_site(alice).client.logged_user() == "alice@example.com"
    assert Connection.objects.get().is_healthy


def test_a_token_that_still_lives_is_used_when_it_cannot_be_refreshed(alice, site):
    expire_here(seconds=30)
    site.trouble("drop_before", times=None, match="/api/method/frappe.integrations.oauth2.get_token")
    assert open_site(alice).client.logged_user() == "alice@example.com"


def test_an_expired_one_is_not(alice, site):
    expire_here()
    site.trouble("drop_before", times=None, match="/api/method/frappe.integrations.oauth2.get_token")
    with pytest.raises(SiteUnreachable):
        _ = open_site(alice).client


def test_new_tokens_that_are_refused_at_once_end_the_connection(alice, site):
    client_id = site.rows("OAuth Client")[0]["name"]
    with site.site.lock:
        site.site.store.update("OAuth Client", client_id, {"scopes": "openid"})
        site.site.store.commit()
    with pytest.raises(NeedsReconnect, match="OAuth Client there was changed"):
        open_site(alice).client.logged_user()
    assert Connection.objects.get().health == "needs_reconnect"


def test_tokens_are_not_sent_to_another_address(alice, erpnext, site):
    from erpnext_bridge.sandbox import Sandbox

    with Sandbox(version=15, world=site.world) as other:
        erpnext(URL=other.url)
        with pytest.raises(NeedsReconnect, match="another address"):
            _ = open_site(alice).client
        assert other.requests == []
    assert Connection.objects.get().is_healthy


def test_tokens_sealed_with_a_lost_key_ask_to_connect_again_and_are_kept(alice, settings):
    settings.ERPNEXT_BRIDGE["TOKEN_KEYS"] = ["a key that was made yesterday, all new"]
    with pytest.raises(TokensUnreadable, match="TOKEN_KEYS"):
        _ = open_site(alice).client
    assert Connection.objects.get().is_healthy


# The service account


def test_the_service_account_uses_its_api_key(erpnext, site):
    key, secret = site.api_key("bob@example.com")
    erpnext(API_KEY=key, API_SECRET=secret)
    assert open_site(SERVICE).client.logged_user() == "bob@example.com"


def test_a_wrong_api_key_is_refused_and_not_retried(erpnext, site):
    erpnext(API_KEY="wrong", API_SECRET="wrong")
    with pytest.raises(AuthenticationRefused):
        open_site(SERVICE).client.logged_user()
    assert asked(site) == ["get_logged_user"]


def test_a_missing_service_account_is_a_mistake_in_the_settings(erpnext):
    with pytest.raises(ImproperlyConfigured, match=r"\['default'\] names no service account"):
        _ = open_site(SERVICE).client


@pytest.fixture
def by_password(erpnext):
    erpnext(USERNAME="bob@example.com", PASSWORD="bob-sandbox")


def test_a_service_account_with_a_password_logs_in_once_for_the_process(by_password, site):
    for _ in range(3):
        assert open_site(SERVICE).client.logged_user() == "bob@example.com"
    assert asked(site).count("login") == 1


def test_a_service_account_with_a_password_may_have_an_answer_for_each_doctype(erpnext):
    erpnext(USERNAME="bob@example.com", PASSWORD="bob-sandbox", CREATE_KEY={"Lead": "field"})
    assert open_site(SERVICE).client.logged_user() == "bob@example.com"


def test_an_ended_session_is_begun_anew_once(by_password, site):
    client = open_site(SERVICE).client
    client.logged_user()
    for ended in (1, 2):
        site.gate.end_all()
        assert client.logged_user() == "bob@example.com"
        assert asked(site).count("login") == 1 + ended
    assert open_site(SERVICE).client.logged_user() == "bob@example.com"
    assert asked(site).count("login") == 3


def test_a_session_that_was_used_in_a_browser_is_begun_anew(by_password, site):
    client = open_site(SERVICE).client
    user = client.read("User", "alice@example.com")
    cookies = {"sid": client.credentials.sid}
    assert "csrf_token" in requests.get(f"{site.url}/app", cookies=cookies, timeout=30).text
    changed = client.update("User", "alice@example.com", {"bio": "She writes programs."})
    assert changed["modified"] != user["modified"]
    assert asked(site).count("login") == 2


def test_a_wrong_password_is_refused(erpnext, site):
    erpnext(USERNAME="bob@example.com", PASSWORD="wrong")
    with pytest.raises(AuthenticationRefused):
        _ = open_site(SERVICE).client
    assert asked(site) == ["login"]


# The site


def test_facts_are_asked_once(alice, site):
    site.requests.clear()
    for _ in range(3):
        facts = open_site(alice).facts
        assert (facts.version, facts.time_zone) == (15, ZoneInfo("America/New_York"))
    assert asked(site) == ["get_versions", "get_value"]


def test_the_zone_that_a_user_has_chosen_is_not_the_sites(alice, site):
    administrator = FrappeClient(site.url, ApiKey(*site.api_key("Administrator")))
    administrator.update("User", "alice@example.com", {"time_zone": "Pacific/Auckland"})
    client = open_site(alice).client
    assert client.call("frappe.client.get_time_zone") == {"time_zone": "Pacific/Auckland"}
    assert client.time_zone() == "America/New_York"


@pytest.mark.parametrize("version", [15, 16])
def test_who_may_not_read_the_settings_reads_the_zone_on_a_page(version):
    with Sandbox(version=version) as demo:
        bob = FrappeClient(demo.url, ApiKey(*demo.api_key("bob@example.com")))
        assert bob.time_zone() == demo.site.world.time_zone
        assert [(request.path, request.status) for request in demo.requests] == [
            ("/api/method/frappe.client.get_value", 403),
            ("/login", 200),
        ]
        demo.trouble("unavailable", match="/login")
        with pytest.raises(TransientError):
            bob.time_zone()


def test_a_site_that_tells_no_time_zone_is_not_taken_to_be_in_any(erpnext):
    with WireServer() as wire:
        wire.reply = Reply(headers=[("Content-Type", "text/html")], body=b"<p>Sign in with your company</p>")
        wire.replies["/api/method/frappe.client.get_value"] = Reply(
            status=403, body=b'{"exc_type": "PermissionError"}'
        )
        erpnext(URL=wire.url, API_KEY="k", API_SECRET="s", VERSION=15)
        with pytest.raises(UnreadableAnswer, match="TIME_ZONE"):
            _ = open_site(SERVICE).facts
        erpnext(URL=wire.url, API_KEY="k", API_SECRET="s", VERSION=15, TIME_ZONE="Asia/Tokyo")
        assert open_site(SERVICE).facts.time_zone.key == "Asia/Tokyo"


def test_what_is_in_the_settings_is_not_asked_for(erpnext):
    with WireServer() as wire:
        wire.reply = Reply(body=b'{"message": {"frappe": {"version": "15.1.0"}}}')
        erpnext(URL=wire.url, API_KEY="k", API_SECRET="s", TIME_ZONE="Asia/Tokyo")
        assert open_site(SERVICE).facts.version == 15
        assert len(wire.seen) == 1


def test_another_process_finds_them_in_the_cache(alice, site):
    _ = open_site(alice).facts
    access._facts.clear()
    site.requests.clear()
    assert open_site(alice).facts.version == 15
    assert site.requests == []


def test_facts_in_the_settings_need_no_request(erpnext, site):
    erpnext(VERSION=16, TIME_ZONE="Europe/Berlin")
    facts = open_site(SERVICE).facts
    assert (facts.version, facts.time_zone.key) == (16, "Europe/Berlin")
    assert site.requests == []


def test_a_single_fact_in_the_settings_wins(alice, erpnext):
    erpnext(TIME_ZONE="Europe/Berlin")
    facts = open_site(alice).facts
    assert (facts.version, facts.time_zone.key) == (15, "Europe/Berlin")


def test_an_unknown_time_zone_is_a_mistake_in_the_settings(erpnext):
    erpnext(VERSION=15, TIME_ZONE="Mars/Olympus")
    with pytest.raises(ImproperlyConfigured, match="Mars/Olympus"):
        _ = open_site(SERVICE).facts


def test_a_site_that_tells_no_version_is_not_taken_for_any(erpnext):
    with WireServer() as wire:
        wire.reply = Reply(body=b'{"message": {"frappe": {"version": "develop"}}}')
        erpnext(URL=wire.url, API_KEY="k", API_SECRET="s")
        with pytest.raises(UnreadableAnswer, match="'develop'"):
            _ = open_site(SERVICE).facts


# What is told


def test_each_request_is_told_with_its_identity(alice, site):
    told = []

    def listen(**values):
        told.append(
            {key: value for key, value in values.items() if key not in ("signal", "sender", "seconds")}
        )

    signals.request_sent.connect(listen)
    try:
        rows = open_site(alice).client.list("User", filters=[["name", "=", "hidden"]])
        open_site(alice).client.read("User", "alice@example.com")
    finally:
        signals.request_sent.disconnect(listen)
    assert rows == []
    listed, read = told
    asked = listed.pop("arguments")
    assert (asked["filters"], asked["limit_page_length"]) == ([["name", "=", "hidden"]], 0)
    assert listed.pop("received") > 0
    assert listed == {
        "method": "GET", "path": "/api/resource/User", "status": 200, "error": "", "identity": alice,
    }  # fmt: skip
    assert read["arguments"] == {}


def test_the_log_has_a_line_for_each_request_and_not_what_was_asked(alice, site, caplog):
    caplog.set_level("DEBUG", "erpnext_bridge.requests")
    open_site(alice).client.list("User", filters=[["name", "=", "hidden"]])
    site.trouble("unavailable")
    with pytest.raises(TransientError):
        open_site(alice).client.ping()
    site.trouble("drop_before", times=None)
    with pytest.raises(TransientError):
        open_site(alice).client.ping()
    records = [record for record in caplog.records if record.name == "erpnext_bridge.requests"]
    assert [(record.levelname, record.status) for record in records] == [
        ("DEBUG", 200),
        ("WARNING", 503),
        ("WARNING", None),
    ]
    line = records[0].getMessage()
    assert line.startswith("GET /api/resource/User: 200 in ")
    assert line.endswith(f"as {alice}")
    assert "SiteUnreachable" in records[2].getMessage()
    assert (records[0].method, records[0].path, records[0].identity) == (
        "GET",
        "/api/resource/User",
        str(alice),
    )
    assert records[0].seconds > 0
    assert "hidden" not in caplog.text
