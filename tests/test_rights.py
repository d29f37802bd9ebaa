"""What ERPNext lets a user do: asked of ERPNext, on both versions, and believed for a short while."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from django.template import Context, Template
from django.test import RequestFactory

from erpnext_bridge import access, connecting, rights
from erpnext_bridge.access import open_site
from erpnext_bridge.errors import NotConnected, SiteUnreachable
from erpnext_bridge.identity import Identity, acting_as
from erpnext_bridge.sandbox import Sandbox
from tests.erp.models import Customer, ToDo

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def nothing_known():
    cache.clear()
    access._facts.clear()


@pytest.fixture(params=[15, 16])
def demo(request, settings):
    """A site with people of few rights, whose service account is one of them."""
    with Sandbox(version=request.param) as sandbox:
        key, secret = sandbox.api_key("bob@example.com")
        site = {"URL": sandbox.url, "API_KEY": key, "API_SECRET": secret, "CLIENT_ID": "x"}
        settings.ERPNEXT_BRIDGE = {
            "SITES": {"default": site},
            "TOKEN_KEYS": ["a key of the tests, long enough"],
        }
        sandbox.requests.clear()
        yield sandbox


BOB = Identity.service()


def test_rights_to_a_doctype_are_erpnexts(demo):
    assert rights.can(BOB, "read", "Customer")
    assert not rights.can(BOB, "delete", "Customer")
    assert not rights.can(BOB, "read", "No Such DocType")


def test_rights_to_a_document_are_erpnexts(demo):
    name = open_site(BOB).client.list("Customer", limit_page_length=1)[0]["name"]
    assert rights.can(BOB, "read", "Customer", name)
    assert not rights.can(BOB, "delete", "Customer", name)
    assert not rights.can(BOB, "read", "Customer", "nobody")


def test_an_answer_is_believed_for_a_while(demo, settings):
    for _ in range(3):
        rights.can(BOB, "read", "Customer")
    assert len(demo.requests) == 1
    rights.can(BOB, "write", "Customer")
    assert len(demo.requests) == 2
    settings.ERPNEXT_BRIDGE["PERMISSION_TTL"] = 0
    for _ in range(2):
        rights.can(BOB, "read", "Customer")
    assert len(demo.requests) == 4


@pytest.mark.parametrize("action", ["", "reed", "Read"])
def test_a_slip_of_the_pen_is_no_no(demo, action):
    with pytest.raises(ValueError, match="knows no right"):
        rights.can(BOB, action, "Customer")
    with pytest.raises(ValueError, match="no name yet"):
        rights.can(BOB, "read", "Customer", "")


def test_a_site_that_is_down_says_nothing(demo):
    demo.trouble("drop_before", times=None)
    with pytest.raises(SiteUnreachable):
        rights.can(BOB, "read", "Customer")


def test_a_connection_can(connection, site):
    assert connection.can("read", "User")
    assert connection.can("read", "User", "alice@example.com")
    assert not connection.can("read", "User", "nobody@example.com")


def lose_a_role(site):
    """Let Bob be a System Manager no more."""
    with site.site.lock:
        site.site.store.delete("Has Role", {"parent": "bob@example.com", "role": "System Manager"})
        site.site.store.commit()


def test_one_users_rights_are_not_anothers(connection, connect, django_user_model, site):
    assert connection.can("create", "User")
    connect(django_user_model.objects.create_user("bob"), "bob@example.com")
    lose_a_role(site)
    assert not django_user_model.objects.get(username="bob").erpnext_connections.get().can("create", "User")


def test_the_rights_of_another_account_are_asked_anew_at_once(connection, connect, user, site):
    assert connection.can("create", "User")
    lose_a_role(site)
    connect(user, "bob@example.com")
    assert not user.erpnext_connections.get().can("create", "User")
    connecting.disconnect(user.erpnext_connections.get())
    with pytest.raises(NotConnected):
        rights.can(Identity.for_user(user), "create", "User")


# The tag


def render(text, user=None, **context):
    if user is not None:
        request = RequestFactory().get("/")
        request.user = user
        context["request"] = request
    return Template("{% load erpnext_bridge %}" + text).render(Context(context)).strip()


def test_a_template_asks_for_the_user(connection, user):
    text = '{% erpnext_can "create" "User" as may %}{{ may }}'
    assert render(text, user) == "True"
    assert render(text, context_user=None) == "False"
    assert render('{% erpnext_can "write" "User" name %}', user, name="alice@example.com") == "True"


def test_a_user_who_is_not_connected_may_nothing(erpnext, user, site):
    key, secret = site.api_key("alice@example.com")
    erpnext(API_KEY=key, API_SECRET=secret)
    assert render('{% erpnext_can "read" "User" %}', user) == "False"


def test_a_template_asks_about_documents_and_classes(demo):
    with acting_as(BOB):
        customer = Customer.objects.first()
        assert render('{% erpnext_can "read" what %}', what=customer) == "True"
        assert render('{% erpnext_can "delete" what %}', what=customer) == "False"
        assert render('{% erpnext_can "create" what %}', what=ToDo) == "True"


def test_a_document_is_asked_about_with_the_rights_that_it_was_read_with(demo):
    customer = Customer.objects.as_service().first()
    assert render('{% erpnext_can "read" what %}', what=customer) == "True"


def test_anything_else_is_a_mistake_in_the_template(demo):
    with pytest.raises(Exception, match="takes a DocType's name"):
        render('{% erpnext_can "read" what %}', what=3)
