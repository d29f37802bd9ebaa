"""The documents of `benchmarks/documents.py` as the package has them."""

from __future__ import annotations

from django.db import models

from erpnext_bridge.documents import ChildDocument, Document
from erpnext_bridge.fields import Currency, Link


class Customer(Document, doctype="Bridge Bench Customer"):
    title = models.CharField(max_length=140)
    website = models.CharField(max_length=140)

    class Meta:
        app_label = "benchmarks"


class Order(Document, doctype="Bridge Bench Order"):
    title = models.CharField(max_length=140)
    customer = Link(Customer)
    day = models.DateField(null=True)
    moment = models.DateTimeField(null=True)
    total = Currency()
    paid = models.BooleanField(default=False)

    class Meta:
        app_label = "benchmarks"


class OrderRow(ChildDocument, parent=Order, fieldname="rows", doctype="Bridge Bench Row"):
    item = models.CharField(max_length=140)
    quantity = models.FloatField(default=0)
    rate = Currency()

    class Meta:
        app_label = "benchmarks"


class ErpCustomer(Document, doctype="Customer"):
    """ERPNext's own, where the real site has them."""

    title = models.CharField(max_length=140, db_column="customer_name")

    class Meta:
        app_label = "benchmarks"


class SalesOrder(Document):
    title = models.CharField(max_length=140)
    customer = Link(ErpCustomer)
    day = models.DateField(null=True, db_column="transaction_date")
    total = Currency(db_column="grand_total")

    class Meta:
        app_label = "benchmarks"


class SalesOrderItem(ChildDocument, parent=SalesOrder, fieldname="items", related_name="rows"):
    item = models.CharField(max_length=140, db_column="item_code")
    quantity = models.FloatField(default=0, db_column="qty")
    rate = Currency()

    class Meta:
        app_label = "benchmarks"
