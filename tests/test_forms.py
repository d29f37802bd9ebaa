"""Forms, inline formsets and generic views on documents, as a project's users fill them in."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group
from django.contrib.messages import get_messages
from django.core.paginator import EmptyPage, PageNotAnInteger, Paginator
from django.db import connection
from django.forms import TextInput, modelform_factory

from erpnext_bridge.forms import DocumentForm, save_together
from erpnext_bridge.identity import acting_as
from erpnext_bridge.pagination import UncountedPaginator
from tests.erp.models import Customer, Item, Lead, SalesOrder
from tests.orders import draft
from tests.shop import Items

pytestmark = [pytest.mark.erpnext(15, 16, user="alice@example.com"), pytest.mark.urls("tests.shop")]


@pytest.fixture
def erp(erpnext_site, erpnext_user, client):
    """A demo company; the browser and the test's own code act as Alice."""
    client.force_login(erpnext_user)
    with acting_as(erpnext_user):
        yield erpnext_site


@pytest.fixture
def order(erp):
    """A draft with two rows."""
    made = draft(1, 2)
    erp.requests.clear()
    return made


def sent(erp, *methods):
    return [request.method for request in erp.requests if request.method in methods]


def writes(erp):
    return sent(erp, "POST", "PUT", "DELETE")


def filled(page):
    """Return what a browser would send of the forms on a page, unchanged."""
    data = {}
    forms = [page.context["form"], *(page.context.get("formsets") or ())]
    for each in forms:
        members = [each] if not hasattr(each, "management_form") else [each.management_form, *each.forms]
        for form in members:
            for field in form:
                value = field.value()
                data[field.html_name] = "" if value is None else str(value)
    return data


def messages_of(answer):
    return [str(each) for each in get_messages(answer.wsgi_request)]


def errors(page):
    return page.context["form"].errors


# One form


def test_a_document_is_created_by_a_form(erp, client):
    assert "customer_name" in client.get("/customers/new/").content.decode()
    territory = Customer.objects.order_by("name")[0].territory_id
    data = {"customer_name": "New Ltd", "customer_type": "Company", "customer_group": "Commercial"}
    answer = client.post("/customers/new/", {**data, "territory": territory})
    assert answer["Location"] == "/customers/"
    assert erp.document("Customer", "New Ltd")["territory"] == territory
    assert messages_of(answer) == ["New Ltd was created."]


def test_what_erpnext_does_not_accept_is_shown_on_its_field(erp, client):
    data = {"customer_name": "New Ltd", "customer_type": "Company", "customer_group": "No such group"}
    answer = client.post("/customers/new/", data)
    assert answer.status_code == 200
    assert list(errors(answer)) == ["customer_group"]
    assert "No such group" in errors(answer)["customer_group"][0]
    assert "No such group" in answer.content.decode()
    assert erp.document("Customer", "New Ltd") is None
    assert messages_of(answer) == []


def test_a_value_that_is_no_choice_is_shown_on_its_field(erp, client):
    data = {"customer_name": "New Ltd", "customer_type": "Nonsense", "customer_group": "Commercial"}
    assert list(errors(client.post("/customers/new/", data))) == ["customer_type"]


def test_a_missing_value_is_shown_on_its_field(erp):
    """ERPNext may want what the class leaves optional."""
    form_class = modelform_factory(
        SalesOrder, form=DocumentForm, fields=["customer", "company", "delivery_date"]
    )
    form = form_class({"company": "", "customer": "", "delivery_date": "2026-01-09"})
    assert form.is_valid()
    assert not save_together(form)
    assert list(form.errors) == ["customer"]


def test_a_link_may_be_typed(erp):
    form_class = modelform_factory(
        SalesOrder, form=DocumentForm, fields=["customer"], widgets={"customer": TextInput}
    )
    customer = Customer.objects.order_by("name")[0]
    erp.requests.clear()
    form = form_class({"customer": customer.pk})
    assert customer.pk in form.as_p()
    assert form.is_valid()
    assert len(erp.requests) == 1
    assert list(form_class({"customer": "nobody"}).errors) == ["customer"]


