"""Each page: who may see it, what it says, and how it may be asked for."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.test_connection import URL, make

pytestmark = pytest.mark.django_db

PAGES = ["/erpnext/", "/erpnext/connect/", "/erpnext/connect/berlin/", "/erpnext/disconnect/"]


@pytest.fixture(autouse=True)
def sites(settings):
    site = {"URL": URL, "CLIENT_ID": "client", "CLIENT_SECRET": "hush-hush"}
    settings.ERPNEXT_BRIDGE = {
        "SITES": {
            "default": site,
            "berlin": {**site, "TITLE": "ERP Berlin"},
            "machine": {"URL": URL, "API_KEY": "k", "API_SECRET": "hush-hush"},
        },
        "TOKEN_KEYS": ["k-" * 20],
    }
    return settings.ERPNEXT_BRIDGE


@pytest.fixture
def signed_in(client, user):
    client.force_login(user)
    return client


def text(answer):
    return " ".join(answer.content.decode().split())


@pytest.mark.parametrize("url", PAGES)
def test_a_page_asks_to_sign_in_first(client, url):
    answer = client.get(url)
    assert (answer.status_code, answer["Location"]) == (302, f"/accounts/login/?next={url}")


@pytest.mark.parametrize("url", PAGES[:3])
def test_a_page_is_kept_out_of_caches_and_of_other_sites_logs(signed_in, url):
    answer = signed_in.get(url)
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    assert answer["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize("url", PAGES[:3])
def test_a_page_is_in_no_frame_unless_the_project_allows_it(signed_in, settings, url):
    assert signed_in.get(url)["X-Frame-Options"] == "DENY"
    settings.X_FRAME_OPTIONS = "SAMEORIGIN"
    assert signed_in.get(url)["X-Frame-Options"] == "SAMEORIGIN"


@pytest.mark.parametrize("url", PAGES[:3])
def test_a_page_is_complete_html_without_scripts_or_other_hosts(signed_in, url):
    page = text(signed_in.get(url))
    assert page.startswith("<!doctype html>")
    assert '<html lang="en">' in page
    assert "viewport" in page
    assert "<script" not in page
    assert "hush" not in page


def test_the_status_page_lists_the_sites_that_users_connect_to(signed_in, user):
    make(user)
    page = text(signed_in.get("/erpnext/"))
    assert "erp.example.com" in page
    assert "ERP Berlin" in page
    assert page.count("<section") == 2
    assert "as alice@example.com" in page
    assert "Not connected" in page


def test_the_status_page_says_what_is_wrong(signed_in, user):
    make(user, health="needs_reconnect", reason="It was revoked.")
    page = text(signed_in.get("/erpnext/"))
    assert "Needs to be connected again" in page
    assert "It was revoked." in page


def test_the_status_page_survives_a_lost_key(signed_in, user, sites):
    make(user)
    sites["TOKEN_KEYS"] = ["another key that is long enough to be one"]
    assert "Needs to be connected again" in text(signed_in.get("/erpnext/"))


def test_a_project_without_sites_says_so(signed_in, sites):
    sites["SITES"] = {}
    assert "No ERPNext site is set up" in text(signed_in.get("/erpnext/"))


def test_only_staff_sees_the_redirect_uri(signed_in, user):
    assert "callback" not in text(signed_in.get("/erpnext/"))
    user.is_staff = True
    user.save()
    for url, uri in {
        "/erpnext/": "http://testserver/erpnext/callback/",
        "/erpnext/connect/berlin/": "http://testserver/erpnext/callback/berlin/",
    }.items():
        assert f"<code>{uri}</code>" in text(signed_in.get(url))


@pytest.mark.parametrize("alias", ["machine", "nowhere"])
@pytest.mark.parametrize("page", ["connect", "callback"])
def test_a_site_that_nobody_can_connect_to_is_not_found(signed_in, page, alias):
    assert signed_in.get(f"/erpnext/{page}/{alias}/").status_code == 404


def test_the_connect_page_says_what_connecting_again_means(signed_in, user):
    make(user)
    assert "replaces that connection" in text(signed_in.get("/erpnext/connect/"))


def test_the_connect_page_says_why_it_is_needed(signed_in, user):
    make(user, health="needs_reconnect", reason="It was revoked.")
    assert "It was revoked." in text(signed_in.get("/erpnext/connect/"))


def test_settings_that_are_not_complete_are_a_page(signed_in, user, sites):
    sites["TOKEN_KEYS"] = []
    answer = signed_in.post("/erpnext/connect/")
    assert answer.status_code == 500
    assert "not set up" in text(answer)
    assert "TOKEN_KEYS" not in text(answer)
    user.is_staff = True
    user.save()
    assert "TOKEN_KEYS" in text(signed_in.post("/erpnext/connect/"))


@pytest.mark.parametrize("method", ["post", "head", "put"])
def test_the_callback_is_fetched_and_nothing_else(signed_in, method):
    assert getattr(signed_in, method)("/erpnext/callback/?code=a&state=b").status_code == 405


def test_disconnecting_asks_first(signed_in, user):
    make(user)
    page = text(signed_in.get("/erpnext/disconnect/"))
    assert "alice@example.com" in page
    assert 'method="post"' in page
    assert user.erpnext_connections.exists()


@pytest.mark.parametrize("method", ["get", "post"])
def test_without_a_connection_there_is_nothing_to_disconnect(signed_in, method):
    answer = getattr(signed_in, method)("/erpnext/disconnect/")
    assert (answer.status_code, answer["Location"]) == (302, "/erpnext/")


def test_nobody_disconnects_another_user(signed_in, django_user_model):
    bob = django_user_model.objects.create_user("bob")
    make(bob)
    signed_in.post("/erpnext/disconnect/")
    assert bob.erpnext_connections.exists()


def test_disconnecting_takes_a_token_against_forged_requests(user):
    from django.test import Client

    make(user)
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    assert client.post("/erpnext/disconnect/").status_code == 403
    assert user.erpnext_connections.exists()


def test_a_redirect_uri_in_the_settings_is_sent_byte_for_byte(signed_in, sites):
    from urllib.parse import parse_qs, urlsplit

    sites["SITES"]["default"]["REDIRECT_URI"] = "https://www.example.org/erpnext/callback/"
    location = signed_in.post("/erpnext/connect/")["Location"]
    assert parse_qs(urlsplit(location).query)["redirect_uri"] == ["https://www.example.org/erpnext/callback/"]


def sent_to(answer):
    return parse_qs(urlsplit(answer["Location"]).query)["redirect_uri"][0]


def test_behind_a_proxy_the_redirect_uri_is_the_outer_address(signed_in, settings):
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.USE_X_FORWARDED_HOST = True
    settings.ALLOWED_HOSTS = ["www.example.com", "testserver"]
    outer = {"x-forwarded-proto": "https", "x-forwarded-host": "www.example.com"}
    assert (
        sent_to(signed_in.post("/erpnext/connect/", headers=outer))
        == "https://www.example.com/erpnext/callback/"
    )
    settings.FORCE_SCRIPT_NAME = "/shop"
    assert sent_to(signed_in.post("/erpnext/connect/berlin/", headers=outer)).endswith(
        "/erpnext/callback/berlin/"
    )


def test_what_a_browser_says_of_a_proxy_changes_no_redirect_uri(signed_in):
    forged = {"x-forwarded-proto": "https", "x-forwarded-host": "evil.example"}
    assert (
        sent_to(signed_in.post("/erpnext/connect/", headers=forged)) == "http://testserver/erpnext/callback/"
    )


def test_a_redirect_uri_in_the_settings_is_sent_to_the_letter(signed_in, sites):
    sites["SITES"]["default"]["REDIRECT_URI"] = "https://www.example.org/erpnext/callback/"
    assert sent_to(signed_in.post("/erpnext/connect/")) == "https://www.example.org/erpnext/callback/"
