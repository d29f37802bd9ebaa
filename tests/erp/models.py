"""Documents of the sandbox's demo world."""

from __future__ import annotations

from django.db import models

from erpnext_bridge.documents import ChildDocument, Document
from erpnext_bridge.fields import Currency, Link


class Territory(Document):
    territory_name = models.CharField(max_length=140)
    parent_territory = Link("self")
    is_group = models.BooleanField(default=False)


class Customer(Document):
    customer_name = models.CharField(max_length=140)
    customer_type = models.CharField(max_length=140, default="Company")
    customer_group = Link("Customer Group")
    territory = Link(Territory)
    website = models.CharField(max_length=140, null=True, blank=True)  # noqa: DJ001 - NULL and "" differ here
    disabled = models.BooleanField(default=False)


class Item(Document):
    item_code = models.CharField(max_length=140)
    item_name = models.CharField(max_length=140)
    item_group = Link("Item Group")
    stock_uom = Link("UOM")
    standard_rate = Currency()


class Lead(Document):
    lead_name = models.CharField(max_length=140, blank=True, default="")
    first_name = models.CharField(max_length=140, blank=True, default="")
    last_name = models.CharField(max_length=140, blank=True, default="")
    company_name = models.CharField(max_length=140, blank=True, default="")
    email_id = models.EmailField(blank=True, default="")
    status = models.CharField(max_length=140, default="Lead")


class SalesOrder(Document):
    customer = Link(Customer)
    company = Link("Company")
    transaction_date = models.DateField(null=True)
    delivery_date = models.DateField(null=True, blank=True)
    status = models.CharField(max_length=140, default="Draft", editable=False)
    grand_total = Currency(editable=False)
    currency = Link("Currency")


class SalesOrderItem(ChildDocument, parent=SalesOrder, fieldname="items"):
    item_code = Link(Item)
    qty = models.FloatField(default=0)
    rate = Currency()
    amount = Currency(editable=False)


class ToDo(Document, doctype="ToDo"):
    description = models.TextField()
    status = models.CharField(max_length=140, default="Open")
    priority = models.CharField(max_length=140, default="Medium")
    date = models.DateField(null=True, blank=True)
    allocated_to = Link("User")


class TwinColumns(models.Model):
    """The columns of the same rows in the database and at ERPNext, to compare what the two answer."""

    title = models.CharField(max_length=140, null=True)  # noqa: DJ001 - NULL and "" differ here
    code = models.CharField(max_length=140, default="")
    number = models.IntegerField(default=0)
    amount = models.DecimalField(max_digits=21, decimal_places=9, default=0)
    flag = models.BooleanField(default=False)
    day = models.DateField(null=True)
    moment = models.DateTimeField(null=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return str(self.pk)


class Twin(TwinColumns):
    name = models.CharField(max_length=140, primary_key=True)


class GroupColumns(models.Model):
    label = models.CharField(max_length=140, null=True)  # noqa: DJ001 - NULL and "" differ here
    rank = models.IntegerField(default=0)
    since = models.DateField(null=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return str(self.pk)


class OrderColumns(TwinColumns):
    start = models.TimeField(null=True)
    due = models.DateField(null=True)

    class Meta:
        abstract = True


class RowColumns(models.Model):
    qty = models.FloatField(default=0)
    rate = models.DecimalField(max_digits=21, decimal_places=9, default=0)
    note = models.CharField(max_length=140, null=True)  # noqa: DJ001 - NULL and "" differ here

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return str(self.pk)


class DbGroup(GroupColumns):
    name = models.CharField(max_length=140, primary_key=True)
    above = models.ForeignKey("self", models.DO_NOTHING, null=True, db_constraint=False, related_name="below")


class DbOrder(OrderColumns):
    name = models.CharField(max_length=140, primary_key=True)
    group = models.ForeignKey(
        DbGroup, models.DO_NOTHING, null=True, db_constraint=False, related_name="orders"
    )


class DbRow(RowColumns):
    name = models.CharField(max_length=140, primary_key=True)
    parent = models.ForeignKey(DbOrder, models.DO_NOTHING, db_constraint=False, related_name="rows")
    idx = models.IntegerField(default=0)
    item = models.ForeignKey(DbGroup, models.DO_NOTHING, null=True, db_constraint=False, related_name="used")

    class Meta:
        ordering = ["idx"]


class ErpGroup(Document, GroupColumns, doctype="Bridge Twin Group"):
    above = Link("self", related_name="below")


class ErpOrder(Document, OrderColumns, doctype="Bridge Twin Order"):
    group = Link(ErpGroup, related_name="orders")


class ErpRow(ChildDocument, RowColumns, parent=ErpOrder, fieldname="rows", doctype="Bridge Twin Row"):
    item = Link(ErpGroup, related_name="used")
