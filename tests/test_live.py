"""
Connecting to a real ERPNext, in a browser where there is one: `pytest -m live tests/test_live.py`.

ERPNEXT_URL names the site; ERPNEXT_API_KEY and ERPNEXT_API_SECRET are those of a System Manager, who registers an OAuth
Client for the time of the test; ERPNEXT_USER and ERPNEXT_PASSWORD are the user who connects.
"""

from __future__ import annotations

import io
import os
import re
import shutil

import pytest
from django.core.management import call_command
from django.utils import timezone

from erpnext_bridge import access, connecting
from erpnext_bridge.access import open_site
from erpnext_bridge.client import FrappeClient
from erpnext_bridge.conf import get_site
from erpnext_bridge.credentials import ApiKey
from erpnext_bridge.errors import NeedsReconnect
from erpnext_bridge.models import Connection, PendingRevocation
from erpnext_bridge.tokens import refreshing, revoking
from erpnext_bridge.tokens.endpoints import endpoints_of
from tests.erp_browser import ErpBrowser

URL = os.environ.get("ERPNEXT_URL", "")

pytestmark = [
    pytest.mark.live,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not URL, reason="ERPNEXT_URL names no site"),
]


@pytest.fixture
def manager():
    key = ApiKey(os.environ["ERPNEXT_API_KEY"], os.environ["ERPNEXT_API_SECRET"])
    return FrappeClient(URL, key)


@pytest.fixture
def real(manager, settings, live_server):
    """The settings of a project that is registered at the real site, and served here."""
    access._facts.clear()
    redirect_uri = f"{live_server.url}/erpnext/callback/"
    client = manager.create(
        "OAuth Client",
        {
            "app_name": "connections test",
            "scopes": "all openid",
            "redirect_uris": redirect_uri,
            "default_redirect_uri": redirect_uri,
            "grant_type": "Authorization Code",
            "response_type": "Code",
            "allowed_roles": [{"role": "All"}],
        },
    )
    settings.ERPNEXT_BRIDGE = {
        "SITES": {
            "default": {
                "URL": URL,
                "CLIENT_ID": client["client_id"],
                "CLIENT_SECRET": client["client_secret"],
                "REDIRECT_URI": redirect_uri,
                "API_KEY": os.environ["ERPNEXT_API_KEY"],
                "API_SECRET": os.environ["ERPNEXT_API_SECRET"],
            }
        },
        "TOKEN_KEYS": ["a key of the tests, which is long enough"],
    }
    yield live_server
    for doctype in ("OAuth Bearer Token", "OAuth Authorization Code"):
        for row in manager.list(doctype, filters=[["client", "=", client["name"]]], fields=["name"]):
            manager.delete(doctype, row["name"])
    manager.delete("OAuth Client", client["name"])


@pytest.fixture
def erp_browser():
    with ErpBrowser(URL, os.environ["ERPNEXT_USER"], os.environ["ERPNEXT_PASSWORD"]) as browser:
        yield browser


@pytest.fixture
def connected(real, erp_browser, client, user):
    client.force_login(user)
    start = client.post("/erpnext/connect/")
    assert client.get(erp_browser.allow(start["Location"]))["Location"] == "/erpnext/"
    return user.erpnext_connections.get()


def test_the_doctor_finds_nothing(connected):
    out = io.StringIO()
    call_command("erpnext_doctor", stdout=out)
    assert "0 problems." in out.getvalue()


def test_denying_connects_nothing(real, erp_browser, client, user):
    client.force_login(user)
    start = client.post("/erpnext/connect/")
    assert "Cancelled" in client.get(erp_browser.deny(start["Location"])).content.decode()
    assert not Connection.objects.exists()


def test_a_life(connected):
    assert connected.erp_user == os.environ["ERPNEXT_USER"]
    assert open_site(connected.identity).client.logged_user() == connected.erp_user
    assert connected.can("read", "User", connected.erp_user)
    assert not connected.can("read", "No Such DocType")

    fresh = refreshing.refresh(connected, get_site())
    assert fresh.access_token.open() != connected.access_token.open()
    endpoints = endpoints_of(get_site())
    former = [
        endpoints.introspect(connected.access_token.open()),
        endpoints.introspect(connected.refresh_token.open(), "refresh_token"),
    ]
    assert [told["active"] for told in former] == [False, False]
    assert not PendingRevocation.objects.exists()

    assert connecting.disconnect(fresh) is True
    assert endpoints.introspect(fresh.refresh_token.open(), "refresh_token")["active"] is False


def test_revocation_at_erpnext_is_found_out(connected):
    revoking.revoke_pair(endpoints_of(get_site()), *connected.tokens)
    with pytest.raises(NeedsReconnect):
        open_site(connected.identity).client.logged_user()
    assert Connection.objects.get().health == "revoked"


def test_an_expired_token_is_refreshed_on_the_way(connected):
    Connection.objects.update(expires_at=timezone.now())
    assert open_site(connected.identity).client.logged_user() == connected.erp_user
    assert Connection.objects.get().refreshed_at is not None


@pytest.mark.browser
def test_a_person_connects_in_chromium(real, client, user, tmp_path):
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("chromium is not installed: make services")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    client.force_login(user)
    session = client.cookies["sessionid"].value
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox", "--headless"])
        context = browser.new_context()
        context.add_cookies([{"name": "sessionid", "value": session, "url": real.url}])
        page = context.new_page()
        page.goto(f"{real.url}/erpnext/connect/?next=/erpnext/")
        page.get_by_role("button", name=re.compile("Continue to")).click()
        # ERPNext wants its own sign-in first. Its page needs bundles that not every installation has built.
        page.wait_for_url(re.compile("/login"), wait_until="commit")
        login = {"usr": os.environ["ERPNEXT_USER"], "pwd": os.environ["ERPNEXT_PASSWORD"]}
        assert context.request.post(f"{URL}/api/method/login", form=login).ok
        page.goto(f"{real.url}/erpnext/connect/?next=/erpnext/")
        page.get_by_role("button", name=re.compile("Continue to")).click()
        page.wait_for_url(re.compile("oauth2.authorize"), wait_until="domcontentloaded")
        page.screenshot(path=str(tmp_path / "consent.png"))
        # The button's own script, which needs jQuery's bundle.
        target = re.search(r"\$\('#allow'\).*?location\.replace\(\"(.*?)\"\)", page.content(), re.DOTALL)[1]
        page.goto(f"{URL}{target.encode().decode('unicode_escape')}")
        page.wait_for_url(f"{real.url}/erpnext/", wait_until="domcontentloaded")
        page.get_by_text("Connected", exact=True).wait_for()
        page.screenshot(path=str(tmp_path / "connected.png"))
        assert os.environ["ERPNEXT_USER"] in page.content()
        page.get_by_role("link", name="Disconnect").click()
        page.get_by_role("button", name="Disconnect").click()
        page.get_by_role("heading", name="Disconnected").wait_for()
        assert "ERPNext has revoked them" in page.content()
        browser.close()
