"""Querysets against a sandbox: which rows, in how many requests, with whose rights."""

from __future__ import annotations

import asyncio
import json
import operator
import pickle

import django
import pytest
from django.core.paginator import Paginator
from django.db.models import Count, Prefetch, Q, Sum

from erpnext_bridge.client import FrappeClient
from erpnext_bridge.credentials import ApiKey
from erpnext_bridge.errors import NotConnected, PermissionRefused, UnsupportedQuery
from erpnext_bridge.identity import Identity, acting_as
from erpnext_bridge.sandbox import Sandbox, User, World
from tests import twins
from tests.erp.models import Customer, SalesOrder, SalesOrderItem, Territory, ToDo
from tests.services import wait_until

VERSIONS = pytest.mark.parametrize("version", [15, 16])


@pytest.fixture(scope="module", params=[15, 16], ids=["v15", "v16"])
def demo(request):
    with Sandbox(version=request.param) as sandbox:
        yield sandbox


@pytest.fixture
def erp(demo, settings):
    """The demo world as the service account, which is Alice, sees it."""
    key, secret = demo.api_key("alice@example.com")
    site = {"URL": demo.url, "API_KEY": key, "API_SECRET": secret}
    settings.ERPNEXT_BRIDGE = {"SITES": {"default": site}, "TOKEN_KEYS": ["k" * 40], "PAGE_SIZE": 50}
    Customer.objects.as_service().exists()  # the site's version and time zone are known from here on
    demo.requests.clear()
    return demo


def orders():
    return SalesOrder.objects.as_service()


def customers():
    return Customer.objects.as_service()


# Laziness and numbers of requests


def test_building_and_showing_a_queryset_sends_nothing(erp):
    queryset = (
        orders()
        .filter(Q(status="Draft") | Q(grand_total__gt=5))
        .exclude(customer="x")
        .order_by("-name")[5:10]
    )
    assert "not read yet" in repr(queryset)
    assert len(erp.requests) == 0


def test_a_queryset_reads_once_and_remembers(erp):
    queryset = customers().order_by("name")[:5]
    assert list(queryset) == list(queryset)
    assert len(queryset) == 5
    assert len(erp.requests) == 1


def test_nothing_is_asked_where_nothing_can_match(erp):
    assert list(customers().filter(pk__in=[])) == []
    assert customers().none().count() == 0
    assert not customers().filter(pk="x").filter(pk__in=[]).exists()
    assert list(customers()[5:5]) == []
    assert len(erp.requests) == 0


@pytest.mark.parametrize(
    ("read", "requests"),
    [
        (lambda: orders().get(pk=orders().values_list("pk", flat=True)[0]), 2),
        (lambda: orders().exists(), 1),
        (lambda: orders().count(), 1),
        (lambda: orders().first(), 1),
        (lambda: orders().filter(status="Draft").count(), 1),
        (lambda: list(orders().select_related("customer").prefetch_related("items")[:50]), 3),
        (lambda: Paginator(orders().order_by("-transaction_date"), 25).get_page(2).object_list[0], 2),
        (lambda: list(orders().filter(customer__territory="North")[:5]), 2),
        (lambda: list(orders().filter(items__qty__gt=9)[:5]), 2),
    ],
    ids=[
        "get",
        "exists",
        "count",
        "first",
        "filtered count",
        "related",
        "page",
        "through a link",
        "child rows",
    ],
)
def test_requests_are_few(erp, settings, read, requests):
    settings.ERPNEXT_BRIDGE |= {"PAGE_SIZE": 500}
    read()
    assert len(erp.requests) == requests


# The rows


def test_all_rows_come_and_not_the_first_twenty(erp):
    names = [row["name"] for row in erp.rows("Customer")]
    assert len(names) > 100
    assert sorted(customer.pk for customer in customers()) == sorted(names)
    assert customers().count() == len(names)


@pytest.mark.parametrize(
    "ordering", ["name", "-name", "modified", "-creation", "docstatus", "grand_total", "-status", "customer"]
)
def test_a_walk_over_many_pages_loses_and_repeats_nothing_and_keeps_the_order(erp, ordering):
    walked = list(orders().order_by(ordering))
    at_once = list(orders().order_by(ordering)[:10_000])
    assert walked == at_once
    assert len(walked) == len(erp.rows("Sales Order"))


