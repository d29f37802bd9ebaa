"""Documents in Django's admin, as the users who are signed in there."""

from __future__ import annotations

import datetime as dt
import re
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core import checks
from django.urls import reverse

from erpnext_bridge.identity import acting_as
from tests.desk import desk
from tests.erp.models import Customer, Item, Lead, SalesOrder, SalesOrderItem
from tests.orders import draft

pytestmark = [pytest.mark.erpnext(15, 16, user="alice@example.com"), pytest.mark.urls("tests.desk")]


@pytest.fixture
def erp(erpnext_site, erpnext_user, client):
    """A demo company; the browser and the test's own code act as Alice, who is no superuser here."""
    erpnext_user.is_staff = True
    erpnext_user.save()
    client.force_login(erpnext_user)
    with acting_as(erpnext_user):
        yield erpnext_site


@pytest.fixture
def bob(erp, erpnext_connect, django_user_model):
    """A Sales User."""
    bob = django_user_model.objects.create_user("bob", is_staff=True)
    erpnext_connect(bob, "bob@example.com")
    return bob


@pytest.fixture
def order(erp):
    """A draft with two rows."""
    made = draft(1, 2)
    erp.requests.clear()
    return made


def page(model, name, *args):
    return reverse(f"desk:erp_{model}_{name}", args=args)


def rows(answer):
    return [
        unescape(re.sub("<.*?>", "", each))
        for each in re.findall('<th class="field-name">.*?</th>', answer.content.decode())
    ]


def filled(answer):
    """Return what a browser would send of the change form on a page, unchanged."""
    data = {}
    forms = [answer.context["adminform"].form]
    for inline in answer.context["inline_admin_formsets"]:
        forms += [inline.formset.management_form, *inline.formset.forms]
    for form in forms:
        for field in form:
            value = field.value()
            if value is not False:
                data[field.html_name] = "" if value is None else str(value)
    return data


def writes(erp):
    return [
        request.method
        for request in erp.requests
        if request.method in ("POST", "PUT", "DELETE") and "frappe.client.get" not in request.path
    ]


def told(answer):
    return [str(message) for message in answer.context["messages"]]


@pytest.mark.django_db
def test_django_has_nothing_to_say_about_the_admin_classes():
    assert not [each for each in checks.run_checks() if "tests.desk" in str(each.obj)]


# Lists


def test_the_index_offers_what_erpnext_allows(erp, client, bob):
    assert {"Customers", "Sales orders", "Items"} <= set(
        re.findall(r">([^<>]+)</a>", client.get("/desk/").content.decode())
    )
    client.force_login(bob)
    seen = client.get("/desk/").content.decode()
    assert page("customer", "changelist") in seen
    assert page("item", "add") not in seen


def test_a_list_is_read_with_few_requests(erp, client):
    client.get(page("customer", "changelist"))
    erp.requests.clear()
    answer = client.get(page("customer", "changelist"))
    assert answer.status_code == 200
    assert rows(answer) == [each.pk for each in Customer.objects.order_by("customer_name", "-name")[:100]]
    # Count, page, linked territories; the choices of the filter by territory.
    assert len(erp.requests) <= 6


def test_every_link_may_be_read_along(erp, client, monkeypatch):
    monkeypatch.setattr(desk.get_model_admin(Customer), "list_select_related", True)
    answer = client.get(page("customer", "changelist"))
    assert all("territory" in each._state.fields_cache for each in answer.context["cl"].result_list)


def test_search_filters_and_ordering(erp, client):
    url = page("customer", "changelist")
    some = Customer.objects.order_by("name")[3]
    word = some.customer_name.split()[0]
    assert some.pk in rows(client.get(url, {"q": word}))
    assert rows(client.get(url, {"q": "nothing of that name"})) == []
    found = rows(client.get(url, {"territory__name__exact": some.territory_id}))
    assert sorted(found) == sorted(each.pk for each in Customer.objects.filter(territory=some.territory))
    assert rows(client.get(url, {"disabled__exact": "1"})) == [
        each.pk for each in Customer.objects.filter(disabled=True).order_by("customer_name")
    ]
    assert rows(client.get(url, {"o": "-1"})) == [
        each.pk for each in Customer.objects.order_by("-name")[:100]
    ]


