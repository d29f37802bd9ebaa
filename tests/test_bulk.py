"""Many documents at once: how many requests, and what became of each."""

from __future__ import annotations

import pytest
from django.db.models import F
from django.db.models.signals import post_delete

from erpnext_bridge.errors import (
    BulkError,
    Conflict,
    DuplicateDocument,
    PermissionRefused,
    SiteBusy,
    SiteUnreachable,
    UnsupportedQuery,
    ValidationRefused,
)
from tests.erp.models import Customer, Item, Lead, SalesOrder, SalesOrderItem, ToDo


def sent(erp):
    return [(request.method, request.path.rpartition("/api/")[2]) for request in erp.requests]


def leads(*names, **values):
    return [Lead(first_name=name, **values) for name in names]


# Creating


def test_bulk_create_inserts_all_in_one_request(erp):
    made = Lead.objects.bulk_create(leads("Ada", "Eve", "Zoë"))
    assert sent(erp) == [("POST", "method/frappe.client.insert_many")]
    assert [erp.document("Lead", each.pk)["first_name"] for each in made] == ["Ada", "Eve", "Zoë"]
    assert Lead.objects.bulk_create([]) == []


def test_what_erpnext_filled_in_is_read_on_demand_and_not_overwritten(erp):
    (lead,) = Lead.objects.bulk_create(leads("Ada"))
    erp.requests.clear()
    lead.company_name = "Acme"
    lead.save()
    assert sent(erp) == [("PUT", f"resource/Lead/{lead.pk}")]
    stored = erp.document("Lead", lead.pk)
    assert (stored["company_name"], stored["lead_name"]) == ("Acme", "Ada")
    (lead,) = Lead.objects.bulk_create(leads("Eve"))
    assert lead.get_deferred_fields() >= {"lead_name", "modified"}
    assert lead.lead_name == "Eve"


def test_all_or_none(erp):
    before = Lead.objects.count()
    bad = ToDo(description="x", allocated_to="nobody@example.com")
    with pytest.raises(ValidationRefused):
        ToDo.objects.bulk_create([ToDo(description="good"), bad])
    assert not ToDo.objects.filter(description="good").exists()
    with pytest.raises(UnsupportedQuery, match="atomic=False"):
        Lead.objects.bulk_create(leads(*map(str, range(201))))
    with pytest.raises(ValueError, match="saved already"):
        Lead.objects.bulk_create([Lead.objects.first()])
    with pytest.raises(UnsupportedQuery, match="update_or_create"):
        Lead.objects.bulk_create(leads("x"), update_conflicts=True, update_fields=["first_name"])
    assert Lead.objects.count() == before


def test_each_on_its_own_tells_what_became_of_each(erp):
    todos = [
        ToDo(description=f"{n}", allocated_to="nobody@example.com" if n in (3, 4) else None) for n in range(8)
    ]
    with pytest.raises(BulkError, match="2 of 8 were not created") as failure:
        ToDo.objects.bulk_create(todos, atomic=False, batch_size=5)
    assert [each for each, _ in failure.value.failed] == todos[3:5]
    assert {type(error) for _, error in failure.value.failed} == {ValidationRefused}
    assert failure.value.ok == [*todos[:3], *todos[5:]]
    assert all(each.pk for each in failure.value.ok)
    assert not any(each.pk for each in todos[3:5])


def test_more_than_200_are_several_requests(erp):
    made = ToDo.objects.bulk_create([ToDo(description=f"{n}") for n in range(205)], atomic=False)
    assert sent(erp) == [("POST", "method/frappe.client.insert_many")] * 2
    assert len({each.pk for each in made}) == 205


def test_ignore_conflicts_leaves_out_what_is_there(erp):
    known = Item.objects.order_by("name")[0]
    new = [
        Item(item_code=code, item_name="x", item_group=known.item_group, stock_uom=known.stock_uom)
        for code in (known.item_code, "BRAND-NEW")
    ]
    assert Item.objects.bulk_create(new, ignore_conflicts=True) == new
    assert Item.objects.get(pk="BRAND-NEW").item_name == "x"
    assert Item.objects.get(pk=known.pk).item_name == known.item_name
    with pytest.raises(DuplicateDocument):
        Item.objects.bulk_create(new[:1])


