"""Child rows: added, changed, removed and moved, with one request for the whole table and nothing of it lost."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.db.models.signals import post_delete, post_save

from erpnext_bridge.errors import Conflict, UnsupportedQuery, ValidationRefused
from tests.erp.models import Item, Lead, SalesOrder, SalesOrderItem
from tests.orders import draft


@pytest.fixture
def order(erp):
    """A draft with three rows, read with them."""
    made = draft(1, 2, 3)
    read = SalesOrder.objects.get(pk=made.pk)
    erp.requests.clear()
    return read


def stored(erp, order):
    return erp.document("Sales Order", order.pk)["items"]


def quantities(erp, order):
    return [(row["idx"], row["qty"]) for row in stored(erp, order)]


def sent(erp):
    return [request.method for request in erp.requests]


def move(order):
    """Let somebody else save the order."""
    other = SalesOrder.objects.get(pk=order.pk)
    other.delivery_date += dt.timedelta(days=1)
    other.save()


# One row


def test_a_row_is_saved_with_what_changed_of_it_and_keeps_all_else(erp, order):
    before = stored(erp, order)
    row = order.items.all()[1]
    row.qty = 20
    row.save()
    assert sent(erp) == ["GET", "PUT"]
    after = stored(erp, order)
    assert quantities(erp, order) == [(1, 1.0), (2, 20.0), (3, 3.0)]
    known = {"qty", "amount", "modified", "modified_by", "base_amount", "net_amount", "stock_qty"}
    for old, new in zip(before, after, strict=True):
        assert {k: v for k, v in new.items() if k not in known} == {
            k: v for k, v in old.items() if k not in known
        }
    assert (row.amount, order.grand_total) == (Decimal(200), Decimal(240))
    erp.requests.clear()
    row.save()
    row.save(update_fields=["rate"])
    assert not erp.requests


def test_a_column_that_the_class_does_not_know_survives_an_edit_of_another_row(erp, order):
    with erp.site.lock:
        first = stored(erp, order)[0]
        erp.site.store.update("Sales Order Item", first["name"], {"description": "Please wrap"})
    order.items.all()[1].delete()
    order.items.create(item_code_id=first["item_code"], qty=4)
    order.items.set(reversed(order.items.all()))
    assert [row["name"] for row in stored(erp, order)][2] == first["name"]
    assert stored(erp, order)[2]["description"] == "Please wrap"


def test_a_saved_row_leaves_unsaved_changes_of_the_others_and_of_the_order_alone(erp, order):
    first, second, _ = order.items.all()
    first.qty, second.qty = 10, 20
    order.delivery_date = dt.date(2027, 1, 1)
    first.save()
    assert quantities(erp, order) == [(1, 10.0), (2, 2.0), (3, 3.0)]
    assert (second.qty, order.delivery_date) == (20, dt.date(2027, 1, 1))
    assert order.changes() == {"delivery_date": "2027-01-01"}
    second.save()
    order.save()
    assert quantities(erp, order) == [(1, 10.0), (2, 20.0), (3, 3.0)]
    assert erp.document("Sales Order", order.pk)["delivery_date"] == "2027-01-01"


def test_update_fields_of_a_row_sends_these_alone(erp, order):
    row = order.items.all()[0]
    row.qty, row.rate = 5, Decimal(7)
    row.save(update_fields=["qty"])
    assert (stored(erp, order)[0]["qty"], stored(erp, order)[0]["rate"]) == (5, 10)
    assert row.rate == Decimal(7)


def test_a_deleted_row_is_gone_and_the_others_are_numbered_anew(erp, order):
    order.items.all()[0].delete()
    assert quantities(erp, order) == [(1, 2.0), (2, 3.0)]
    assert [row.qty for row in order.items.all()] == [2.0, 3.0]
    assert order.grand_total == Decimal(50)


def test_a_row_of_an_order_that_moved_is_a_conflict(erp, order):
    move(order)
    row = order.items.all()[0]
    row.qty = 10
    for write in (row.save, row.delete, order.items.clear):
        with pytest.raises(Conflict) as conflict:
            write()
    assert conflict.value.document.delivery_date == dt.date(2026, 1, 10)
    assert quantities(erp, order) == [(1, 1.0), (2, 2.0), (3, 3.0)]
    fresh = conflict.value.document.items.all()[0]
    fresh.qty = 10
    fresh.save()
    assert quantities(erp, order) == [(1, 10.0), (2, 2.0), (3, 3.0)]


def test_rows_that_were_read_alone_are_written_as_long_as_they_are_as_read(erp, order):
    rows = list(SalesOrderItem.objects.filter(parent=order).order_by("idx"))
    stale = SalesOrderItem.objects.get(pk=rows[0].pk)
    for row in rows:
        row.qty *= 10
        row.save()
    assert quantities(erp, order) == [(1, 10.0), (2, 20.0), (3, 30.0)]
    stale.qty = 5
    with pytest.raises(Conflict, match="changed since it was read") as conflict:
        stale.save()
    assert conflict.value.document.items.all()[0].qty == 10
    rows[0].delete()
    with pytest.raises(Conflict, match="not there any more"):
        stale.save()


def test_rows_of_a_prefetch_are_saved_too(erp, order):
    (read,) = SalesOrder.objects.filter(pk=order.pk).prefetch_related("items")
    row = read.items.all()[2]
    row.qty = 30
    row.save()
    assert quantities(erp, order) == [(1, 1.0), (2, 2.0), (3, 30.0)]


# The table


def test_items_create_appends_a_row_and_returns_it(erp, order):
    item = Item.objects.order_by("name")[3]
    erp.requests.clear()
    row = order.items.create(item_code=item, qty=4, rate=Decimal(10))
    assert sent(erp) == ["GET", "PUT"]
    assert (row.idx, row.amount, row.parent) == (4, Decimal(40), order)
    assert row in order.items.all()
    assert stored(erp, order)[3]["name"] == row.pk
    assert order.items.get_or_create(item_code=item) == (row, False)
    assert order.items.update_or_create(item_code=item, defaults={"qty": 40}) == (row, False)
    assert quantities(erp, order)[3] == (4, 40.0)


def test_add_remove_and_clear(erp, order):
    first, _, third = order.items.all()
    order.items.add(
        SalesOrderItem(item_code=first.item_code, qty=4),
        {"item_code": third.item_code_id, "qty": 5, "description": "Wrap it"},
    )
    assert [qty for _, qty in quantities(erp, order)] == [1, 2, 3, 4, 5]
    assert stored(erp, order)[4]["description"] == "Wrap it"
    order.items.remove(first, third)
    assert [qty for _, qty in quantities(erp, order)] == [2, 4, 5]
    with pytest.raises(SalesOrder.DoesNotExist):
        order.items.remove(SalesOrderItem(name="strange", parent_id="another"))
    with pytest.raises(UnsupportedQuery, match="belongs to another"):
        order.items.add(SalesOrderItem(name="strange", parent_id="another"))
    with pytest.raises(TypeError, match="SalesOrderItem or a dict"):
        order.items.add(Lead())
    with pytest.raises(ValidationRefused):
        order.items.clear()
    assert len(order.items.all()) == 3


def test_set_gives_the_table_these_rows_in_this_order(erp, order):
    first, second, third = order.items.all()
    first.qty = 10
    erp.requests.clear()
    order.items.set([third, {"item_code": second.item_code_id, "qty": 7}, first])
    assert sent(erp) == ["GET", "PUT"]
    rows = stored(erp, order)
    assert [(row["idx"], row["qty"]) for row in rows] == [(1, 3.0), (2, 7.0), (3, 10.0)]
    assert [rows[0]["name"], rows[2]["name"]] == [third.pk, first.pk]
    assert [row.qty for row in order.items.all()] == [3.0, 7.0, 10.0]
    with pytest.raises(ValueError, match="twice"):
        order.items.set([first, first])


@pytest.mark.parametrize(
    ("places", "expected"),
    [({2: 1}, [3, 1, 2]), ({0: 3}, [2, 3, 1]), ({0: 2, 1: 1}, [2, 1, 3]), ({0: 99}, [2, 3, 1])],
    ids=["up", "down", "swap", "to the end"],
)
def test_rows_are_moved_by_their_idx(erp, order, places, expected):
    rows = list(order.items.all())
    for index, place in places.items():
        rows[index].idx = place
    order.save()
    assert [qty for _, qty in quantities(erp, order)] == expected
    assert [row.idx for row in order.items.all()] == [1, 2, 3]


# The document with its rows


def test_an_order_is_saved_with_the_rows_that_changed_in_one_request(erp, order):
    first, _, third = order.items.all()
    first.qty, third.rate = 10, Decimal(1)
    order.delivery_date = dt.date(2027, 1, 1)
    order.save()
    assert sent(erp) == ["GET", "PUT"]
    assert quantities(erp, order) == [(1, 10.0), (2, 2.0), (3, 3.0)]
    assert order.grand_total == Decimal(123)
    assert erp.document("Sales Order", order.pk)["delivery_date"] == "2027-01-01"


def test_update_fields_may_name_a_table(erp, order):
    first = order.items.all()[0]
    first.qty = 10
    order.delivery_date = dt.date(2027, 1, 1)
    order.save(update_fields=["items"])
    assert quantities(erp, order)[0] == (1, 10.0)
    first.qty = 100
    order.save(update_fields=["delivery_date"])
    assert quantities(erp, order)[0] == (1, 10.0)
    assert first.qty == 100
    with pytest.raises(ValueError, match="nonsense"):
        order.save(update_fields=["nonsense"])


def test_many_edits_are_one_request(erp, order):
    first, second, third = order.items.all()
    with order.edit():
        order.delivery_date = dt.date(2027, 1, 1)
        order.save()
        first.delete()
        second.qty = 20
        second.save()
        new = order.items.create(item_code_id=first.item_code_id, qty=4, rate=Decimal(10))
        assert not erp.requests
    assert sent(erp) == ["GET", "PUT"]
    assert quantities(erp, order) == [(1, 20.0), (2, 3.0), (3, 4.0)]
    assert (new.pk, new.idx, new.amount) == (stored(erp, order)[2]["name"], 3, Decimal(40))
    assert list(order.items.all()) == [second, third, new]


def test_an_edit_sends_all_that_changed(erp, order):
    with pytest.raises(UnsupportedQuery, match="update_fields"), order.edit():
        order.save(update_fields=["delivery_date"])


def test_rows_that_were_read_alone_join_the_edit_of_their_order(erp, order):
    with order.edit():
        for row in SalesOrderItem.objects.filter(parent=order.pk):
            row.qty *= 10
            row.save()
    assert [method for method in sent(erp) if method == "PUT"] == ["PUT"]
    assert [qty for _, qty in quantities(erp, order)] == [10, 20, 30]


def test_an_exception_inside_edit_sends_nothing(erp, order):
    def fail():
        with order.edit():
            order.items.all()[0].delete()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not erp.requests
    order.items.all()[0].delete()
    assert quantities(erp, order) == [(1, 2.0), (2, 3.0)]


def test_a_new_order_is_created_with_the_rows_that_were_made_inside_edit(erp, order):
    new = SalesOrder(
        customer_id=order.customer_id,
        company=order.company,
        transaction_date=dt.date(2026, 1, 2),
        delivery_date=dt.date(2026, 1, 9),
    )
    with pytest.raises(ValueError, match="not saved yet"):
        new.items.create(qty=1)
    item = order.items.all()[0].item_code_id
    with new.edit():
        new.save()
        row = SalesOrderItem(parent=new, item_code_id=item, qty=2, rate=Decimal(5))
        row.save()
        new.items.add({"item_code": item, "qty": 1, "rate": Decimal(5)})
    assert sent(erp) == ["POST"]
    assert quantities(erp, new) == [(1, 2.0), (2, 1.0)]
    assert (row.parent_id, row.idx, row.amount, new.grand_total) == (new.pk, 1, Decimal(10), Decimal(15))


def test_the_rows_given_to_a_new_order_are_its_rows_afterwards(erp, order):
    row = SalesOrderItem(item_code_id=order.items.all()[0].item_code_id, qty=2, rate=Decimal(5))
    new = SalesOrder.objects.create(
        customer_id=order.customer_id,
        company=order.company,
        transaction_date=dt.date(2026, 1, 2),
        delivery_date=dt.date(2026, 1, 9),
        items=[row],
    )
    assert list(new.items.all()) == [row]
    row.qty = 3
    row.save()
    assert quantities(erp, new) == [(1, 3.0)]


def test_a_submit_sends_what_changed_and_what_was_seen(erp, order):
    order.items.all()[0].qty = 10
    order.submit()
    assert sent(erp) == ["GET", "PUT"]
    assert (order.docstatus, quantities(erp, order)[0]) == (1, (1, 10.0))
    assert [row.docstatus for row in order.items.all()] == [1, 1, 1]


def test_a_submit_of_what_somebody_else_changed_is_a_conflict(erp, order):
    move(order)
    with pytest.raises(Conflict):
        order.submit()
    assert erp.document("Sales Order", order.pk)["docstatus"] == 0


def test_djangos_signals_tell_of_rows(erp, order):
    seen = []
    receivers = {
        post_save: lambda sender, instance, created, **_: seen.append(("saved", instance.qty, created)),
        post_delete: lambda sender, instance, **_: seen.append(("deleted", instance.qty)),
    }
    for signal, receiver in receivers.items():
        signal.connect(receiver, sender=SalesOrderItem)
    try:
        first, second, _ = order.items.all()
        with order.edit():
            first.qty = 10
            second.delete()
            order.items.create(item_code=first.item_code, qty=4)
    finally:
        for signal, receiver in receivers.items():
            signal.disconnect(receiver, sender=SalesOrderItem)
    assert sorted(seen, key=str) == [("deleted", 2.0), ("saved", 10.0, False), ("saved", 4.0, True)]


def test_a_row_without_a_document_is_refused():
    with pytest.raises(ValueError, match="in no document"):
        SalesOrderItem(qty=1).save()


@pytest.mark.django_db
def test_changed_rows_are_not_lost_in_a_write_for_later(order):
    order.items.all()[0].qty = 10
    with pytest.raises(UnsupportedQuery, match="would lose"):
        order.save_later()
