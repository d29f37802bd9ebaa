"""What Django's query tree becomes: the filters of one request, or a refusal that names the way out."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import FieldError, ValidationError
from django.db import models
from django.db.models import (
    Case,
    Count,
    Exists,
    F,
    FilteredRelation,
    Q,
    StdDev,
    Subquery,
    Sum,
    Value,
    When,
    Window,
)
from django.db.models.expressions import Col, OrderBy
from django.db.models.functions import ExtractWeek, Now, TruncMonth
from django.db.models.sql import Query
from django.db.models.sql.where import NothingNode, WhereNode
from django.test.utils import isolate_apps, override_settings
from django.utils import timezone

from erpnext_bridge.compiler import Compiler
from erpnext_bridge.compiler.dialects import V15, V16
from erpnext_bridge.compiler.formula import FALSE, TRUE, Check, leaves, literals
from erpnext_bridge.compiler.plan import Selection, make_plan
from erpnext_bridge.compiler.rows import Row
from erpnext_bridge.documents import Document
from erpnext_bridge.errors import UnsupportedQuery
from erpnext_bridge.fields import Link
from erpnext_bridge.identity import Identity
from tests.erp.models import Customer, Item, Lead, SalesOrder, SalesOrderItem, ToDo

ZONE = ZoneInfo("America/New_York")
DATE = dt.date(2024, 3, 1)


def compiled(queryset):
    return Compiler(queryset.query, ZONE).compile()


def selection(queryset):
    return compiled(queryset).selection


def plan(queryset, dialect=V15):
    return make_plan(selection(queryset), dialect, 8)


def one_branch(queryset, dialect=V15):
    (branch,) = plan(queryset, dialect).branches
    return branch


EXACT = [
    (lambda: ToDo.objects.filter(status="Open"), [("status", "=", "Open")]),
    (lambda: ToDo.objects.exclude(status="Open"), [("status", "!=", "Open")]),
    (lambda: ToDo.objects.filter(status__iexact="open"), [("status", "=", "open")]),
    (lambda: ToDo.objects.filter(status=""), [("status", "is", "not set")]),
    (lambda: ToDo.objects.exclude(status=""), [("status", "is", "set")]),
    (lambda: ToDo.objects.filter(status="  "), [("status", "is", "not set")]),
    (lambda: ToDo.objects.filter(status__in=["Open", "Closed"]), [("status", "in", ["Open", "Closed"])]),
    (lambda: ToDo.objects.exclude(status__in=["Open"]), [("status", "not in", ["Open"])]),
    (lambda: ToDo.objects.filter(description__icontains="tea"), [("description", "like", "%tea%")]),
    (lambda: ToDo.objects.exclude(description__icontains="tea"), [("description", "not like", "%tea%")]),
    (lambda: ToDo.objects.filter(description__istartswith="tea"), [("description", "like", "tea%")]),
    (lambda: ToDo.objects.filter(description__iendswith="tea"), [("description", "like", "%tea")]),
    (lambda: ToDo.objects.filter(pk="a/b"), [("name", "=", "a/b")]),
    (lambda: ToDo.objects.filter(pk__gt="m"), [("name", ">", "m")]),
    (lambda: ToDo.objects.filter(date=DATE), [("date", "=", "2024-03-01")]),
    (lambda: ToDo.objects.filter(date__gte=DATE), [("date", ">=", "2024-03-01")]),
    # IFNULL makes a missing date pass "<": the second filter takes it away.
    (lambda: ToDo.objects.filter(date__lt=DATE), [("date", "<", "2024-03-01"), ("date", "is", "set")]),
    (lambda: ToDo.objects.exclude(date=DATE), [("date", "!=", "2024-03-01")]),
    (lambda: ToDo.objects.exclude(date__gte=DATE), [("date", "<", "2024-03-01")]),
    (lambda: ToDo.objects.filter(date__isnull=True), [("date", "is", "not set")]),
    (lambda: ToDo.objects.exclude(date__isnull=True), [("date", "is", "set")]),
    (lambda: ToDo.objects.filter(date__range=(DATE, DATE)), [("date", ">=", "2024-03-01"), ("date", "<=", "2024-03-01"), ("date", "is", "set")]),
    (lambda: Customer.objects.filter(disabled=True), [("disabled", "=", 1)]),
    (lambda: Customer.objects.filter(disabled__in=[True, False]), [("disabled", "in", [1, 0])]),
    (lambda: Customer.objects.filter(website__isnull=False), [("website", "like", "%")]),
    (lambda: Customer.objects.filter(territory="North"), [("territory", "=", "North")]),
    (lambda: Customer.objects.filter(territory__name="North"), [("territory", "=", "North")]),
    (lambda: Customer.objects.exclude(territory="North"), [("territory", "!=", "North")]),
    (lambda: Customer.objects.filter(territory__isnull=True), [("territory", "is", "not set")]),
    (lambda: Customer.objects.filter(territory__in=["A", "B"]), [("territory", "in", ["A", "B"])]),
    (lambda: Customer.objects.filter(customer_group__isnull=False), [("customer_group", "is", "set")]),
    (lambda: Item.objects.filter(standard_rate__gt=Decimal("1.50")), [("standard_rate", ">", "1.50")]),
    (lambda: SalesOrder.objects.filter(docstatus=1), [("docstatus", "=", 1)]),
    (
        lambda: SalesOrder.objects.filter(creation__gte=dt.datetime(2024, 7, 1, 12, tzinfo=dt.UTC)),
        [("creation", ">=", "2024-07-01 08:00:00.000000")],
    ),
    (lambda: ToDo.objects.filter(status="Open").filter(priority="Low"), [("status", "=", "Open"), ("priority", "=", "Low")]),
    (lambda: ToDo.objects.filter(~Q(~Q(status="Open"))), [("status", "=", "Open")]),
    (lambda: ToDo.objects.filter(status=Value("Open")), [("status", "=", "Open")]),
]  # fmt: skip


@pytest.mark.parametrize("dialect", [V15, V16], ids=["v15", "v16"])
@pytest.mark.parametrize(("queryset", "filters"), EXACT)
def test_a_lookup_becomes_filters_that_need_no_recheck(queryset, filters, dialect):
    branch = one_branch(queryset(), dialect)
    assert list(branch.filters) == filters
    assert branch.or_filters == ()
    assert branch.exact


def test_or_becomes_or_filters():
    branch = one_branch(ToDo.objects.filter(Q(status="Open") | Q(priority="High"), date=DATE))
    assert branch.filters == (("date", "=", "2024-03-01"),)
    assert branch.or_filters == (("status", "=", "Open"), ("priority", "=", "High"))
    assert branch.exact


def test_nested_or_becomes_a_union():
    either = Q(status="Open", priority="High") | Q(status="Closed", priority="Low")
    assert [
        {name: value for name, _, value in branch.filters}
        for branch in plan(ToDo.objects.filter(either)).branches
    ] == [
        {"status": "Open", "priority": "High"},
        {"status": "Closed", "priority": "Low"},
    ]


def test_xor_is_true_when_one_of_two_is():
    branches = plan(ToDo.objects.filter(Q(status="Open") ^ Q(priority="High"))).branches
    assert {branch.filters for branch in branches} == {
        (("status", "=", "Open"), ("priority", "!=", "High")),
        (("status", "!=", "Open"), ("priority", "=", "High")),
    }


def test_too_many_branches_are_asked_for_wider_in_one_request_and_tested():
    deep = Q()
    for n in range(4):
        deep &= Q(status=str(n), priority="x") | Q(status="y", priority=str(n))
    branch = one_branch(ToDo.objects.filter(deep, date=DATE))
    assert branch.filters == (("date", "=", "2024-03-01"),)
    assert branch.or_filters == (("priority", "=", "x"), ("priority", "=", "0"))
    assert len(list(literals(branch.recheck))) == 16
    # What one literal stands for is tested again also where it is the whole of an OR that Frappe cannot say exactly.
    either = Q(description__contains="Tea") | Q(description__contains="Milk")
    branch = one_branch(ToDo.objects.filter(deep, either))
    assert {each.test for each in literals(branch.recheck)} == {"eq", "contains"}


def test_a_long_list_is_asked_for_in_pieces():
    found = make_plan(selection(ToDo.objects.filter(pk__in=map(str, range(25)), status="Open")), V15, 8, 10)
    assert [len(branch.filters[1][2]) for branch in found.branches] == [10, 10, 5]
    assert all(branch.exact for branch in found.branches)
    (branch,) = make_plan(selection(ToDo.objects.exclude(pk__in=map(str, range(25)))), V15, 8, 10).branches
    assert branch.filters == ()
    assert not branch.exact


@pytest.mark.parametrize(
    ("queryset", "filters", "recheck"),
    [
        # `like` ignores case, `contains` does not.
        (lambda: ToDo.objects.filter(description__contains="Tea"), (("description", "like", "%Tea%"),), ["contains"]),
        (lambda: ToDo.objects.filter(description__startswith="Tea"), (("description", "like", "Tea%"),), ["startswith"]),
        (lambda: ToDo.objects.exclude(description__endswith="Tea"), (), ["not_endswith"]),
        # v15 cannot say NULL alone: NULL and '' are asked for, and '' is taken away here.
        (lambda: Customer.objects.filter(website__isnull=True), (("website", "is", "not set"),), ["none"]),
        # v15 cannot escape a wildcard.
        (lambda: ToDo.objects.filter(description__icontains="50%"), (("description", "like", "%50%%"),), ["icontains"]),
        (lambda: ToDo.objects.exclude(description__icontains="a_b"), (), ["not_icontains"]),
    ],
)  # fmt: skip
def test_what_v15_cannot_say_is_asked_wider_and_tested_again(queryset, filters, recheck):
    branch = one_branch(queryset(), V15)
    assert branch.filters == filters
    assert [literal.test for literal in literals(branch.recheck)] == recheck


@pytest.mark.parametrize(
    ("queryset", "filters"),
    [
        (lambda: Customer.objects.filter(website__isnull=True), (("website", "=", None),)),
        (lambda: Customer.objects.filter(website=""), (("website", "like", ""),)),
        (lambda: ToDo.objects.filter(description__icontains="50%"), (("description", "like", "%50\\%%"),)),
        (
            lambda: ToDo.objects.filter(description__icontains="a\\b_"),
            (("description", "like", "%a\\\\b\\_%"),),
        ),
    ],
)
def test_v16_says_more_exactly(queryset, filters):
    branch = one_branch(queryset(), V16)
    assert branch.filters == filters
    assert branch.exact


def test_an_empty_text_is_told_from_null_on_v15_by_two_filters():
    branch = one_branch(Customer.objects.filter(website=""))
    assert branch.filters == (("website", "is", "not set"), ("website", "like", "%"))
    assert branch.exact


def test_in_never_sends_what_frappe_would_mangle():
    branch = one_branch(ToDo.objects.filter(status__in=["Open", " padded ", ""]), V15)
    assert {(name, operator, str(value)) for name, operator, value in branch.or_filters} == {
        ("status", "in", "['Open']"),
        ("status", "=", " padded "),
        ("status", "is", "not set"),
    }
    branch = one_branch(Item.objects.exclude(standard_rate__in=[1, 2]), V15)
    assert branch.filters == (("standard_rate", "!=", "1"), ("standard_rate", "!=", "2"))


@pytest.mark.parametrize(
    ("queryset", "where"),
    [
        (lambda: ToDo.objects.filter(pk__in=[]), FALSE),
        (lambda: ToDo.objects.exclude(pk__in=[]), TRUE),
        (lambda: ToDo.objects.filter(Q(pk__in=[]) | Q(pk__in=[])), FALSE),
        (lambda: ToDo.objects.none(), FALSE),
        (lambda: ToDo.objects.filter(creation__isnull=True), FALSE),
        (lambda: Item.objects.filter(standard_rate__isnull=False), TRUE),
        (lambda: Customer.objects.filter(website=Value(None)), FALSE),
        (lambda: Customer.objects.exclude(customer_name=Value(None)), FALSE),
    ],
)
def test_what_is_always_or_never_true_is_not_asked(queryset, where):
    assert selection(queryset()).where == where
    assert len(plan(queryset()).branches) == (1 if where == TRUE else 0)


# Other documents


def inner(queryset):
    (literal,) = literals(selection(queryset).where)
    return literal


def test_a_condition_through_a_link_is_an_inner_query():
    literal = inner(SalesOrder.objects.filter(customer__customer_type="Company"))
    assert (literal.fieldname, literal.test) == ("customer", "in_query")
    assert literal.value.doctype == "Customer"
    assert make_plan(literal.value, V15, 8).branches[0].filters == (("customer_type", "=", "Company"),)


def test_conditions_on_one_child_row_go_into_one_inner_query():
    literal = inner(SalesOrder.objects.filter(items__item_code="A", items__qty__gt=5))
    assert (literal.fieldname, literal.value.columns, literal.value.parent) == (
        "name",
        ("parent",),
        "Sales Order",
    )
    assert make_plan(literal.value, V15, 8).branches[0].filters == (
        ("parenttype", "=", "Sales Order"),
        ("parentfield", "=", "items"),
        ("item_code", "=", "A"),
        ("qty", ">", "5.0"),
    )


def test_two_filter_calls_may_find_two_child_rows():
    where = selection(SalesOrder.objects.filter(items__item_code="A").filter(items__qty__gt=5)).where
    assert len(list(literals(where))) == 2


def test_a_missing_link_counts_as_null_behind_it():
    literal = inner(SalesOrder.objects.filter(customer__website__isnull=True))
    assert (literal.test, literal.null_ok) == ("not_in_query", True)


def test_excluding_by_a_linked_document_names_the_ones_to_leave_out():
    literal = inner(SalesOrder.objects.exclude(customer__website="x"))
    assert (literal.test, literal.null_ok) == ("not_in_query", True)
    assert make_plan(literal.value, V15, 8).branches[0].filters == (("website", "=", "x"),)


def test_documents_without_child_rows_have_null_in_all_their_columns():
    where = selection(SalesOrder.objects.filter(items__item_code__isnull=True)).where
    assert [(each.test, len(list(literals(each.value.where)))) for each in literals(where)] == [
        ("in_query", 3),
        ("not_in_query", 2),
    ]


def test_a_link_that_is_missing_on_the_way_counts_as_null():
    literal = inner(SalesOrder.objects.filter(customer__territory__territory_name__isnull=True))
    assert (literal.test, literal.null_ok) == ("not_in_query", True)
    (further,) = literals(literal.value.where)
    assert (further.test, further.null_ok, further.value.where) == ("in_query", False, TRUE)


def test_an_inner_queryset_is_a_selection_of_its_names():
    literal = inner(SalesOrder.objects.filter(customer__in=Customer.objects.filter(disabled=True)))
    assert (literal.test, literal.value.columns) == ("in_query", ("name",))


def test_rows_of_a_child_table_are_those_of_its_parent_alone():
    found = selection(SalesOrderItem.objects.filter(qty=1))
    assert found.parent == "Sales Order"
    assert {literal.fieldname for literal in literals(found.where)} == {"parenttype", "parentfield", "qty"}


# Columns and order


def test_only_the_columns_asked_for_are_read():
    assert selection(ToDo.objects.only("status")).columns == ("name", "modified", "status")
    assert "status" not in selection(ToDo.objects.defer("status")).columns
    assert selection(ToDo.objects.values("status", "pk")).columns == ("status", "name")
    assert selection(ToDo.objects.values_list("status", flat=True)).columns == ("status",)


@pytest.mark.parametrize(
    ("queryset", "order"),
    [
        (lambda: ToDo.objects.order_by("status", "-date"), "filled_status asc, date desc, name asc"),
        (lambda: ToDo.objects.order_by("-pk"), "name desc"),
        (lambda: ToDo.objects.order_by(F("priority").desc()), "filled_priority desc, name asc"),
        (lambda: ToDo.objects.order_by("date").reverse(), "date desc, name desc"),
        (lambda: ToDo.objects.all(), "name asc"),
        (lambda: Customer.objects.order_by("territory__pk"), "filled_territory asc, name asc"),
        (lambda: SalesOrderItem.objects.all(), "idx asc, name asc"),
        (lambda: ToDo.objects.order_by(OrderBy(F("date"), nulls_first=True)), "date asc, name asc"),
    ],
)
def test_every_request_is_sorted_and_name_breaks_ties(queryset, order):
    assert ", ".join(key.said(V16) for key in selection(queryset()).sort_keys) == order


def test_a_slice_is_an_offset_and_a_limit():
    found = selection(ToDo.objects.all()[5:20])
    assert (found.start, found.stop) == (5, 20)


# Refusals

REFUSED = [
    (lambda: ToDo.objects.filter(creation__lt=Now()), "Compute the value"),
    (lambda: ToDo.objects.order_by(Now()), "compute Now"),
    (lambda: ToDo.objects.annotate(x=F("date") - F("creation__date")), "Compute it from the documents"),
    (lambda: ToDo.objects.annotate(x=Exists(Customer.objects.all())), "Exists as a value"),
    (lambda: ToDo.objects.annotate(x=Subquery(Customer.objects.values("pk")[:1])), "Subquery as a value"),
    (lambda: ToDo.objects.annotate(x=StdDev("idx")), "Count, Sum, Avg, Min and Max"),
    (lambda: ToDo.objects.annotate(x=Window(Count("pk"))), "Window"),
    (lambda: ToDo.objects.filter(Exists(Customer.objects.filter(disabled=True))), "OuterRef"),
    (lambda: ToDo.objects.distinct("status"), "PostgreSQL"),
    (lambda: SalesOrder.objects.values("items__qty"), "Query those rows"),
    (lambda: SalesOrder.objects.order_by("items__qty"), "several. Query those rows"),
    (lambda: SalesOrder.objects.filter(grand_total__gt=F("items__amount")), "Query the rows"),
    (lambda: SalesOrder.objects.annotate(x=Sum(F("items__qty") * F("idx"))), "Aggregate the rows"),
    (lambda: SalesOrder.objects.values("status").annotate(n=Count("pk")).order_by("?"), "at random"),
    (lambda: SalesOrder.objects.filter(Q(items__qty=1) | Q(status="x")).annotate(n=Count("items")), "filter=Q"),
    (lambda: Customer.objects.annotate(n=Count("salesorder__items")), "rows of rows"),
    (lambda: Item.objects.filter(standard_rate__icontains="1"), "not text"),
    (lambda: SalesOrder.objects.exclude(customer=Customer.objects.all()[:1]), "Use __in"),
]  # fmt: skip


@pytest.mark.parametrize(("queryset", "words"), REFUSED)
def test_what_frappe_cannot_say_is_refused_by_name(queryset, words):
    with pytest.raises(UnsupportedQuery, match=words):
        selection(queryset())


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("select_for_update", {}), ("extra", {}), ("raw", {}),
    ],
)  # fmt: skip
def test_a_method_that_frappe_cannot_answer_is_refused_by_name(method, arguments):
    with pytest.raises(UnsupportedQuery, match=method):
        getattr(ToDo.objects.all(), method)(**arguments)


@pytest.mark.parametrize("method", ["union", "intersection", "difference"])
def test_what_cannot_be_combined_is_refused_by_name(method):
    for other in (ToDo.objects.all()[:3], ToDo.objects.values("status"), Customer.objects.all()):
        with pytest.raises(UnsupportedQuery, match=method):
            getattr(ToDo.objects.all(), method)(other)
    with pytest.raises(UnsupportedQuery, match="all=True"):
        ToDo.objects.union(ToDo.objects.all(), all=True)


def test_an_inner_queryset_of_somebody_else_is_refused():
    own = SalesOrder.objects.acting_as(Identity("default", "1"))
    other = Customer.objects.acting_as(Identity("default", "2"))
    with pytest.raises(UnsupportedQuery, match="somebody else"):
        selection(own.filter(customer__in=other))


def test_an_inner_queryset_of_the_database_is_refused(django_user_model):
    users = django_user_model.objects.values("username")
    with pytest.raises(UnsupportedQuery, match=r"list\(\)"):
        selection(ToDo.objects.filter(owner__in=users))


def test_a_filtered_relation_is_refused():
    cheap = FilteredRelation("items", condition=Q(items__rate__lt=1))
    with pytest.raises(UnsupportedQuery, match="FilteredRelation"):
        selection(SalesOrder.objects.annotate(cheap=cheap).filter(cheap__qty=1))


@isolate_apps("tests.erp")
def test_a_link_sorts_by_the_order_of_the_documents_it_leads_to():
    class Region(Document):
        title = models.CharField(max_length=140)

        class Meta:
            app_label = "erp"
            ordering = ["title"]

    class Shop(Document):
        region = Link(Region)

        class Meta:
            app_label = "erp"

    (key, _) = selection(Shop.objects.order_by("region")).sort_keys
    assert key.term.text == "region.title"
    assert (
        selection(Shop.objects.order_by("-region_id")).sort_keys[0].said(V15) == "ifnull(`region`, '') desc"
    )
    assert selection(Shop.objects.order_by("region__pk")).sort_keys[0].said(V16) == "filled_region asc"


@isolate_apps("tests.erp")
@pytest.mark.parametrize(
    ("dialect", "is_set"), [(V15, ("not in", [""])), (V16, ("like", "%"))], ids=["v15", "v16"]
)
def test_nulls_that_frappe_takes_for_zero_are_taken_away(dialect, is_set):
    class Shift(Document):
        start = models.TimeField(null=True)
        length = models.DurationField(null=True)
        notes = models.JSONField(null=True)

        class Meta:
            app_label = "erp"

    nine, hour = dt.time(9), dt.timedelta(hours=1)
    shifts = Shift.objects
    assert one_branch(shifts.filter(start__lt=nine), dialect).filters == (
        ("start", "<", "09:00:00.000000"),
        ("start", *is_set),
    )
    # As text, "3600" would be compared as text.
    assert one_branch(shifts.filter(length__gt=hour), dialect).filters == (
        ("length", ">", 3600.0),
        ("length", "like", "%"),
    )
    assert one_branch(shifts.exclude(length__in=[hour]), dialect).or_filters == (
        ("length", "!=", 3600.0),
        one_branch(shifts.filter(length__isnull=True), dialect).filters[0],
    )
    assert one_branch(shifts.filter(notes__isnull=False), dialect).filters == (("notes", "is", "set"),)
    for refused in ({"notes": {"a": 1}}, {"notes__contains": {"a": 1}}, {"notes__in": [1]}):
        with pytest.raises(UnsupportedQuery, match="JSON"):
            selection(shifts.filter(**refused))


def test_unknown_names_are_djangos_own_errors():
    with pytest.raises(FieldError, match="Cannot resolve keyword 'nope'"):
        ToDo.objects.filter(nope=1)
    with pytest.raises(FieldError, match="Unsupported lookup 'nope'"):
        ToDo.objects.filter(status__nope=1)
    with pytest.raises(FieldError, match="Cannot resolve keyword 'nope'"):
        ToDo.objects.order_by("nope")
    with pytest.raises(FieldError, match="select_related"):
        Customer.objects.select_related("nope")
    with pytest.raises(TypeError, match="Cannot filter a query once a slice has been taken"):
        ToDo.objects.all()[:5].filter(status="Open")


def test_a_value_that_a_field_cannot_hold_is_djangos_own_error():
    with pytest.raises(ValidationError):
        ToDo.objects.filter(date="yesterday")


def test_the_insides_of_django_that_are_read_are_there():
    """A Django that moves one of these fails here, by name, and not in a wrong answer."""
    query = SalesOrder.objects.filter(items__item_code="A").order_by("customer").query
    for name in [
        "where", "alias_map", "alias_refcount", "select", "default_cols", "get_select_mask", "selected", "values_select",
        "order_by", "extra_order_by", "default_ordering", "standard_ordering", "low_mark", "high_mark", "distinct",
        "distinct_fields", "annotation_select", "annotations", "combinator", "extra", "select_for_update", "group_by",
        "get_meta", "get_initial_alias", "has_select_fields", "setup_joins", "trim_joins", "clone", "check_alias",
        "append_annotation_mask", "set_annotation_mask", "clear_select_clause", "add_fields", "is_sliced",
    ]:  # fmt: skip
        assert hasattr(query, name), name
    assert isinstance(query, Query)
    assert isinstance(query.where, WhereNode)
    assert {"connector", "negated", "children"} <= set(vars(query.where))
    assert len(query.where.split_having_qualify(must_group_by=False)) == 3
    (lookup,) = query.where.children
    assert isinstance(lookup.lhs, Col)
    assert {"lookup_name", "lhs", "rhs"} <= set(dir(lookup))
    join = query.alias_map[lookup.lhs.alias]
    assert join.join_field.related_model is SalesOrderItem
    assert (join.parent_alias, join.filtered_relation) == (query.get_initial_alias(), None)
    assert join.join_type in ("INNER JOIN", "LEFT OUTER JOIN")
    found = query.setup_joins(["customer", "territory"], query.get_meta(), query.get_initial_alias())
    assert {"final_field", "targets", "opts", "joins", "path"} <= set(found._fields)
    assert isinstance(Lead.objects.none().query.where.children[0], NothingNode)
    assert isinstance(selection(Lead.objects.all()), Selection)


def test_the_insides_of_djangos_expressions_that_are_read_are_there():
    count = Count("items", filter=Q(items__qty=1), distinct=True).resolve_expression(
        SalesOrder.objects.all().query
    )
    assert {"distinct", "filter", "name"} <= set(dir(count))
    # The condition itself, or, from Django 6.1 on, a function of it.
    assert hasattr(count.filter, "connector") or count.filter.get_source_expressions()
    exists = SalesOrder.objects.exclude(items__qty=1).query.where.children[0].children[0].lhs
    assert isinstance(exists.query, Query)
    assert exists.query.is_sliced in (True, False)
    month = TruncMonth("creation").resolve_expression(SalesOrder.objects.all().query)
    assert (month.kind, month.tzinfo, month.lhs.target.name) == ("month", None, "creation")
    part = ExtractWeek("creation").resolve_expression(SalesOrder.objects.all().query)
    assert (part.lookup_name, part.tzinfo) == ("week", None)
    case = Case(When(status="x", then=Value(1)), default=Value(2))
    assert {"cases", "default"} <= set(vars(case))
    assert {"condition", "result"} <= set(vars(case.cases[0]))
    query = SalesOrder.objects.annotate(n=F("status")).query
    ref = F("n").resolve_expression(query, summarize=True)
    assert ref.source is query.annotations["n"]
    order = F("status").desc(nulls_last=True)
    assert (order.descending, bool(order.nulls_first), order.nulls_last) == (True, False, True)
    assert (F("a") + F("b")).connector == "+"


# What is computed here


def test_ends_of_years_and_days_are_those_of_the_current_time_zone():
    with timezone.override("Asia/Tokyo"):
        branch = one_branch(SalesOrder.objects.filter(creation__year=2024))
        assert branch.filters == (
            ("creation", ">=", "2023-12-31 10:00:00.000000"),
            ("creation", "<", "2024-12-31 10:00:00.000000"),
        )
        assert branch.exact
    branch = one_branch(SalesOrder.objects.filter(transaction_date__year__gte=2024))
    assert branch.filters == (("transaction_date", ">=", "2024-01-01"),)
    with override_settings(USE_TZ=False):
        found = one_branch(SalesOrder.objects.filter(creation__date=DATE)).filters
        assert [name for name, _, _ in found] == ["creation", "creation"]


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [
        ("^abc", "abc"),
        ("^abc*", "ab"),
        ("^a b.c", "a b"),
        ("abc", ""),
        ("^a|b", ""),
        ("^[ab]", ""),
        ("^ab{2}", "a"),
    ],
)
def test_a_pattern_is_narrowed_by_what_it_begins_with(pattern, prefix):
    branch = one_branch(ToDo.objects.filter(description__regex=pattern))
    assert branch.filters == ((("description", "like", f"{prefix}%"),) if prefix else ())
    assert not branch.exact


def test_what_databases_compare_differently_is_refused():
    (check,) = [
        leaf
        for leaf in leaves(selection(ToDo.objects.filter(date__lt=F("creation"))).where)
        if isinstance(leaf, Check)
    ]
    with pytest.raises(UnsupportedQuery, match="creation__date"):
        check.passes(Row(date="2024-03-01", creation="2024-03-01 10:00:00"))
    assert not check.passes(Row(date=None, creation="2024-03-01 10:00:00"))


def test_a_shuffled_query_is_sorted_here():
    assert selection(ToDo.objects.order_by("?")).shuffled
    assert selection(ToDo.objects.order_by(F("date").asc(nulls_last=True))).sorted_here
    assert not selection(ToDo.objects.order_by(F("date").desc(nulls_last=True))).sorted_here