def test_a_site_that_goes_away_ends_the_run_and_tells_how_far_it_came(erp):
    made = leads(*map(str, range(6)))
    seen = []
    erp.trouble("unavailable", None, lambda incoming: seen.append(incoming) or len(seen) > 2, method="POST")
    with pytest.raises(BulkError, match="2 of 6 were not created") as failure:
        Lead.objects.bulk_create(made, atomic=False, batch_size=2)
    assert failure.value.ok == made[:4]
    assert {type(error) for _, error in failure.value.failed} == {SiteBusy}


# Changing


def test_update_changes_what_matches_and_nothing_else(erp):
    Lead.objects.bulk_create(leads("Ada", "Eve", company_name="Old") + leads("Zoë", company_name="New"))
    erp.requests.clear()
    assert Lead.objects.filter(first_name__in=["Ada", "Eve", "Zoë"]).update(company_name="New") == 3
    assert [method for method, _ in sent(erp)] == ["GET", "PUT", "PUT"]
    assert Lead.objects.filter(company_name="New").count() == 3
    assert Lead.objects.filter(first_name="nobody").update(company_name="x") == 0


def test_update_takes_documents_for_links(erp):
    customer, other = Customer.objects.order_by("name")[:2]
    customers = Customer.objects.filter(pk=customer.pk)
    assert customers.update(territory=other.territory) == 1
    assert customers.update(territory_id=customer.territory_id) == 1
    assert erp.document("Customer", customer.pk)["territory"] == customer.territory_id


def test_update_tells_whom_erpnext_refused(erp):
    todos = ToDo.objects.bulk_create([ToDo(description="a"), ToDo(description="b")])
    with pytest.raises(BulkError, match="2 of 2 were not updated") as failure:
        ToDo.objects.filter(pk__in=[each.pk for each in todos]).update(allocated_to="nobody@example.com")
    assert len(failure.value.failed) == 2
    assert not failure.value.ok


def test_update_refuses_what_it_cannot_do(erp):
    with pytest.raises(UnsupportedQuery, match="cannot compute"):
        Customer.objects.update(customer_name=F("name"))
    with pytest.raises(UnsupportedQuery, match="sets modified itself"):
        Customer.objects.update(modified=None)
    with pytest.raises(TypeError, match="slice"):
        Customer.objects.all()[:2].update(customer_name="x")
    assert not erp.requests


def test_update_of_what_somebody_else_saves_meanwhile_is_done_if_it_still_matches(erp):
    first, second = Lead.objects.bulk_create(leads("Ada", "Eve", company_name="Old"))

    def race(incoming):
        """Let somebody else save both just before the first is."""
        if incoming.method == "PUT" and not raced:
            raced.append(incoming)
            erp.site.store.begin()
            for pk, company in ((first.pk, "Gone"), (second.pk, "Old")):
                values = {"company_name": company, "last_name": "x", "modified": "2030-01-01 00:00:00.000001"}
                erp.site.store.update("Lead", pk, values)
            erp.site.store.commit()
        return False

    raced = []
    erp.trouble("unavailable", None, race)
    assert Lead.objects.filter(company_name="Old").update(company_name="New") == 2
    assert erp.document("Lead", first.pk)["company_name"] == "Gone"
    assert erp.document("Lead", second.pk)["company_name"] == "New"
    assert erp.document("Lead", second.pk)["last_name"] == "x"


def test_bulk_update_sends_what_changed_of_the_named_fields(erp):
    made = [Lead.objects.create(first_name=name, company_name="Old") for name in ("Ada", "Eve", "Zoë")]
    for each in made[:2]:
        each.company_name, each.last_name = "New", "Not sent"
    erp.requests.clear()
    assert Lead.objects.bulk_update(made, ["company_name"]) == 3
    assert [method for method, _ in sent(erp)] == ["PUT", "PUT"]
    assert [erp.document("Lead", each.pk)["company_name"] for each in made] == ["New", "New", "Old"]
    assert erp.document("Lead", made[0].pk)["last_name"] != "Not sent"
    with pytest.raises(ValueError, match="primary key"):
        Lead.objects.bulk_update(leads("x"), ["company_name"])