def test_an_iterator_holds_one_page(erp):
    iterator = orders().iterator()
    next(iterator)
    assert len(erp.requests) == 1


def test_the_later_pages_of_a_walk_are_larger(erp):
    assert len(list(customers().order_by("name"))) == 240
    asked = [dict(request.query)["limit_page_length"] for request in erp.requests]
    assert asked == ["50", "200"]


def test_slices_steps_and_ends(erp):
    names = sorted((row["name"] for row in erp.rows("Customer")), key=str.casefold)
    listed = list(customers().order_by("name").values_list("name", flat=True))
    assert sorted(listed) == sorted(names)
    assert list(customers().order_by("name").values_list("name", flat=True)[7:19]) == listed[7:19]
    assert list(customers().order_by("name").values_list("name", flat=True)[7:]) == listed[7:]
    assert list(customers().order_by("name").values_list("name", flat=True)[0:20:3]) == listed[0:20:3]
    assert customers().order_by("name")[3].name == listed[3]
    assert customers().order_by("name").first().name == listed[0]
    assert customers().order_by("name").last().name == listed[-1]
    assert customers().latest("name").name == listed[-1]
    assert customers().earliest("name").name == listed[0]
    assert customers()[5:12].count() == 7
    assert customers()[len(listed) - 3 :].count() == 3
    with pytest.raises(IndexError):
        customers()[len(listed) + 1]


@pytest.mark.parametrize("ordering", [(), ("customer",), ("-customer", "status"), ("name",)])
def test_the_last_document_is_the_one_that_a_list_ends_with(erp, ordering):
    listed = list(orders().order_by(*ordering))
    assert listed[-1] == orders().order_by(*ordering).last()
    assert listed[0] == orders().order_by(*ordering).first()
    assert listed[::-1] == list(orders().order_by(*ordering).reverse())


def test_a_random_order_holds_each_document_once(erp):
    names = {row["name"] for row in erp.rows("Customer")}
    shuffled = list(customers().order_by("?").values_list("pk", flat=True))
    assert sorted(shuffled) == sorted(names)
    assert shuffled != list(customers().order_by("?").values_list("pk", flat=True))
    assert len({each.pk for each in customers().order_by("?")[:7]}) == 7


def test_get_finds_one_or_says_which_error_it_is(erp):
    name = erp.rows("Customer")[0]["name"]
    assert customers().get(pk=name).customer_name
    with pytest.raises(Customer.DoesNotExist):
        customers().get(pk="nobody of that name")
    with pytest.raises(Customer.MultipleObjectsReturned, match="more than 20"):
        customers().get(disabled=False)


def test_names_with_every_sign_are_found(erp):
    odd = [
        row["name"]
        for row in erp.rows("Customer")
        if not row["name"].isascii() or set(row["name"]) & set("/%#?'&")
    ]
    assert odd
    for name in odd:
        assert customers().get(pk=name).pk == name
        assert customers().filter(customer_name=name).exists()
    assert customers().filter(pk__in=odd).count() == len(odd)


def test_values_come_as_django_returns_them(erp, db):
    name = erp.rows("Customer")[0]["name"]
    found = customers().filter(pk=name)
    row = next(row for row in erp.rows("Customer") if row["name"] == name)
    assert found.values("customer_name", "disabled").get() == {
        "customer_name": row["customer_name"],
        "disabled": bool(row["disabled"]),
    }
    assert list(found.values_list("pk", "territory")) == [(name, row["territory"])]
    assert list(found.values_list("pk", flat=True)) == [name]
    assert found.values_list("pk", "disabled", named=True).get().disabled == bool(row["disabled"])
    assert customers().in_bulk([name]) == {name: found.get()}
    assert customers().contains(found.get())


def test_a_deferred_field_is_read_when_it_is_needed(erp):
    customer = customers().only("customer_name").order_by("name")[0]
    assert len(erp.requests) == 1
    assert customer.get_deferred_fields() >= {"disabled", "website"}
    assert customer.disabled in (True, False)
    assert len(erp.requests) == 2


