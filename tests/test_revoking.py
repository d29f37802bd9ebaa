"""What goes out of use dies at ERPNext: at once, or as soon as it can, and confirmed in any case."""

from __future__ import annotations

import socket
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from erpnext_bridge import connecting, signals
from erpnext_bridge.models import Connection, PendingRevocation
from erpnext_bridge.tasks import tend
from erpnext_bridge.tokens import revoking
from tests.wire_server import Reply, WireServer

pytestmark = pytest.mark.django_db(transaction=True)

INTROSPECT = "/api/method/frappe.integrations.oauth2.introspect_token"


def statuses(site):
    return [row["status"] for row in site.rows("OAuth Bearer Token")]


@pytest.fixture
def left_over(connection, site):
    """A pair that could not be revoked, because the site was down."""
    site.trouble("drop_before", times=None)
    assert connecting.disconnect(connection) is False
    site.trouble_clear()
    assert statuses(site) == ["Active"]
    return PendingRevocation.objects.get()


@pytest.fixture
def unused_tcp_url():
    """The URL of a site that is down: a port that is taken, and at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def make_due():
    PendingRevocation.objects.update(next_attempt_at=timezone.now())


def test_nothing_of_the_tokens_is_in_the_connection_any_more_and_nobody_can_use_it(left_over):
    assert not Connection.objects.exists()
    assert (left_over.erp_user, left_over.cause, left_over.attempts) == (
        "alice@example.com",
        "disconnected",
        1,
    )
    assert left_over.next_attempt_at > timezone.now() - timedelta(seconds=1)
    assert "alice@example.com" in str(left_over)


def test_the_sweep_revokes_as_soon_as_the_site_is_back(left_over, site):
    make_due()
    tend()
    assert statuses(site) == ["Revoked"]
    assert not PendingRevocation.objects.exists()


def test_cron_can_do_it_without_celery(left_over, site, capsys):
    make_due()
    call_command("erpnext_sweep")
    assert "1 pairs of tokens revoked" in capsys.readouterr().out
    assert statuses(site) == ["Revoked"]


def test_it_is_tried_for_as_long_as_the_site_is_down(left_over, site):
    site.trouble("drop_before", times=None)
    for attempts in range(2, 40):
        make_due()
        assert revoking.sweep() == 0
        assert PendingRevocation.objects.get().attempts == attempts
    assert PendingRevocation.objects.get().next_attempt_at < timezone.now() + timedelta(hours=1, minutes=1)
    site.trouble_clear()
    make_due()
    assert revoking.sweep() == 1


def test_before_its_time_it_is_left_alone(left_over, site):
    PendingRevocation.objects.update(next_attempt_at=timezone.now() + timedelta(hours=1))
    site.requests.clear()
    assert revoking.sweep() == 0
    assert site.requests == []


def test_two_workers_do_not_try_the_same(left_over, site):
    make_due()
    seen = []

    def second_worker(**_):
        if not seen:
            seen.append(revoking.attempt(left_over.pk))

    signals.request_sent.connect(second_worker)
    try:
        assert revoking.attempt(left_over.pk) is True
    finally:
        signals.request_sent.disconnect(second_worker)
    assert seen == [False]


def test_a_site_that_is_down_is_tried_once_in_a_sweep(left_over, connect, user, site):
    connect(user)
    site.trouble("drop_before", times=None)
    connecting.disconnect(user.erpnext_connections.get())
    make_due()
    site.requests.clear()
    assert revoking.sweep() == 0
    assert len(site.requests) == 1


def test_a_site_that_is_down_takes_no_other_sites_turn(left_over, site, unused_tcp_url):
    for _ in range(3):
        PendingRevocation.objects.create(site="default", site_url=unused_tcp_url, access_token="a")
    long_ago = timezone.now() - timedelta(hours=1)
    PendingRevocation.objects.exclude(pk=left_over.pk).update(next_attempt_at=long_ago)
    PendingRevocation.objects.filter(pk=left_over.pk).update(next_attempt_at=timezone.now())
    assert revoking.sweep(limit=2) == 1
    assert statuses(site) == ["Revoked"]


def test_deleting_the_user_leaves_it_to_the_sweep_too(connection, user, site):
    site.trouble("drop_before", times=None)
    user.delete()
    site.trouble_clear()
    make_due()
    assert revoking.sweep() == 1
    assert statuses(site) == ["Revoked"]


def test_a_crash_after_the_commit_leaves_it_to_the_sweep(connection, site):
    # What runs after a commit is lost with the process; the row was a part of the commit.
    with transaction.atomic():
        connection.delete()
        transaction.get_connection().run_on_commit.clear()
    assert statuses(site) == ["Active"]
    assert revoking.sweep() == 1
    assert statuses(site) == ["Revoked"]


def test_a_rollback_leaves_nothing_to_be_revoked(connection):
    with transaction.atomic():
        connection.delete()
        transaction.set_rollback(True)
    assert not PendingRevocation.objects.exists()


def test_what_erpnext_does_not_confirm_is_not_over(connection, erpnext):
    with WireServer() as wire:
        erpnext(URL=wire.url)
        Connection.objects.update(site_url=wire.url)
        wire.replies[INTROSPECT] = Reply(body=b'{"active": true}')
        assert connecting.disconnect(Connection.objects.get()) is False
        assert PendingRevocation.objects.get().last_error == revoking.UNCONFIRMED
        wire.replies[INTROSPECT] = Reply(body=b'{"active": false}')
        make_due()
        assert revoking.sweep() == 1


def test_both_tokens_are_asked_for(connection, site):
    site.requests.clear()
    assert connecting.disconnect(connection) is True
    rpcs = [request.rpc.rpartition(".")[2] for request in site.requests]
    assert rpcs == ["revoke_token", "introspect_token", "introspect_token"]


def test_a_site_that_the_settings_do_not_name_is_waited_for(left_over, settings):
    sites = settings.ERPNEXT_BRIDGE["SITES"]
    settings.ERPNEXT_BRIDGE["SITES"] = {}
    make_due()
    assert revoking.sweep() == 0
    assert "no site 'default'" in PendingRevocation.objects.get().last_error
    settings.ERPNEXT_BRIDGE["SITES"] = sites
    make_due()
    assert revoking.sweep() == 1


def test_tokens_that_no_key_opens_are_given_up(left_over, settings, caplog):
    settings.ERPNEXT_BRIDGE["TOKEN_KEYS"] = ["another key of the tests, just as long"]
    make_due()
    assert revoking.sweep() == 0
    assert not PendingRevocation.objects.exists()
    assert "never will be" in caplog.text


def test_a_pair_that_could_not_become_a_connection_is_revoked(connect, user, site):
    site.trouble("bad_gateway", match="/api/method/frappe.auth.get_logged_user")
    # Twice: a connection that was used before and turns out to be dead is no news.
    site.trouble("drop_before", times=2, match="/api/method/frappe.integrations.oauth2.revoke_token")
    assert connect(user).status_code == 503
    assert PendingRevocation.objects.get().cause == "unused"
    site.trouble_clear()
    make_due()
    assert revoking.sweep() == 1
    assert statuses(site) == ["Revoked"]


def test_tokens_that_no_key_opens_are_never_said_to_be_revoked(connection, settings):
    told = []

    def listen(revoked, **_):
        told.append(revoked)

    settings.ERPNEXT_BRIDGE["TOKEN_KEYS"] = ["another key of the tests, just as long"]
    signals.disconnected.connect(listen)
    try:
        assert connecting.disconnect(connection) is False
    finally:
        signals.disconnected.disconnect(listen)
    assert told == [False]


# The admin


def test_the_admin_shows_what_is_left_and_tries_it(left_over, admin_client, site):
    url = "/admin/erpnext_bridge/pendingrevocation/"
    shown = (
        admin_client.get(url).content.decode()
        + admin_client.get(f"{url}{left_over.pk}/change/").content.decode()
    )
    assert "alice@example.com" in shown
    for token in left_over.tokens:
        assert token.stored not in shown
        assert token.open() not in shown
    assert admin_client.get(f"{url}add/").status_code == 403
    data = {"action": "try_now", "_selected_action": [left_over.pk]}
    assert "1 of 1 revoked" in admin_client.post(url, data, follow=True).content.decode()
    assert statuses(site) == ["Revoked"]


def test_the_admin_probes_connections(connection, admin_client, site):
    url = "/admin/erpnext_bridge/connection/"
    data = {"action": "probe", "_selected_action": [connection.pk]}
    assert "1 of 1 work." in admin_client.post(url, data, follow=True).content.decode()
    site.revoke_tokens()
    told = admin_client.post(url, data, follow=True).content.decode()
    assert "0 of 1 work." in told
    assert "expired or were revoked" in told


def test_a_probe_minds_whose_tokens_they_are(connection, admin_client):
    Connection.objects.update(erp_user="bob@example.com")
    data = {"action": "probe", "_selected_action": [connection.pk]}
    told = admin_client.post("/admin/erpnext_bridge/connection/", data, follow=True).content.decode()
    assert "The tokens are alice@example.com&#x27;s, not bob@example.com&#x27;s." in told