def test_a_name_that_is_taken_is_told(erp, client):
    known = Item.objects.order_by("name")[0]
    form_class = modelform_factory(
        Item, form=DocumentForm, fields=["item_code", "item_name", "item_group", "stock_uom"]
    )
    form = form_class(
        {
            "item_code": known.pk,
            "item_name": "x",
            "item_group": known.item_group,
            "stock_uom": known.stock_uom,
        }
    )
    assert form.is_valid()
    assert not save_together(form)
    assert form.non_field_errors() or form.errors["item_code"]


def test_only_what_changed_is_sent(erp, client):
    customer = Customer.objects.order_by("name")[0]
    data = filled(client.get(f"/customers/{customer.pk}/"))
    erp.requests.clear()
    assert client.post(f"/customers/{customer.pk}/", data).status_code == 302
    assert writes(erp) == []
    data["website"] = "https://example.com"
    assert client.post(f"/customers/{customer.pk}/", data).status_code == 302
    assert writes(erp) == ["PUT"]
    assert erp.document("Customer", customer.pk)["website"] == "https://example.com"


def test_what_somebody_else_saved_since_is_shown_and_not_overwritten(erp, client):
    customer = Customer.objects.order_by("name")[0]
    url = f"/customers/{customer.pk}/"
    data = filled(client.get(url)) | {"website": "https://mine.example"}
    customer.website = "https://theirs.example"
    customer.save()
    answer = client.post(url, data)
    assert answer.status_code == 200
    (told,) = errors(answer)["__all__"]
    assert told.startswith("alice@example.com saved this since you opened it.")
    assert told.endswith("\nWebsite: https://theirs.example")
    assert erp.document("Customer", customer.pk)["website"] == "https://theirs.example"
    again = filled(answer)
    assert again["website"] == "https://mine.example"
    assert client.post(url, again).status_code == 302
    assert erp.document("Customer", customer.pk)["website"] == "https://mine.example"


def test_who_saves_in_the_last_moment_is_shown_as_well(erp, client):
    customer = Customer.objects.order_by("name")[0]
    url = f"/customers/{customer.pk}/"
    data = filled(client.get(url)) | {"website": "https://mine.example"}

    def race(incoming):
        if incoming.method == "PUT":
            values = {"website": "https://theirs.example", "modified": "2030-01-01 00:00:00.000001"}
            erp.site.store.begin()
            erp.site.store.update("Customer", customer.pk, values)
            erp.site.store.commit()
            trouble.times = 0
        return False

    trouble = erp.trouble("unavailable", None, race)
    answer = client.post(url, data)
    assert "Website: https://theirs.example" in errors(answer)["__all__"][0]
    assert client.post(url, filled(answer)).status_code == 302
    assert erp.document("Customer", customer.pk)["website"] == "https://mine.example"


def test_a_plain_form_shows_what_erpnext_did_not_accept(erp, client):
    answer = client.post("/leads/new/", {"first_name": "Ada", "email_id": "no address"})
    assert answer.status_code == 200
    assert errors(answer)
    assert client.post("/leads/new/", {"first_name": "Ada", "email_id": "a@example.com"}).status_code == 302
    assert Lead.objects.filter(email_id="a@example.com").exists()