def test_long_queries_survive(erp):
    names = [row["name"] for row in erp.rows("Customer")]
    assert customers().filter(pk__in=names).count() == len(names)
    assert customers().exclude(pk__in=names).count() == 0


# Other documents


def test_linked_documents_and_child_rows_are_the_right_ones(erp):
    items = {}
    for row in erp.rows("Sales Order Item"):
        items.setdefault(row["parent"], []).append((row["idx"], row["item_code"]))
    for order in orders().select_related("customer__territory").prefetch_related("items")[:40]:
        assert order.customer.pk == order.customer_id
        assert order.customer.territory.pk == order.customer.territory_id
        assert [(item.idx, item.item_code_id) for item in order.items.all()] == sorted(
            items.get(order.pk, [])
        )


def test_get_brings_the_child_rows_along(erp):
    order = orders().get(pk=erp.rows("Sales Order Item")[0]["parent"])
    erp.requests.clear()
    assert order.items.all()[0].parent_id == order.pk
    assert order.items.count() == len(order.items.all())
    assert len(erp.requests) == 0


def test_a_link_is_followed_with_the_rights_it_was_read_with(erp):
    order = orders().order_by("name")[0]
    assert order.customer.erp_identity == Identity.service()
    assert order.customer.salesorder_set.filter(pk=order.pk).exists()


def test_prefetch_takes_a_queryset_of_its_own(erp):
    cheap = SalesOrderItem.objects.as_service().filter(qty__lte=2).order_by("-idx")
    for order in orders().prefetch_related(Prefetch("items", queryset=cheap, to_attr="few"))[:20]:
        assert all(item.qty <= 2 for item in order.few)
        assert [item.idx for item in order.few] == sorted((item.idx for item in order.few), reverse=True)


def test_a_prefetch_of_ones_own_replaces_the_rows_that_get_brings_along(erp):
    rows = erp.rows("Sales Order Item")
    name = next(row["parent"] for row in rows if row["idx"] == 2)
    first = Prefetch("items", queryset=SalesOrderItem.objects.filter(idx=1))
    assert [row.idx for row in orders().prefetch_related(first).get(pk=name).items.all()] == [1]
    assert len(orders().prefetch_related("items").get(pk=name).items.all()) > 1


def test_a_slice_for_each_document_is_refused(erp):
    two = Prefetch("items", queryset=SalesOrderItem.objects.as_service()[:2])
    with pytest.raises(UnsupportedQuery, match="slice"):
        list(orders().prefetch_related(two)[:3])


def test_iterators_read_linked_documents_along(erp):
    async def first():
        return await anext(orders().select_related("customer").aiterator(chunk_size=5))

    for order in (next(orders().select_related("customer").iterator()), asyncio.run(first())):
        erp.requests.clear()
        assert order.customer.pk == order.customer_id
        assert not erp.requests


def test_select_related_is_for_documents_not_for_values(erp):
    assert orders().select_related("customer").values_list("pk", flat=True)[0]
    with pytest.raises(TypeError, match="select_related"):
        orders().values("pk").select_related("customer")


def test_conditions_reach_through_links_and_child_rows(erp):
    territory = {row["name"]: row["territory"] for row in erp.rows("Customer")}
    expected = {row["name"] for row in erp.rows("Sales Order") if territory[row["customer"]] == "North"}
    assert {order.pk for order in orders().filter(customer__territory="North")} == expected
    assert orders().filter(customer__territory__territory_name="North").count() == len(expected)
    rows = erp.rows("Sales Order Item")
    code = rows[0]["item_code"]
    both = {row["parent"] for row in rows if row["item_code"] == code and row["qty"] > 1}
    assert {order.pk for order in orders().filter(items__item_code=code, items__qty__gt=1)} == both
    either = {row["parent"] for row in rows if row["item_code"] == code}
    either &= {row["parent"] for row in rows if row["qty"] > 1}
    assert {order.pk for order in orders().filter(items__item_code=code).filter(items__qty__gt=1)} == either
    assert orders().exclude(pk__in=orders().filter(items__item_code=code)).count() == orders().count() - len(
        {row["parent"] for row in rows if row["item_code"] == code}
    )


