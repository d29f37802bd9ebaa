"""Documents without classes: what `site.doctype()` makes of a site's metadata, for whom, and until when."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.forms import modelform_factory

from erpnext_bridge import sites as module
from erpnext_bridge.errors import DocumentDoesNotExist, NotConnected, UnsupportedQuery
from erpnext_bridge.identity import Identity, acting_as
from erpnext_bridge.sandbox import World
from erpnext_bridge.sites import SiteDocuments, site, sites
from erpnext_bridge.testing import connect, open_erpnext_site
from tests import round_trips
from tests.odd_world import NAMES, doctype, field, odd_world

SERVICE = Identity.service()


@pytest.fixture(scope="module", params=[15, 16], ids=["v15", "v16"])
def demo(request):
    with open_erpnext_site(request.param) as sandbox:
        yield sandbox


@pytest.fixture
def company(demo):
    """The demo company as the service account sees it; no DocType is known yet."""
    site.reload()
    with acting_as(SERVICE):
        yield demo


def asked_for(sandbox):
    return [request for request in sandbox.requests if request.path.endswith("getdoctype")]


def test_a_doctype_is_read_once_and_queried_like_any_document(company):
    company.requests.clear()
    customer = site.doctype("Customer")
    assert site.doctype("Customer") is customer
    assert len(asked_for(company)) == 1
    found = customer.objects.filter(territory="North", customer_name__icontains="a").order_by("-name")
    assert found.count() == len(list(found)) > 1
    assert {each.territory for each in found} == {"North"}
    assert len(asked_for(company)) == 1


def test_child_rows_come_with_their_document(company):
    order = site.doctype("Sales Order").objects.filter(items__qty__gte=5).order_by("name")[0]
    company.requests.clear()
    whole = type(order).objects.get(pk=order.pk)
    assert [row.idx for row in whole.items.all()]
    assert len(company.requests) == 1
    rows = type(order).objects.prefetch_related("items").order_by("name")[:20]
    assert all(list(each.items.all()) for each in rows)


def test_several_doctypes_are_linked_with_one_another(company):
    order, customer, territory = site.doctypes("Sales Order", "Customer", "Territory")
    found = order.objects.filter(customer__territory__is_group=False).select_related("customer__territory")
    first = found.order_by("name")[0]
    assert isinstance(first.customer, customer)
    assert isinstance(first.customer.territory, territory)
    assert first in first.customer.salesorder_set.all()
    assert site.doctypes("Territory", "Sales Order", "Customer") == [territory, order, customer]


def test_links_to_other_doctypes_are_names(company):
    assert isinstance(site.doctype("Sales Order").objects.order_by("name")[0].customer, str)


def test_documents_are_written(company):
    lead = site.doctype("Lead").objects.create(first_name="Ada")
    lead.company_name = "Analytical Engines"
    lead.save()
    assert company.document("Lead", lead.pk)["company_name"] == "Analytical Engines"
    lead.delete()


def test_child_rows_are_written(company):
    order = site.doctype("Sales Order").objects.filter(docstatus=0).order_by("name")[0]
    whole = type(order).objects.get(pk=order.pk)
    before = len(whole.items.all())
    row = whole.items.all()[0]
    row.qty = 17
    whole.save()
    whole.items.create(item_code=row.item_code, qty=1, delivery_date="2030-01-01")
    stored = company.document("Sales Order", order.pk)["items"]
    assert (stored[0]["qty"], len(stored)) == (17.0, before + 1)


def test_odd_doctypes_are_the_models_that_inspect_writes():
    with open_erpnext_site(15, odd_world()), acting_as(SERVICE):
        names = sorted(set(odd_world().doctypes) - {"Odd Virtual", "Odd Part", "Odd Tag Row"})
        made = {each.doctype: each for each in site.doctypes(*names)}
        figures = round_trips.Figures()
        for model in made.values():
            round_trips.read(model, SERVICE, figures)
            assert model.check() == []
        assert figures.losses == []
        with round_trips.imported(round_trips.inspected(names)) as generated:
            for model in round_trips.documents_of(generated):
                if model.doctype in made:
                    assert told(made[model.doctype]) == told(model)
        thing = made["Odd Thing"].objects.get(pk="T-1")
        assert [row.qty for row in thing.call_field.all()] == [1.0]
        assert made["Odd Settings"].objects.get().motto == "Hold fast"
        columns = {each.column for each in made["Odd Peer"]._meta.concrete_fields}
        assert set(NAMES) <= columns


def told(model):
    """Return what a model's fields say, but for the links to DocTypes that only one of the two sets has."""
    return {
        each.column: (type(each).__name__, each.max_length, each.choices, each.blank, each.null, each.default)
        for each in model._meta.concrete_fields
        if each.column != "kind"
    }


# Whose


def test_nobody_reads_nothing(demo):
    with pytest.raises(NotConnected, match=r"request\.user"):
        site.doctype("Customer")


