"""Taking turns in one process: leases, failures, rests, idle connections, and what is told."""

from __future__ import annotations

import socket
from datetime import timedelta

import pytest
from django.db import connection as database
from django.db import transaction
from django.utils import timezone

from erpnext_bridge import signals
from erpnext_bridge.access import open_site
from erpnext_bridge.conf import get_site
from erpnext_bridge.errors import AuthenticationRefused, NeedsReconnect, NotConnected, SiteUnreachable
from erpnext_bridge.models import Connection, PendingRevocation
from erpnext_bridge.models.connection import Health
from erpnext_bridge.tokens import refreshing
from erpnext_bridge.tokens.endpoints import endpoints_of
from tests.conftest import REDIRECT_URI
from tests.wire_server import Reply, WireServer

pytestmark = pytest.mark.django_db(transaction=True)

GET_TOKEN = "/api/method/frappe.integrations.oauth2.get_token"


def asked(site):
    return [request.rpc.rpartition(".")[2] for request in site.requests]


def lease(seconds):
    """Let somebody who is not there hold the lease for so long."""
    Connection.objects.update(lease="somebody", leased_until=timezone.now() + timedelta(seconds=seconds))


def expire(seconds=-1):
    Connection.objects.update(expires_at=timezone.now() + timedelta(seconds=seconds))


