"""What ERPNext does with a document besides saving it."""

from __future__ import annotations

import asyncio
import io

import pytest
from django.db import models
from django.test.utils import isolate_apps

from erpnext_bridge.documents import Document
from erpnext_bridge.errors import RefusedError, UnsupportedQuery
from erpnext_bridge.fields import Attach
from tests.erp.models import Customer, Lead, SalesOrder


@pytest.fixture
def cancelled(erp):
    order = SalesOrder.objects.filter(docstatus=0).order_by("name")[0]
    order.submit()
    order.cancel()
    return order


def test_a_cancelled_document_is_amended(erp, cancelled):
    draft = cancelled.amend()
    assert draft.pk == f"{cancelled.pk}-1"
    assert (draft.docstatus, draft.customer_id, draft.grand_total) == (
        0,
        cancelled.customer_id,
        cancelled.grand_total,
    )
    old, new = erp.document("Sales Order", cancelled.pk), erp.document("Sales Order", draft.pk)
    assert new["amended_from"] == cancelled.pk
    assert [row["item_code"] for row in new["items"]] == [row["item_code"] for row in old["items"]]
    assert {row["name"] for row in new["items"]}.isdisjoint(row["name"] for row in old["items"])
    draft.submit()
    assert draft.docstatus == 1


def test_what_is_not_cancelled_is_not_amended(erp):
    draft = SalesOrder.objects.filter(docstatus=0).order_by("name")[0]
    with pytest.raises(RefusedError):
        draft.amend()


def test_a_document_is_renamed_with_the_links_to_it(erp):
    order = SalesOrder.objects.select_related("customer").order_by("name")[0]
    customer, old = order.customer, order.customer_id
    customer.rename("Renamed Ltd")
    assert (customer.pk, customer.changes()) == ("Renamed Ltd", {})
    order.refresh_from_db()
    assert order.customer_id == "Renamed Ltd"
    assert not Customer.objects.filter(pk=old).exists()
    customer.disabled = True
    customer.save()
    assert erp.document("Customer", "Renamed Ltd")["disabled"] == 1


@isolate_apps("tests.erp")
def test_a_file_is_attached_and_named_by_a_field(erp):
    class Picture(Document, doctype="Item"):
        image = Attach(blank=True, default="")

        class Meta:
            app_label = "erp"

    item = Picture.objects.order_by("name")[0]
    attached = item.attach(io.BytesIO(b"plain"), filename="notes.txt")
    assert (attached["is_private"], attached["attached_to_name"]) == (1, item.pk)
    attached = item.attach(b"GIF89a", filename="bolt.gif", fieldname="image", is_private=False)
    assert item.image == attached["file_url"] == erp.document("Item", item.pk)["image"]
    assert item.changes() == {}


def test_a_document_is_printed(erp):
    order = SalesOrder.objects.order_by("name")[0]
    assert order.pdf().startswith(b"%PDF-")


@isolate_apps("tests.erp")
def test_a_single_is_loaded_and_saved(erp, settings):
    class SystemSettings(Document, single=True):
        country = models.CharField(max_length=140)

        class Meta:
            app_label = "erp"

    key, secret = erp.api_key("Administrator")
    settings.ERPNEXT_BRIDGE["SITES"]["default"] |= {"API_KEY": key, "API_SECRET": secret}
    loaded = SystemSettings.load()
    loaded.country = "Germany"
    loaded.save()
    assert SystemSettings.load().country == "Germany"
    with pytest.raises(UnsupportedQuery, match="load"):
        SystemSettings(country="France").save()
    with pytest.raises(TypeError, match="many documents"):
        Lead.load()


def test_async_code_has_them_all(erp):
    asyncio.run(everything(erp))


async def everything(erp):
    lead = await Lead.objects.acreate(first_name="Ada")
    lead.company_name = "Acme"
    await lead.asave()
    assert erp.document("Lead", lead.pk)["company_name"] == "Acme"
    await lead.aattach(b"x", filename="x.txt")
    (other,) = await Lead.objects.abulk_create([Lead(first_name="Eve")])
    assert await Lead.objects.filter(pk=other.pk).aupdate(company_name="New") == 1
    assert await Lead.objects.filter(pk=other.pk).adelete() == (1, {"erp.Lead": 1})
    await lead.adelete()
    order = await SalesOrder.objects.filter(docstatus=0).afirst()
    assert (await order.apdf()).startswith(b"%PDF-")
    order = await SalesOrder.objects.aget(pk=order.pk)
    rows = [row async for row in order.items.all()]
    row = await order.items.acreate(item_code_id=rows[0].item_code_id, qty=5)
    await order.items.aremove(row)
    assert [each.pk for each in order.items.all()] == [each.pk for each in rows]
    await order.asubmit()
    await order.acancel()
    draft = await order.aamend()
    await draft.arefresh_from_db()
    assert draft.docstatus == 0