def test_bulk_update_tells_whom_somebody_else_saved_first(erp):
    made = [Lead.objects.create(first_name=name) for name in ("Ada", "Eve")]
    other = Lead.objects.get(pk=made[0].pk)
    other.company_name = "Theirs"
    other.save()
    for each in made:
        each.company_name = "Mine"
    with pytest.raises(BulkError) as failure:
        Lead.objects.bulk_update(made, ["company_name"])
    ((document, error),) = failure.value.failed
    assert (document, type(error), error.document.company_name) == (made[0], Conflict, "Theirs")
    assert failure.value.ok == [made[1]]


def test_update_or_create_sets_the_values_on_the_fresh_document(erp):
    lead = Lead.objects.create(first_name="Ada")

    def company():
        # Called while the document that was found waits to be saved.
        other = Lead.objects.get(pk=lead.pk)
        if not other.last_name:
            other.last_name = "Lovelace"
            other.save()
        return "Acme"

    found, created = Lead.objects.update_or_create(first_name="Ada", defaults={"company_name": company})
    assert (found, created) == (lead, False)
    stored = erp.document("Lead", lead.pk)
    assert (stored["company_name"], stored["last_name"]) == ("Acme", "Lovelace")


def test_of_two_who_create_the_same_at_once_one_reads_what_the_other_made(erp):
    some = Item.objects.order_by("name")[0]
    values = {"item_name": "x", "item_group": some.item_group, "stock_uom": some.stock_uom}

    def race(incoming):
        """Let somebody else be first."""
        if incoming.method == "POST" and not raced:
            raced.append(incoming)
            erp.insert("Item", item_code="BRAND-NEW", **values)
        return False

    raced = []
    erp.trouble("unavailable", None, race)
    found, created = Item.objects.get_or_create(item_code="BRAND-NEW", defaults=values)
    assert (found.pk, created, len(raced)) == ("BRAND-NEW", False, 1)
    assert Item.objects.update_or_create(item_code="BRAND-NEW", defaults={"item_name": "y"})[1] is False
    assert erp.document("Item", "BRAND-NEW")["item_name"] == "y"


# Deleting


def test_delete_deletes_what_matches(erp):
    made = Lead.objects.bulk_create(leads("Ada", "Eve"))
    seen = []

    def receive(sender, instance, **_):
        seen.append(instance.first_name)

    post_delete.connect(receive, sender=Lead)
    try:
        assert Lead.objects.filter(pk__in=[each.pk for each in made]).delete() == (2, {"erp.Lead": 2})
    finally:
        post_delete.disconnect(receive, sender=Lead)
    assert sorted(seen) == ["Ada", "Eve"]
    assert Lead.objects.filter(first_name="Ada").delete() == (0, {})
    with pytest.raises(AttributeError):
        Lead.objects.delete()


def test_delete_tells_what_erpnext_kept(erp):
    new = Customer.objects.create(customer_name="Nobody's", customer_group="Commercial")
    used = SalesOrder.objects.order_by("name")[0].customer
    with pytest.raises(BulkError, match="1 of 2 were not deleted") as failure:
        Customer.objects.filter(pk__in=[used.pk, new.pk]).delete()
    assert [each.pk for each in failure.value.ok] == [new.pk]
    assert failure.value.failed[0][0].pk == used.pk
    assert Customer.objects.filter(pk=used.pk).exists()


def test_an_error_that_is_no_refusal_is_raised_as_it_is_when_nothing_was_done(erp, settings):
    made = Lead.objects.bulk_create(leads("Ada", "Eve"))
    for each in made:
        each.company_name = "New"
    settings.ERPNEXT_BRIDGE["SITES"]["default"] |= {"URL": "http://127.0.0.1:9"}
    with pytest.raises(SiteUnreachable):
        Lead.objects.bulk_update(made, ["company_name"])
    with pytest.raises(SiteUnreachable):
        Lead.objects.bulk_create(leads("x"), atomic=False)


