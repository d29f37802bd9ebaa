"""Documents of ERPNext, as far as the demo shows them."""

from __future__ import annotations

from django.db import models

from erpnext_bridge.documents import ChildDocument, Document
from erpnext_bridge.fields import Currency, Link


class Territory(Document):
    is_group = models.BooleanField(default=False)


class CustomerGroup(Document):
    is_group = models.BooleanField(default=False)


class Customer(Document):
    customer_name = models.CharField(max_length=140)
    customer_type = models.CharField(max_length=140, default="Company")
    customer_group = Link("Customer Group")
    territory = Link("Territory")
    disabled = models.BooleanField(default=False)


class SalesOrder(Document):
    customer = Link(Customer, related_name="orders")
    transaction_date = models.DateField()
    delivery_date = models.DateField(null=True, blank=True)
    status = models.CharField(max_length=140)
    grand_total = Currency(decimal_places=2)
    currency = Link("Currency")


class SalesOrderItem(ChildDocument, parent=SalesOrder, fieldname="items"):
    item_code = models.CharField(max_length=140)
    item_name = models.CharField(max_length=140)
    qty = models.FloatField()
    rate = Currency()
    amount = Currency(decimal_places=2)


class Lead(Document):
    first_name = models.CharField("first name", max_length=140)
    last_name = models.CharField("last name", max_length=140, blank=True)
    company_name = models.CharField("organization", max_length=140, blank=True)
    email_id = models.EmailField("e-mail", max_length=140, blank=True)
    mobile_no = models.CharField("mobile number", max_length=140, blank=True)
