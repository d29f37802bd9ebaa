"""No user's rows, tokens or cookies in another's request: threads, async views, one pool of connections, one cache."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import sync_to_async
from django.core.cache import cache
from django.db import connections
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.urls import include, path

from erpnext_bridge import access
from erpnext_bridge.access import open_site
from erpnext_bridge.conf import get_site
from erpnext_bridge.decorators import connection_required
from erpnext_bridge.errors import NotConnected
from erpnext_bridge.identity import Identity, acting_as, ambient_identity
from erpnext_bridge.sandbox import Sandbox, User, World
from erpnext_bridge.tokens.endpoints import endpoints_of
from tests.erp.models import ToDo

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]

PEOPLE = [f"user{number}" for number in range(4)]


def mine(request):
    """Who ERPNext says that I am, asked twice, with the ambient identity."""
    client = open_site(ambient_identity()).client
    return HttpResponse(f"{client.logged_user()} {client.logged_user()}")


@connection_required
async def mine_async(request):
    def ask():
        return open_site(ambient_identity()).client.logged_user()

    def ask_in_another_thread():
        try:
            return ask()
        finally:
            # Django keeps a database in memory open, also at the end of a thread.
            connections["default"].connection.close()
            connections["default"].connection = None

    first = await sync_to_async(ask)()
    return HttpResponse(f"{first} {await sync_to_async(ask_in_another_thread, thread_sensitive=False)()}")


urlpatterns = [
    path("mine/", mine),
    path("mine-async/", mine_async),
    path("erpnext/", include("erpnext_bridge.urls")),
]


@pytest.fixture
def people(settings, django_user_model):
    """Users of ours with connections of their own; their tokens were given by password, which is quick."""
    cache.clear()
    access._facts.clear()
    world = World()
    for name in PEOPLE:
        world.add_user(User(f"{name}@example.com", roles=["System Manager", "Desk User"], password=name))
    with Sandbox(version=15, world=world) as sandbox:
        client_id, secret = sandbox.oauth_client(redirect_uris=["http://testserver/"])
        settings.ERPNEXT_BRIDGE = {
            "SITES": {"default": {"URL": sandbox.url, "CLIENT_ID": client_id, "CLIENT_SECRET": secret}},
            "TOKEN_KEYS": ["a key of the tests, which is long enough"],
        }
        users = {name: django_user_model.objects.create_user(name) for name in PEOPLE}
        for name, user in users.items():
            connect(sandbox, client_id, name, user)
        yield users


def connect(sandbox, client_id, name, user):
    import requests

    form = {
        "grant_type": "password",
        "username": f"{name}@example.com",
        "password": name,
        "client_id": client_id,
    }
    pair = requests.post(
        f"{sandbox.url}/api/method/frappe.integrations.oauth2.get_token",
        data={**form, "scope": "all openid"},
        timeout=30,
    ).json()
    user.erpnext_connections.create(
        site="default",
        site_url=sandbox.url,
        erp_user=f"{name}@example.com",
        access_token=pair["access_token"],
        refresh_token=pair["refresh_token"],
        expires_at="2100-01-01T00:00:00Z",
    )


def test_async_views_of_many_users_at_once(people):
    async def ask(user):
        client = AsyncClient()
        await client.aforce_login(user)
        return [(await client.get("/mine-async/")).content.decode() for _ in range(3)]

    async def ask_all():
        return await asyncio.gather(*(ask(user) for user in people.values()))

    answers = asyncio.run(ask_all())
    assert answers == [[f"{name}@example.com {name}@example.com"] * 3 for name in people]


def test_requests_of_many_users_in_one_thread_one_after_the_other(people):
    browsers = {}
    for name, user in people.items():
        browsers[name] = Client()
        browsers[name].force_login(user)
    for _ in range(3):
        for name, browser in browsers.items():
            assert browser.get("/mine/").content.decode() == f"{name}@example.com {name}@example.com"
    assert ambient_identity() is None


def test_threads_over_one_pool_of_connections(people):
    clients = {name: open_site(Identity.for_user(user)).client for name, user in people.items()}
    assert len({id(client.transport) for client in clients.values()}) == 1
    wrong = []

    def ask(name):
        for _ in range(20):
            if clients[name].logged_user() != f"{name}@example.com":
                wrong.append(name)

    threads = [threading.Thread(target=ask, args=(name,)) for name in PEOPLE for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_thread_acts_as_nobody_unless_it_is_told(people):
    """A pool's threads outlive requests: who acted in the last one must not act in the next."""

    def who():
        connections.close_all()
        return ambient_identity()

    with ThreadPoolExecutor(1) as pool:
        with acting_as(people["user0"]):
            assert pool.submit(who).result() is None
            assert str(ambient_identity()) == str(Identity.for_user(people["user0"]))
        with pytest.raises(NotConnected):
            pool.submit(lambda: list(ToDo.objects.all())).result()


def test_a_queryset_keeps_its_user_whoever_acts_when_it_is_read(people):
    with acting_as(people["user0"]):
        todos = ToDo.objects.all()
    with acting_as(people["user1"]):
        assert todos.query.identity == Identity.for_user(people["user0"])


def test_a_row_of_the_cache_is_not_shared(people):
    """`can()` remembers answers under the identity they were given to."""
    first, second = (people[name].erpnext_connections.get() for name in PEOPLE[:2])
    assert first.can("read", "User")
    first.delete()
    with pytest.raises(NotConnected):
        open_site(first.identity).client.logged_user()
    assert second.can("read", "User")


def test_the_service_accounts_session_is_not_a_users(people, settings):
    site = settings.ERPNEXT_BRIDGE["SITES"]["default"]
    site |= {"USERNAME": "user3@example.com", "PASSWORD": "user3"}
    service = open_site(Identity.service()).client
    assert service.logged_user() == "user3@example.com"
    assert open_site(Identity.for_user(people["user0"])).client.logged_user() == "user0@example.com"
    assert endpoints_of(get_site()).introspect("none")["active"] is False
    assert service.logged_user() == "user3@example.com"
