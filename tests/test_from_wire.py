"""How instances are made of the rows that ERPNext sends."""

from __future__ import annotations

import pytest
from django.db import models
from django.db.models.signals import post_init, pre_init
from django.test.utils import isolate_apps

from erpnext_bridge.documents import Document
from erpnext_bridge.sandbox import Sandbox
from tests.erp.models import ToDo


@pytest.fixture
def todos(settings):
    with Sandbox(version=15) as sandbox:
        key, secret = sandbox.api_key("alice@example.com")
        site = {"URL": sandbox.url, "API_KEY": key, "API_SECRET": secret}
        settings.ERPNEXT_BRIDGE = {"SITES": {"default": site}, "TOKEN_KEYS": ["k" * 40]}
        yield ToDo.objects.as_service().order_by("name")


@pytest.mark.parametrize("signal", [pre_init, post_init])
def test_who_listens_to_new_instances_hears_of_those_that_are_read(todos, signal):
    heard = []

    def listen(sender, **values):
        heard.append(sender)

    plain = todos[0]
    signal.connect(listen, sender=ToDo)
    try:
        told = todos[0]
    finally:
        signal.disconnect(listen, sender=ToDo)
    assert heard == [ToDo]
    assert plain == told
    assert without_state(plain) == without_state(told)
    assert vars(plain._state) == vars(told._state)
    assert plain.changes() == told.changes() == {}


def without_state(document):
    return {key: value for key, value in vars(document).items() if key not in ("_state", "_new_rows")}


def test_a_list_leaves_out_what_was_not_asked_for(todos):
    todo = todos.only("description")[0]
    assert todo.get_deferred_fields() >= {"status", "priority"}
    assert (todo._state.adding, todo._state.db) == (False, None)
    todo.description = "another text"
    assert todo.changes() == {"description": "another text"}


@isolate_apps("tests.erp")
def test_a_class_with_an_init_of_its_own_is_made_by_it(todos):
    class Counted(Document, doctype="ToDo"):
        description = models.TextField()

        class Meta:
            app_label = "erp"

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.made = True

    assert Counted.objects.as_service()[0].made
