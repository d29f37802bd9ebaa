"""`erpnext_doctor` finds what is wrong, says what to change, and exits with 1 for a problem."""

from __future__ import annotations

import json
import socket

import pytest
from django.core.management import CommandError, call_command

from erpnext_bridge import doctor
from erpnext_bridge.conf import get_site
from erpnext_bridge.models import Connection, PendingRevocation
from erpnext_bridge.sandbox.meta import DocType
from erpnext_bridge.transport import Answer
from tests.wire_server import Reply, WireServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def administrator(erpnext, site, settings):
    """The settings with a service account that may see everything, and our own address."""
    settings.ALLOWED_HOSTS = ["testserver"]
    key, secret = site.api_key("alice@example.com")

    def configure(**changes):
        changes = {"REDIRECT_URI": "http://testserver/erpnext/callback/", **changes}
        return erpnext(API_KEY=key, API_SECRET=secret, **changes)

    configure()
    return configure


def found(step, alias=""):
    """Return what one step found, as (level, text)."""
    return [(finding.level, finding.text) for finding in doctor.examine(alias) if finding.step == step]


def change_client(site, **values):
    name = site.rows("OAuth Client")[0]["name"]
    with site.site.lock:
        site.site.store.update("OAuth Client", name, values)
        site.site.store.commit()


def test_all_is_well(administrator, capsys):
    call_command("erpnext_doctor")
    told = capsys.readouterr().out
    assert "0 problems." in told
    for step in (
        "DNS",
        "answer",
        "clock",
        "rate limit",
        "OAuth client",
        "identity",
        "version",
        "redirect URI",
        "scopes",
    ):
        assert f"ok       default, {step}: " in told


