"""Other packages on documents, each as its own documentation has it: no part of any is replaced here."""

from __future__ import annotations

import base64
import io
import json
import re
from html import unescape

import django_filters
import pytest
import tablib
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group
from django.core import serializers
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import AsyncClient
from rest_framework.authentication import BasicAuthentication
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.test import APIRequestFactory

from erpnext_bridge.errors import UnsupportedQuery
from erpnext_bridge.identity import acting_as
from erpnext_bridge.middleware import ConnectionMiddleware
from tests.ecosystem import CustomerExport, LeadImport, LeadViewSet
from tests.erp.models import Customer, Item, Lead, SalesOrder

pytestmark = [pytest.mark.erpnext(15, 16, user="alice@example.com"), pytest.mark.urls("tests.ecosystem")]


@pytest.fixture
def erp(erpnext_site, erpnext_user, client, settings):
    """A demo company; the browser and the test's own code act as Alice."""
    settings.REST_FRAMEWORK = {"EXCEPTION_HANDLER": "erpnext_bridge.rest.exception_handler"}
    client.force_login(erpnext_user)
    with acting_as(erpnext_user):
        yield erpnext_site


def send(client, method, url, data=None):
    return getattr(client, method)(url, json.dumps(data), content_type="application/json")


def writes(erp):
    return [
        request.method
        for request in erp.requests
        if request.method in ("POST", "PUT", "DELETE") and "frappe.client.get" not in request.path
    ]


# Django REST framework


def test_rest_lists_pages_filters_searches_and_orders(erp, client):
    everything = list(Customer.objects.order_by("name"))
    erp.requests.clear()
    page = client.get("/api/customers/").json()
    assert len(erp.requests) == 2
    assert (page["count"], len(page["results"])) == (len(everything), 5)
    second = client.get("/api/customers/", {"page": 2}).json()
    assert [each["name"] for each in second["results"]] == [each.pk for each in everything[5:10]]
    some = everything[3]
    found = client.get("/api/customers/", {"territory": some.territory_id}).json()
    assert found["count"] == Customer.objects.filter(territory=some.territory_id).count()
    word = some.customer_name.split()[0]
    for query in ({"search": word}, {"customer_name__icontains": word}, {"customer_name__startswith": word}):
        names = [each["name"] for each in client.get("/api/customers/", query).json()["results"]]
        assert some.pk in names, query
    ordered = client.get("/api/customers/", {"ordering": "-customer_name"}).json()["results"]
    expected = Customer.objects.order_by("-customer_name")[:5]
    assert [each["customer_name"] for each in ordered] == [each.customer_name for each in expected]
    assert client.get("/api/customers/", {"territory": "nowhere"}).status_code == 400


def test_rest_pages_by_cursor(erp, client):
    found, url = [], "/api/leads/"
    while url:
        page = client.get(url).json()
        found += [each["name"] for each in page["results"]]
        url = page["next"]
    assert len(found) == len(set(found)) == Lead.objects.count()


def test_rest_asks_as_whom_it_authenticates(erp, client, erpnext_user):
    """Nobody is signed in at Django; DRF reads the password."""
    erpnext_user.set_password("secret")
    erpnext_user.save()
    client.logout()

    class ByPassword(LeadViewSet):
        authentication_classes = [BasicAuthentication]
        pagination_class = LimitOffsetPagination

    name_and_password = base64.b64encode(f"{erpnext_user.get_username()}:secret".encode()).decode()
    request = APIRequestFactory().get(
        "/", {"limit": 3, "offset": 2}, HTTP_AUTHORIZATION=f"Basic {name_and_password}"
    )
    erp.requests.clear()
    answer = ConnectionMiddleware(ByPassword.as_view({"get": "list"}))(request)
    assert answer.data["count"] == Lead.objects.count()
    assert len(answer.data["results"]) == 3
    assert {each.user for each in erp.requests} == {"alice@example.com"}


def test_rest_creates_reads_changes_and_deletes(erp, client):
    data = {"customer_name": "New Ltd", "customer_type": "Company", "customer_group": "Commercial"}
    made = send(client, "post", "/api/customers/", data)
    assert (made.status_code, made.json()["name"]) == (201, "New Ltd")
    assert client.get("/api/customers/New Ltd/").json()["customer_group"] == "Commercial"
    erp.requests.clear()
    changed = send(client, "patch", "/api/customers/New Ltd/", {"disabled": True})
    assert changed.json()["disabled"] is True
    assert writes(erp) == ["PUT"]
    assert client.delete("/api/customers/New Ltd/").status_code == 204
    assert client.get("/api/customers/New Ltd/").status_code == 404


