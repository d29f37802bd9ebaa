"""The panel for django-debug-toolbar, in the toolbar itself."""

from __future__ import annotations

import re

import pytest
from debug_toolbar.store import get_store
from django.core.cache import cache

from erpnext_bridge.sandbox import Sandbox

PANEL = "ERPNextPanel"


@pytest.fixture
def toolbar(settings):
    """A project with the toolbar, at a site with the demo's customers."""
    with Sandbox(version=15) as sandbox:
        key, secret = sandbox.api_key("alice@example.com")
        default = {"URL": sandbox.url, "API_KEY": key, "API_SECRET": secret}
        default |= {"VERSION": 15, "TIME_ZONE": "America/New_York"}
        settings.ERPNEXT_BRIDGE = {"SITES": {"default": default}, "TOKEN_KEYS": ["k" * 40]}
        settings.DEBUG = True
        settings.INTERNAL_IPS = ["127.0.0.1"]
        settings.ROOT_URLCONF = "tests.toolbar_urls"
        settings.MIDDLEWARE = ["debug_toolbar.middleware.DebugToolbarMiddleware"]
        settings.DEBUG_TOOLBAR_PANELS = ["erpnext_bridge.panels.ERPNextPanel"]
        settings.DEBUG_TOOLBAR_CONFIG = {"RESULTS_CACHE_SIZE": 5}
        cache.clear()
        yield sandbox


def shown(client, path):
    """Return the page, and the panel as the toolbar renders it for that page."""
    page = client.get(path).content.decode()
    request_id = re.search(r'data-request-id="([0-9a-f-]+)"', page)[1]
    panel = client.get(f"/__debug__/render_panel/?request_id={request_id}&panel_id={PANEL}")
    return page, panel.json()["content"], get_store().panel(request_id, PANEL)


@pytest.mark.django_db
def test_the_panel_tells_the_requests_of_the_page(client, toolbar):
    page, panel, stats = shown(client, "/loop/")
    assert "5 requests in" in page
    assert len(stats["calls"]) == len(toolbar.requests) == 5
    listed, *read = stats["calls"]
    assert (listed["method"], listed["path"], listed["status"]) == ("GET", "/api/resource/Customer", 200)
    assert dict(listed["asked"])["filters"] == '[["Customer", "customer_name", "like", "%a%"]]'
    assert listed["received"] > 20
    assert "service account at site" in panel
    # A loop of single reads is what the panel is for: all of them are alike, and one was sent twice.
    assert [call["similar"] for call in read] == [4, 4, 4, 4]
    assert sorted(call["duplicates"] for call in read) == [1, 1, 2, 2]
    assert "the same 2 times" in panel
    assert "4 alike" in panel
    # The line that asked is shown, and none of the package's own.
    assert "toolbar_urls.py" in listed["trace"]
    assert "send_robust" not in listed["trace"]


@pytest.mark.django_db
def test_questions_with_other_arguments_are_alike_and_not_the_same(client, toolbar):
    _page, panel, stats = shown(client, "/rights/")
    assert [dict(call["asked"])["perm_type"] for call in stats["calls"]] == ['"read"', '"write"', '"delete"']
    assert [(call["duplicates"], call["similar"]) for call in stats["calls"]] == [(1, 3)] * 3
    assert "sent more than once" not in panel


@pytest.mark.django_db
def test_the_panel_shows_no_secret(client, toolbar):
    key, secret = toolbar.api_key("alice@example.com")
    page, panel, stats = shown(client, "/loop/")
    for text in (page, panel, repr(stats)):
        assert secret not in text
        assert key not in text


@pytest.mark.django_db
def test_pages_that_ask_nothing_or_fail_are_told_as_such(client, toolbar):
    _page, panel, stats = shown(client, "/nothing/")
    assert "This page asked nothing of ERPNext." in panel
    assert stats["calls"] == []
    toolbar.trouble("unavailable", match="/api/resource/Customer")
    _page, panel, stats = shown(client, "/busy/")
    assert [(call["status"], call["failed"]) for call in stats["calls"]] == [(503, True)]
    assert "<strong>503</strong>" in panel


@pytest.mark.django_db
def test_the_server_timing_header_has_the_time_at_erpnext(client, toolbar):
    assert 'desc="ERPNext 5 requests"' in client.get("/loop/")["Server-Timing"]