def test_orders_by_date_and_by_what_is_linked(erp, client, order):
    url = page("salesorder", "changelist")
    answer = client.get(url, {"transaction_date__year": "2026", "transaction_date__month": "1"})
    assert order.pk in rows(answer)
    assert answer.status_code == 200
    assert "January 2026" in client.get(url, {"transaction_date__year": "2026"}).content.decode()
    name = Customer.objects.get(pk=order.customer_id).customer_name
    assert order.pk in rows(client.get(url, {"q": name}))
    drafts = client.get(url, {"docstatus__exact": "0"})
    assert order.pk in rows(drafts)


def test_a_list_is_edited(erp, client):
    leads = Lead.objects.bulk_create([Lead(first_name=name, status="Lead") for name in ("Ada", "Eve")])
    answer = client.get(page("lead", "changelist"), {"q": "Ada"})
    formset = answer.context["cl"].formset
    data = {
        each.html_name: each.value() for form in [formset.management_form, *formset.forms] for each in form
    }
    index = [form.instance.pk for form in formset.forms].index(leads[0].pk)
    data[f"form-{index}-status"] = "Open"
    answer = client.post(page("lead", "changelist") + "?q=Ada", data | {"_save": "Save"}, follow=True)
    assert erp.document("Lead", leads[0].pk)["status"] == "Open"


def test_what_erpnext_refuses_in_a_list_is_at_its_document_and_nothing_is_lost(erp, client):
    leads = Lead.objects.bulk_create([Lead(first_name=name, status="Lead") for name in ("Ada", "Eve")])
    formset = client.get(page("lead", "changelist")).context["cl"].formset
    data = {
        each.html_name: each.value() for form in [formset.management_form, *formset.forms] for each in form
    }
    places = {form.instance.pk: place for place, form in enumerate(formset.forms)}
    data |= {f"form-{places[lead.pk]}-status": "Open" for lead in leads}
    erp.trouble("unavailable", None, method="PUT", match=f"/api/resource/Lead/{leads[0].pk}")
    answer = client.post(page("lead", "changelist"), data | {"_save": "Save"})
    assert answer.status_code == 200
    shown = {form.instance.pk: form for form in answer.context["cl"].formset.forms}
    assert "could not save this" in str(shown[leads[0].pk].non_field_errors())
    assert not shown[leads[1].pk].errors
    assert [shown[lead.pk]["status"].value() for lead in leads] == ["Open", "Open"]
    assert erp.document("Lead", leads[0].pk)["status"] == "Lead"


def test_what_a_list_saved_before_a_refusal_is_logged_and_told(erp, client):
    Lead.objects.bulk_create([Lead(first_name=name, status="Lead") for name in ("Ada", "Eve", "Zoe")])
    formset = client.get(page("lead", "changelist")).context["cl"].formset
    data = {
        each.html_name: each.value() for form in [formset.management_form, *formset.forms] for each in form
    }
    saved, refused, untouched = (form.instance.pk for form in formset.forms[:3])
    data |= {f"form-{place}-status": "Interested" for place in range(3)}
    erp.trouble("unavailable", None, method="PUT", match=f"/api/resource/Lead/{refused}")
    answer = client.post(page("lead", "changelist"), data | {"_save": "Save"})
    assert "1 lead changed." in told(answer)
    shown = {form.instance.pk: form for form in answer.context["cl"].formset.forms}
    assert "could not save this" in str(shown[refused].non_field_errors())
    assert [entry.object_id for entry in LogEntry.objects.all()] == [saved]
    assert erp.document("Lead", saved)["status"] == "Interested"
    assert erp.document("Lead", untouched)["status"] != "Interested"
    erp.trouble_clear()
    answer = client.post(page("lead", "changelist"), data | {"_save": "Save"}, follow=True)
    assert any(message.startswith("2 leads") for message in told(answer))
    assert erp.document("Lead", untouched)["status"] == "Interested"
    assert LogEntry.objects.count() == 3


