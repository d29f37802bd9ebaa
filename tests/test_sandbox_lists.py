"""Lists of the sandbox: filters, fields, order, limits, and where the versions part."""

from __future__ import annotations

import pytest

from erpnext_bridge.sandbox import errors
from tests.sandbox_calls import Data, doctype, field, small_world

LINE = doctype("Line", field("item"), field("qty", "Float"), istable=1)
PLACE = doctype("Place", field("nick"), autoname="prompt", is_tree=1)
DEAL = doctype(
    "Deal",
    field("title"),
    field("place", "Link", options="Place"),
    field("amount", "Currency"),
    field("count", "Int"),
    field("due", "Date"),
    field("open", "Check"),
    field("lines", "Table", options="Line"),
    autoname="prompt",
)
TREE = [
    {"name": "World", "is_group": 1, "lft": 1, "rgt": 6, "nick": "all"},
    {"name": "North", "is_group": 0, "lft": 2, "rgt": 3, "nick": "cold"},
    {"name": "South", "is_group": 0, "lft": 4, "rgt": 5, "nick": None},
]
DEALS = [
    {"name": "D1", "title": "Müller", "place": "North", "amount": 10.5, "count": 1, "due": "2026-01-01"},
    {
        "name": "D2",
        "title": "muller ",
        "place": "South",
        "amount": 0,
        "count": 2,
        "due": "2026-02-01",
        "open": 1,
    },
    {"name": "D3", "title": "", "place": "World", "amount": 7, "count": 0, "due": None},
    {"name": "D4", "title": None, "amount": 3, "count": 5, "due": "2026-03-01"},
    {"name": "D5", "title": "100% sure", "place": "", "amount": 3, "count": 4, "due": "2026-03-02"},
]
LINES = [
    {"name": f"L{n}", "parent": parent, "parenttype": "Deal", "parentfield": "lines", "idx": n, "item": item}
    for n, (parent, item) in enumerate([("D1", "bolt"), ("D1", "nut"), ("D2", "bolt")], 1)
]
for moment, row in enumerate(DEALS):
    row["creation"] = row["modified"] = f"2026-01-01 10:00:0{moment}.000000"


@pytest.fixture(scope="module", params=[15, 16], ids=["v15", "v16"])
def data(request):
    rows = {"Place": TREE, "Deal": DEALS, "Line": LINES}
    with Data(request.param, small_world(LINE, PLACE, DEAL, rows=rows)) as data:
        yield data


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([["title", "=", "MULLER"]], "D1 D2"),
        ({"title": "muller"}, "D1 D2"),
        ([["title", "like", "%ull%"]], "D1 D2"),
        ([["title", "is", "not set"]], "D3 D4"),
        ([["title", "is", "set"]], "D1 D2 D5"),
        ([["title", "=", ""]], "D3 D4"),
        ([["place", "in", ["North", "South"]]], "D1 D2"),
        ([["count", ">", 1]], "D2 D4 D5"),
        ([["count", ">=", "4"]], "D4 D5"),
        ([["amount", "=", 0]], "D2"),
        ([["due", "between", ["2026-01-15", "2026-03-01"]]], "D2 D4"),
        ({"place": ["descendants of", "World"]}, "D1 D2"),
        ({"place": ["ancestors of", "North"]}, "D3"),
        ([["lines", "item", "=", "nut"]], None),
        ([["Line", "item", "=", "bolt"]], "D1 D2"),
        ([["open", "=", 1], ["count", "=", 2]], "D2"),
        ([["name", "in", []]], ""),
    ],
)
def test_filters(data, filters, expected):
    if expected is None:
        with pytest.raises(errors.SandboxError):
            data.names("Deal", filters=filters)
    else:
        assert data.names("Deal", filters=filters, order_by="name asc") == expected.split()


def test_or_filters_join_with_the_filters(data):
    found = data.names(
        "Deal",
        filters=[["count", ">", 0]],
        or_filters=[["count", "=", 5], ["title", "=", "muller"]],
        order_by="name",
    )
    assert found == ["D1", "D2", "D4"]


def test_a_backslash_escapes_a_percent_sign_since_16(data):
    found = data.names("Deal", filters=[["title", "like", "%\\%%"]])
    assert found == ([] if data.site.version < 16 else ["D5"])


def test_since_16_a_tree_operator_cannot_stand_alone_in_a_list(data):
    filters = [["place", "descendants of", "World"]]
    if data.site.version < 16:
        assert sorted(data.names("Deal", filters=filters)) == ["D1", "D2"]
        return
    with pytest.raises(errors.ValidationError):
        data.names("Deal", filters=filters)


def test_texts_are_ordered_by_the_collation_and_nulls_come_first(data):
    assert data.names("Deal", order_by="title asc, name asc") == ["D4", "D3", "D5", "D1", "D2"]


def test_pages(data):
    page = {"order_by": "name asc", "limit_page_length": 2}
    assert data.names("Deal", limit_start=2, **page) == ["D3", "D4"]
    assert data.names("Deal", limit_start=4, **page) == ["D5"]
    assert len(data.names("Deal", limit_page_length=0)) == len(DEALS)


def test_fields_of_links_and_children(data):
    asked = {"fields": ["name", "place.nick as nick"], "filters": {"name": "D1"}}
    assert data.get("Deal", **asked) == [{"name": "D1", "nick": "cold"}]
    rows = data.get(
        "Deal", fields=["name", "lines.item"], filters={"name": "D1"}, order_by="`tabLine`.idx asc"
    )
    assert [row["item"] for row in rows] == ["bolt", "nut"]


def test_a_star_is_every_column(data):
    (row,) = data.get("Deal", fields=["*"], filters={"name": "D1"})
    assert row["title"] == "Müller"
    assert row["owner"] == "Administrator"
    assert "lines" not in row


def test_aggregates_have_a_spelling_for_each_version(data):
    texts, pairs = ["place", "sum(amount) as total"], ["place", {"SUM": "amount", "as": "total"}]
    good, bad = (texts, pairs) if data.site.version < 16 else (pairs, texts)
    rows = data.get(
        "Deal", fields=good, filters=[["place", "is", "set"]], group_by="place", order_by="place asc"
    )
    assert [(row["place"], row["total"]) for row in rows] == [("North", 10.5), ("South", 0.0), ("World", 7.0)]
    with pytest.raises(errors.SandboxError):
        data.get("Deal", fields=bad, group_by="place")


def test_unknown_fields_are_refused(data):
    with pytest.raises(errors.SandboxError):
        data.get("Deal", filters=[["nonsense", "=", 1]])


def test_unknown_doctypes_do_not_exist(data):
    with pytest.raises(errors.DoesNotExistError):
        data.get("No Such Thing")


def test_counts_follow_the_filters(data):
    assert data.call("frappe.client.get_count", doctype="Deal", filters={"title": "muller"}) == 2


def test_get_value_reads_one_field(data):
    found = data.call(
        "frappe.client.get_value", doctype="Deal", fieldname="amount", filters={"title": "muller "}
    )
    assert found in ({"amount": 10.5}, {"amount": 0.0})
