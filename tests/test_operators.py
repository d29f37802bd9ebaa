"""Frappe's own operators as lookups, against the sandbox's trees and calendar."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from django.db.models import Count, Q

from erpnext_bridge.errors import UnsupportedQuery
from erpnext_bridge.sandbox import Sandbox
from tests.erp.models import Customer, Territory, ToDo, Twin


@pytest.fixture(scope="module", params=[15, 16], ids=["v15", "v16"])
def demo(request):
    with Sandbox(version=request.param) as sandbox:
        yield sandbox


@pytest.fixture
def erp(demo, settings):
    key, secret = demo.api_key("alice@example.com")
    site = {"URL": demo.url, "API_KEY": key, "API_SECRET": secret}
    settings.ERPNEXT_BRIDGE = {"SITES": {"default": site}, "TOKEN_KEYS": ["k" * 40]}
    ToDo.objects.as_service().exists()
    demo.requests.clear()
    return demo


def customers():
    return Customer.objects.as_service()


def territories():
    return Territory.objects.as_service()


@pytest.fixture
def tree(erp):
    """Name → names below it, of the demo's territories."""
    above = {row["name"]: row["parent_territory"] for row in erp.rows("Territory")}

    def ancestors(name):
        return [above[name], *ancestors(above[name])] if above.get(name) else []

    return {name: {other for other in above if name in ancestors(other)} for name in above}


def test_a_branch_of_a_tree_is_one_filter(erp, tree):
    top = max(tree, key=lambda name: len(tree[name]))
    assert tree[top]
    where = {row["name"]: row["territory"] for row in erp.rows("Customer")}
    below = {name for name, territory in where.items() if territory in tree[top]}
    assert below
    assert {each.pk for each in customers().filter(territory__descendants_of=top)} == below
    assert len(erp.requests) == 1
    assert customers().filter(territory__descendants_of=Territory(name=top)).count() == len(below)
    assert {each.pk for each in customers().exclude(territory__descendants_of=top)} == set(where) - below
    inclusive = {name for name, territory in where.items() if territory in {top, *tree[top]}}
    assert {each.pk for each in customers().filter(territory__descendants_of_inclusive=top)} == inclusive
    assert {each.pk for each in customers().exclude(territory__descendants_of_inclusive=top)} == (
        set(where) - inclusive
    )
    assert not customers().filter(territory__descendants_of="Nowhere").exists()
    assert customers().exclude(territory__descendants_of="Nowhere").count() == len(where)


def test_the_documents_of_a_tree_know_what_is_above_and_below(erp, tree):
    for name, below in tree.items():
        assert set(territories().filter(pk__descendants_of=name).values_list("pk", flat=True)) == below
        above = {other for other in tree if name in tree[other]}
        assert set(territories().filter(name__ancestors_of=name).values_list("pk", flat=True)) == above
        assert (
            set(territories().exclude(name__ancestors_of=name).values_list("pk", flat=True))
            == set(tree) - above
        )


def test_trees_nest_and_group_as_other_conditions_do(erp, tree):
    top = max(tree, key=lambda name: len(tree[name]))
    rows = erp.rows("Customer")
    either = {row["name"] for row in rows if row["territory"] in tree[top] or row["disabled"]}
    found = customers().filter(Q(territory__descendants_of=top) | Q(disabled=True))
    assert {each.pk for each in found} == either
    assert found.explain().count("first: Customer") == 1
    neither = customers().filter(~(Q(territory__descendants_of=top) | Q(disabled=True)))
    assert {each.pk for each in neither} == {row["name"] for row in rows} - either
    through = Q(territory__parent_territory__descendants_of_inclusive=top)
    assert customers().filter(through).count() == sum(row["territory"] in tree[top] for row in rows)
    grouped = customers().filter(territory__descendants_of=top).values("disabled").annotate(n=Count("pk"))
    assert sum(row["n"] for row in grouped) == sum(row["territory"] in tree[top] for row in rows)


def test_a_timespan_is_the_sites(erp):
    found = ToDo.objects.as_service()
    day = {each.pk: each.date for each in found}
    this_year = max(filter(None, day.values())).year
    year = {name for name, value in day.items() if value and value.year == this_year}
    assert year
    assert year != set(day)
    erp.requests.clear()
    assert {each.pk for each in found.filter(date__timespan="this year")} == year
    assert len(erp.requests) == 1
    assert {each.pk for each in found.exclude(date__timespan="this year")} == set(day) - year
    assert found.filter(Q(date__timespan="this year") | Q(date__isnull=True)).count() == len(
        year | {name for name, value in day.items() if not value}
    )
    assert found.filter(creation__timespan="next year").count() == 0


def test_what_the_operators_do_not_take_is_an_error_of_its_own():
    with pytest.raises(ValidationError, match="last week"):
        ToDo.objects.filter(date__timespan="someday")
    with pytest.raises(ValidationError, match="no name of a document"):
        Customer.objects.filter(territory__descendants_of=None)
    with pytest.raises(UnsupportedQuery, match="Only ERPNext knows the lookup 'timespan'"):
        str(Twin.objects.filter(day__timespan="today").query)