def test_links_are_completed(erp, client):
    known = Customer.objects.order_by("name")[0]
    query = {
        "app_label": "erp",
        "model_name": "salesorder",
        "field_name": "customer",
        "term": known.customer_name,
    }
    found = client.get(reverse("desk:autocomplete"), query).json()
    assert {"id": known.pk, "text": known.pk} in found["results"]


# A document


def test_a_document_is_added(erp, client):
    assert client.get(page("customer", "add")).status_code == 200
    data = {"customer_name": "New Ltd", "customer_type": "Company", "customer_group": "Commercial"}
    answer = client.post(page("customer", "add"), data, follow=True)
    assert "was added successfully" in told(answer)[0]
    assert erp.document("Customer", "New Ltd")["customer_group"] == "Commercial"
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.get_change_message()) == ("New Ltd", "Added.")
    assert entry.content_type == ContentType.objects.get_for_model(Customer)


def test_what_erpnext_does_not_accept_is_on_its_field_and_nothing_is_lost(erp, client):
    data = {"customer_name": "New Ltd", "customer_type": "Company", "customer_group": "No such group"}
    answer = client.post(page("customer", "add"), data)
    assert answer.status_code == 200
    form = answer.context["adminform"].form
    assert list(form.errors) == ["customer_group"]
    assert "No such group" in form.errors["customer_group"][0]
    assert 'value="New Ltd"' in answer.content.decode()
    assert not LogEntry.objects.exists()


def test_an_order_is_changed_with_its_rows_in_one_request(erp, client, order):
    url = page("salesorder", "change", order.pk)
    answer = client.get(url)
    data = filled(answer)
    first, second = order.items.all()
    assert (data["items-0-qty"], data["items-1-item_code"]) == ("1.0", second.item_code_id)
    data |= {
        "delivery_date": "2026-02-01",
        "items-TOTAL_FORMS": "3",
        "items-0-DELETE": "on",
        "items-1-qty": "20",
        "items-2-item_code": first.item_code_id,
        "items-2-qty": "7",
        "items-2-rate": "1",
    }
    erp.requests.clear()
    answer = client.post(url, data | {"_continue": "1"}, follow=True)
    assert "was changed successfully" in told(answer)[0]
    assert writes(erp) == ["PUT"]
    stored = erp.document("Sales Order", order.pk)
    assert ([row["qty"] for row in stored["items"]], stored["delivery_date"]) == ([20, 7], "2026-02-01")
    changes = LogEntry.objects.get().get_change_message()
    assert "Delivery date" in changes
    assert "history" in client.get(page("salesorder", "history", order.pk)).content.decode().lower()
    assert LogEntry.objects.get().object_id == order.pk


def test_an_order_is_added_with_its_rows_in_one_request(erp, client, order):
    item = order.items.all()[0].item_code_id
    data = {
        "customer": order.customer_id,
        "company": order.company,
        "transaction_date": "2026-01-02",
        "delivery_date": "2026-01-09",
        "items-TOTAL_FORMS": "1",
        "items-INITIAL_FORMS": "0",
        "items-0-item_code": item,
        "items-0-qty": "3",
        "items-0-rate": "10",
    }
    erp.requests.clear()
    answer = client.post(page("salesorder", "add"), data, follow=True)
    assert "was added successfully" in told(answer)[0]
    assert writes(erp) == ["POST"]
    made = SalesOrder.objects.get(pk=LogEntry.objects.get().object_id)
    assert [row.qty for row in made.items.all()] == [3.0]
    data["items-0-item_code"] = ""
    refused = client.post(page("salesorder", "add"), data)
    assert refused.status_code == 200
    assert refused.context["errors"]


