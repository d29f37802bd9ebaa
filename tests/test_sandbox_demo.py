"""The demo company: the same at every start, consistent in itself, and seen by each user as far as allowed."""

from __future__ import annotations

import json
from collections import Counter, defaultdict

import pytest
import requests
from django.apps import apps

from erpnext_bridge import collation
from erpnext_bridge.documents import ChildDocument, Document
from erpnext_bridge.sandbox import Sandbox, World
from erpnext_bridge.sandbox.demo import demo_world

ALICE, BOB = "alice@example.com", "bob@example.com"
NOW = "2026-11-23 09:30:00.000000"
TREES = {"Territory": "territory", "Customer Group": "customer_group", "Item Group": "item_group"}


@pytest.fixture(scope="module")
def world():
    return demo_world()


@pytest.fixture(scope="module", params=[15, 16], ids=["v15", "v16"])
def store(request):
    store = demo_world().store(request.param, NOW)
    yield store
    store.connection.close()


@pytest.fixture(scope="module", params=[15, 16], ids=["v15", "v16"])
def site(request):
    with Sandbox(request.param, demo_world()) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def sees(site):
    """Return a function that lists what a user sees of a DocType, all of it."""

    def sees(user, doctype, *fields):
        answer = requests.get(
            f"{site.url}/api/resource/{doctype}",
            params={"fields": json.dumps(["name", *fields]), "limit_page_length": 0},
            headers={"Authorization": "token {}:{}".format(*site.api_key(user))},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    return sees


def names(rows):
    return {row["name"] for row in rows}


# The same at every start


def test_two_demo_worlds_are_equal(world):
    assert World.demo() == world


def test_two_demo_worlds_share_nothing_that_changes(world):
    other = demo_world()
    other.rows["Customer"][0]["customer_name"] = "Changed"
    other.rows["Territory"].clear()
    other.doctypes["Customer"]["fields"].clear()
    other.users.clear()
    other.series.clear()
    assert demo_world() == world


def test_another_seed_makes_other_rows(world):
    assert demo_world(seed=1).rows["Sales Order"] != world.rows["Sales Order"]


def test_another_seed_keeps_the_counts(world):
    other = demo_world(seed=1)
    assert {doctype: len(rows) for doctype, rows in other.rows.items() if doctype != "Sales Order Item"} == {
        doctype: len(rows) for doctype, rows in world.rows.items() if doctype != "Sales Order Item"
    }


def test_the_demo_has_its_promised_size(world):
    promised = {"Customer": 240, "Item": 60, "Sales Order": 400, "Lead": 40, "ToDo": 30}
    assert {doctype: len(world.rows[doctype]) for doctype in promised} == promised


# Consistent in itself


def test_each_row_is_stored_under_its_own_name(world, store):
    for doctype, rows in world.rows.items():
        assert {row["name"] for row in store.rows(doctype)} >= names(rows)
        assert len(names(rows)) == len(rows)


def test_names_differ_by_more_than_the_collation_overlooks(world):
    for rows in world.rows.values():
        found = [row["name"] for row in rows]
        assert len({collation.sort_key(name) for name in found}) == len(found)


def test_every_column_of_a_row_belongs_to_its_doctype(world, store):
    for doctype, rows in world.rows.items():
        for row in rows:
            assert row.keys() <= store.doctypes[doctype].column_set, doctype


def test_every_link_names_a_document(world, store):
    there = defaultdict(set)
    for doctype, rows in world.rows.items():
        for df in store.doctypes[doctype].links:
            there[df.options] = there[df.options] or names(store.rows(df.options))
            named = {row.get(df.fieldname) for row in rows} - {None, ""}
            assert named <= there[df.options], f"{doctype}.{df.fieldname}"


def test_every_doctype_that_a_field_names_exists(store):
    own = [store.doctypes[doctype] for doctype in demo_world().doctypes]
    for meta in own:
        targets = {df.options for df in [*meta.links, *meta.tables]}
        assert targets <= store.doctypes.keys(), meta.name


def test_fetched_titles_agree_with_their_source(world):
    customers = {row["name"]: row for row in world.rows["Customer"]}
    for order in world.rows["Sales Order"]:
        for fieldname in ("customer_name", "customer_group", "territory"):
            assert order[fieldname] == customers[order["customer"]][fieldname]


def test_every_select_has_one_of_its_options(world, store):
    for doctype, rows in world.rows.items():
        for df in store.doctypes[doctype].selects:
            used = {row.get(df.fieldname) for row in rows} - {None}
            assert used <= {*df.options.split("\n"), ""}, f"{doctype}.{df.fieldname}"


def test_mandatory_fields_are_filled(world, store):
    for doctype, rows in world.rows.items():
        for df in store.doctypes[doctype].mandatory:
            if df.stored:
                empty = [row["name"] for row in rows if row.get(df.fieldname) in (None, "")]
                assert not empty, f"{doctype}.{df.fieldname}"


def test_tasks_refer_to_documents(world):
    customers = names(world.rows["Customer"])
    assert all(row["reference_type"] == "Customer" for row in world.rows["ToDo"])
    assert {row["reference_name"] for row in world.rows["ToDo"]} <= customers


@pytest.fixture(scope="module")
def lines(world):
    """The rows of each order, in the order of the world."""
    found = defaultdict(list)
    for row in world.rows["Sales Order Item"]:
        found[row["parent"]].append(row)
    return found


def test_orders_have_one_to_six_rows_counted_from_one(world, lines):
    assert lines.keys() == names(world.rows["Sales Order"])
    for rows in lines.values():
        assert [row["idx"] for row in rows] == list(range(1, len(rows) + 1))
    assert {len(rows) for rows in lines.values()} == {1, 2, 3, 4, 5, 6}


def test_rows_are_part_of_their_order(world, lines):
    for order in world.rows["Sales Order"]:
        for row in lines[order["name"]]:
            assert (row["parenttype"], row["parentfield"]) == ("Sales Order", "items")
            assert row["docstatus"] == order["docstatus"]
            assert len(row["name"]) == 10


def test_amounts_and_totals_match_the_rows(world, lines):
    for order in world.rows["Sales Order"]:
        rows = lines[order["name"]]
        assert all(row["amount"] == round(row["qty"] * row["rate"], 2) for row in rows)
        assert order["grand_total"] == round(sum(row["qty"] * row["rate"] for row in rows), 2)
        assert order["total"] == order["net_total"] == order["grand_total"]
        assert order["total_qty"] == sum(row["qty"] for row in rows)
        converted = order["grand_total"] * order["conversion_rate"]
        assert order["base_grand_total"] == pytest.approx(converted, abs=0.0051)


def test_whole_units_are_sold_whole(world):
    whole = {row["name"] for row in world.rows["UOM"] if row["must_be_whole_number"]}
    rows = [row for row in world.rows["Sales Order Item"] if row["uom"] in whole]
    assert rows
    assert all(row["qty"] == int(row["qty"]) for row in rows)


def test_a_status_goes_with_its_docstatus(world):
    pairs = {(row["status"], row["docstatus"]) for row in world.rows["Sales Order"]}
    assert pairs == {
        ("Draft", 0),
        ("On Hold", 1),
        ("To Deliver and Bill", 1),
        ("To Bill", 1),
        ("To Deliver", 1),
        ("Completed", 1),
        ("Closed", 1),
        ("Cancelled", 2),
    }


def test_completed_orders_are_delivered_and_billed(world, lines):
    for order in world.rows["Sales Order"]:
        if order["status"] == "Completed":
            rows = lines[order["name"]]
            assert (order["per_delivered"], order["per_billed"]) == (100, 100)
            assert all(
                (row["delivered_qty"], row["billed_amt"]) == (row["qty"], row["amount"]) for row in rows
            )


def test_amended_orders_follow_cancelled_ones(world):
    orders = {row["name"]: row for row in world.rows["Sales Order"]}
    amended = [row for row in orders.values() if row.get("amended_from")]
    assert amended
    for row in amended:
        source = orders[row["amended_from"]]
        assert (source["docstatus"], row["name"]) == (2, f"{source['name']}-1")
        assert source["modified"] <= row["creation"] <= row["modified"]


@pytest.mark.parametrize("doctype", TREES)
def test_trees_are_nested_sets(world, doctype):
    rows = {row["name"]: row for row in world.rows[doctype]}
    bounds = sorted(bound for row in rows.values() for bound in (row["lft"], row["rgt"]))
    assert bounds == list(range(1, 2 * len(rows) + 1))
    parents = Counter(row[f"parent_{TREES[doctype]}"] for row in rows.values())
    for name, row in rows.items():
        assert row["is_group"] == int(parents[name] > 0)
        if parent := rows.get(row[f"parent_{TREES[doctype]}"]):
            assert parent["lft"] < row["lft"] < row["rgt"] < parent["rgt"]
    assert parents[None] == 1


def test_rows_are_changed_after_their_creation_and_before_today(world):
    for rows in world.rows.values():
        for row in rows:
            assert row["creation"] <= row["modified"] < world.today


def test_orders_are_of_the_last_twelve_months(world):
    for order in world.rows["Sales Order"]:
        assert "2025-11-24" <= order["transaction_date"] < order["delivery_date"]
        assert order["transaction_date"] <= order["creation"] < world.today


@pytest.mark.parametrize("doctype", ["Customer", "Sales Order"])
def test_several_rows_share_one_modified(world, doctype):
    moments = Counter(row["modified"] for row in world.rows[doctype])
    assert moments.most_common(1)[0][1] > 20
    assert len(moments) > 100


def test_websites_may_be_unknown_or_empty(world):
    websites = Counter(row["website"] for row in world.rows["Customer"])
    assert websites[None] > 10
    assert websites[""] > 10
    assert len(websites) > 50


@pytest.mark.parametrize("special", [*"'\"/%#&?\\*,;+|~[{"])
def test_names_of_customers_need_care(world, special):
    assert any(special in row["name"] for row in world.rows["Customer"])


def test_series_count_on_where_the_names_end(world):
    for doctype in ("Sales Order", "Lead"):
        for name in names(world.rows[doctype]):
            prefix, _, number = name.removesuffix("-1").rpartition("-")
            assert int(number) <= world.series[f"{prefix}-"]


# As models and users see it


def test_the_doctypes_have_every_column_of_the_models(store):
    models = [model for model in apps.get_models() if issubclass(model, (Document, ChildDocument))]
    there = [model for model in models if model.doctype in store.doctypes]
    assert {"Customer", "Sales Order", "Sales Order Item", "Lead", "ToDo"} <= {m.doctype for m in there}
    for model in there:
        columns = {field.column for field in model._meta.concrete_fields}
        assert columns <= store.doctypes[model.doctype].column_set, model.doctype


@pytest.mark.parametrize(
    "doctype", ["Customer", "Sales Order", "Lead", "Item", "Territory", "Customer Group"]
)
def test_alice_sees_everything(world, sees, doctype):
    assert names(sees(ALICE, doctype)) == names(world.rows[doctype])


@pytest.mark.parametrize("doctype", ["Customer", "Sales Order", "Lead"])
def test_bob_sees_his_territory_only(world, sees, doctype):
    north = [row for row in world.rows[doctype] if row["territory"] == "North"]
    assert 0 < len(north) < len(world.rows[doctype])
    assert names(sees(BOB, doctype)) == names(north)


def test_bob_finds_his_territory(sees):
    assert names(sees(BOB, "Territory")) == {"North"}


@pytest.mark.parametrize("user", [ALICE, BOB])
def test_users_see_their_own_tasks(world, sees, user):
    own = [row for row in world.rows["ToDo"] if row["owner"] == user]
    assert len(own) == 15
    assert names(sees(user, "ToDo")) == names(own)


@pytest.fixture
def fresh(request):
    """A demo site that a test may change."""
    with Sandbox(request.param, demo_world()) as sandbox:
        yield sandbox


@pytest.mark.parametrize("fresh", [15, 16], ids=["v15", "v16"], indirect=True)
def test_bob_makes_orders_and_alice_deletes_them(fresh):
    def call(user, method, path, body=None):
        headers = {"Authorization": "token {}:{}".format(*fresh.api_key(user))}
        return requests.request(
            method, f"{fresh.url}/api/resource/{path}", json=body, headers=headers, timeout=60
        )

    customer = next(row for row in fresh.world.rows["Customer"] if row["territory"] == "North")
    rows = [{"item_code": "BULB 60W/E27", "qty": 3, "rate": 12.5}]
    body = {"customer": customer["name"], "delivery_date": "2026-12-24", "items": rows}
    made = call(BOB, "POST", "Sales Order", body).json()["data"]
    following = fresh.world.series["SAL-ORD-2026-"] + 1
    assert made["name"] == f"SAL-ORD-2026-{following:05}"
    assert (made["territory"], made["grand_total"], made["currency"]) == ("North", 37.5, "EUR")
    assert call(BOB, "DELETE", f"Sales Order/{made['name']}").status_code == 403
    assert call(ALICE, "DELETE", f"Sales Order/{made['name']}").status_code == 202


def test_the_passwords_of_the_demo_open_sessions(site):
    for user, password in ((ALICE, "alice-sandbox"), (BOB, "bob-sandbox"), ("Administrator", "admin")):
        data = {"usr": user, "pwd": password}
        assert requests.post(f"{site.url}/api/method/login", data=data, timeout=60).status_code == 200