def test_an_inner_query_that_finds_much_is_asked_for_in_pieces(erp, settings):
    settings.ERPNEXT_BRIDGE |= {"MAX_MEMBERS": 7}
    enabled = {row["name"] for row in erp.rows("Customer") if not row["disabled"]}
    expected = {row["name"] for row in erp.rows("Sales Order") if row["customer"] in enabled}
    found = orders().filter(customer__disabled=False)
    assert found.count() == len(expected)
    listed = list(found.order_by("-name").values_list("pk", flat=True))
    assert set(listed) == expected
    assert listed == [order.pk for order in orders().order_by("-name") if order.pk in expected]
    assert orders().exclude(customer__disabled=False).count() == len(erp.rows("Sales Order")) - len(expected)


@pytest.mark.skipif(django.VERSION < (6, 1), reason="fetch modes came with Django 6.1")
def test_fetch_modes_work(erp):
    from django.db.models import FETCH_PEERS

    found = list(orders().fetch_mode(FETCH_PEERS).order_by("name")[:10])
    erp.requests.clear()
    assert all(order.customer.pk for order in found)
    assert len(erp.requests) == 1


# Whose rights


def test_a_queryset_of_nobody_is_refused(erp):
    with pytest.raises(NotConnected, match="acts as nobody"):
        list(Customer.objects.all())
    assert len(erp.requests) == 0


def test_no_user_falls_back_to_the_service_account(erp, user):
    with pytest.raises(NotConnected):
        Customer.objects.for_user(user).count()
    with pytest.raises(NotConnected), acting_as(user):
        Customer.objects.count()
    assert len(erp.requests) == 0


def test_the_identity_is_captured_when_the_queryset_is_built(erp):
    with acting_as(Identity.service()):
        inside = Customer.objects.filter(disabled=False)
    assert inside.identity == Identity.service()
    assert inside.count() > 0
    assert Customer.objects.all().identity is None
    with acting_as(Identity("default", "7")):
        assert inside.all().identity == Identity.service()


NOBODY = Identity("default", "7")
"""A user without a connection: whoever acts as this one gets NotConnected."""


def test_related_documents_are_read_with_the_rights_of_the_document(erp):
    rows = Prefetch("items", queryset=SalesOrderItem.objects.filter(idx=1))
    with acting_as(NOBODY):
        few = orders().select_related("customer").prefetch_related("items").order_by("name")[:2]
        assert {order.customer.erp_identity for order in few} == {Identity.service()}
        assert {row.erp_identity for order in few for row in order.items.all()} == {Identity.service()}
        assert few[0].customer.salesorder_set.exists()
        assert few[0].items.filter(idx=1).get().parent_id == few[0].pk
        assert all(len(order.items.all()) == 1 for order in orders().prefetch_related(rows)[:2])


def test_a_shared_prefetch_takes_nobodys_rights_along(erp):
    rows = Prefetch("items", queryset=SalesOrderItem.objects.filter(idx=1))
    shared = SalesOrder.objects.prefetch_related(rows)
    assert shared.as_service()[0].items.all()[0].erp_identity == Identity.service()
    assert rows.queryset.identity is None
    assert shared._prefetch_related_lookups[0].queryset.identity is None


def test_a_prefetch_that_was_told_whom_to_act_as_does(erp, db):
    rows = Prefetch("items", queryset=SalesOrderItem.objects.acting_as(NOBODY))
    with pytest.raises(NotConnected, match="user 7"):
        list(orders().prefetch_related(rows)[:2])


@pytest.mark.skipif(django.VERSION < (6, 1), reason="Django 6.1 brought fetch modes")
def test_peers_are_fetched_with_the_rights_they_were_read_with(erp, db):
    from django.db.models import FETCH_PEERS

    few = list(orders().only("status").fetch_mode(FETCH_PEERS).order_by("name")[:3])
    erp.requests.clear()
    with acting_as(NOBODY):
        assert all(order.company for order in few)
        assert {order.customer.erp_identity for order in few} == {Identity.service()}
    assert len(erp.requests) == 3