def test_what_a_view_wrote_before_erpnext_refused_is_rolled_back(erp, client, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    answer = client.post("/leads/new/", {"first_name": "Ada", "email_id": "no address"})
    assert answer.status_code == 200
    assert errors(answer)
    assert not Group.objects.exists()
    assert client.post("/leads/new/", {"first_name": "Ada", "email_id": "a@example.com"}).status_code == 302
    assert Group.objects.get().name == "Ada"


# Deleting, reading


def test_a_document_that_others_link_to_is_kept_and_the_page_says_why(erp, client):
    used = SalesOrder.objects.order_by("name")[0].customer_id
    url = f"/customers/{used}/delete/"
    assert client.get(url).status_code == 200
    answer = client.post(url)
    assert answer.status_code == 200
    assert "Customer" in str(errors(answer)["__all__"])
    Customer.objects.create(customer_name="Nobody's", customer_group="Commercial")
    assert client.post("/customers/Nobody's/delete/").status_code == 302
    assert erp.document("Customer", "Nobody's") is None


def test_what_is_not_there_is_a_404(erp, client):
    assert client.get("/customers/nobody/").status_code == 404
    assert client.get("/customers/nobody/name/").status_code == 404
    known = Customer.objects.order_by("name")[0]
    assert client.get(f"/customers/{known.pk}/name/").content.decode() == known.customer_name


def test_pages_are_not_counted(erp, client):
    erp.requests.clear()
    first = client.get("/customers/")
    assert len(erp.requests) == 1
    names = re.findall("<li>(.*?)</li>", first.content.decode())
    assert len(names) == 8
    assert "page 1, next 2" in first.content.decode()
    assert client.get("/customers/?page=999").status_code == 404
    erp.requests.clear()
    last = client.get("/customers/?page=last")
    assert "next" not in last.content.decode()
    assert len(erp.requests) == 2


def test_the_uncounted_paginator_is_a_paginator(erp):
    everything = Customer.objects.order_by("name")
    count = everything.count()
    paginator = UncountedPaginator(everything, 10)
    second = paginator.page(2)
    assert (second.start_index(), second.end_index(), second.has_previous()) == (11, 20, True)
    assert [each.pk for each in second] == [each.pk for each in everything[10:20]]
    assert (paginator.count, paginator.num_pages) == (count, -(-count // 10))
    assert paginator.get_page("x").number == 1
    last = paginator.get_page(10_000)
    assert (last.number, last.has_next()) == (paginator.num_pages, False)
    with pytest.raises(EmptyPage):
        last.next_page_number()
    for number, error in (
        (0, EmptyPage),
        (10_000, EmptyPage),
        ("x", PageNotAnInteger),
        (1.5, PageNotAnInteger),
    ):
        with pytest.raises(error):
            paginator.page(number)


@pytest.mark.parametrize("orphans", [0, 2, 4])
def test_the_uncounted_paginator_has_the_pages_of_djangos(erp, orphans):
    everything = Customer.objects.order_by("name")[:13]
    ours = UncountedPaginator(everything, 5, orphans=orphans)
    theirs = Paginator(everything, 5, orphans=orphans)
    for number in theirs.page_range:
        page, other = ours.page(number), theirs.page(number)
        assert [each.pk for each in page] == [each.pk for each in other]
        assert (page.has_next(), page.end_index()) == (other.has_next(), other.end_index())
    with pytest.raises(EmptyPage):
        ours.page(theirs.num_pages + 1)


def test_nobody_passes_without_a_connection(erp, client, django_user_model):
    client.force_login(django_user_model.objects.create_user("unconnected"))
    assert client.get("/customers/")["Location"] == "/erpnext/connect/?next=%2Fcustomers%2F"
    client.logout()
    assert "login" in client.get("/customers/")["Location"]


def test_what_erpnext_forbids_is_a_403_page(erp, client, erpnext_connect, django_user_model):
    bob = django_user_model.objects.create_user("bob")
    erpnext_connect(bob, "bob@example.com")
    client.force_login(bob)
    lead = Lead.objects.create(first_name="Ada")
    with acting_as(bob):
        assert Lead.objects.get(pk=lead.pk)
    used = Customer.objects.create(customer_name="Nobody's", customer_group="Commercial")
    answer = client.post(f"/customers/{used.pk}/delete/")
    assert answer.status_code == 403
    assert "does not allow" in answer.content.decode()


# With child rows


def test_an_order_is_created_with_its_rows_in_one_request(erp, client, order):
    item = order.items.all()[0].item_code_id
    page = client.get("/orders/new/")
    data = filled(page) | {
        "customer": order.customer_id,
        "company": order.company,
        "transaction_date": "2026-01-02",
        "delivery_date": "2026-01-09",
        "items-TOTAL_FORMS": "2",
        "items-0-item_code": item,
        "items-0-qty": "3",
        "items-0-rate": "10",
        "items-1-item_code": item,
        "items-1-qty": "4",
        "items-1-rate": "10",
    }
    erp.requests.clear()
    answer = client.post("/orders/new/", data)
    assert writes(erp) == ["POST"]
    pk = answer["Location"].split("/")[2]
    assert [row["qty"] for row in erp.document("Sales Order", pk)["items"]] == [3, 4]
    assert f"{item}: 3" in client.get(answer["Location"]).content.decode()


def test_rows_are_changed_added_removed_and_moved_in_one_request(erp, client, order):
    url = f"/orders/{order.pk}/edit/"
    before = erp.document("Sales Order", order.pk)["items"]
    data = filled(client.get(url))
    assert (data["items-0-qty"], data["items-0-name"]) == ("1.0", before[0]["name"])
    data |= {
        "delivery_date": "2026-02-01",
        "items-0-DELETE": "on",
        "items-1-qty": "20",
        "items-1-ORDER": "2",
        "items-2-item_code": before[0]["item_code"],
        "items-2-qty": "7",
        "items-2-ORDER": "1",
    }
    erp.requests.clear()
    assert client.post(url, data).status_code == 302
    assert writes(erp) == ["PUT"]
    after = erp.document("Sales Order", order.pk)
    assert after["delivery_date"] == "2026-02-01"
    assert [row["qty"] for row in after["items"]] == [7, 20]
    assert after["items"][1]["name"] == before[1]["name"]


def test_rows_of_a_page_cost_no_request_each(erp, client, order):
    erp.requests.clear()
    page = client.get(f"/orders/{order.pk}/edit/")
    # The order with its rows, the customers and the items to choose from.
    assert len(erp.requests) == 3
    data = filled(page) | {"items-0-qty": "5"}
    erp.requests.clear()
    client.post(f"/orders/{order.pk}/edit/", data)
    # The links that were chosen are read once each; the rest as in a PUT of rows.
    assert len(sent(erp, "GET")) == 5


def test_a_refusal_of_a_row_is_shown_at_the_row(erp, client, order):
    url = f"/orders/{order.pk}/edit/"
    data = filled(client.get(url)) | {"items-1-qty": "-5"}
    page = client.post(url, data)
    assert page.status_code == 200
    (formset,) = page.context["formsets"]
    assert not errors(page).get("__all__") or formset.forms[1].errors
    assert [row["qty"] for row in erp.document("Sales Order", order.pk)["items"]] == [1, 2]


def test_a_row_that_is_not_a_rows_value_is_shown_before_anything_is_sent(erp, client, order):
    url = f"/orders/{order.pk}/edit/"
    data = filled(client.get(url)) | {"items-1-qty": "many", "items-0-item_code": "no such item"}
    erp.requests.clear()
    page = client.post(url, data)
    (formset,) = page.context["formsets"]
    assert [sorted(form.errors) for form in formset.forms[:2]] == [["item_code"], ["qty"]]
    assert writes(erp) == []


def test_an_order_that_moved_is_a_conflict_for_its_rows_too(erp, client, order):
    url = f"/orders/{order.pk}/edit/"
    data = filled(client.get(url)) | {"items-0-qty": "5"}
    other = SalesOrder.objects.get(pk=order.pk)
    other.delivery_date = dt.date(2026, 3, 1)
    other.save()
    page = client.post(url, data)
    assert page.status_code == 200
    assert "Delivery date: 2026-03-01" in errors(page)["__all__"][0]
    assert client.post(url, filled(page)).status_code == 302
    assert erp.document("Sales Order", order.pk)["items"][0]["qty"] == 5


def test_a_formset_can_be_saved_alone(erp, order):
    data = {
        "items-TOTAL_FORMS": "2",
        "items-INITIAL_FORMS": "2",
        "items-0-name": order.items.all()[0].pk,
        "items-0-item_code": order.items.all()[0].item_code_id,
        "items-0-qty": "9",
        "items-0-rate": "10",
        "items-1-name": "strange",
        "items-1-qty": "9",
        "items-1-rate": "10",
    }
    formset = Items(data, instance=order)
    assert not formset.is_valid()
    assert list(formset.forms[1].errors) == ["name"]
    data |= {
        "items-1-name": order.items.all()[1].pk,
        "items-1-item_code": order.items.all()[1].item_code_id,
    }
    formset = Items(data, instance=order)
    assert formset.is_valid(), formset.errors
    formset.save()
    assert [row["qty"] for row in erp.document("Sales Order", order.pk)["items"]] == [9, 9]
    assert order.grand_total == Decimal(180)