def test_json_is_for_machines(administrator, capsys):
    call_command("erpnext_doctor", json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["problems"] == 0
    assert {"site", "step", "level", "text", "advice"} == set(told["findings"][0])


def test_a_problem_is_an_exit_code(administrator, capsys):
    administrator(CLIENT_ID="wrong")
    with pytest.raises(SystemExit) as ended:
        call_command("erpnext_doctor")
    assert ended.value.code == 1
    assert "1 problem." in capsys.readouterr().out


def test_settings_that_cannot_be_read_are_the_only_problem(settings, db):
    settings.ERPNEXT_BRIDGE = {"SITE": {}}
    assert {finding.step for finding in doctor.examine()} == {"settings"}


def test_a_warning_of_the_checks_is_told(administrator, settings):
    settings.ERPNEXT_BRIDGE["TOKEN_KEYS"] = ["a" * 40]
    assert [level for level, _ in found("settings")] == ["warning"]


def test_a_host_without_an_address(administrator):
    administrator(URL="http://nowhere.invalid")
    assert found("DNS")[0][0] == "problem"
    assert found("answer") == []


def test_a_host_that_does_not_listen(administrator):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    administrator(URL=f"http://127.0.0.1:{port}")
    assert found("answer")[0][0] == "problem"
    administrator(URL=f"https://127.0.0.1:{port}")
    assert found("TLS")[0][0] == "problem"


def test_something_that_does_not_speak_tls(administrator, site):
    administrator(URL=site.url.replace("http:", "https:"))
    ((level, text),) = found("TLS")
    assert (level, text.startswith("TLS fails")) == ("problem", True)


def test_something_else_than_erpnext(administrator):
    with WireServer() as wire:
        wire.reply = Reply(200, [("Content-Type", "text/html")], b"<title>Sign in</title>")
        administrator(URL=wire.url)
        assert found("answer") == [("problem", "Something else than ERPNext answers: 200 text/html")]


@pytest.mark.parametrize(
    ("date", "level"),
    [
        ("Wed, 01 Jan 2020 00:00:00 GMT", "warning"),
        ("Wed, 01 Jan 2020 00:00:00 -0000", "warning"),
        ("tomorrow", "note"),
        (None, "note"),
    ],
)
def test_a_clock_that_is_wrong(erpnext, date, level):
    examination = doctor.Examination(get_site())
    examination.answer = Answer("GET", "/", 200, {"Date": date} if date else {}, b"")
    assert [found[0] for found in examination.clock()] == [level]


@pytest.mark.parametrize(("left", "level"), [("50000000", "ok"), ("1000000", "warning"), ("plenty", "note")])
def test_a_rate_limit_that_is_nearly_used_up(erpnext, left, level):
    examination = doctor.Examination(get_site())
    headers = {"X-RateLimit-Limit": "60000000", "X-RateLimit-Remaining": left}
    examination.answer = Answer("GET", "/", 200, headers, b"")
    assert [found[0] for found in examination.rate_limit()] == [level]


def test_a_client_that_erpnext_does_not_know(administrator):
    administrator(CLIENT_ID="wrong")
    assert found("OAuth client") == [("problem", "ERPNext does not accept the OAuth Client wrong.")]


def test_nobody_to_look_with(erpnext):
    assert found("identity")[0][0] == "note"
    assert found("version") == found("scopes") == found("roles") == []
    assert found("redirect URI")[0][0] == "note"


def test_credentials_that_are_wrong(erpnext):
    erpnext(API_KEY="wrong", API_SECRET="wrong")
    assert found("identity")[0][0] == "problem"


def test_it_looks_with_a_users_connection(connection, erpnext, capsys):
    erpnext(REDIRECT_URI="http://testserver/erpnext/callback/")
    call_command("erpnext_doctor", user="alice")
    assert "Signed in as alice@example.com (user" in capsys.readouterr().out


def test_an_unknown_user_or_site_is_said(administrator):
    with pytest.raises(CommandError, match="no user 'nobody'"):
        call_command("erpnext_doctor", user="nobody")
    assert [finding.level for finding in doctor.examine("berlin")][-1] == "problem"


def test_another_version_than_the_settings_say(administrator):
    administrator(VERSION=16)
    assert found("version")[0][0] == "problem"


@pytest.mark.parametrize(
    ("uris", "text"),
    [
        ("http://elsewhere.example/", "http://testserver/erpnext/callback/ is not registered."),
        (
            "http://elsewhere.example/\nhttp://testserver/erpnext/callback/",
            "The redirect URIs are separated by line breaks.",
        ),
    ],
)
def test_a_redirect_uri_that_is_not_registered(administrator, site, uris, text):
    change_client(site, redirect_uris=uris)
    assert found("redirect URI") == [("problem", text)]


def test_a_scope_that_the_client_lacks(administrator, site):
    change_client(site, scopes="openid")
    assert found("scopes") == [("problem", "The OAuth Client does not have the scopes all.")]


def test_the_roles_that_may_connect_are_told(administrator):
    assert found("roles") == [("ok", "Users with one of these roles can connect: Desk User.")]


def test_webhooks_that_lead_here_are_looked_at(administrator, site):
    hook = {
        "webhook_doctype": "User",
        "webhook_docevent": "on_update",
        "request_url": "http://testserver/hook/",
    }
    site.insert("Webhook", name="hook", **hook, enabled=1)
    assert ("ok", "1 of 1 webhooks lead to testserver.") in found("webhooks")
    assert [level for level, _ in found("webhooks")] == ["warning", "ok"]


def test_tags_that_keep_creates_from_happening_twice_are_tried(administrator, site):
    assert [level for level, _ in found("writes")] == ["ok"]
    assert site.rows("Tag") == []
    store = site.site.store
    tag = store.meta("Tag")
    rules = [{**rule, "create": 0} for rule in tag.permissions]
    store.define(DocType(tag.raw, [one.raw for one in tag.fields], rules))
    store.access_cache.clear()
    ((level, text),) = found("writes")
    assert level == "warning"
    assert "created twice" in text


def test_connections_are_counted_by_their_health(connection, settings):
    assert found("connections") == [("ok", "1 of 1 connections are usable.")]
    for health, level in (("degraded", "warning"), ("needs_reconnect", "note"), ("revoked", "note")):
        Connection.objects.update(health=health)
        assert found("connections")[0][0] == level
    settings.ERPNEXT_BRIDGE["TOKEN_KEYS"] = ["another key of the tests, just as long"]
    assert found("connections")[0] == ("problem", "1 connections cannot be opened with TOKEN_KEYS.")


def test_tokens_that_are_still_to_be_revoked_are_told(connection, site):
    site.trouble("drop_before", times=None)
    connection.delete()
    site.trouble_clear()
    assert PendingRevocation.objects.count() == 1
    assert found("connections")[0] == ("warning", "1 pairs of tokens are still to be revoked.")