def test_without_the_permission_nothing_is_deleted(erp, settings):
    made = Lead.objects.bulk_create(leads("Ada", "Eve"))
    key, secret = erp.api_key("bob@example.com")
    settings.ERPNEXT_BRIDGE["SITES"]["default"] |= {"API_KEY": key, "API_SECRET": secret}
    with pytest.raises(BulkError) as failure:
        Lead.objects.filter(pk__in=[each.pk for each in made]).delete()
    assert {type(error) for _, error in failure.value.failed} == {PermissionRefused}


# Rows


def rows_of(erp, order):
    return [row["qty"] for row in erp.document("Sales Order", order.pk)["items"]]


@pytest.fixture
def orders(erp):
    found = list(SalesOrder.objects.filter(docstatus=0).order_by("name")[:2])
    item = Item.objects.order_by("name")[0]
    for order in found:
        order.items.set([{"item_code": item.pk, "qty": qty, "rate": 1} for qty in (1, 2, 3)])
    erp.requests.clear()
    return found


def test_rows_are_written_with_one_request_for_each_document(erp, orders):
    rows = SalesOrderItem.objects.filter(parent__in=orders)
    assert rows.filter(qty__gte=2).update(rate=5) == 4
    assert [method for method, _ in sent(erp)].count("PUT") == 2
    assert rows.filter(rate=5).count() == 4
    orders[0].refresh_from_db()
    assert orders[0].items.filter(qty=3).delete() == (1, {"erp.SalesOrderItem": 1})
    assert [rows_of(erp, order) for order in orders] == [[1, 2], [1, 2, 3]]
    item = Item.objects.order_by("name")[0]
    fresh = [SalesOrder.objects.get(pk=order.pk) for order in orders]
    erp.requests.clear()
    made = SalesOrderItem.objects.bulk_create(
        (SalesOrderItem(parent=order, item_code=item, qty=qty) for qty in (7, 8) for order in fresh),
        atomic=False,
    )
    assert [method for method, _ in sent(erp)] == ["GET", "PUT", "GET", "PUT"]
    assert [rows_of(erp, order) for order in orders] == [[1, 2, 7, 8], [1, 2, 3, 7, 8]]
    for each in made:
        each.qty *= 10
    assert SalesOrderItem.objects.bulk_update(made, ["qty"]) == 4
    assert [rows_of(erp, order) for order in orders] == [[1, 2, 70, 80], [1, 2, 3, 70, 80]]


def test_new_rows_of_several_documents_are_not_called_one_transaction(erp, orders):
    fresh = [SalesOrder.objects.get(pk=order.pk) for order in orders]
    item = Item.objects.order_by("name")[0]
    before = [rows_of(erp, order) for order in orders]
    with pytest.raises(UnsupportedQuery, match=r"in 2\. With atomic=False"):
        SalesOrderItem.objects.bulk_create(
            SalesOrderItem(parent=each, item_code=item, qty=7) for each in fresh
        )
    with pytest.raises(UnsupportedQuery, match="leave ignore_conflicts out"):
        SalesOrderItem.objects.bulk_create(
            [SalesOrderItem(parent=fresh[0], item_code=item, qty=7)], ignore_conflicts=True
        )
    assert [rows_of(erp, order) for order in orders] == before
    SalesOrderItem.objects.bulk_create(
        [
            SalesOrderItem(parent=SalesOrder.objects.get(pk=fresh[0].pk), item_code=item, qty=qty)
            for qty in (7, 8)
        ]
    )
    assert rows_of(erp, orders[0]) == [*before[0], 7, 8]


def test_of_new_rows_each_documents_own_result_is_told(erp, orders):
    fresh = [SalesOrder.objects.get(pk=order.pk) for order in orders]
    item = Item.objects.order_by("name")[0]
    good, bad = (SalesOrderItem(parent=each, item_code=item, qty=7) for each in fresh)
    bad.item_code_id = "no such item"
    with pytest.raises(BulkError) as told:
        SalesOrderItem.objects.bulk_create([bad, good], atomic=False)
    assert told.value.ok == [good]
    assert [row for row, _ in told.value.failed] == [bad]
