"""Documents as a user writes them."""

from __future__ import annotations

from django.db import models

from erpnext_bridge.documents import ChildDocument, Document
from erpnext_bridge.fields import Attach, Currency, DynamicLink, Link, Percent, Rating
from erpnext_bridge.query import ErpManager, ErpQuerySet


class Enabled(ErpManager["Customer"]):
    def get_queryset(self) -> ErpQuerySet[Customer]:
        return super().get_queryset().filter(disabled=False)


class Customer(Document):
    """A customer."""

    customer_name = models.CharField(max_length=140)
    territory = Link("Territory")
    disabled = models.BooleanField(default=False)
    credit = Currency(editable=False)
    share = Percent()
    stars = Rating()
    logo = Attach(blank=True)
    since = models.DateField(null=True, blank=True)

    objects = ErpManager()
    enabled = Enabled()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.customer_name


class BuyerQuerySet(ErpQuerySet["Buyer"]):
    def in_the_north(self) -> BuyerQuerySet:
        return self.filter(territory="North")


class Buyer(Document, doctype="Customer"):
    territory = Link("Territory")

    objects = ErpManager.from_queryset(BuyerQuerySet)()


class SalesOrder(Document):
    customer = Link(Customer, related_name="orders")
    replaces = Link("self")
    about = DynamicLink("about_type")
    about_type = Link("DocType")


class SalesOrderItem(ChildDocument, parent=SalesOrder, fieldname="items"):
    qty = models.FloatField(default=0)


class SellingSettings(Document, single=True):
    cust_master_name = models.CharField(max_length=140)