def test_rest_answers_what_erpnext_refuses(erp, client, erpnext_connect, django_user_model):
    used = SalesOrder.objects.order_by("name")[0].customer_id
    data = {"customer_name": "New Ltd", "customer_type": "Company", "customer_group": "No such group"}
    refused = send(client, "post", "/api/customers/", data)
    assert refused.status_code == 400
    assert "No such group" in str(refused.json()["messages"])
    assert client.delete(f"/api/customers/{used}/").status_code == 400
    new = Customer.objects.create(customer_name="Nobody's", customer_group="Commercial")
    bob = django_user_model.objects.create_user("bob")
    erpnext_connect(bob, "bob@example.com")
    client.force_login(bob)
    assert client.delete(f"/api/customers/{new.pk}/").status_code == 403
    client.force_login(django_user_model.objects.create_user("unconnected"))
    refused = client.get("/api/customers/")
    assert (refused.status_code, refused.json()["connect_url"]) == (403, "/erpnext/connect/")


def test_rest_rolls_back_what_a_view_wrote_before_erpnext_refused(erp, client, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    data = {"customer_name": "New Ltd", "customer_type": "Company", "customer_group": "No such group"}
    assert send(client, "post", "/api/noted/", data).status_code == 400
    assert not Group.objects.exists()
    taken = send(client, "post", "/api/noted/", data | {"customer_group": "Commercial"})
    assert taken.status_code == 201
    assert Group.objects.get().name == "New Ltd"


def test_rest_answers_503_while_the_site_is_down(erp, client):
    erp.trouble("unavailable", None, retry_after=7)
    answer = client.get("/api/customers/")
    assert (answer.status_code, answer["Retry-After"]) == (503, "7")


@pytest.fixture
def order(erp, client):
    items = [each.pk for each in Item.objects.order_by("name")[:2]]
    data = {
        "customer": Customer.objects.order_by("name")[0].pk,
        "company": SalesOrder.objects.order_by("name")[0].company,
        "transaction_date": "2026-01-02",
        "delivery_date": "2026-01-09",
        "items": [{"item_code": item, "qty": qty, "rate": "10"} for qty, item in enumerate(items, 1)],
    }
    erp.requests.clear()
    answer = send(client, "post", "/api/orders/", data)
    assert answer.status_code == 201, answer.json()
    assert writes(erp) == ["POST"]
    return answer.json()


def test_rest_writes_rows_with_their_document(erp, client, order):
    first, second = order["items"]
    assert float(order["grand_total"]) == 30
    url = f"/api/orders/{order['name']}/"
    erp.requests.clear()
    rows = [
        {"name": second["name"], "qty": 20},
        {"item_code": first["item_code"], "qty": 7, "rate": "1"},
    ]
    changed = send(client, "patch", url, {"items": rows, "delivery_date": "2026-02-01"})
    assert changed.status_code == 200, changed.json()
    assert writes(erp) == ["PUT"]
    stored = erp.document("Sales Order", order["name"])
    assert [row["qty"] for row in stored["items"]] == [20, 7]
    assert (stored["items"][0]["name"], stored["items"][0]["rate"]) == (second["name"], 10)
    assert stored["delivery_date"] == "2026-02-01"
    assert send(client, "patch", url, {"delivery_date": "2026-03-01"}).status_code == 200
    assert len(erp.document("Sales Order", order["name"])["items"]) == 2
    strange = send(
        client, "patch", url, {"items": [{"name": "strange", "item_code": first["item_code"], "qty": 1}]}
    )
    assert (strange.status_code, list(strange.json())) == (400, ["items"])
    empty = send(client, "patch", url, {"items": []})
    assert empty.status_code == 400


def test_rest_puts_what_erpnext_refuses_of_a_row_at_that_row(erp, client, order):
    first, second = ({"item_code": row["item_code"], "qty": 1, "rate": "1"} for row in order["items"])
    data = {"customer": order["customer"], "company": order["company"], "delivery_date": "2026-02-01"}
    data |= {"transaction_date": "2026-01-02", "items": [first, {**second, "item_code": None}]}
    refused = send(client, "post", "/api/orders/", data)
    assert refused.status_code == 400
    assert refused.json().keys() == {"items"}
    unharmed, row = refused.json()["items"]
    assert (unharmed, row.keys()) == ({}, {"item_code", "non_field_errors"})
    (message,) = row["item_code"]
    assert "Row #2" in message
    # What the serializer does not have is told at the row.
    assert any("Item Name" in message for message in row["non_field_errors"])


def test_rest_lists_documents_with_rows_in_few_requests(erp, client, order):
    erp.requests.clear()
    page = client.get("/api/orders/").json()
    assert page["results"][0]["items"]
    assert len(erp.requests) == 3


# django-filter and django-tables2


def test_a_filter_by_the_name_of_a_link_reads_no_choices(erp):
    class ByName(django_filters.FilterSet):
        customer = django_filters.CharFilter(field_name="customer__name")

    some = SalesOrder.objects.order_by("name")[0].customer_id
    erp.requests.clear()
    found = list(ByName({"customer": some}, queryset=SalesOrder.objects.all()).qs)
    assert len(erp.requests) == 1
    assert {each.customer_id for each in found} == {some}


def cells(answer):
    return [
        unescape(re.sub(r"<.*?>|\s", "", cell))
        for cell in re.findall(r"<td[^>]*>(.*?)</td>", answer.content.decode(), re.DOTALL)
    ][::4]


def squeezed(queryset):
    return [re.sub(r"\s", "", each.pk) for each in queryset]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:django_tables2")
def test_tables_and_filters_on_a_page(erp, client):
    erp.requests.clear()
    answer = client.get("/table/")
    assert cells(answer) == squeezed(Customer.objects.order_by("name")[:10])
    answer = client.get("/table/", {"sort": "-customer_name", "page": 2})
    assert cells(answer) == squeezed(Customer.objects.order_by("-customer_name")[10:20])
    some = Customer.objects.order_by("name")[3]
    answer = client.get("/table/", {"territory": some.territory_id})
    assert cells(answer) == squeezed(
        Customer.objects.filter(territory=some.territory_id).order_by("name")[:10]
    )
    answer = client.get("/lazy-table/", {"page": 2})
    assert cells(answer) == squeezed(Customer.objects.order_by("name")[10:20])


# django-import-export


def test_documents_are_exported(erp):
    data = CustomerExport().export(Customer.objects.order_by("name"))
    assert data.headers == ["name", "customer_name", "territory"]
    assert [row[0] for row in data] == [each.pk for each in Customer.objects.order_by("name")]
    assert "customer_name" in data.csv


def test_documents_are_imported_and_a_dry_run_sends_nothing(erp):
    known = Lead.objects.create(first_name="Ada", company_name="Old")
    same = Lead.objects.create(first_name="Eve", company_name="Same")
    rows = tablib.Dataset(headers=["name", "first_name", "company_name"])
    rows.append([known.pk, "Ada", "New"])
    rows.append([same.pk, "Eve", "Same"])
    rows.append(["", "Zoë", "Fresh"])
    erp.requests.clear()
    preview = LeadImport().import_data(rows, dry_run=True, raise_errors=True)
    assert preview.totals["update"] == 1
    assert writes(erp) == []
    result = LeadImport().import_data(rows, raise_errors=True)
    assert (result.totals["update"], result.totals["skip"], result.totals["new"]) == (1, 1, 1)
    assert writes(erp) == ["PUT", "POST"]
    assert erp.document("Lead", known.pk)["company_name"] == "New"
    assert Lead.objects.filter(first_name="Zoë", company_name="Fresh").count() == 1


# Async views


def test_async_views(erp, erpnext_user):
    async def get():
        client = AsyncClient()
        await client.aforce_login(erpnext_user)
        return await client.get("/names/")

    answer = async_to_sync(get)()
    expected = list(Customer.objects.order_by("name")[:3])
    assert answer.content.decode() == ", ".join(each.pk for each in expected)
    assert erp.document("Customer", expected[0].pk)["website"] == "https://async.example"


# Fixtures and serializers


def test_documents_are_serialized(erp):
    orders = SalesOrder.objects.order_by("name")[:2]
    text = serializers.serialize("json", [*orders, *orders[0].items.all()])
    first, _, row = json.loads(text)[:3]
    assert (first["model"], first["pk"]) == ("erp.salesorder", orders[0].pk)
    assert row["fields"]["parent"] == orders[0].pk
    (restored, *_) = serializers.deserialize("json", text)
    assert restored.object.customer_id == orders[0].customer_id
    with pytest.raises(UnsupportedQuery, match="bulk_create"):
        restored.save()


def test_dumpdata_leaves_documents_out_unless_it_is_told_who_reads_them(erp, erpnext_user):
    out = io.StringIO()
    erp.requests.clear()
    call_command("dumpdata", "auth", "erp", stdout=out)
    models = {each["model"] for each in json.loads(out.getvalue())}
    assert "auth.user" in models
    assert not erp.requests
    with pytest.raises(CommandError, match="--service"):
        call_command("dumpdata", "erp.Customer", stdout=out)
    out = io.StringIO()
    call_command("dumpdata", "erp.Customer", "--user", erpnext_user.get_username(), stdout=out)
    assert [each["pk"] for each in json.loads(out.getvalue())] == [
        each.pk for each in Customer.objects.order_by("name")
    ]