@pytest.fixture
def unused_tcp_url():
    """The URL of a site that is down: a port that is taken, and at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


# Leases


def test_the_lease_of_the_dead_ends_by_itself(connection, site):
    lease(0.3)
    site.requests.clear()
    now = refreshing.refresh(connection, get_site())
    assert now.access_token.open() != connection.access_token.open()
    assert asked(site).count("get_token") == 1
    assert (now.lease, now.leased_until) == ("", None)


def test_who_need_not_wait_goes_on_with_the_tokens_there_are(connection, site):
    lease(60)
    site.requests.clear()
    assert refreshing.refresh(connection, get_site(), wait=False).tokens == connection.tokens
    expire(seconds=30)
    assert open_site(connection.identity).client.logged_user() == "alice@example.com"
    assert "get_token" not in asked(site)


def test_a_slow_winner_stores_its_pair_although_its_lease_went_to_another(connection, site):
    def lose_the_lease(path, **_):
        if path.endswith("get_token"):
            lease(60)

    signals.request_sent.connect(lose_the_lease)
    try:
        now = refreshing.refresh(connection, get_site())
    finally:
        signals.request_sent.disconnect(lose_the_lease)
    assert now.access_token.open() != connection.access_token.open()
    assert open_site(connection.identity).client.logged_user() == "alice@example.com"


def test_a_winner_that_comes_late_heals_what_its_successor_ended(connection, site):
    def end_it(path, **_):
        if path.endswith("get_token"):
            Connection.objects.update(health=Health.REVOKED, reason="Refused.")

    signals.request_sent.connect(end_it)
    try:
        refreshing.refresh(connection, get_site())
    finally:
        signals.request_sent.disconnect(end_it)
    assert Connection.objects.get().is_healthy


def test_disconnecting_while_new_tokens_are_got_leaves_none_alive(connection, site):
    def disconnect(path, **_):
        if path.endswith("get_token"):
            Connection.objects.all().delete()

    signals.request_sent.connect(disconnect)
    try:
        with pytest.raises(NotConnected, match="disconnected meanwhile"):
            refreshing.refresh(connection, get_site())
    finally:
        signals.request_sent.disconnect(disconnect)
    assert {row["status"] for row in site.rows("OAuth Bearer Token")} == {"Revoked"}


# Failures


def test_a_failure_is_noted_and_healed(connection, site):
    site.trouble("bad_gateway", match=GET_TOKEN)
    with pytest.raises(Exception, match="502"):
        refreshing.refresh(connection, get_site())
    now = Connection.objects.get()
    assert (now.health, now.failures, now.lease, now.next_refresh_at) == ("degraded", 1, "", None)
    assert now.tokens == connection.tokens
    healed = refreshing.refresh(now, get_site())
    assert (healed.health, healed.reason, healed.failures) == ("healthy", "", 0)


def test_from_the_second_failure_on_the_site_is_left_alone(connection, site):
    site.trouble("bad_gateway", times=None, match=GET_TOKEN)
    for _ in range(2):
        with pytest.raises(Exception, match="502"):
            refreshing.refresh(connection, get_site())
    Connection.objects.update(next_refresh_at=timezone.now() + timedelta(seconds=60))
    site.requests.clear()
    with pytest.raises(SiteUnreachable, match="a moment ago") as left_alone:
        refreshing.refresh(connection, get_site())
    assert 0 < left_alone.value.retry_after <= 60
    assert site.requests == []
    assert refreshing.refresh(connection, get_site(), wait=False).tokens == connection.tokens


def test_the_site_says_how_long_it_wants_to_be_left_alone(connection, site):
    site.trouble("rate_limited", match=GET_TOKEN, retry_after=120)
    with pytest.raises(Exception, match="429"):
        refreshing.refresh(connection, get_site())
    assert Connection.objects.get().next_refresh_at > timezone.now() + timedelta(seconds=100)


def test_who_waited_for_an_attempt_that_failed_does_not_try_another(connection, site):
    lease(60)
    seen = []

    def look(execute, sql, *arguments):
        answer = execute(sql, *arguments)
        if sql.startswith("SELECT") and not seen:
            seen.append(sql)
            with_failure = {"failures": 1, "health": "degraded", "reason": "It was down.", "lease": ""}
            Connection.objects.update(**with_failure, leased_until=None)
        return answer

    site.requests.clear()
    with database.execute_wrapper(look), pytest.raises(SiteUnreachable, match="It was down"):
        refreshing.refresh(connection, get_site())
    assert site.requests == []


@pytest.mark.parametrize("error", ["invalid_client", "unauthorized_client", "temporarily_unavailable"])
def test_a_refusal_of_our_client_ends_no_connection(connection, erpnext, error):
    with WireServer() as wire:
        erpnext(URL=wire.url, CLIENT_AUTH="post")
        Connection.objects.update(site_url=wire.url)
        wire.replies[GET_TOKEN] = Reply(400, body=b'{"error": "%s"}' % error.encode())
        with pytest.raises(AuthenticationRefused, match="CLIENT_ID") as refused:
            refreshing.refresh(connection, get_site())
    assert not isinstance(refused.value, NeedsReconnect)
    now = Connection.objects.get()
    assert (now.health, now.tokens) == ("degraded", connection.tokens)


def test_a_wrong_client_in_one_deployment_ends_nothing(connection, erpnext):
    erpnext(CLIENT_ID="wrong")
    with pytest.raises(AuthenticationRefused, match="invalid_client"):
        refreshing.refresh(connection, get_site())
    erpnext()
    assert refreshing.refresh(connection, get_site()).is_healthy


def test_a_401_leads_to_one_refresh_and_no_more(connection, site, erpnext):
    with WireServer() as wire:
        erpnext(URL=wire.url, CLIENT_AUTH="post")
        Connection.objects.update(site_url=wire.url)
        wire.reply = Reply(401, body=b'{"exc_type": "AuthenticationError"}')
        wire.replies[GET_TOKEN] = Reply(
            body=b'{"access_token": "new", "refresh_token": "newer", "token_type": "Bearer"}'
        )
        with pytest.raises(NeedsReconnect, match="the OAuth Client there was changed"):
            open_site(connection.identity).client.logged_user()
        assert sum(seen.target.endswith("get_token") for seen in wire.seen) == 1
        with pytest.raises(NeedsReconnect):
            open_site(connection.identity).client.logged_user()
        assert sum(seen.target.endswith("get_token") for seen in wire.seen) == 1


@pytest.mark.parametrize("skew", [-7200, 7200])
def test_a_site_whose_clock_is_wrong_is_refreshed_by_ours(connection, site, skew):
    site.clock_skew = skew
    now = refreshing.refresh(connection, get_site())
    assert timedelta(minutes=59) < now.expires_at - timezone.now() < timedelta(minutes=61)
    site.requests.clear()
    assert open_site(connection.identity).client.logged_user() == "alice@example.com"
    assert "get_token" not in asked(site)


# Superseded pairs


def test_a_superseded_pair_is_revoked_later_when_the_site_goes_down_in_between(connection, site):
    site.trouble("drop_before", times=None, match="/api/method/frappe.integrations.oauth2.revoke_token")
    refreshing.refresh(connection, get_site())
    waiting = PendingRevocation.objects.get()
    assert (waiting.cause, waiting.attempts, bool(waiting.last_error)) == ("superseded", 1, True)
    assert [token.open() for token in waiting.tokens] == [token.open() for token in connection.tokens]


# Transactions of tests


@pytest.mark.django_db(transaction=False)
def test_inside_a_test_case_the_callers_own_transaction_does(connection, site):
    with transaction.atomic():
        now = refreshing.refresh(connection, get_site())
        assert now.access_token.open() != connection.access_token.open()
        assert Connection.objects.get().tokens == now.tokens


def test_an_end_is_noted_although_the_view_is_rolled_back(connection, site):
    site.revoke_tokens()
    with transaction.atomic():
        with pytest.raises(NeedsReconnect):
            refreshing.refresh(connection, get_site())
        transaction.set_rollback(True)
    assert Connection.objects.get().health == "revoked"


# Idle connections


def test_connections_that_nobody_uses_are_kept_alive(connection, site, settings):
    assert refreshing.refresh_idle() == 0
    expire(seconds=-8 * 86400)
    assert refreshing.refresh_idle() == 1
    assert Connection.objects.get().access_token.open() != connection.access_token.open()
    assert refreshing.refresh_idle() == 0


def test_keeping_idle_connections_alive_can_be_switched_off(connection, settings):
    expire(seconds=-8 * 86400)
    settings.ERPNEXT_BRIDGE["REFRESH_IDLE"] = None
    assert refreshing.refresh_idle() == 0


def test_a_site_that_is_down_is_tried_once_for_all_its_idle_connections(
    connection, connect, django_user_model, site
):
    connect(django_user_model.objects.create_user("bob"), "bob@example.com")
    expire(seconds=-8 * 86400)
    site.trouble("drop_before", times=None)
    site.requests.clear()
    assert refreshing.refresh_idle() == 0
    assert len(site.requests) == 1


def test_idle_connections_of_a_site_that_is_gone_or_down_take_no_other_sites_turn(
    connection, erpnext, site, settings, django_user_model, unused_tcp_url
):
    expire(seconds=-8 * 86400)
    settings.ERPNEXT_BRIDGE["SITES"]["down"] = {"URL": unused_tcp_url, "CLIENT_ID": "c"}
    for alias in ("gone", "down"):
        for number in range(2):
            older = django_user_model.objects.create_user(f"{alias}{number}")
            Connection.objects.create(
                user=older,
                site=alias,
                site_url=unused_tcp_url,
                erp_user="x",
                access_token="a",
                refresh_token="r",
                expires_at=timezone.now() - timedelta(days=9),
            )
    assert refreshing.refresh_idle(limit=2) == 1
    assert Connection.objects.get(pk=connection.pk).access_token.open() != connection.access_token.open()


def test_an_idle_connection_that_is_over_is_noted(connection, site, settings):
    expire(seconds=-8 * 86400)
    site.revoke_tokens()
    assert refreshing.refresh_idle() == 0
    assert Connection.objects.get().health == "revoked"
    settings.ERPNEXT_BRIDGE["SITES"] = {}
    assert refreshing.refresh_idle() == 0


# How our client proves itself


BASIC_ONLY = b'{"token_endpoint_auth_methods_supported": ["client_secret_basic"]}'
METADATA = "/.well-known/oauth-authorization-server"


@pytest.fixture
def strict(erpnext):
    """A site of the future: it takes a client's secret by Basic only."""

    def tokens(seen):
        if "Authorization" in seen.headers:
            return Reply(body=b'{"access_token": "a", "refresh_token": "r", "token_type": "Bearer"}')
        return Reply(401, body=b'{"error": "invalid_client", "exc_type": "AuthenticationError"}')

    with WireServer() as wire:
        wire.replies[GET_TOKEN] = tokens
        wire.replies[METADATA] = Reply(body=BASIC_ONLY)
        erpnext(URL=wire.url)
        yield wire


