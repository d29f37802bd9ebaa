"""A small sandboxed site for tests of writes: tickets, and deals that can be submitted."""

from __future__ import annotations

import base64
import json
import threading
from contextlib import contextmanager
from datetime import timedelta

import requests
from celery import Celery, _state
from django.contrib.auth.models import User as DjangoUser
from django.db import connection
from django.utils import timezone

from erpnext_bridge.identity import Identity
from erpnext_bridge.models import Connection, DocumentWrite
from erpnext_bridge.outbox.delivery import perform
from erpnext_bridge.sandbox import Sandbox, User, World
from erpnext_bridge.tokens.crypto import SealedText

SERVICE = Identity.service()

EVERYTHING = dict.fromkeys(("read", "write", "create", "delete", "submit", "cancel", "amend"), 1)
MAKER = {"role": "Maker", "permlevel": 0, "read": 1, "write": 1, "create": 1}
CLERK = {"role": "Clerk", "permlevel": 0, **EVERYTHING}
OWNER = {**MAKER, "role": "Owner", "if_owner": 1}
READER = {"role": "Reader", "permlevel": 0, "read": 1}


def _field(fieldname, fieldtype="Data", **options):
    return {"fieldname": fieldname, "label": fieldname.title(), "fieldtype": fieldtype, **options}


DOCTYPES = [
    {
        "name": "Ticket",
        "autoname": "TK-.####",
        "fields": [
            _field("subject", reqd=1),
            _field("priority", "Select", options="Low\nHigh", default="Low"),
            _field("amount", "Currency"),
            _field("due", "Date"),
            _field("opens", "Datetime"),
            _field("closed", "Check"),
            _field("notes", "Small Text"),
        ],
        "permissions": [CLERK, MAKER, OWNER, READER],
    },
    {
        "name": "Deal",
        "autoname": "DL-.####",
        "is_submittable": 1,
        "fields": [
            _field("subject", reqd=1),
            _field("remarks", "Small Text", allow_on_submit=1),
            _field("ticket", "Link", options="Ticket"),
            _field("lines", "Table", options="Deal Line"),
        ],
        "permissions": [CLERK, MAKER, READER],
    },
    {
        "name": "Deal Line",
        "istable": 1,
        "fields": [
            _field("item", reqd=1),
            _field("qty", "Float"),
            _field("ticket", "Link", options="Ticket"),
        ],
        "permissions": [],
    },
]


def world():
    made = World(doctypes={raw["name"]: {"module": "Custom", "custom": 1, **raw} for raw in DOCTYPES})
    made.add_user(User("clerk@example.com", "Carla Clerk", ["Clerk"], password="clerk-password"))
    made.add_user(User("maker@example.com", "Max Maker", ["Maker"]))
    made.add_user(User("owner@example.com", "Olga Owner", ["Owner"]))
    made.add_user(User("nobody@example.com", "Nora Nobody", [], password="nobody-password"))
    made.add_user(User("reader@example.com", "Rita Reader", ["Reader"], password="reader-password"))
    return made


@contextmanager
def open_write_site(settings, *, version=15, user="clerk@example.com", create_key="marker", **bridge):
    """Start a site, and name it in the settings with a service account of this user."""
    with Sandbox(version=version, world=world()) as site:
        default = {"URL": site.url, "TITLE": "Test site", "CREATE_KEY": create_key}
        settings.ERPNEXT_BRIDGE = {
            "SITES": {"default": {**default, **service_account(site, user)}},
            "TOKEN_KEYS": ["aGVyZSBpcyBhIGtleSBvZiB0aGlydHktdHdvIGJ5dGU="],
            # Every retry is due at once, so that no test has to wait.
            "WRITE_BACKOFF": (0.0, 0.0),
            "WRITE_ATTEMPTS": 3,
            "WRITE_BREAKER": (5, 0.0, 0.0),
            **bridge,
        }
        yield site


@contextmanager
def folder_broker(folder, **conf):
    """Let Celery put its messages into a folder; yields a function that takes them out, as (headers, body)."""
    before = _state._get_current_app()
    app = Celery("tests", set_as_current=False)
    options = {"data_folder_in": folder, "data_folder_out": folder, "control_folder": f"{folder}/control"}
    app.conf.update(broker_url="filesystem://", broker_transport_options=options, **conf)
    app.set_default()

    def take():
        found = sorted(folder.glob("*.msg"))
        messages = [json.loads(path.read_text()) for path in found]
        for path in found:
            path.unlink()
        return [(message["headers"], base64.b64decode(message["body"]).decode()) for message in messages]

    take.app = app
    try:
        yield take
    finally:
        app.close()
        _state.set_default_app(before)


def service_account(site, user):
    key, secret = site.api_key(user)
    return {"API_KEY": key, "API_SECRET": secret}


def connect(site, username, erp_user="clerk@example.com", password="clerk-password"):
    """Return a Django user who is connected as an ERPNext user."""
    user, _ = DjangoUser.objects.get_or_create(username=username)
    client_id, _secret = site.oauth_client(["http://testserver/erpnext/callback/"])
    answer = requests.post(
        f"{site.url}/api/method/frappe.integrations.oauth2.get_token",
        data={
            "grant_type": "password",
            "client_id": client_id,
            "username": erp_user,
            "password": password,
            "scope": "all",
        },
        timeout=60,
    ).json()
    Connection.objects.create(
        user=user,
        site="default",
        site_url=site.url,
        erp_user=erp_user,
        access_token=SealedText.seal(answer["access_token"]),
        refresh_token=SealedText.seal(answer["refresh_token"]),
        expires_at=timezone.now() + timedelta(hours=1),
    )
    return user


def meanwhile(site, write, act):
    """Deliver a write in another thread, and do something while ERPNext has the request and not yet answered."""
    arrived, answer = threading.Event(), threading.Event()

    def holds(request):
        if request.method == "GET":
            return False
        arrived.set()
        return answer.wait(60) and False

    def worker():
        try:
            perform(write.pk)
        finally:
            # Django leaves a connection to a database in memory open, for the data would go with it.
            connection.connection.close()

    site.trouble("unavailable", match=holds)
    thread = threading.Thread(target=worker)
    thread.start()
    try:
        assert arrived.wait(60)
        return act()
    finally:
        answer.set()
        thread.join(60)
        site.trouble_clear()
        write.refresh_from_db()


def modified(site, doctype, name):
    """A document's `modified`, as Frappe spells it."""
    return str(site.document(doctype, name)["modified"])


def writes_seen(site):
    """The requests that may have changed something, as (method, status)."""
    return [(request.method, request.status) for request in site.requests if request.method != "GET"]


def due_now(write):
    """Let a write be due, whatever it waits for."""
    DocumentWrite.objects.filter(pk=write.pk).update(next_attempt_at=timezone.now())
