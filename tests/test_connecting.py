"""The flow without pages: what is remembered, replaced, ended and revoked, and what is told."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

from erpnext_bridge import connecting, signals
from erpnext_bridge.conf import get_site
from erpnext_bridge.errors import GrantRefused, NeedsReconnect, NotConnected
from erpnext_bridge.models import Connection
from erpnext_bridge.tokens import pending, refreshing
from erpnext_bridge.tokens.endpoints import endpoints_of
from erpnext_bridge.tokens.pending import MAX_PENDING, PendingConnect, StateRefused
from tests.conftest import REDIRECT_URI
from tests.wire_server import Reply, WireServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def session():
    return SessionStore()


@pytest.fixture
def told():
    """The signals that were sent, as (name, values)."""
    seen = []
    kept = []
    for name in ("connected", "refreshed", "needs_reconnect", "disconnected"):

        def listen(name=name, **values):
            seen.append((name, {key: values[key] for key in values if key not in ("signal", "sender")}))

        getattr(signals, name).connect(listen)
        kept.append((name, listen))
    yield seen
    for name, listen in kept:
        getattr(signals, name).disconnect(listen)


def statuses(site):
    return sorted(row["status"] for row in site.rows("OAuth Bearer Token"))


def started(state, **values):
    default = {
        "verifier": "v",
        "site": "default",
        "user_pk": "1",
        "redirect_uri": REDIRECT_URI,
        "next_url": "",
        "started_at": 1000.0,
    }
    return PendingConnect(state=state, **{**default, **values})


def take(session, state, **values):
    return pending.take(
        session, state, **{"user_pk": "1", "site": "default", "ttl": 600, "now": 1001.0, **values}
    )


# Started connects


@pytest.fixture(autouse=True)
def unused_states():
    cache.clear()


def test_a_state_is_good_once(session):
    pending.remember(session, started("a"))
    assert take(session, "a").state == "a"
    with pytest.raises(StateRefused, match="used already"):
        take(session, "a")


def test_using_one_state_leaves_the_others(session):
    for state in "abc":
        pending.remember(session, started(state))
    take(session, "b")
    assert [take(session, state).state for state in "ac"] == ["a", "c"]


def test_two_requests_at_once_use_a_state_once(session):
    pending.remember(session, started("a"))
    session.save()
    twin = SessionStore(session.session_key)
    take(session, "a")
    with pytest.raises(StateRefused):
        take(twin, "a")


def test_it_is_used_up_in_the_stored_session_at_once(session):
    pending.remember(session, started("a"))
    take(session, "a")
    assert SessionStore(session.session_key)[pending.SESSION_KEY] == []


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"user_pk": "2"}, "somebody else"),
        ({"site": "berlin"}, "another ERPNext site"),
        ({"now": 1601.0}, "too long"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_used_up(session, values, reason):
    pending.remember(session, started("a"))
    with pytest.raises(StateRefused, match=reason):
        take(session, "a", **values)
    with pytest.raises(StateRefused, match="used already"):
        take(session, "a")


def test_only_the_latest_are_kept(session):
    for number in range(MAX_PENDING + 2):
        pending.remember(session, started(str(number)))
    assert [entry["state"] for entry in session[pending.SESSION_KEY]] == ["2", "3", "4", "5", "6"]


def test_what_is_remembered_shows_no_secret():
    assert "secret" not in repr(started("secret-state", verifier="secret-verifier"))


# Start and finish


def test_nothing_starts_when_tokens_could_not_be_stored(erpnext, settings, session, user):
    settings.ERPNEXT_BRIDGE["TOKEN_KEYS"] = []
    with pytest.raises(ImproperlyConfigured, match="TOKEN_KEYS"):
        connecting.start(session, user, get_site(), redirect_uri=REDIRECT_URI)
    assert pending.SESSION_KEY not in session


def test_nobody_finishes(erpnext, session):
    with pytest.raises(StateRefused, match="not signed in"):
        connecting.finish(session, AnonymousUser(), get_site(), state="a", code="b")


def test_an_answer_without_a_code_is_refused(erpnext, session, user):
    connecting.start(session, user, get_site(), redirect_uri=REDIRECT_URI)
    state = session[pending.SESSION_KEY][0]["state"]
    with pytest.raises(StateRefused, match="no code"):
        connecting.finish(session, user, get_site(), state=state, code="")


def test_a_wrong_code_is_refused(erpnext, session, user):
    connecting.start(session, user, get_site(), redirect_uri=REDIRECT_URI)
    state = session[pending.SESSION_KEY][0]["state"]
    with pytest.raises(GrantRefused):
        connecting.finish(session, user, get_site(), state=state, code="forged")
    assert not Connection.objects.exists()


def test_connecting_is_told(told, connect, user):
    connect(user)
    connect(user, "bob@example.com")
    connection = Connection.objects.get()
    assert told == [
        ("connected", {"connection": connection, "replaced": ""}),
        ("connected", {"connection": connection, "replaced": "alice@example.com"}),
    ]


def test_a_receiver_that_fails_does_not_undo_a_connect(connect, user):
    def fail(**_):
        raise RuntimeError

    signals.connected.connect(fail)
    try:
        assert connect(user).status_code == 302
    finally:
        signals.connected.disconnect(fail)
    assert Connection.objects.exists()


def test_a_name_that_the_site_does_not_tell_is_left_out(connect, user, site):
    site.trouble("html", times=None, match="/api/method/frappe.integrations.oauth2.openid_profile")
    connect(user)
    assert Connection.objects.get().label == "alice@example.com"


# Refresh


def test_a_refresh_replaces_the_pair_and_revokes_the_former(connection, site, told):
    now = refreshing.refresh(connection, get_site())
    assert now.access_token.open() != connection.access_token.open()
    assert now.refresh_token.open() != connection.refresh_token.open()
    assert (now.erp_user, now.is_healthy) == ("alice@example.com", True)
    assert statuses(site) == ["Active", "Revoked"]
    assert told == [("refreshed", {"connection": now})]


def test_a_refresh_of_replaced_tokens_returns_those_of_the_sibling(connection, site, told):
    first = refreshing.refresh(connection, get_site())
    site.requests.clear()
    assert refreshing.refresh(connection, get_site()).access_token == first.access_token
    assert site.requests == []
    assert len(told) == 1


def test_tokens_that_were_sealed_anew_are_not_taken_for_others(connection, site):
    Connection.objects.update(
        access_token=connection.access_token.open(), refresh_token=connection.refresh_token.open()
    )
    assert Connection.objects.get().access_token != connection.access_token
    now = refreshing.refresh(connection, get_site())
    assert now.access_token.open() != connection.access_token.open()


def test_a_refusal_that_a_faster_sibling_caused_ends_nothing(connection, site, told):
    site.rotate_refresh_tokens = True
    pair = endpoints_of(get_site()).refresh(connection.refresh_token.open())

    def store(**_):
        Connection.objects.update(access_token=pair.access_token, refresh_token=pair.refresh_token)

    # Without row locks: the sibling has its pair already, and stores it while ours is being refused.
    signals.request_sent.connect(store)
    try:
        now = refreshing.refresh(connection, get_site())
    finally:
        signals.request_sent.disconnect(store)
    assert now.access_token.open() == pair.access_token
    assert Connection.objects.get().is_healthy
    assert told == []


def test_a_refresh_that_was_overtaken_gives_its_own_pair_back(connection, site, told):
    other = endpoints_of(get_site()).refresh(connection.refresh_token.open())

    def overtake(path, **_):
        if path.endswith("get_token"):
            Connection.objects.update(access_token=other.access_token, refresh_token=other.refresh_token)

    signals.request_sent.connect(overtake)
    try:
        now = refreshing.refresh(connection, get_site())
    finally:
        signals.request_sent.disconnect(overtake)
    assert now.access_token.open() == other.access_token
    # The first pair and the sibling's are alive, and ours is not.
    assert statuses(site) == ["Active", "Active", "Revoked"]
    assert told == []


def test_a_refusal_ends_the_connection_once(connection, site, told):
    site.revoke_tokens()
    for _ in range(2):
        with pytest.raises(NeedsReconnect, match="expired or were revoked"):
            refreshing.refresh(connection, get_site())
    now = Connection.objects.get()
    assert (now.health, bool(now.reason)) == ("revoked", True)
    assert [name for name, _ in told] == ["needs_reconnect"]
    for token in connection.tokens:
        assert token.open() not in now.reason


def test_a_connection_without_a_refresh_token_ends_with_its_access_token(connection, site):
    Connection.objects.update(refresh_token="")
    site.requests.clear()
    with pytest.raises(NeedsReconnect):
        refreshing.refresh(Connection.objects.get(), get_site())
    assert site.requests == []


def test_a_refresh_after_disconnecting_finds_nothing(connection):
    Connection.objects.all().delete()
    with pytest.raises(NotConnected, match="disconnected meanwhile"):
        refreshing.refresh(connection, get_site())


def test_reconnecting_heals(connection, connect, user, site):
    refreshing.end(connection, "It was revoked.")
    connect(user)
    now = Connection.objects.get()
    assert (now.pk, now.is_healthy, now.reason) == (connection.pk, True, "")


def test_ending_spares_tokens_that_are_new(connection, told):
    refreshing.refresh(connection, get_site())
    refreshing.end(connection, "It was revoked.")
    assert Connection.objects.get().is_healthy


# Sites that answer as Frappe never did


@pytest.fixture
def odd_site(connection, erpnext):
    """A site whose answers a test makes up, and to which the connection belongs."""
    with WireServer() as wire:
        erpnext(URL=wire.url)
        Connection.objects.update(site_url=wire.url)
        yield wire


def says(**body):
    return Reply(body=json.dumps(body).encode())


ENDPOINT = "/api/method/frappe.integrations.oauth2."


def test_a_site_that_keeps_the_refresh_token_need_not_repeat_it(odd_site, connection):
    odd_site.replies[ENDPOINT + "get_token"] = says(access_token="fresh", expires_in=60)
    now = refreshing.refresh(connection, get_site())
    assert now.access_token.open() == "fresh"
    assert now.refresh_token.open() == connection.refresh_token.open()
    assert [path for path in odd_site.paths() if "revoke" in path] == []


def test_a_pair_that_outlives_its_access_token_is_revoked_by_the_other(odd_site):
    odd_site.replies[ENDPOINT + "introspect_token"] = says(active=True)
    assert connecting.disconnect(Connection.objects.get()) is False
    revoked = [seen.body for seen in odd_site.seen if seen.target.endswith("revoke_token")]
    assert [b"token_type_hint=refresh_token" in body for body in revoked] == [False, False, True]


# Ending


def test_disconnecting_is_confirmed_by_the_site(connection, site, told):
    gone = connection.pk
    assert connecting.disconnect(connection) is True
    assert statuses(site) == ["Revoked"]
    assert not Connection.objects.filter(pk=gone).exists()
    assert [(name, values["revoked"]) for name, values in told] == [("disconnected", True)]


def test_a_site_that_is_down_cannot_confirm(connection, site, told):
    site.trouble("drop_before", times=None)
    assert connecting.disconnect(connection) is False
    assert not Connection.objects.exists()
    assert told[0][1]["revoked"] is False


def test_a_bulk_deletion_revokes_too(connection, site):
    Connection.objects.all().delete()
    assert statuses(site) == ["Revoked"]


def test_a_deletion_that_is_rolled_back_revokes_nothing(connection, site):
    with transaction.atomic():
        connection.delete()
        transaction.set_rollback(True)
    assert statuses(site) == ["Active"]
    assert Connection.objects.exists()


def test_tokens_are_revoked_where_they_were_issued(connection, erpnext, site):
    erpnext(URL="https://elsewhere.example")
    assert connecting.disconnect(connection) is True
    assert statuses(site) == ["Revoked"]


@pytest.mark.parametrize("missing", ["SITES", "TOKEN_KEYS"])
def test_what_cannot_be_revoked_is_deleted_all_the_same(connection, settings, missing):
    settings.ERPNEXT_BRIDGE = {**settings.ERPNEXT_BRIDGE, missing: {} if missing == "SITES" else []}
    assert connecting.disconnect(connection) is False
    assert not Connection.objects.exists()