def test_basic_is_found_out_once_where_the_site_offers_it(strict):
    endpoints = endpoints_of(get_site(), REDIRECT_URI)
    for ask in (
        lambda: endpoints.refresh("r"),
        lambda: endpoints.refresh("r"),
        lambda: endpoints.exchange("c", "v"),
    ):
        assert ask().access_token == "a"
    assert [seen.target for seen in strict.seen] == [GET_TOKEN, METADATA, *[GET_TOKEN] * 3]


def test_basic_is_found_out_for_a_code_too(strict):
    assert endpoints_of(get_site(), REDIRECT_URI).exchange("c", "v").access_token == "a"
    first, _, last = strict.seen
    assert b"client_secret" in first.body
    assert b"client_secret" not in last.body
    assert "Authorization" in last.headers


@pytest.mark.parametrize(
    "metadata",
    [
        Reply(404),
        Reply(drop=True),
        Reply(body=b"[]"),
        Reply(body=b'{"token_endpoint_auth_methods_supported": 1}'),
    ],
)
def test_a_site_that_offers_no_basic_is_not_asked_so(strict, metadata):
    strict.replies[METADATA] = metadata
    with pytest.raises(AuthenticationRefused):
        endpoints_of(get_site()).refresh("r")
    assert [seen.target for seen in strict.seen].count(GET_TOKEN) == 1


def test_a_site_that_offers_basic_and_refuses_it_tells_its_first_refusal(strict):
    strict.replies[GET_TOKEN] = lambda seen: Reply(
        400,
        body=b'{"error": "invalid_client", "error_description": "by %s"}'
        % (b"form" if seen.body.count(b"secret") else b"Basic"),
    )
    with pytest.raises(AuthenticationRefused, match="by form"):
        endpoints_of(get_site()).refresh("a-refresh-token")


def test_a_public_client_connects_and_refreshes(erpnext, connect, user):
    erpnext(CLIENT_SECRET="")
    connect(user)
    connection = user.erpnext_connections.get()
    assert refreshing.refresh(connection, get_site()).is_healthy
    assert open_site(connection.identity).client.logged_user() == "alice@example.com"