def test_querysets_of_two_identities_are_not_combined(erp):
    for combine in (operator.and_, operator.or_, operator.xor):
        with pytest.raises(UnsupportedQuery, match="two identities"):
            combine(customers().filter(pk="a"), Customer.objects.acting_as(NOBODY).filter(pk="b"))
        assert combine(customers().filter(pk="a"), customers().filter(pk="b")).identity == Identity.service()
    with pytest.raises(UnsupportedQuery, match="slice"):
        customers()[:2] | customers()


def test_a_pickled_queryset_holds_no_secret(erp):
    key, secret = erp.api_key("alice@example.com")
    pickled = pickle.dumps(customers().order_by("name")[:3])
    assert secret.encode() not in pickled
    assert key.encode() not in pickled
    assert [each.name for each in pickle.loads(pickled)] == [
        each.name for each in customers().order_by("name")[:3]
    ]


def test_explain_tells_the_requests_and_sends_none(erp):
    text = (
        orders().filter(customer__territory="North", status__contains="Dr").order_by("-grand_total").explain()
    )
    assert "first: Customer" in text
    assert '"like", "%Dr%"' in text
    assert "tested again here: status contains" in text
    assert '"requests"' in orders().filter(pk="x").explain(format="json")
    assert len(erp.requests) == 0


EXPLAINED = [
    lambda: orders()[:5],
    lambda: orders().filter(pk="x"),
    lambda: orders().filter(customer__territory="North")[:5],
    lambda: orders().filter(items__qty__gt=9),
    lambda: orders().exclude(items__qty=3)[:5],
    lambda: orders().filter(Q(status="Draft", docstatus=0) | Q(docstatus=1, grand_total__gt=5)),
    lambda: orders().order_by("customer__customer_name")[:5],
    lambda: orders().values("name", "customer__territory__territory_name")[:5],
    lambda: orders().annotate(n=Count("items")).filter(n__gt=1),
    lambda: orders().annotate(n=Count("items"))[:5],
    lambda: orders().values("status").annotate(n=Count("pk"), total=Sum("grand_total")).filter(n__gt=1),
    lambda: orders().values("customer__territory").annotate(n=Count("pk")),
    lambda: orders().values_list("status", flat=True).distinct(),
    lambda: orders().filter(transaction_date__month=3),
    lambda: orders().filter(pk__in=[]),
    lambda: orders().select_related("customer").prefetch_related("items")[:5],
    lambda: customers().filter(territory__descendants_of="All Territories")[:5],
]


@pytest.mark.parametrize("queryset", EXPLAINED, ids=range(len(EXPLAINED)))
def test_explain_counts_the_round_trips_that_are_made(erp, settings, queryset):
    settings.ERPNEXT_BRIDGE |= {"PAGE_SIZE": 5000}
    report = json.loads(queryset().explain(format="json"))
    assert len(erp.requests) == 0
    list(queryset())
    assert len(erp.requests) == report["round_trips"]
    assert report["walks"] or len(report["requests"]) <= 1
    if report["requests"] and not report["inner"]:
        sent = erp.requests[0]
        assert sent.path.rsplit("/", 1)[-1] in report["requests"][0]["path"]


def test_explain_tells_what_aggregates_and_unions_send(erp):
    wanted = {"n": Count("pk"), "total": Sum("grand_total")}
    text = orders().filter(status="Draft").explain(aggregate=wanted)
    assert "round trips: 1" in text
    assert "sum_grand_total" in text
    union = orders().filter(status="Draft").union(orders().filter(docstatus=1))
    assert json.loads(union.explain(format="json"))["round_trips"] == 1
    assert "… 80 more" in orders().filter(pk__in=map(str, range(100))).explain()
    assert (
        "POST /api/method/frappe.client.get_list" in orders().filter(pk__in=map(str, range(1000))).explain()
    )
    assert len(erp.requests) == 0
    orders().filter(status="Draft").aggregate(**wanted)
    assert len(erp.requests) == 1


# NULLs, and links that lead nowhere

LINKS = {
    "Territory": [("North", None), ("South", "North"), ("East", "gone")],
    "Customer": [
        ("a", "North", None),
        ("b", "South", ""),
        ("c", None, "x"),
        ("d", "gone", "North"),
        ("e", "East", "y"),
    ],
}


