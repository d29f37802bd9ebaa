"""The story of connecting, as a browser lives it: our pages on one side, a real socket to ERPNext on the other."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from erpnext_bridge.access import open_site
from erpnext_bridge.identity import Identity
from erpnext_bridge.models import Connection
from erpnext_bridge.sandbox import Sandbox
from tests.conftest import PASSWORDS, REDIRECT_URI
from tests.erp_browser import ErpBrowser
from tests.wire_server import Reply, WireServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def alice(site):
    with ErpBrowser(site.url, "alice@example.com", PASSWORDS["alice@example.com"]) as browser:
        yield browser


@pytest.fixture
def ours(erpnext, user, client):
    client.force_login(user)
    return client


def leave(ours, **data):
    """Start to connect; return where our site sends the browser."""
    answer = ours.post("/erpnext/connect/", data)
    assert answer.status_code == 302
    return answer["Location"]


def title(answer):
    return re.search(r"<h1>(.*?)</h1>", answer.content.decode())[1]


def token_works(site, token):
    import requests

    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(f"{site.url}/api/method/frappe.auth.get_logged_user", headers=headers).ok


# The way there and back


def test_a_user_connects_reads_as_himself_and_disconnects(ours, alice, user, site):
    asked = ours.get("/erpnext/connect/", {"next": "/orders/?page=2"})
    assert asked.status_code == 200
    assert "/orders/?page=2" in asked.content.decode()

    back = ours.get(alice.allow(leave(ours, next="/orders/?page=2")))
    assert (back.status_code, back["Location"]) == (302, "/orders/?page=2")

    connection = user.erpnext_connections.get()
    assert (connection.erp_user, connection.site_url, connection.health) == (
        "alice@example.com",
        site.url,
        "healthy",
    )
    assert set(connection.scopes.split()) == {"all", "openid"}
    assert connection.full_name

    assert open_site(Identity.for_user(user)).client.logged_user() == "alice@example.com"
    assert "alice@example.com" in ours.get("/erpnext/").content.decode()

    token = connection.access_token.open()
    assert token_works(site, token)
    gone = ours.post("/erpnext/disconnect/")
    assert "ERPNext has revoked them" in gone.content.decode()
    assert not Connection.objects.exists()
    assert not token_works(site, token)


def test_the_request_to_erpnext_carries_pkce_state_and_our_exact_redirect_uri(ours, site):
    url = urlsplit(leave(ours))
    query = {key: value for key, (value,) in parse_qs(url.query).items()}
    assert f"{url.scheme}://{url.netloc}" == site.url
    assert query["redirect_uri"] == "http://testserver/erpnext/callback/"
    assert (query["response_type"], query["code_challenge_method"]) == ("code", "S256")
    assert len(query["code_challenge"]) == 43
    assert len(query["state"]) >= 43
    assert "+" not in url.query


def test_without_next_the_user_sees_the_connections(ours, alice):
    assert ours.get(alice.allow(leave(ours)))["Location"] == "/erpnext/"


def test_several_tabs_finish_in_any_order(ours, alice):
    first, second = leave(ours, next="/first/"), leave(ours, next="/second/")
    assert ours.get(alice.allow(first))["Location"] == "/first/"
    assert ours.get(alice.allow(second))["Location"] == "/second/"
    assert Connection.objects.count() == 1


def test_the_sixth_tab_ends_the_first(ours, alice):
    urls = [leave(ours, next=f"/{number}/") for number in range(6)]
    assert ours.get(alice.allow(urls[0])).status_code == 400
    assert ours.get(alice.allow(urls[1]))["Location"] == "/1/"


# What is refused


def test_a_user_who_was_signed_out_meanwhile_is_told_so(ours, alice):
    back = alice.allow(leave(ours))
    ours.logout()
    answer = ours.get(back)
    assert answer.status_code == 400
    assert "not signed in" in answer.content.decode()


def test_denying_changes_nothing_and_leaves_other_tabs_alone(ours, alice):
    other_tab = leave(ours, next="/other/")
    back = alice.deny(leave(ours))
    assert back == "/erpnext/callback/?error=access_denied"
    answer = ours.get(back)
    assert (answer.status_code, title(answer)) == (200, "Cancelled")
    assert not Connection.objects.exists()
    assert ours.get(alice.allow(other_tab))["Location"] == "/other/"


# When ERPNext is not well


@pytest.mark.parametrize(
    ("trouble", "status"),
    [
        ("drop_before", 503),
        ("drop_after", 503),
        ("truncated", 503),
        ("bad_gateway", 503),
        ("html", 502),
        ("huge", 503),
    ],
)
def test_a_site_in_trouble_is_one_clear_page_and_stores_nothing(ours, alice, site, trouble, status):
    back = alice.allow(leave(ours))
    site.trouble(trouble, times=None)
    answer = ours.get(back)
    assert answer.status_code == status
    assert "Try again" in answer.content.decode()
    assert "/erpnext/connect/" in answer.content.decode()
    assert "Traceback" not in answer.content.decode()
    assert not Connection.objects.exists()


def test_a_tls_failure_is_a_page_too(ours, alice, settings, site):
    back = alice.allow(leave(ours))
    settings.ERPNEXT_BRIDGE["SITES"]["default"]["URL"] = site.url.replace("http:", "https:")
    answer = ours.get(back)
    assert (answer.status_code, title(answer)) == (503, "ERPNext does not answer")
    assert not Connection.objects.exists()


def test_a_site_that_does_not_know_what_every_site_knows_is_a_page_too(ours, settings):
    leave(ours)
    state = ours.session["erpnext_bridge_pending"][0]["state"]
    with WireServer() as wire:
        settings.ERPNEXT_BRIDGE["SITES"]["default"]["URL"] = wire.url
        wire.replies["/api/method/frappe.integrations.oauth2.get_token"] = Reply(
            body=b'{"access_token": "a", "refresh_token": "b", "token_type": "Bearer"}'
        )
        wire.reply = Reply(status=404, body=b'{"exc_type": "DoesNotExistError"}')
        answer = ours.get("/erpnext/callback/", {"state": state, "code": "c"})
    assert (answer.status_code, title(answer)) == (502, "Something else than ERPNext answered")
    assert not Connection.objects.exists()


def test_tokens_of_an_account_that_could_not_be_asked_for_are_revoked(ours, alice, site):
    back = alice.allow(leave(ours))
    site.trouble("bad_gateway", times=1, match="/api/method/frappe.auth.get_logged_user")
    assert ours.get(back).status_code == 503
    assert not Connection.objects.exists()
    assert {row["status"] for row in site.rows("OAuth Bearer Token")} == {"Revoked"}


def test_a_site_that_is_down_at_reconnect_keeps_the_connection(ours, alice, site):
    ours.get(alice.allow(leave(ours)))
    before = Connection.objects.values().get()
    back = alice.allow(leave(ours))
    site.trouble("drop_before", times=None)
    assert ours.get(back).status_code == 503
    assert Connection.objects.values().get() == before


# Connecting again, and ending


def test_connecting_again_replaces_the_tokens_and_revokes_the_former(ours, alice, site):
    ours.get(alice.allow(leave(ours)))
    former = Connection.objects.get().access_token.open()
    ours.get(alice.allow(leave(ours)))
    now = Connection.objects.get().access_token.open()
    assert former != now
    assert not token_works(site, former)
    assert token_works(site, now)


def test_another_erpnext_account_is_said_to_the_user(ours, alice, connect, user):
    ours.get(alice.allow(leave(ours)))
    answer = connect(user, "bob@example.com", next="/orders/")
    page = answer.content.decode()
    assert (answer.status_code, title(answer)) == (200, "Another ERPNext account")
    assert "bob@example.com" in page
    assert "before, it was alice@example.com" in page
    assert 'href="/orders/"' in page
    assert Connection.objects.get().erp_user == "bob@example.com"


def test_two_users_may_share_an_erpnext_account(connect, django_user_model):
    for name in ("one", "two"):
        connect(django_user_model.objects.create_user(name))
    assert Connection.objects.filter(erp_user="alice@example.com").count() == 2


def test_nobody_is_linked_by_email(ours, alice, django_user_model):
    django_user_model.objects.create_user("twin", email="alice@example.com")
    ours.get(alice.allow(leave(ours)))
    assert Connection.objects.get().user.username == "alice"


def test_disconnecting_from_a_site_that_is_down_deletes_here_and_says_so(ours, alice, site):
    ours.get(alice.allow(leave(ours)))
    site.trouble("drop_before", times=None)
    answer = ours.post("/erpnext/disconnect/")
    assert "did not confirm" in answer.content.decode()
    assert not Connection.objects.exists()


def test_disconnecting_with_a_lost_key_promises_nothing(ours, alice, settings):
    ours.get(alice.allow(leave(ours)))
    settings.ERPNEXT_BRIDGE["TOKEN_KEYS"] = ["another key of the tests, just as long"]
    answer = ours.post("/erpnext/disconnect/")
    assert "only deleted here" in answer.content.decode()
    assert not Connection.objects.exists()


def test_a_deleted_user_leaves_no_tokens_behind(ours, alice, site, user):
    ours.get(alice.allow(leave(ours)))
    token = Connection.objects.get().access_token.open()
    user.delete()
    assert not Connection.objects.exists()
    assert not token_works(site, token)


def test_connect_works_without_the_messages_framework(ours, alice, settings):
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if not app.endswith(".messages")]
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if ".messages." not in name]
    assert ours.get(alice.allow(leave(ours)))["Location"] == "/erpnext/"


# Several sites


def test_a_user_is_connected_to_several_sites(ours, alice, user, settings, site):
    with Sandbox(version=16, world=site.world) as berlin:
        client_id, secret = berlin.oauth_client(redirect_uris=[f"{REDIRECT_URI}berlin/"])
        other = {"URL": berlin.url, "CLIENT_ID": client_id, "CLIENT_SECRET": secret}
        settings.ERPNEXT_BRIDGE["SITES"]["berlin"] = other
        assert ours.get(alice.allow(leave(ours)))["Location"] == "/erpnext/"
        start = ours.post("/erpnext/connect/berlin/")["Location"]
        with ErpBrowser(berlin.url, "bob@example.com", PASSWORDS["bob@example.com"]) as bob:
            assert ours.get(bob.allow(start))["Location"] == "/erpnext/"

        assert dict(user.erpnext_connections.values_list("site", "erp_user")) == {
            "default": "alice@example.com",
            "berlin": "bob@example.com",
        }
        for alias, name in (("default", "alice@example.com"), ("berlin", "bob@example.com")):
            assert open_site(Identity.for_user(user, alias)).client.logged_user() == name
        shown = ours.get("/erpnext/").content.decode()
        assert shown.count("Connected</strong>") == 2

        ours.post("/erpnext/disconnect/berlin/")
        assert [row["status"] for row in berlin.rows("OAuth Bearer Token")] == ["Revoked"]
        assert open_site(Identity.for_user(user)).client.logged_user() == "alice@example.com"
