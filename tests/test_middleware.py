"""A request acts as its user; what ERPNext says no to is a page, and what the code got wrong stays an error."""

from __future__ import annotations

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import alogin, alogout
from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpResponse
from django.test import AsyncClient, RequestFactory
from django.urls import include, path

from erpnext_bridge import errors
from erpnext_bridge.errors import NotConnected
from erpnext_bridge.identity import ambient_identity
from erpnext_bridge.middleware import ConnectionMiddleware
from tests.test_connection import URL, make

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

RAISED = {}


def who(request):
    return HttpResponse(str(ambient_identity()))


async def who_async(request):
    if "ask" in request.GET:
        await request.auser()
    return HttpResponse(str(ambient_identity()))


async def sign_out_async(request):
    await request.auser()
    await alogout(request)
    return HttpResponse(str(ambient_identity()))


async def sign_in_async(request):
    await request.auser()
    await alogin(request, RAISED["user"])
    return HttpResponse(str(ambient_identity()))


def public(request):
    return HttpResponse("public")


def failing(request):
    raise RAISED["error"]


async def failing_async(request):
    raise RAISED["error"]


urlpatterns = [
    path("who/", who),
    path("who-async/", who_async),
    path("sign-out-async/", sign_out_async),
    path("sign-in-async/", sign_in_async),
    path("public/", public),
    path("failing/", failing),
    path("failing-async/", failing_async),
    path("erpnext/", include("erpnext_bridge.urls")),
]


@pytest.fixture(autouse=True)
def one_site(settings):
    site = {"URL": URL, "CLIENT_ID": "c", "CLIENT_SECRET": "s"}
    settings.ERPNEXT_BRIDGE = {"SITES": {"default": site, "berlin": site}, "TOKEN_KEYS": ["k-" * 20]}


@pytest.fixture
def signed_in(client, user):
    client.force_login(user)
    return client


@pytest.fixture
def answer_to(signed_in):
    def answer_to(error, method="get", **headers):
        RAISED["error"] = error
        return getattr(signed_in, method)("/failing/?a=1", headers={"Accept": "text/html", **headers})

    return answer_to


# Whose request it is


def test_a_request_acts_as_its_user(signed_in, user):
    assert signed_in.get("/who/").content.decode() == f"user {user.pk} at site 'default'"
    assert ambient_identity() is None


def test_a_request_of_nobody_acts_as_nobody(client):
    assert client.get("/who/").content.decode() == "None"


def test_a_page_that_needs_no_user_asks_for_none(signed_in, django_assert_num_queries):
    with django_assert_num_queries(0):
        answer = signed_in.get("/public/")
    assert "Cookie" not in answer.headers.get("Vary", "")


def test_it_works_without_authentication():
    request = RequestFactory().get("/")
    assert ConnectionMiddleware(who)(request).content.decode() == "None"


async def under_asgi(user, url):
    client = AsyncClient()
    await client.aforce_login(user)
    return await client.get(url)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("url", ["/who/", "/who-async/?ask=1"])
def test_a_request_under_asgi_acts_as_its_user(user, url):
    answer = async_to_sync(under_asgi)(user, url)
    assert answer.content.decode() == f"user {user.pk} at site 'default'"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("page", "then"), [("/sign-out-async/", None), ("/sign-in-async/", "other")])
def test_an_async_view_that_signs_out_or_in_goes_on_as_whom_it_did(user, django_user_model, page, then):
    RAISED["user"] = other = django_user_model.objects.create_user("other")
    answer = async_to_sync(under_asgi)(user, page)
    assert answer.content.decode() == (f"user {other.pk} at site 'default'" if then else "None")


@pytest.mark.django_db(transaction=True)
def test_an_async_view_that_did_not_ask_for_its_user_is_told_to(user):
    with pytest.raises(SynchronousOnlyOperation, match=r"await request\.auser\(\)"):
        async_to_sync(under_asgi)(user, "/who-async/")


