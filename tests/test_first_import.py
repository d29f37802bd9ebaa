"""Modules that are imported while somebody's request is answered, as URLconfs are in the first one: they act as nobody."""

from __future__ import annotations

import sys
from textwrap import dedent

import pytest

from erpnext_bridge.identity import Identity, acting_as, ambient_identity
from tests.test_connection import URL

pytestmark = pytest.mark.django_db

MODULE = "erpnext_bridge_first_import"

URLCONF = dedent(
    """
    from django.forms import Form, ModelChoiceField
    from django.http import HttpResponse
    from django.urls import path
    from django.views.generic import ListView

    from erpnext_bridge.identity import Identity, acting_as
    from tests.erp.models import ToDo

    class ToDoList(ListView):
        queryset = ToDo.objects.all()

        def get(self, request):
            return HttpResponse(str(self.get_queryset().identity))

    class ToDoForm(Form):
        todo = ModelChoiceField(ToDo.objects.all())

    def form(request):
        return HttpResponse(str(ToDoForm().fields["todo"].queryset.identity))

    with acting_as(Identity.service()):
        own = ToDo.objects.all()

    urlpatterns = [path("list/", ToDoList.as_view()), path("form/", form)]
    """
)


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / f"{MODULE}.py").write_text(URLCONF)
    monkeypatch.syspath_prepend(tmp_path)
    yield MODULE
    sys.modules.pop(MODULE, None)


@pytest.fixture
def urlconf(module, settings):
    settings.ERPNEXT_BRIDGE = {"SITES": {"default": {"URL": URL}}, "TOKEN_KEYS": ["k-" * 20]}
    settings.ROOT_URLCONF = module


@pytest.mark.parametrize("page", ["/list/", "/form/"])
def test_a_urlconf_loaded_in_the_first_request_keeps_nothing_of_its_user(
    urlconf, client, django_user_model, page
):
    first, second = map(django_user_model.objects.create_user, ("first", "second"))
    assert MODULE not in sys.modules
    for user in (first, second):
        client.force_login(user)
        assert client.get(page).content.decode() == f"user {user.pk} at site 'default'"


def test_a_module_imported_by_a_view_acts_as_nobody_but_whom_it_names(module):
    me = Identity("default", "7")
    with acting_as(me):
        loaded = __import__(module)
        assert ambient_identity() == me
    assert loaded.ToDoList.queryset.identity is None
    assert loaded.own.identity == Identity.service()
