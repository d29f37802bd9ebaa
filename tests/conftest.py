"""Fixtures that every test file shares."""

from __future__ import annotations

import pytest

from erpnext_bridge.identity import Identity, acting_as
from erpnext_bridge.sandbox import Sandbox, User, World
from tests.erp.models import Lead
from tests.erp_browser import ErpBrowser

REDIRECT_URI = "http://testserver/erpnext/callback/"
PASSWORDS = {"alice@example.com": "alice-sandbox", "bob@example.com": "bob-sandbox"}


@pytest.fixture
def site():
    """An ERPNext 15 on a local socket, with two users and nothing else: it starts in a blink."""
    roles = ["Sales User", "System Manager", "Desk User"]
    world = World()
    for name, password in PASSWORDS.items():
        world.add_user(User(name, full_name=name.title(), roles=roles, password=password))
    with Sandbox(version=15, world=world) as sandbox:
        yield sandbox


@pytest.fixture
def erpnext(settings, site):
    """The settings of a project whose default site is the sandbox; change them by `erpnext(KEY=value)`."""
    client_id, client_secret = site.oauth_client(redirect_uris=[REDIRECT_URI])

    def configure(**changes):
        default = {"URL": site.url, "CLIENT_ID": client_id, "CLIENT_SECRET": client_secret}
        settings.ERPNEXT_BRIDGE = {
            "SITES": {"default": {**default, **changes}},
            "TOKEN_KEYS": ["a key of the tests, which is long enough"],
        }
        return settings.ERPNEXT_BRIDGE

    configure()
    return configure


@pytest.fixture
def user(django_user_model, db):
    return django_user_model.objects.create_user("alice")


@pytest.fixture
def connect(erpnext, site, client):
    """Return a function that connects a signed-in user in the browser."""

    def connect(user, erp_user="alice@example.com", **data):
        client.force_login(user)
        start = client.post("/erpnext/connect/", data)
        with ErpBrowser(site.url, erp_user, PASSWORDS[erp_user]) as browser:
            return client.get(browser.allow(start["Location"]))

    return connect


@pytest.fixture
def connection(connect, user):
    """Alice's healthy connection, made as she would make it."""
    connect(user)
    return user.erpnext_connections.get()


@pytest.fixture(params=[15, 16], ids=["v15", "v16"])
def erp(request, settings):
    """A fresh demo world; the code under test acts as its service account, which is Alice."""
    with Sandbox(version=request.param) as sandbox:
        key, secret = sandbox.api_key("alice@example.com")
        site = {"URL": sandbox.url, "API_KEY": key, "API_SECRET": secret}
        settings.ERPNEXT_BRIDGE = {"SITES": {"default": site}, "TOKEN_KEYS": ["k" * 40]}
        with acting_as(Identity.service()):
            Lead.objects.exists()
            sandbox.requests.clear()
            yield sandbox