@pytest.fixture(params=[15, 16], ids=["v15", "v16"])
def links(request, settings):
    """Customers a to e, as the service account sees them."""
    link = {"fieldtype": "Link", "options": "Territory"}
    doctypes = {
        "Territory": [
            {"fieldname": "territory_name", "fieldtype": "Data"},
            {"fieldname": "parent_territory", **link},
            {"fieldname": "is_group", "fieldtype": "Check"},
        ],
        "Customer": [
            *(
                {"fieldname": name, "fieldtype": "Data"}
                for name in ("customer_name", "customer_type", "website")
            ),
            {"fieldname": "customer_group", "fieldtype": "Data", "permlevel": 1},
            {"fieldname": "territory", **link},
            {"fieldname": "disabled", "fieldtype": "Check"},
        ],
    }
    rows = {
        "Territory": [
            {"name": name, "territory_name": name, "parent_territory": parent}
            for name, parent in LINKS["Territory"]
        ],
        "Customer": [
            {"name": name, "customer_name": name, "territory": territory, "website": website}
            for name, territory, website in LINKS["Customer"]
        ],
    }
    rules = [*twins.DOCTYPE["permissions"], {"role": "Boss", "permlevel": 1, "read": 1}]
    made = {
        name: {**twins.DOCTYPE, "name": name, "fields": fields, "permissions": rules}
        for name, fields in doctypes.items()
    }
    world = World.load({"doctypes": made, "rows": rows})
    world.add_user(User("all@example.com", full_name="All", roles=["System Manager"], password="x"))
    with Sandbox(version=request.param, world=world) as site:
        key, secret = site.api_key("all@example.com")
        default = {"URL": site.url, "API_KEY": key, "API_SECRET": secret}
        settings.ERPNEXT_BRIDGE = {"SITES": {"default": default}, "TOKEN_KEYS": ["k" * 40]}
        yield site


def territories():
    return Territory.objects.as_service()


def administrator(site):
    return FrappeClient(site.url, ApiKey(*site.api_key("Administrator")))


def as_lists(site):
    """For each list request of the walk, whether it asked for lists of values."""
    return [dict(request.query).get("as_dict") == "0" for request in site.requests]


def test_later_pages_come_as_lists_when_every_field_is_shown(links, settings):
    settings.ERPNEXT_BRIDGE |= {"PAGE_SIZE": 1}
    asked = customers().only("name", "territory", "website").order_by("name")
    assert asked[0].website is None  # the site's version and time zone are known from here on
    links.requests.clear()
    found = [(each.name, each.territory_id, each.website) for each in asked]
    assert as_lists(links) == [False, True, True]
    assert found == [(each.name, each.territory_id, each.website) for each in asked[:5]]


def test_from_the_second_page_on_the_next_one_is_already_on_its_way(links, settings):
    settings.ERPNEXT_BRIDGE |= {"PAGE_SIZE": 1}
    walk = customers().only("name").order_by("name").iterator()
    next(walk)
    links.requests.clear()
    assert next(walk).name == "b"
    wait_until(lambda: len(links.requests) == 2, "the next page is asked for")
    assert [each.name for each in walk] == list("cde")
    assert len(links.requests) == 2


def test_later_pages_name_their_values_when_a_field_is_not_shown(links, settings):
    settings.ERPNEXT_BRIDGE |= {"PAGE_SIZE": 1}
    asked = customers().order_by("name")
    len(asked)
    links.requests.clear()
    found = list(asked.all())
    assert as_lists(links) == [False, False, False]
    assert all("customer_group" in each.get_deferred_fields() for each in found)
    assert [each.website for each in found] == [row["website"] for row in links.rows("Customer")]


def test_a_field_that_is_hidden_in_the_middle_of_a_walk_is_left_out_from_there_on(links, settings):
    settings.ERPNEXT_BRIDGE |= {"PAGE_SIZE": 1}
    boss = links.insert(
        "Has Role", parent="all@example.com", parenttype="User", parentfield="roles", role="Boss"
    )
    walk = customers().only("name", "website", "customer_group").order_by("name").iterator()
    assert not next(walk).get_deferred_fields() & {"customer_group"}
    administrator(links).delete("Has Role", boss["name"])
    later = list(walk)
    assert [each.name for each in later] == list("bcde")
    assert all("customer_group" in each.get_deferred_fields() for each in later)
    assert [each.website for each in later] == [row["website"] for row in links.rows("Customer")[1:]]