# What the user sees


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (errors.PermissionRefused("No read access to Salary Slip"), 403, "No read access to Salary Slip"),
        (errors.Conflict("Changed by bob"), 409, "Somebody else saved this first"),
        (errors.DuplicateDocument("Customer A exists"), 409, "Customer A exists"),
        (errors.ValidationRefused("Value missing: Item"), 422, "Value missing: Item"),
        (errors.RefusedError("Not in stock"), 502, "Not in stock"),
        (errors.AuthenticationRefused("Wrong key"), 502, "An administrator of this site"),
        (errors.GrantRefused("used", error="invalid_grant"), 400, "Connect again"),
        (errors.SiteUnreachable("no answer within 30 s"), 503, "ERPNext does not answer"),
        (errors.SiteBusy("Too many requests"), 503, "ERPNext is busy"),
        (errors.UnreadableAnswer("A login page"), 502, "Something else than ERPNext answered"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_an_error_of_erpnext_is_a_page(answer_to, error, status, said):
    answer = answer_to(error)
    page = answer.content.decode()
    assert answer.status_code == status
    assert said in page
    assert "Traceback" not in page
    assert "For administrators" not in page


def test_only_staff_reads_the_details(answer_to, user):
    error = errors.SiteUnreachable("no answer within 30 s", method="GET", path="/api/resource/Item")
    assert "/api/resource/Item" not in answer_to(error).content.decode()
    user.is_staff = True
    user.save()
    assert "/api/resource/Item" in answer_to(error).content.decode()


def test_messages_of_erpnext_are_text_on_the_page(answer_to):
    page = answer_to(errors.ValidationRefused("<script>alert(1)</script>")).content.decode()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_a_busy_site_tells_when_to_come_back(answer_to):
    assert answer_to(errors.SiteBusy(retry_after=2.4))["Retry-After"] == "2"
    assert "Retry-After" not in answer_to(errors.SiteBusy()).headers


def test_a_client_that_wants_json_gets_json(answer_to):
    answer = answer_to(errors.ValidationRefused("Value missing: Item"), Accept="application/json")
    assert answer.status_code == 422
    assert answer.json()["error"]["quotes"] == ["Value missing: Item"]


@pytest.mark.parametrize(
    "error",
    [errors.UnsupportedQuery("Frappe cannot"), errors.DocumentDoesNotExist("No Item A"), KeyError("x")],
)
def test_mistakes_in_the_code_stay_errors(answer_to, error):
    with pytest.raises(type(error)):
        answer_to(error)


# Not connected


def test_whoever_is_not_connected_is_sent_to_connect(answer_to):
    answer = answer_to(errors.NotConnected())
    assert (answer.status_code, answer["Location"]) == (302, "/erpnext/connect/?next=%2Ffailing%2F%3Fa%3D1")


def test_whoever_is_not_signed_in_is_sent_there_too(client):
    RAISED["error"] = errors.NotConnected()
    assert client.get("/failing/")["Location"] == "/erpnext/connect/?next=%2Ffailing%2F"


def test_to_the_site_that_the_error_names(answer_to):
    assert answer_to(errors.NotConnected(site="berlin"))["Location"].startswith("/erpnext/connect/berlin/")


def test_a_post_comes_back_to_its_form(answer_to):
    answer = answer_to(errors.NotConnected(), "post", Referer="http://testserver/form/")
    assert answer["Location"] == "/erpnext/connect/?next=%2Fform%2F"


def test_an_ended_connection_is_to_be_made_again(answer_to, user):
    make(user)
    assert answer_to(errors.NeedsReconnect())["Location"].startswith("/erpnext/connect/")


def test_a_client_that_wants_json_is_told_where(answer_to):
    answer = answer_to(errors.NotConnected(), Accept="application/json")
    assert answer.status_code == 403
    assert answer.json()["error"]["connect_url"].startswith("/erpnext/connect/")


def test_a_query_without_identity_of_a_connected_user_is_a_mistake_in_the_code(answer_to, user):
    make(user)
    with pytest.raises(NotConnected):
        answer_to(errors.NotConnected("acts as nobody"))


@pytest.mark.django_db(transaction=True)
def test_errors_under_asgi_are_pages_too(user):
    RAISED["error"] = errors.SiteBusy()
    assert async_to_sync(under_asgi)(user, "/failing-async/").status_code == 503
    RAISED["error"] = errors.NotConnected()
    assert async_to_sync(under_asgi)(user, "/failing-async/").status_code == 302
