"""The health endpoint: one word for everybody, figures for those who may see them."""

from __future__ import annotations

import pytest
from django.core.cache import cache

from erpnext_bridge.models import Connection

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/erpnext/health/"


@pytest.fixture(autouse=True)
def nothing_known():
    cache.clear()


def test_all_is_well(erpnext, client):
    answer = client.get(URL)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert "no-store" in answer["Cache-Control"]


def test_a_site_that_is_down_is_a_problem(erpnext, client, site):
    site.trouble("drop_before", times=None)
    answer = client.get(URL)
    assert (answer.status_code, answer.json()) == (503, {"status": "problem"})


def test_a_site_is_asked_once_however_often_we_are(erpnext, client, site):
    for _ in range(5):
        client.get(URL)
    assert len(site.requests) == 1


def test_missing_keys_are_a_problem_and_no_traceback(connection, client, admin_client, settings):
    settings.ERPNEXT_BRIDGE["TOKEN_KEYS"] = []
    assert client.get(URL).status_code == 503
    assert "TOKEN_KEYS" in admin_client.get(URL).json()["problems"]["token_keys"]


def test_who_may_see_connections_sees_the_figures(connection, admin_client, site):
    Connection.objects.update(health="needs_reconnect")
    told = admin_client.get(URL)
    assert told.status_code == 200
    assert told.json()["sites"] == {
        "default": {
            "connections": {"needs_reconnect": 1},
            "pending_revocations": {"count": 0, "oldest_seconds": 0},
        }
    }
    site.trouble("drop_before", times=None)
    connection.delete()
    assert admin_client.get(URL).json()["sites"]["default"]["pending_revocations"]["count"] == 1


@pytest.mark.parametrize(
    ("sent", "details"),
    [("Bearer right-token", True), ("Bearer wrong", False), ("Basic right-token", False), ("", False)],
)
def test_monitoring_has_a_token(erpnext, client, settings, sent, details):
    settings.ERPNEXT_BRIDGE["METRICS_TOKEN"] = "right-token"
    assert ("sites" in client.get(URL, headers={"authorization": sent}).json()) == details


def test_without_a_token_in_the_settings_an_empty_one_opens_nothing(erpnext, client):
    assert "sites" not in client.get(URL, headers={"authorization": "Bearer "}).json()


def test_other_users_see_one_word(connection, client):
    assert client.get(URL).json() == {"status": "ok"}
