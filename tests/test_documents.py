"""Documents: how classes are made, and how instances are written."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import connection as database
from django.db import models
from django.db.models import F
from django.db.models.signals import post_save
from django.test.utils import isolate_apps

from erpnext_bridge.documents import ChildDocument, Document, child_tables
from erpnext_bridge.errors import (
    Conflict,
    NotConnected,
    PermissionRefused,
    UnsupportedQuery,
    ValidationRefused,
)
from erpnext_bridge.fields import Link
from erpnext_bridge.identity import Identity, acting_as
from erpnext_bridge.query import ErpManager, ErpQuerySet
from tests.erp.models import Customer, Item, Lead, SalesOrder, SalesOrderItem, ToDo

NOBODY = Identity("default", "7")
"""A user without a connection: whoever acts as this one gets NotConnected."""


def sent(erp):
    return [(request.method, request.path.rpartition("/resource")[2]) for request in erp.requests]


# Classes


def test_a_class_names_its_doctype_by_its_words():
    assert (Customer.doctype, SalesOrder.doctype, SalesOrderItem.doctype) == (
        "Customer",
        "Sales Order",
        "Sales Order Item",
    )
    assert ToDo.doctype == "ToDo"


@isolate_apps("tests.erp")
def test_a_class_with_a_meta_of_its_own_is_still_unmanaged():
    class PurchaseInvoice(Document):
        class Meta:
            ordering = ["-name"]
            app_label = "erp"

    assert PurchaseInvoice._meta.managed is False
    assert PurchaseInvoice._meta.ordering == ["-name"]
    assert PurchaseInvoice._default_manager.name == "objects"
    assert PurchaseInvoice.doctype == "Purchase Invoice"


@isolate_apps("tests.erp")
def test_child_rows_need_their_parent_and_its_field():
    with pytest.raises(TypeError, match="fieldname='items'"):

        class Row(ChildDocument, parent=SalesOrder):
            class Meta:
                app_label = "erp"

    with pytest.raises(TypeError, match="must be a Document class"):

        class Other(ChildDocument, parent="SalesOrder", fieldname="items"):
            class Meta:
                app_label = "erp"


@isolate_apps("tests.erp")
def test_a_proxy_is_the_same_doctype_and_concrete_classes_have_no_heirs():
    class Company(Customer):
        class Meta:
            proxy = True
            app_label = "erp"

    assert (Company.doctype, Company._meta.concrete_model) == ("Customer", Customer)
    with pytest.raises(TypeError, match="abstract"):

        class Special(Customer):
            class Meta:
                app_label = "erp"


@isolate_apps("tests.erp")
def test_a_queryset_of_the_projects_own_is_a_manager(erp):
    class Buyers(ErpQuerySet):
        def north(self):
            return self.filter(territory="North")

    class Buyer(Document, doctype="Customer"):
        territory = Link("Territory")
        objects = Buyers.as_manager()

        class Meta:
            app_label = "erp"

    assert Buyer.check() == []
    expected = sorted(row["name"] for row in erp.rows("Customer") if row["territory"] == "North")
    assert sorted(each.pk for each in Buyer.objects.north()) == expected
    assert Buyer.objects.as_service().north().count() == len(expected)


@isolate_apps("tests.erp")
def test_links_lead_to_documents_that_objects_leaves_out(erp):
    class Enabled(ErpManager):
        def get_queryset(self):
            return super().get_queryset().filter(disabled=False)

    class Buyer(Document, doctype="Customer"):
        disabled = models.BooleanField(default=False)
        objects = Enabled()

        class Meta:
            app_label = "erp"

    class Order(Document, doctype="Sales Order"):
        customer = Link(Buyer)

        class Meta:
            app_label = "erp"

    pk = Order.objects.order_by("name")[0].customer_id
    customer = Customer.objects.get(pk=pk)
    customer.disabled = True
    customer.save()
    order = Order.objects.order_by("name")[0]
    assert order.customer.disabled
    order.customer.refresh_from_db()
    assert not Buyer.objects.filter(pk=pk).exists()


def test_child_tables_are_found_from_the_parent():
    assert child_tables(SalesOrder) == {"items": SalesOrderItem}


@isolate_apps("tests.erp")
def test_one_doctype_of_child_rows_serves_several_tables(erp):
    class Order(Document, doctype="Sales Order"):
        class Meta:
            app_label = "erp"

    class Row(ChildDocument, doctype="Sales Order Item"):
        qty = models.FloatField(default=0)

        class Meta(ChildDocument.Meta):
            abstract = True

    class OrderItem(Row, parent=Order, fieldname="items", related_name="rows"):
        class Meta(Row.Meta):
            app_label = "erp"

    class Spare(Row, parent=Order, fieldname="spares"):
        class Meta(Row.Meta):
            app_label = "erp"

    assert (OrderItem.doctype, Spare.doctype) == ("Sales Order Item", "Sales Order Item")
    assert OrderItem._meta.ordering == ["idx"]
    assert child_tables(Order) == {"rows": OrderItem, "spares": Spare}
    order = Order.objects.get(pk=SalesOrder.objects.order_by("name")[0].pk)
    erp.requests.clear()
    assert order.rows.all()[0].qty > 0
    assert not erp.requests
    assert not order.spares.exists()
    assert Order.objects.filter(rows__qty__gt=0).count() == SalesOrder.objects.count()
    new = Order(rows=[OrderItem(qty=2)])
    assert new.creation_payload() == {"items": [{"qty": 2.0}]}


@isolate_apps("tests.erp")
def test_a_single_doctype_has_one_document(erp, settings):
    class SystemSettings(Document, single=True):
        time_zone = models.CharField(max_length=140)
        country = Link("Country")

        class Meta:
            app_label = "erp"

    erp.site.store.set_single("System Settings", {"country": "Germany"})
    key, secret = erp.api_key("Administrator")
    settings.ERPNEXT_BRIDGE["SITES"]["default"] |= {"API_KEY": key, "API_SECRET": secret}
    found = SystemSettings.objects.get()
    assert (found.pk, found.time_zone, found.country) == (
        "System Settings",
        "Europe/Berlin",
        "Germany",
    )
    objects = SystemSettings.objects
    assert list(objects.filter(country="Germany").values_list("time_zone", flat=True)) == ["Europe/Berlin"]
    assert not objects.filter(country="France").exists()
    assert (objects.count(), objects.exclude(time_zone="UTC").count(), len(objects.all()[1:])) == (1, 1, 0)
    assert [(request.method, request.path) for request in erp.requests if "System" in request.path] == [
        ("GET", "/api/resource/System Settings/System Settings")
    ] * 6
    assert "/api/resource/System Settings/System Settings" in objects.all().explain()


def test_a_link_without_a_model_holds_a_name():
    field = Customer._meta.get_field("customer_group")
    assert (field.doctype, field.column, field.null) == ("Customer Group", "customer_group", True)
    link = Customer._meta.get_field("territory")
    assert (link.column, link.attname) == ("territory", "territory_id")
    assert isinstance(Link("erp.Customer"), models.ForeignKey)


@pytest.mark.django_db
def test_no_table_is_made_for_a_document():
    tables = database.introspection.table_names()
    documents = [
        model._meta.db_table
        for model in apps.get_app_config("erp").get_models()
        if issubclass(model, Document)
    ]
    assert documents
    assert not set(documents) & set(tables)


def test_the_checks_have_nothing_to_say_about_documents():
    call_command("check", "erp", tags=["models"], fail_level="WARNING")


# Creating


def test_a_new_document_takes_over_what_erpnext_filled_in(erp):
    lead = Lead(first_name="Zoë", company_name="Acme")
    lead.save()
    assert lead.pk.startswith("CRM-LEAD-")
    assert lead.lead_name == "Zoë"
    assert lead.creation.tzinfo is not None
    assert Lead.objects.get(pk=lead.pk).company_name == "Acme"
    assert sent(erp)[0] == ("POST", "/Lead")


def test_objects_create_does_the_same(erp):
    lead = Lead.objects.create(first_name="Ada")
    assert lead.pk
    assert erp.document("Lead", lead.pk)["first_name"] == "Ada"


def test_child_rows_are_created_with_their_document(erp):
    customer = Customer.objects.order_by("name")[0]
    first, second = Item.objects.order_by("name")[:2]
    order = SalesOrder(
        customer=customer,
        company=SalesOrder.objects.order_by("name")[0].company,
        transaction_date=dt.date(2026, 1, 2),
        delivery_date=dt.date(2026, 1, 9),
        items=[
            SalesOrderItem(item_code=first, qty=2, rate=Decimal("10.5")),
            {"item_code": second.pk, "qty": 1, "rate": Decimal(3)},
        ],
    )
    order.save()
    assert [(row.item_code_id, row.qty) for row in order.items.all()] == [(first.pk, 2.0), (second.pk, 1.0)]
    assert order.grand_total == Decimal(24)
    assert [row.idx for row in SalesOrder.objects.get(pk=order.pk).items.all()] == [1, 2]


def test_new_documents_are_not_one_another():
    assert Lead() != Lead()
    assert Lead().pk is None
    with pytest.raises(ValueError, match="primary key"):
        SalesOrder().items.all()


def test_a_link_to_a_document_without_a_name_is_not_left_out(erp):
    customer = Customer(customer_name="New")
    with pytest.raises(ValueError, match="unsaved related object 'customer'"):
        SalesOrder(customer=customer).save()
    with pytest.raises(ValueError, match="unsaved related object 'item_code'"):
        SalesOrder(items=[SalesOrderItem(item_code=Item())]).creation_payload()
    assert not erp.requests
    order = SalesOrder(customer=customer)
    customer.name = "Known by now"
    assert order.creation_payload()["customer"] == "Known by now"


def test_get_or_create_and_update_or_create_find_or_make_one(erp):
    lead, created = Lead.objects.get_or_create(first_name="Ada", defaults={"company_name": "Old"})
    assert created
    assert Lead.objects.get_or_create(first_name="Ada") == (lead, False)
    assert Lead.objects.update_or_create(first_name="Ada", defaults={"company_name": "New"}) == (lead, False)
    assert erp.document("Lead", lead.pk)["company_name"] == "New"
    eve, created = Lead.objects.update_or_create(
        first_name="Eve", defaults={"company_name": "A"}, create_defaults={"company_name": "B"}
    )
    assert (created, eve.company_name) == (True, "B")


def test_what_erpnext_does_not_take_is_refused_in_its_words(erp):
    with pytest.raises(ValidationRefused) as refused:
        SalesOrder(customer_id="nobody of that name").save()
    assert refused.value.status == 417
    assert refused.value.messages


def test_a_value_that_a_field_cannot_hold_is_not_sent(erp):
    with pytest.raises(ValidationError):
        ToDo(description="x", date="tomorrow").save()
    assert not erp.requests


# Changing


def test_only_what_changed_is_sent(erp):
    lead = Lead.objects.create(first_name="Ada", company_name="Old")
    erp.requests.clear()
    lead.save()
    assert not erp.requests
    lead.company_name = "New"
    assert lead.changes() == {"company_name": "New"}
    lead.save()
    assert sent(erp) == [("PUT", f"/Lead/{lead.pk}")]
    assert lead.changes() == {}
    stored = erp.document("Lead", lead.pk)
    assert (stored["company_name"], stored["first_name"]) == ("New", "Ada")


@pytest.mark.parametrize("change", [{"docstatus": 1}, {"name": "Other"}])
def test_what_a_save_does_not_send_is_refused_and_not_forgotten(erp, change):
    lead = Lead.objects.create(first_name="Ada")
    for name, value in change.items():
        setattr(lead, name, value)
    with pytest.raises(UnsupportedQuery, match=r"submit|rename"):
        lead.save()
    with pytest.raises(UnsupportedQuery, match=r"submit|rename"):
        lead.save_later()


def test_an_expression_is_refused_and_not_saved_as_text(erp):
    lead = Lead.objects.create(first_name="Ada")
    lead.last_name = F("first_name")
    with pytest.raises(UnsupportedQuery, match="cannot compute last_name"):
        lead.save()
    with pytest.raises(UnsupportedQuery, match="cannot compute last_name"):
        Lead.objects.create(first_name="Ada", last_name=F("first_name"))


def test_a_new_document_is_not_submitted_by_a_value(erp):
    with pytest.raises(UnsupportedQuery, match="submit"):
        Lead.objects.create(first_name="Ada", docstatus=1)
    with pytest.raises(UnsupportedQuery, match="submit"):
        Lead.objects.bulk_create([Lead(first_name="Ada", docstatus=1)])
    assert not [each for each in erp.requests if each.method == "POST"]


def test_a_document_without_its_key_is_saved_as_another_one(erp):
    lead = Lead.objects.create(first_name="Ada", company_name="Engines")
    first, lead.pk = lead.pk, None
    lead.first_name = "Eve"
    lead.save()
    assert lead.pk not in (None, first)
    assert erp.document("Lead", lead.pk)["company_name"] == "Engines"
    assert erp.document("Lead", first)["first_name"] == "Ada"


def test_update_fields_sends_these_alone(erp):
    lead = Lead.objects.create(first_name="Ada", company_name="Old")
    lead.company_name, lead.first_name = "New", "Eve"
    lead.save(update_fields=["company_name"])
    stored = erp.document("Lead", lead.pk)
    assert (stored["company_name"], stored["first_name"]) == ("New", "Ada")


def test_a_save_over_somebody_elses_is_a_conflict_with_the_fresh_document(erp):
    mine = Lead.objects.create(first_name="Ada", company_name="Old")
    theirs = Lead.objects.only("company_name").get(pk=mine.pk)
    theirs.company_name = "Theirs"
    theirs.save()
    mine.company_name = "Mine"
    with pytest.raises(Conflict) as conflict:
        mine.save()
    assert conflict.value.document.company_name == "Theirs"
    mine.refresh_from_db()
    mine.company_name = "Mine"
    mine.save()
    assert erp.document("Lead", mine.pk)["company_name"] == "Mine"


def test_saving_keeps_child_rows_and_fields_that_the_class_does_not_know(erp):
    order = SalesOrder.objects.filter(docstatus=0).order_by("name")[0]
    before = erp.document("Sales Order", order.pk)
    order.delivery_date = dt.date(2030, 1, 1)
    order.save()
    after = erp.document("Sales Order", order.pk)
    assert after["delivery_date"] == "2030-01-01"
    known = {"delivery_date", "modified", "modified_by", "items"}
    assert {name: value for name, value in after.items() if name not in known} == {
        name: value for name, value in before.items() if name not in known
    }
    assert [row["name"] for row in after["items"]] == [row["name"] for row in before["items"]]


def test_djangos_save_signals_are_sent(erp):
    seen = []

    def receive(sender, instance, created, **_):
        seen.append((sender, created))

    post_save.connect(receive, sender=Lead)
    try:
        lead = Lead.objects.create(first_name="Ada")
        lead.company_name = "x"
        lead.save()
    finally:
        post_save.disconnect(receive, sender=Lead)
    assert seen == [(Lead, True), (Lead, False)]


@pytest.mark.parametrize(
    "write",
    [
        lambda lead: lead.save(using="other"),
        lambda lead: lead.delete(using="other"),
        lambda lead: lead.refresh_from_db(using="other"),
        lambda lead: lead.save(force_insert=True),
        lambda lead: Lead().save(force_update=True),
    ],
    ids=["save", "delete", "refresh", "force_insert", "force_update"],
)
def test_what_only_a_database_can_do_is_refused(erp, write):
    lead = Lead.objects.create(first_name="Ada")
    erp.requests.clear()
    with pytest.raises(UnsupportedQuery):
        write(lead)
    assert not erp.requests


def test_a_document_can_be_told_as_it_was_read(erp):
    lead = Lead.objects.create(first_name="Ada", company_name="Old")
    read = Lead.objects.only("company_name").get(pk=lead.pk)
    assert read.first_name == "Ada"
    read.company_name = "New"
    before = read.as_read()
    assert (before.pk, before.first_name, before.company_name) == (lead.pk, "Ada", "Old")
    assert before.get_deferred_fields() == read.get_deferred_fields()
    assert before.changes() == {}


# Whose rights


def test_a_document_is_written_as_the_code_that_built_it(erp):
    lead = Lead(first_name="Ada")
    with acting_as(NOBODY):
        lead.save()
        assert lead.erp_identity == Identity.service()


def test_a_queryset_creates_with_its_own_rights(erp, db):
    leads = Lead.objects.as_service()
    with acting_as(NOBODY):
        assert leads.create(first_name="Ada").erp_identity == Identity.service()
        assert leads.get_or_create(first_name="Eve")[0].erp_identity == Identity.service()
        assert leads.update_or_create(first_name="Zoë")[0].erp_identity == Identity.service()
        with pytest.raises(NotConnected):
            Lead.objects.create(first_name="Nobody's")


def test_a_document_is_validated_with_its_own_rights(erp):
    order = SalesOrder.objects.order_by("name")[0]
    with acting_as(NOBODY):
        order.full_clean()
        order.customer_id = "nobody of that name"
        with pytest.raises(ValidationError, match="nobody of that name"):
            order.full_clean()


# Submitting, deleting


def test_a_document_is_submitted_and_cancelled(erp):
    order = SalesOrder.objects.filter(docstatus=0).order_by("name")[0]
    order.submit()
    assert order.docstatus == 1
    order.cancel()
    assert order.docstatus == 2
    assert SalesOrder.objects.get(pk=order.pk).docstatus == 2


def test_a_deleted_document_is_gone(erp):
    lead = Lead.objects.create(first_name="Ada")
    assert lead.delete() == (1, {"erp.Lead": 1})
    assert not Lead.objects.filter(pk=lead.pk).exists()


def test_a_document_that_others_link_to_stays(erp):
    customer = SalesOrder.objects.select_related("customer").order_by("name")[0].customer
    with pytest.raises(ValidationRefused):
        customer.delete()
    assert Customer.objects.filter(pk=customer.pk).exists()


def test_a_user_may_do_what_erpnext_lets_that_user_do(erp, settings):
    key, secret = erp.api_key("bob@example.com")
    settings.ERPNEXT_BRIDGE["SITES"]["default"] |= {"API_KEY": key, "API_SECRET": secret}
    lead = Lead.objects.create(first_name="Bob's")
    with pytest.raises(PermissionRefused):
        lead.delete()
    assert Lead.objects.filter(pk=lead.pk).exists()


def test_a_document_of_nobody_is_not_sent(settings):
    settings.ERPNEXT_BRIDGE = {"SITES": {"default": {"URL": "http://127.0.0.1:9"}}, "TOKEN_KEYS": ["k" * 40]}
    with pytest.raises(NotConnected, match="acts as nobody"):
        Lead(first_name="x").save()


# Later


@pytest.mark.django_db
def test_writes_for_later_carry_the_payload_and_whose_rights(erp):
    lead = Lead(first_name="Zoë", company_name="Acme")
    write = lead.save_later()
    assert (write.action, write.doctype, write.identity) == ("create", "Lead", Identity.service())
    assert write.payload["first_name"] == "Zoë"
    assert not [request for request in erp.requests if request.method == "POST"]


@pytest.mark.django_db
def test_an_update_for_later_carries_what_it_was_based_on(erp):
    lead = Lead.objects.create(first_name="Ada")
    lead.company_name = "New"
    write = lead.save_later()
    assert write.payload == {"company_name": "New"}
    assert write.base_modified == erp.document("Lead", lead.pk)["modified"]
    assert [lead.submit_later().action, lead.cancel_later().action, lead.delete_later().action] == [
        "submit",
        "cancel",
        "delete",
    ]
    with pytest.raises(UnsupportedQuery, match="submit_later"):
        lead.save_later(submit=True)


@pytest.mark.django_db
def test_writes_are_queued_while_the_site_is_down(erp, settings):
    with acting_as(Identity.service()):
        read = Lead.objects.create(first_name="Ada")
        settings.ERPNEXT_BRIDGE["SITES"]["default"] |= {"URL": "http://127.0.0.1:9"}
        assert Lead(first_name="Eve").save_later().state == "pending"
        read.company_name = "New"
        assert read.save_later().base_modified
        assert SalesOrder(items=[{"qty": Decimal("1.5"), "at": dt.datetime.now(dt.UTC)}]).save_later().pk
