"""Documents of the sandbox: how they are named, checked, saved, submitted, renamed and deleted."""

from __future__ import annotations

import re

import pytest

from erpnext_bridge.sandbox import errors
from tests.sandbox_calls import Data, doctype, field, small_world

LINE = doctype("Line", field("item", reqd=1), field("qty", "Float", default="1"), istable=1)
PLACE = doctype("Place", field("code", reqd=1, unique=1), autoname="field:code", allow_rename=1)
ZONE = doctype("Zone", field("zone_name", reqd=1), autoname="field:zone_name", is_tree=1)
DEAL = doctype(
    "Deal",
    field("title", reqd=1, length=20),
    field("place", "Link", options="Place"),
    field("origin", "Link", options="Place"),
    field("origin_code", fetch_from="origin.code"),
    field("stage", "Select", options="New\nWon\nLost"),
    field("fixed", set_only_once=1),
    field("remark", allow_on_submit=1),
    field("amount", "Currency"),
    field("lines", "Table", options="Line"),
    autoname="DEAL-.####",
    is_submittable=1,
)
COUNTED = doctype("Counted", field("title"), autoname="autoincrement")
LOOSE = doctype("Loose", field("title"), autoname="hash")


@pytest.fixture(params=[15, 16], ids=["v15", "v16"])
def data(request):
    with Data(request.param, small_world(LINE, PLACE, ZONE, DEAL, COUNTED, LOOSE)) as data:
        yield data


@pytest.fixture
def deal(data):
    data.post("Place", code="North")
    lines = [{"item": "bolt"}, {"item": "nut", "qty": 3}]
    return data.post("Deal", title="First", place="North", origin="NORTH", lines=lines)


def latest(data, name):
    return data.get("Deal", name)


def test_names_follow_the_rule_of_the_doctype(data, deal):
    assert deal["name"] == "DEAL-0001"
    assert data.post("Deal", title="Second")["name"] == "DEAL-0002"
    assert data.post("Place", code="South")["name"] == "South"
    assert data.post("Counted", title="one")["name"] == 1
    assert re.fullmatch("[0-9a-z]{10}", data.post("Loose", title="any")["name"])


def test_new_documents_get_defaults_fetched_values_and_numbered_rows(deal):
    assert deal["stage"] == "New"
    assert (deal["origin"], deal["origin_code"]) == ("North", "North")
    assert [(row["idx"], row["item"], row["qty"]) for row in deal["lines"]] == [
        (1, "bolt", 1.0),
        (2, "nut", 3.0),
    ]
    assert {row["parent"] for row in deal["lines"]} == {deal["name"]}


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({}, errors.MandatoryError),
        ({"title": "x", "lines": [{}]}, errors.MandatoryError),
        ({"title": "x", "place": "Nowhere"}, errors.LinkValidationError),
        ({"title": "x", "stage": "Maybe"}, errors.ValidationError),
        ({"title": "x" * 21}, errors.CharacterLengthExceededError),
    ],
)
def test_bad_documents_are_refused_and_leave_nothing(data, values, error):
    with pytest.raises(error):
        data.post("Deal", **values)
    assert data.names("Deal") == []
    assert data.post("Deal", title="After")["name"] == "DEAL-0001"


def test_15_does_not_check_links_that_fetch(data):
    if data.site.version < 16:
        assert data.post("Deal", title="x", origin="Nowhere")["origin"] == "Nowhere"
        return
    with pytest.raises(errors.LinkValidationError):
        data.post("Deal", title="x", origin="Nowhere")


def test_names_and_unique_values_compare_by_the_collation(data):
    data.post("Place", code="Über")
    with pytest.raises(errors.DuplicateEntryError):
        data.post("Place", code="UBER")


def test_a_put_changes_what_it_names(data, deal):
    data.put("Deal", deal["name"], amount="12.345")
    changed = latest(data, deal["name"])
    assert (changed["title"], changed["amount"]) == ("First", 12.345)
    assert changed["modified"] > deal["modified"]


def test_a_put_of_an_older_version_is_refused(data, deal):
    data.put("Deal", deal["name"], amount=1)
    with pytest.raises(errors.TimestampMismatchError):
        data.put("Deal", deal["name"], amount=2, modified=deal["modified"])


def test_a_table_is_replaced_as_a_whole(data, deal):
    first, second = deal["lines"]
    data.put("Deal", deal["name"], lines=[{"item": "new"}, {**second, "qty": 9}])
    rows = latest(data, deal["name"])["lines"]
    assert [(row["idx"], row["item"]) for row in rows] == [(1, "new"), (2, "nut")]
    assert rows[1]["name"] == second["name"]
    with pytest.raises(errors.DoesNotExistError):
        data.get("Line", first["name"])


def test_some_fields_are_set_once_only(data, deal):
    data.put("Deal", data.post("Deal", title="x", fixed="a")["name"], fixed="a")
    with pytest.raises(errors.CannotChangeConstantError):
        data.put("Deal", "DEAL-0002", fixed="b")


def test_the_life_of_a_submitted_document(data, deal):
    name = deal["name"]
    data.put("Deal", name, docstatus=1)
    data.put("Deal", name, remark="still allowed")
    with pytest.raises(errors.UpdateAfterSubmitError):
        data.put("Deal", name, title="Other")
    with pytest.raises(errors.DocstatusTransitionError):
        data.put("Deal", name, docstatus=0)
    with pytest.raises(errors.ValidationError):
        data.delete("Deal", name)
    data.put("Deal", name, docstatus=2)
    assert [row["docstatus"] for row in latest(data, name)["lines"]] == [2, 2]
    assert data.post("Deal", title="Again", amended_from=name)["name"] == f"{name}-1"


def test_what_others_link_to_stays(data, deal):
    with pytest.raises(errors.LinkExistsError):
        data.delete("Place", "North")
    data.delete("Deal", deal["name"])
    data.delete("Place", "North")
    assert data.names("Place") == []
    deleted = data.get("Deleted Document", fields=["deleted_name"], order_by="creation asc")
    assert [row["deleted_name"] for row in deleted] == [deal["name"], "North"]


def test_a_rename_takes_the_links_along(data, deal):
    data.call("frappe.client.rename_doc", doctype="Place", old_name="North", new_name="Far North")
    assert latest(data, deal["name"])["place"] == "Far North"
    assert data.get("Place", "Far North")["code"] == "Far North"


def test_trees_keep_their_bounds(data):
    data.post("Zone", zone_name="All", is_group=1)
    for name in ("A", "B"):
        data.post("Zone", zone_name=name, parent_zone="All")
    data.post("Zone", zone_name="C", parent_zone="All")
    data.delete("Zone", "B")
    rows = data.get("Zone", fields=["name", "lft", "rgt"], order_by="lft asc")
    assert [(row["name"], row["lft"], row["rgt"]) for row in rows] == [
        ("All", 1, 6),
        ("A", 2, 3),
        ("C", 4, 5),
    ]


def test_a_failed_request_changes_nothing(data, deal):
    with pytest.raises(errors.LinkValidationError):
        data.put("Deal", deal["name"], title="Half", place="Nowhere")
    assert latest(data, deal["name"])["title"] == "First"


def test_methods_check_their_arguments_as_python_does(data):
    with pytest.raises(errors.TypeError):
        data.call("frappe.client.get_count")
    with pytest.raises(errors.PermissionError):
        data.call_as("Guest", "frappe.client.get_count", doctype="Deal")
