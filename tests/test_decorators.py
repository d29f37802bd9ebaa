"""Whoever has no connection is sent to make one, and comes back to where that makes sense."""

from __future__ import annotations

import pytest
from django.http import HttpResponse
from django.test import AsyncClient
from django.urls import include, path
from django.views.generic import View

from erpnext_bridge.decorators import ConnectionRequiredMixin, connection_required
from erpnext_bridge.identity import ambient_identity
from erpnext_bridge.models import Connection
from tests.test_connection import URL, make

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


def answer(request):
    return HttpResponse(f"{request.method} as {ambient_identity()}")


@connection_required
def plain(request):
    """Documented."""
    return answer(request)


@connection_required(site="berlin")
def berlin(request):
    return HttpResponse(f"{ambient_identity('berlin')}")


@connection_required
async def waiting(request):
    return answer(request)


class Orders(ConnectionRequiredMixin, View):
    def get(self, request):
        return answer(request)


class BerlinOrders(Orders):
    connection_site = "berlin"


class WaitingOrders(ConnectionRequiredMixin, View):
    async def get(self, request):
        return answer(request)


urlpatterns = [
    path("plain/", plain),
    path("berlin/", berlin),
    path("waiting/", waiting),
    path("orders/", Orders.as_view()),
    path("berlin-orders/", BerlinOrders.as_view()),
    path("other-orders/", Orders.as_view(connection_site="berlin")),
    path("waiting-orders/", WaitingOrders.as_view()),
    path("erpnext/", include("erpnext_bridge.urls")),
]

DEFAULT_SITE_VIEWS = ["plain", "waiting", "orders", "waiting-orders"]
BERLIN_VIEWS = ["berlin", "berlin-orders", "other-orders"]


@pytest.fixture(autouse=True)
def two_sites(settings):
    site = {"URL": URL, "CLIENT_ID": "c", "CLIENT_SECRET": "s"}
    settings.ERPNEXT_BRIDGE = {"SITES": {"default": site, "berlin": site}, "TOKEN_KEYS": ["k-" * 20]}


@pytest.fixture
def signed_in(client, user):
    client.force_login(user)
    return client


@pytest.mark.parametrize("view", DEFAULT_SITE_VIEWS)
def test_nobody_signed_in_goes_to_the_login_page(client, view):
    location = client.get(f"/{view}/?page=2")["Location"]
    assert location == f"/accounts/login/?next=/{view}/%3Fpage%3D2"


@pytest.mark.parametrize("view", DEFAULT_SITE_VIEWS)
def test_a_user_without_a_connection_goes_to_the_connect_page(signed_in, view):
    location = signed_in.get(f"/{view}/?page=2")["Location"]
    assert location == f"/erpnext/connect/?next=%2F{view}%2F%3Fpage%3D2"


@pytest.mark.parametrize("view", DEFAULT_SITE_VIEWS)
def test_a_connected_user_passes_and_the_view_acts_as_that_user(signed_in, user, view):
    make(user)
    assert signed_in.get(f"/{view}/").content.decode() == f"GET as user {user.pk} at site 'default'"
    assert ambient_identity() is None


@pytest.mark.parametrize("view", DEFAULT_SITE_VIEWS)
def test_an_ended_connection_goes_to_the_connect_page(signed_in, user, view):
    make(user, health="needs_reconnect")
    assert signed_in.get(f"/{view}/")["Location"].startswith("/erpnext/connect/?next=")


@pytest.mark.parametrize("view", BERLIN_VIEWS)
def test_each_site_has_its_own_connection(signed_in, user, view):
    make(user)
    assert signed_in.get(f"/{view}/")["Location"].startswith("/erpnext/connect/berlin/?next=")
    make(user, site="berlin")
    assert signed_in.get(f"/{view}/").status_code == 200


def test_the_connection_of_another_user_does_not_count(signed_in, django_user_model):
    make(django_user_model.objects.create_user("bob"))
    assert signed_in.get("/plain/").status_code == 302


@pytest.mark.parametrize(
    ("referrer", "next_query"),
    [
        ("http://testserver/form/?step=2", "?next=%2Fform%2F%3Fstep%3D2"),
        ("http://testserver/form/", "?next=%2Fform%2F"),
        ("https://evil.example/form/", ""),
        ("//evil.example/", ""),
        ("", ""),
    ],
)
def test_a_post_comes_back_to_the_page_with_its_form(signed_in, referrer, next_query):
    location = signed_in.post("/plain/", headers={"Referer": referrer})["Location"]
    assert location == f"/erpnext/connect/{next_query}"


def test_a_view_keeps_its_name_and_its_kind():
    assert (plain.__name__, plain.__doc__) == ("plain", "Documented.")
    assert Orders.as_view().view_class is Orders


@pytest.mark.django_db(transaction=True)
async def _ask(client, user, view):
    await client.aforce_login(user)
    return await client.get(f"/{view}/")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("view", DEFAULT_SITE_VIEWS)
def test_they_work_under_asgi_too(user, view):
    from asgiref.sync import async_to_sync

    client = AsyncClient()
    assert async_to_sync(_ask)(client, user, view)["Location"].startswith("/erpnext/connect/?next=")
    make(user)
    assert (
        async_to_sync(_ask)(client, user, view).content.decode() == f"GET as user {user.pk} at site 'default'"
    )
    assert Connection.objects.count() == 1
