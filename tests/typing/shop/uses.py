"""What mypy has to see in the calls of a user's code; a wrong type is an error of `mypy --strict`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, assert_type

from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.db.models import Count, Max, Prefetch, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.generic import DetailView, ListView

from erpnext_bridge.attachments import AttachedFile
from erpnext_bridge.decorators import connection_required
from erpnext_bridge.errors import Conflict, ERPNextBridgeError
from erpnext_bridge.identity import Identity, acting_as
from erpnext_bridge.models import DocumentWrite
from erpnext_bridge.query import ErpQuerySet
from erpnext_bridge.sites import site
from shop.models import Buyer, BuyerQuerySet, Customer, SalesOrder, SalesOrderItem, SellingSettings


def querysets(user: User) -> Iterator[object]:
    assert_type(Customer.objects.all(), ErpQuerySet[Customer])
    assert_type(Customer.objects.filter(Q(territory="North") | ~Q(disabled=True)), ErpQuerySet[Customer])
    assert_type(Customer.objects.exclude(pk="x").order_by("-name").reverse(), ErpQuerySet[Customer])
    assert_type(Customer.objects.for_user(user), ErpQuerySet[Customer])
    assert_type(Customer.objects.for_user(user, site="second").only("territory"), ErpQuerySet[Customer])
    assert_type(Customer.objects.as_service(), ErpQuerySet[Customer])
    assert_type(Customer.objects.acting_as(Identity.service()), ErpQuerySet[Customer])
    assert_type(Customer.objects.none().defer("territory").distinct(), ErpQuerySet[Customer])
    assert_type(Customer.enabled.all(), ErpQuerySet[Customer])
    assert_type(Buyer.objects.in_the_north().order_by("name"), BuyerQuerySet)
    assert_type(Buyer.objects.for_user(user).in_the_north().first(), Buyer | None)
    for row in SalesOrder.objects.values("customer").annotate(n=Count("pk"), most=Max("creation")):
        yield row["customer"], row["n"], row["most"]
    yield SalesOrder.objects.aggregate(n=Count("pk"))["n"]
    yield from Customer.objects.values_list("name", flat=True)[:3]
    for counted in Customer.objects.annotate(n=Count("orders")):
        yield counted.n, counted.customer_name
    late = SalesOrder.objects.select_related("customer").prefetch_related(
        Prefetch("items", queryset=SalesOrderItem.objects.filter(qty__gt=1))
    )
    assert_type(late[:10], ErpQuerySet[SalesOrder])
    assert_type(late[0], SalesOrder)
    assert_type(SalesOrderItem.objects.filter(parent="SO-1"), ErpQuerySet[SalesOrderItem])


def documents(user: User) -> Iterator[str]:
    customer = Customer.objects.for_user(user).get(pk="Acme")
    assert_type(customer, Customer)
    assert_type(customer.customer_name, str)
    assert_type(customer.disabled, bool)
    for one in Customer.objects.filter(disabled=False):
        assert_type(one, Customer)
    assert_type(customer.name, str)
    assert_type(customer.pk, str)
    assert_type(customer.modified, datetime | None)
    assert_type(customer.credit, Decimal)
    assert_type(customer.stars, Decimal)
    assert_type(customer.logo, AttachedFile)
    assert_type(SalesOrderItem.objects.get().parent, SalesOrder)
    assert_type(Customer.objects.first(), Customer | None)
    assert_type(Customer.objects.order_by("name").last(), Customer | None)
    assert_type(Customer.objects.count(), int)
    assert_type(Customer.objects.filter(pk="x").exists(), bool)
    assert_type(Customer.objects.in_bulk(["x"]), dict[Any, Customer])
    assert_type(Customer.objects.create(customer_name="x"), Customer)
    assert_type(Customer.objects.for_user(user).create(customer_name="x"), Customer)
    assert_type(Customer.objects.get_or_create(customer_name="x"), tuple[Customer, bool])
    assert_type(Customer.objects.as_service().update_or_create(pk="x"), tuple[Customer, bool])
    assert_type(SellingSettings.objects.get().cust_master_name, str)
    for each in Customer.objects.filter(disabled=False).iterator():
        assert_type(each, Customer)
        yield each.customer_name


def links(order: SalesOrder) -> str | None:
    order.items.filter(qty__gt=1).count()
    assert_type(order.items.all(), ErpQuerySet[SalesOrderItem])
    assert_type(order.items.create(qty=2), SalesOrderItem)
    assert_type([row.qty for row in order.items.all()], list[float])
    assert_type(order.customer, Customer | None)
    assert_type(order.customer_id, str | None)
    assert_type(order.replaces, SalesOrder | None)
    assert_type(order.about, str | None)
    assert_type(order.about_type, str | None)
    if order.customer:
        assert_type(order.customer.orders.all(), ErpQuerySet[SalesOrder])
        assert_type(order.customer.name, str)
        assert_type(order.customer.territory, str | None)
    order.customer = Customer.objects.get(pk="Acme")
    order.replaces = None
    return order.customer.customer_name if order.customer else None


def writes(user: User) -> None:
    SalesOrder.objects.create(customer_id="Acme", items=[{"qty": 1}])
    order = SalesOrder(customer=Customer(customer_name="x"), items=[SalesOrderItem(qty=2), {"qty": 1}])
    assert_type(order.save_later(user=user, submit=True), DocumentWrite)
    assert_type(order.submit_later(), DocumentWrite)
    order.save(update_fields=["customer"])
    with order.edit():
        order.items.create(qty=2)
        order.items.all()[0].delete()
    SalesOrder.objects.bulk_create([order])
    SalesOrder.objects.filter(customer="Acme").update(customer="Other")
    assert_type(order.amend(), SalesOrder)
    order.rename("SO-2")
    assert_type(order.pdf(), bytes)
    order.refresh_from_db()
    try:
        order.submit()
    except Conflict as conflict:
        assert_type(conflict.messages, tuple[str, ...])
    except ERPNextBridgeError:
        order.delete()


async def asynchronously(user: User) -> None:
    assert_type(await Customer.objects.for_user(user).aget(pk="x"), Customer)
    assert_type(await Customer.objects.acount(), int)
    async for each in Customer.objects.filter(disabled=False):
        assert_type(each, Customer)
    await Customer(customer_name="x").asave()


@connection_required
def listed(request: HttpRequest) -> HttpResponse:
    customers = Customer.objects.filter(disabled=False)
    page = Paginator(customers, 25).get_page(request.GET.get("page"))
    one = get_object_or_404(Customer.objects.for_user(request.user), pk="x")
    assert_type(one, Customer)
    with acting_as(Identity.service()):
        untyped = site.doctype("Customer").objects.filter(territory="North").count()
    return render(request, "customers.html", {"page": page, "one": one, "untyped": untyped})


class Customers(ListView[Customer]):
    model = Customer
    queryset = Customer.objects.filter(disabled=False)


class One(DetailView[Customer]):
    def get_queryset(self) -> ErpQuerySet[Customer]:
        return Customer.objects.for_user(self.request.user)