@pytest.mark.parametrize(
    ("found", "names"),
    [
        (lambda: customers().exclude(territory__territory_name="North"), "bcde"),
        (lambda: customers().filter(territory__territory_name__isnull=True), "cd"),
        (lambda: customers().filter(territory__parent_territory__isnull=True), "acd"),
        (lambda: customers().filter(territory__parent_territory__territory_name__isnull=True), "acde"),
        (lambda: customers().filter(territory__parent_territory__territory_name__isnull=False), "b"),
        (lambda: customers().exclude(territory__parent_territory__territory_name="North"), "acde"),
        # An inner query that finds nothing leaves "or is NULL" as it is.
        (lambda: customers().filter(Q(territory__is_group=True) | Q(territory__isnull=True)), "c"),
        (lambda: customers().filter(Q(territory__is_group=True) ^ Q(website="x")), "c"),
        # SQL: nothing but NULL passes "not in" a list that holds a NULL, and exclude() lets NULL pass.
        (lambda: customers().exclude(website__in=customers().values("website")), "a"),
        (lambda: customers().filter(website__in=customers().values("website")), "bcde"),
        (lambda: customers().exclude(customer_name__in=customers().values("website")), ""),
        (lambda: customers().filter(Q(website__in=customers().values("website")) ^ Q(pk="a")), "abcde"),
        # The text of a field without null=True is never NULL, and an empty link always is.
        (lambda: customers().filter(website__in=customers().values("customer_type")), "b"),
        (lambda: customers().filter(website__in=customers().values("territory")), "d"),
        (lambda: customers().exclude(website__in=customers().values("customer_type")), "acde"),
        # Trailing blanks do not count.
        (lambda: customers().filter(website="  "), "b"),
        (lambda: customers().exclude(website__in=["  "]), "acde"),
        (lambda: territories().filter(customer__website__isnull=True), ["North"]),
        (lambda: territories().filter(customer__website__gt="x"), ["East"]),
        (lambda: territories().filter(territory__territory_name__isnull=True), ["East", "South"]),
    ],
    ids=range(20),
)
def test_nulls_and_missing_links_answer_as_in_a_database(links, found, names):
    assert sorted(found().values_list("pk", flat=True)) == list(names)
    assert found().count() == len(names)


def test_a_hidden_column_is_refused_and_never_read_as_empty(links):
    for read in (
        lambda: list(customers().values("customer_group")),
        lambda: customers().get(pk="a", disabled=False).customer_group,
        lambda: customers().filter(website__in=customers().values("customer_group")).count(),
    ):
        with pytest.raises(PermissionRefused, match="customer_group"):
            read()
    assert customers().get(pk="a", disabled=False).customer_name == "a"


def test_the_tree_of_a_doctype_links_to_itself(erp):
    child = next(row for row in erp.rows("Territory") if row["parent_territory"])
    territory = Territory.objects.as_service().get(pk=child["name"])
    assert territory.parent_territory.pk == child["parent_territory"]
    assert (
        Territory.objects.as_service()
        .filter(parent_territory__name=child["parent_territory"])
        .contains(territory)
    )


def test_a_user_sees_what_erpnext_lets_that_user_see(demo, settings):
    seen = {}
    for name in ("alice@example.com", "bob@example.com"):
        key, secret = demo.api_key(name)
        site = {"URL": demo.url, "API_KEY": key, "API_SECRET": secret}
        settings.ERPNEXT_BRIDGE = {"SITES": {"default": site}, "TOKEN_KEYS": ["k" * 40]}
        seen[name] = set(customers().values_list("territory", flat=True))
        assert ToDo.objects.as_service().count() == len(ToDo.objects.as_service())
    assert seen["bob@example.com"] == {"North"}
    assert seen["bob@example.com"] < seen["alice@example.com"]