def test_what_somebody_else_saved_since_is_shown(erp, client, order):
    url = page("salesorder", "change", order.pk)
    data = filled(client.get(url)) | {"items-0-qty": "9"}
    other = SalesOrder.objects.get(pk=order.pk)
    other.delivery_date = dt.date(2026, 3, 1)
    other.save()
    answer = client.post(url, data)
    assert "Delivery date: 2026-03-01" in answer.content.decode()
    answer = client.post(url, filled(answer))
    assert answer.status_code == 302
    assert erp.document("Sales Order", order.pk)["items"][0]["qty"] == 9


def test_a_site_that_does_not_answer_loses_nothing_that_was_filled_in(erp, client, order):
    url = page("salesorder", "change", order.pk)
    data = filled(client.get(url)) | {"delivery_date": "2026-05-05"}
    erp.trouble("unavailable", None, method="PUT")
    answer = client.post(url, data)
    assert answer.status_code == 200
    assert "Send it again in a moment" in answer.content.decode()
    assert "2026-05-05" in answer.content.decode()
    erp.trouble_clear()
    assert client.post(url, filled(answer)).status_code == 302
    assert erp.document("Sales Order", order.pk)["delivery_date"] == "2026-05-05"


def test_a_page_that_fails_leaves_nothing_waiting(erp, client, order):
    url = page("salesorder", "change", order.pk)
    data = filled(client.get(url)) | {"items-0-qty": "9"}
    with pytest.raises(RuntimeError):
        client.post(url + "?fail=1", data)
    row = SalesOrderItem.objects.filter(parent=order.pk).order_by("idx")[0]
    row.qty = 5
    row.save()
    assert erp.document("Sales Order", order.pk)["items"][0]["qty"] == 5


# What ERPNext allows


def test_what_erpnext_forbids_is_not_offered(erp, client, bob):
    lead = Lead.objects.create(first_name="Ada")
    url = page("lead", "change", lead.pk)
    assert page("lead", "delete", lead.pk) in client.get(url).content.decode()
    client.force_login(bob)
    answer = client.get(url)
    assert answer.status_code == 200
    assert page("lead", "delete", lead.pk) not in answer.content.decode()
    assert client.get(page("lead", "delete", lead.pk)).status_code == 403
    assert "delete_selected" not in client.get(page("lead", "changelist")).content.decode()
    assert client.get(page("item", "add")).status_code == 403
    known = Item.objects.order_by("name")[0]
    assert 'name="_save"' not in client.get(page("item", "change", known.pk)).content.decode()


def test_who_is_not_connected_connects_and_comes_back(erp, client, django_user_model):
    client.force_login(django_user_model.objects.create_user("new", is_staff=True))
    assert page("customer", "changelist") in client.get("/desk/").content.decode()
    for url in (
        page("customer", "changelist"),
        page("customer", "change", "x"),
        page("customer", "history", "x"),
    ):
        assert client.get(url)["Location"].startswith("/erpnext/connect/?next=%2Fdesk%2F")


def test_the_index_stands_while_the_site_is_down(erp, client):
    erp.trouble("unavailable", None)
    answer = client.get("/desk/")
    assert answer.status_code == 200
    assert page("customer", "changelist") in answer.content.decode()
    assert client.get(page("customer", "changelist")).status_code == 503


# Deleting, submitting


def test_a_document_is_deleted_or_kept_with_the_reason(erp, client):
    new = Customer.objects.create(customer_name="Nobody's", customer_group="Commercial")
    url = page("customer", "delete", new.pk)
    assert "Are you sure" in client.get(url).content.decode()
    assert "deleted successfully" in told(client.post(url, {"post": "yes"}, follow=True))[0]
    assert erp.document("Customer", new.pk) is None
    assert LogEntry.objects.count() == 1
    used = SalesOrder.objects.order_by("name")[0].customer_id
    answer = client.post(page("customer", "delete", used), {"post": "yes"}, follow=True)
    assert used in told(answer)[0]
    assert erp.document("Customer", used)
    assert LogEntry.objects.count() == 1


