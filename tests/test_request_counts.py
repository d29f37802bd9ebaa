"""How many requests a page of a project takes, whatever it does with the documents, at both versions."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from django.core.paginator import Paginator

from erpnext_bridge.sandbox import Sandbox
from tests.erp.models import Customer, SalesOrder


@pytest.fixture(scope="module", params=[15, 16], ids=["v15", "v16"])
def demo(request):
    with Sandbox(version=request.param) as sandbox:
        yield sandbox


@pytest.fixture
def at_most(demo, settings):
    key, secret = demo.api_key("alice@example.com")
    site = {"URL": demo.url, "API_KEY": key, "API_SECRET": secret}
    settings.ERPNEXT_BRIDGE = {"SITES": {"default": site}, "TOKEN_KEYS": ["k" * 40]}
    Customer.objects.as_service().exists()  # the site's version and time zone are known from here on

    @contextmanager
    def at_most(number):
        before = len(demo.requests)
        yield
        sent = [f"{each.method} {each.path} {each.doctype}" for each in demo.requests[before:]]
        assert 0 < len(sent) <= number, sent

    return at_most


def orders():
    return SalesOrder.objects.as_service().order_by("-transaction_date", "name")


def test_fifty_orders_with_their_customers_and_rows_take_three(at_most):
    with at_most(3):
        page = list(orders().select_related("customer").prefetch_related("items")[:50])
        assert len(page) == 50
        assert all(order.customer.customer_name and order.customer.customer_type for order in page)
        assert sum(item.qty > 0 for order in page for item in order.items.all()) > 50
        assert all(item.parent.status == order.status for order in page for item in order.items.all())


def test_a_page_of_a_paginator_takes_two(at_most):
    with at_most(2):
        page = Paginator(orders().filter(docstatus__lt=2), 25).get_page(2)
        assert len([order.grand_total for order in page.object_list]) == 25
        assert page.has_previous()
        assert page.paginator.num_pages > 1


def test_a_document_with_its_child_rows_takes_one(at_most):
    name = orders().filter(items__qty__gt=0).values_list("pk", flat=True)[0]
    with at_most(1):
        order = orders().get(pk=name)
        assert [item.qty for item in order.items.all()]
        assert order.items.count() == len(order.items.all())
        assert all(item.parent is order for item in order.items.all())


def test_whether_there_is_one_takes_one(at_most):
    with at_most(1):
        assert orders().filter(status="Draft").exists()
    with at_most(1):
        assert orders().contains(SalesOrder(name="nobody")) is False
    with at_most(1):
        assert orders().first()
