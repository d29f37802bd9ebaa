"""The checks say what to put where, and print the redirect URI to register."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from erpnext_bridge import checks
from erpnext_bridge.checks import AUTHENTICATION, MIDDLEWARE, check_settings

KEY = "0123456789abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def configure(settings):
    settings.ALLOWED_HOSTS = ["shop.example.com"]

    def configure(*, keys=(KEY,), **site):
        default = {"URL": "https://erp.example.com", "CLIENT_ID": "client", "CLIENT_SECRET": "hush-hush"}
        merged = {key: value for key, value in {**default, **site}.items() if value is not None}
        settings.ERPNEXT_BRIDGE = {"SITES": {"default": merged}, "TOKEN_KEYS": list(keys)}
        return settings.ERPNEXT_BRIDGE

    configure()
    return configure


def found():
    return {message.id.rpartition(".")[2]: message for message in check_settings(None)}


def only(expected):
    messages = found()
    assert set(messages) - {"I001"} == {expected}
    message = messages[expected]
    assert message.hint
    assert "hush" not in message.msg + message.hint
    return message


def test_good_settings_print_the_redirect_uri_and_nothing_else(configure):
    (message,) = check_settings(None)
    assert message.id == "erpnext_bridge.I001"
    assert message.msg == (
        "Redirect URI to register at https://erp.example.com: https://shop.example.com/erpnext/callback/"
    )
    assert "client" in message.hint
    assert "SILENCED_SYSTEM_CHECKS" in message.hint


@pytest.mark.django_db
def test_manage_py_check_prints_it(configure):
    out = io.StringIO()
    call_command("check", stdout=out, stderr=out)
    assert "https://shop.example.com/erpnext/callback/" in out.getvalue()


@pytest.mark.django_db
def test_manage_py_check_fails_on_an_error(configure):
    configure(URL=None)
    with pytest.raises(SystemCheckError, match="E003"):
        call_command("check")


@pytest.mark.parametrize(
    ("hosts", "debug", "uri"),
    [
        ([".example.com"], False, "https://example.com/erpnext/callback/"),
        (["*"], False, "https://<your host>/erpnext/callback/"),
        ([], True, "http://localhost:8000/erpnext/callback/"),
    ],
)
def test_the_redirect_uri_is_as_exact_as_the_hosts_are(configure, settings, hosts, debug, uri):
    settings.ALLOWED_HOSTS, settings.DEBUG = hosts, debug
    assert found()["I001"].msg.endswith(f": {uri}")


def test_a_redirect_uri_in_the_settings_is_printed_as_it_is(configure):
    configure(REDIRECT_URI="https://www.example.org/erpnext/callback/")
    assert found()["I001"].msg.endswith(": https://www.example.org/erpnext/callback/")


def test_each_site_has_its_own_redirect_uri(configure, settings):
    settings.ERPNEXT_BRIDGE["SITES"]["berlin"] = {
        "URL": "https://b.example.com",
        "CLIENT_ID": "b",
        "CLIENT_SECRET": "s",
    }
    texts = [message.msg for message in check_settings(None)]
    assert [text.rpartition(": ")[2] for text in texts] == [
        "https://shop.example.com/erpnext/callback/",
        "https://shop.example.com/erpnext/callback/berlin/",
    ]


@pytest.mark.parametrize("value", [None, "x", {"SITES": {"default": {"NO_SUCH_KEY": 1}}}, {"SITES": [1]}])
def test_e001_settings_that_cannot_be_read(settings, value):
    settings.ERPNEXT_BRIDGE = value
    assert "ERPNEXT_BRIDGE = {'SITES'" in only("E001").hint


def test_e001_settings_that_are_missing(settings):
    del settings.ERPNEXT_BRIDGE
    assert "ERPNEXT_BRIDGE is missing" in only("E001").msg


def test_e002_no_site(settings):
    settings.ERPNEXT_BRIDGE = {"SITES": {}}
    only("E002")


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "erp.example.com",
        "ftp://erp.example.com",
        "https://",
        "https://erp.example.com/app",
        "https://erp.example.com?x=1",
        "https://user:hush@erp.example.com",
    ],
)
def test_e003_a_url_that_is_none(configure, url):
    configure(URL=url)
    assert "'https://erp.example.com'" in only("E003").hint


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ("API_KEY", "API_SECRET"),
        ("API_SECRET", "API_KEY"),
        ("USERNAME", "PASSWORD"),
        ("PASSWORD", "USERNAME"),
    ],
)
def test_e004_half_a_service_account(configure, given, missing):
    configure(**{given: "hush"})
    assert f"{missing!r}" in only("E004").hint


def test_e005_a_secret_without_a_client(configure):
    configure(CLIENT_ID=None)
    only("E005")


def test_e006_no_key(configure):
    configure(keys=())
    assert "Fernet.generate_key()" in only("E006").hint


def test_e006_a_text_in_place_of_a_list(configure, settings):
    settings.ERPNEXT_BRIDGE["TOKEN_KEYS"] = KEY
    only("E006")


def test_no_key_is_needed_where_nobody_connects(configure):
    configure(keys=(), CLIENT_ID=None, CLIENT_SECRET=None, API_KEY="k", API_SECRET="s")
    assert found() == {}


def test_e007_a_short_key(configure):
    configure(keys=(KEY, "hush"))
    assert only("E007").msg.startswith("Key 2 in ERPNEXT_BRIDGE['TOKEN_KEYS']")


@pytest.mark.parametrize(
    "key",
    [
        "a" * 40,
        "A" * 43 + "=",
        "django-insecure-0123456789abcdefghijklmnop",
        "change-me-0123456789-abcdefghijklmnopqr",
        "this is my Default key of 2026, do you like it?",
    ],
)
def test_w003_a_key_that_is_easy_to_guess(configure, key):
    configure(keys=(key,))
    only("W003")


def test_w004_the_secret_key_as_a_key(configure, settings):
    settings.SECRET_KEY = KEY
    only("W004")


@pytest.mark.parametrize("value", [0, -1, "60", None])
def test_e008_a_time_that_is_none(configure, settings, value):
    settings.ERPNEXT_BRIDGE["STATE_TTL"] = value
    only("E008")


def test_e009_cookies_that_do_not_come_back_from_erpnext(configure, settings):
    settings.SESSION_COOKIE_SAMESITE = "Strict"
    only("E009")


def test_e010_pages_that_are_not_included(configure, settings):
    settings.ROOT_URLCONF = "django.contrib.auth.urls"
    assert "include('erpnext_bridge.urls')" in only("E010").hint


@pytest.mark.parametrize(
    "uri", ["https://shop.example.com/", "/erpnext/callback/", "https://x/erpnext/callback"]
)
def test_e011_a_redirect_uri_that_leads_elsewhere(configure, uri):
    configure(REDIRECT_URI=uri)
    assert "/erpnext/callback/" in only("E011").hint


def test_w001_plain_http_in_production(configure):
    configure(URL="http://erp.example.com")
    assert "https://erp.example.com" in only("W001").hint


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "http://localhost:8000", "http://site.localhost", "http://[::1]:8"]
)
def test_plain_http_inside_the_machine_is_fine(configure, url):
    configure(URL=url)
    assert set(found()) == {"I001"}


def test_plain_http_in_development_is_fine(configure, settings):
    settings.DEBUG = True
    configure(URL="http://erp.example.com")
    assert set(found()) == {"I001"}


def test_w002_a_client_without_a_secret(configure):
    configure(CLIENT_SECRET=None)
    assert "'CLIENT_AUTH': 'none'" in only("W002").hint
    configure(CLIENT_SECRET=None, CLIENT_AUTH="none")
    assert set(found()) == {"I001"}


def test_w005_no_middleware(configure, settings):
    settings.MIDDLEWARE = [AUTHENTICATION]
    assert MIDDLEWARE in only("W005").hint


def test_w006_middleware_in_the_wrong_order(configure, settings):
    settings.MIDDLEWARE = [MIDDLEWARE, AUTHENTICATION]
    only("W006")


@pytest.mark.parametrize("value", [30, (5,), (5, "30"), (5, 0), None])
def test_e008_a_timeout_that_is_none(configure, settings, value):
    settings.ERPNEXT_BRIDGE["TIMEOUT"] = value
    assert "(5, 30)" in only("E008").hint


@pytest.mark.parametrize("alias", ["", "a/b", "a b", "ä", "x" * 65])
def test_e012_a_site_that_no_address_can_name(configure, settings, alias):
    settings.ERPNEXT_BRIDGE["SITES"] = {alias: {"URL": "https://erp.example.com"}}
    only("E012")


def test_e013_an_unknown_client_authentication(configure):
    configure(CLIENT_AUTH="body")
    assert "'auto', 'post', 'basic', 'none'" in only("E013").hint


def test_e014_an_unknown_time_zone(configure):
    configure(TIME_ZONE="Mars/Olympus")
    only("E014")


@pytest.mark.parametrize("value", ["tag", {"Lead": "tag"}])
def test_e015_an_unknown_key_of_creates(configure, value):
    configure(CREATE_KEY=value)
    assert "'auto', 'field', 'marker', 'none'" in only("E015").hint


def test_e016_an_unknown_answer_to_conflicts(configure, settings):
    configure()
    settings.ERPNEXT_BRIDGE["WRITE_CONFLICT"] = "merge"
    only("E016")


@pytest.mark.parametrize(
    ("name", "value"), [("REFRESH_IDLE", 0), ("REFRESH_IDLE", "7"), ("PERMISSION_TTL", -1)]
)
def test_e008_a_time_that_may_be_left_out_is_none(configure, settings, name, value):
    settings.ERPNEXT_BRIDGE[name] = value
    assert name in only("E008").msg


def test_times_that_switch_something_off_are_fine(configure, settings):
    settings.ERPNEXT_BRIDGE.update(REFRESH_IDLE=None, PERMISSION_TTL=0)
    assert set(found()) == {"I001"}


def test_w007_sessions_in_cookies_without_a_shared_cache(configure, settings):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    only("W007")
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache"}}
    assert set(found()) == {"I001"}


def test_w008_an_email_that_would_lead_nowhere(configure, settings):
    settings.ERPNEXT_BRIDGE["RECONNECT_EMAIL"] = True
    settings.ALLOWED_HOSTS = ["*"]
    only("W008")
    configure(REDIRECT_URI="https://www.example.org/erpnext/callback/")
    settings.ERPNEXT_BRIDGE["RECONNECT_EMAIL"] = True
    assert set(found()) == {"I001"}


def test_every_check_has_a_test_that_makes_it_fire():
    source = Path(checks.__file__).read_text("utf-8")
    known = set(re.findall(r'id="erpnext_bridge\.(\w+)"', source))
    fired = set(re.findall(r"^def test_(\w\d{3})_", Path(__file__).read_text("utf-8"), re.MULTILINE))
    assert {name.upper() for name in fired} | {"I001"} == known