def test_many_are_deleted_and_those_that_are_kept_are_told(erp, client):
    new = Customer.objects.create(customer_name="Nobody's", customer_group="Commercial")
    used = SalesOrder.objects.order_by("name")[0].customer_id
    data = {"action": "delete_selected", "_selected_action": [new.pk, used]}
    url = page("customer", "changelist")
    assert "Are you sure" in client.post(url, data).content.decode()
    messages = told(client.post(url, data | {"post": "yes"}, follow=True))
    assert messages[0].startswith(used)
    assert messages[1] == "1 customer deleted."
    assert [entry.object_id for entry in LogEntry.objects.all()] == [new.pk]
    assert erp.document("Customer", new.pk) is None


def test_an_order_is_saved_and_submitted_cancelled_and_amended(erp, client, order):
    url = page("salesorder", "change", order.pk)
    answer = client.get(url)
    # It stands with the other buttons.
    (row,) = re.findall(r'<div class="submit-row">(.*?)</div>', answer.content.decode(), re.DOTALL)
    assert re.findall(r'value="([^"]+)"', row)[-1] == "Save and submit"
    answer = client.post(url, filled(answer) | {"items-0-qty": "5", "_submit_document": "1"}, follow=True)
    assert told(answer) == ["1 sales order submitted."]
    stored = erp.document("Sales Order", order.pk)
    assert (stored["docstatus"], stored["items"][0]["qty"]) == (1, 5)
    seen = answer.content.decode()
    assert 'name="_save"' not in seen
    cancel = page("salesorder", "erpnext", order.pk, "cancel")
    assert cancel in seen
    assert client.get(cancel).status_code == 405
    assert client.post(page("salesorder", "erpnext", order.pk, "amend")).status_code == 403
    answer = client.post(cancel, follow=True)
    assert told(answer) == ["1 sales order cancelled."]
    answer = client.post(page("salesorder", "erpnext", order.pk, "amend"), follow=True)
    assert answer.request["PATH_INFO"].endswith("-1/change/")
    assert erp.document("Sales Order", f"{order.pk}-1")["docstatus"] == 0
    messages = {entry.get_change_message() for entry in LogEntry.objects.all()}
    assert {"Submitted.", "Cancelled.", "Amended."} <= messages


def test_what_was_submitted_before_the_site_went_away_is_told(erp, client, order):
    newer = draft(1)  # which the list has first
    erp.trouble("unavailable", None, method="PUT", match=f"/api/resource/Sales Order/{order.pk}")
    url = page("salesorder", "changelist")
    data = {"action": "submit_selected", "_selected_action": [order.pk, newer.pk]}
    answer = client.post(url, data)
    assert answer.status_code == 503
    assert "1 sales order submitted." in answer.content.decode()
    assert [erp.document("Sales Order", each.pk)["docstatus"] for each in (newer, order)] == [1, 0]


def test_many_orders_are_submitted_and_what_is_refused_is_told(erp, client, order):
    done = SalesOrder.objects.filter(docstatus=1).first()
    data = {"action": "submit_selected", "_selected_action": [order.pk]}
    assert told(client.post(page("salesorder", "changelist"), data, follow=True)) == [
        "1 sales order submitted."
    ]
    data = {"action": "cancel_selected", "_selected_action": [order.pk, done.pk]}
    client.post(page("salesorder", "changelist"), data, follow=True)
    assert erp.document("Sales Order", order.pk)["docstatus"] == 2
    messages = told(client.post(page("salesorder", "changelist"), data, follow=True))
    assert sorted(messages) == sorted(f"{each.pk}: Cannot edit cancelled document" for each in (order, done))
    assert "submit_selected" not in client.get(page("customer", "changelist")).content.decode()