@pytest.mark.django_db
def test_what_one_has_read_serves_all_and_rows_stay_ones_own(demo, django_user_model):
    site.reload()
    alice, bob = (django_user_model.objects.create_user(name) for name in ("alice", "bob"))
    connect(alice, "alice@example.com")
    connect(bob, "bob@example.com")
    demo.requests.clear()
    customer = site.doctype("Customer", alice)
    assert {request.user for request in asked_for(demo)} == {"alice@example.com"}
    assert site.doctype("Customer", bob) is customer
    assert len(asked_for(demo)) == 1
    everything, north = customer.objects.for_user(alice), customer.objects.for_user(bob)
    assert everything.count() > north.count() > 0
    with pytest.raises(NotConnected):
        customer.objects.count()


def test_the_class_is_of_its_site(demo, settings):
    entry = settings.ERPNEXT_BRIDGE["SITES"]["default"]
    settings.ERPNEXT_BRIDGE = {
        **settings.ERPNEXT_BRIDGE,
        "SITES": {"default": {"URL": "http://127.0.0.1:9"}, "second": entry},
    }
    customer = sites["second"].doctype("Customer", Identity.service("second"))
    assert customer.site == "second"
    assert customer.objects.as_service().exists()
    assert sites["second"] is sites["second"]
    with pytest.raises(ImproperlyConfigured, match="second"):
        sites["third"]


# What cannot be


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        ("No Such Thing", DocumentDoesNotExist, "No Such Thing"),
        ("Sales Order Item", UnsupportedQuery, "rows of other documents"),
    ],
)
def test_what_has_no_documents_is_refused(company, name, error, told):
    with pytest.raises(error, match=told):
        site.doctype(name)


def test_virtual_doctypes_are_refused():
    with open_erpnext_site(15, odd_world()), pytest.raises(UnsupportedQuery, match="virtual"):
        SiteDocuments().doctype("Odd Virtual", SERVICE)


# When


def plans(**more):
    return World(doctypes={"Plan": doctype("Plan", field("title"), **more)})


@pytest.mark.parametrize("how", ["reload", "ttl"])
def test_a_class_changes_when_its_doctype_does(settings, how):
    with open_erpnext_site(15, plans()) as sandbox, acting_as(SERVICE):
        fresh = SiteDocuments()
        before = fresh.doctype("Plan")

        def again():
            if how == "reload":
                fresh.reload()
            return fresh.doctype("Plan")

        settings.ERPNEXT_BRIDGE = {**settings.ERPNEXT_BRIDGE, "METADATA_TTL": 1e-9 if how == "ttl" else 300.0}
        fresh.reload()
        assert again() is before
        add_field(sandbox, "Plan", field("budget", "Currency"))
        after = again()
        assert after is not before
        assert after._meta.get_field("budget").get_internal_type() == "DecimalField"


def add_field(sandbox, name, raw):
    """Let a DocType have one more field, as a Custom Field would."""
    from erpnext_bridge.sandbox.meta import DocField

    meta = sandbox.site.store.doctypes[name]
    meta.fields.append(DocField(raw))
    row = copy.copy(sandbox.site.store.rows("DocField", {"parent": name}, limit=1)[0])
    sandbox.site.store.insert("DocField", {**row, **raw, "name": f"{name}-{raw['fieldname']}", "idx": 99})
    sandbox.site.store.commit()
    meta.__dict__.pop("by_name", None)


def test_threads_read_a_doctype_once_and_get_one_class(demo):
    fresh = SiteDocuments()
    demo.requests.clear()
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: fresh.doctype("Customer", SERVICE), range(64)))
    assert len(set(made)) == 1
    assert len(asked_for(demo)) == 1
    with ThreadPoolExecutor(16) as pool:
        names = pool.map(lambda model: model.objects.as_service().order_by("name")[0].pk, made)
    assert len(set(names)) == 1


# And Django


@pytest.mark.django_db
def test_django_knows_nothing_of_the_classes(company):
    site.doctypes("Customer", "Sales Order")
    assert not [model for model in apps.get_models() if model._meta.app_label == module.APP_LABEL]
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
    assert not ContentType.objects.filter(app_label=module.APP_LABEL).exists()


def test_forms_take_them(company):
    form = modelform_factory(site.doctype("Lead"), fields=["first_name", "status"])(
        {"first_name": "Ada", "status": "Open"}
    )
    assert form.is_valid()
    assert form.save(commit=False).first_name == "Ada"


def test_documents_can_be_pickled(company):
    order = site.doctypes("Sales Order", "Customer")[0].objects.get(pk=first_order())
    again = pickle.loads(pickle.dumps(order))
    assert again == order
    assert again.customer_id == order.customer_id
    assert list(again.items.all()) == list(order.items.all())
    assert again.erp_identity == SERVICE


def test_a_queryset_that_is_to_be_pickled_says_what_to_do(company):
    orders = site.doctype("Sales Order").objects.all()[:2]
    with pytest.raises(UnsupportedQuery, match="Pickle list"):
        pickle.dumps(orders)
    assert pickle.loads(pickle.dumps(list(orders))) == list(orders)


def first_order():
    return site.doctype("Sales Order").objects.order_by("name")[0].pk
