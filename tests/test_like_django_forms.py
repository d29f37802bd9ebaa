"""
What Django's documentation shows of model forms, formsets and generic views, done to documents.

The topics and their order are those of "Creating forms from models", "Formsets" and "Generic editing views"; the examples are
about customers, to-dos and orders.
"""

from __future__ import annotations

import pytest
from django import forms
from django.core.exceptions import ValidationError
from django.forms import (
    ModelForm,
    inlineformset_factory,
    modelform_factory,
    modelformset_factory,
)
from django.http import Http404
from django.shortcuts import get_list_or_404, get_object_or_404
from django.test import RequestFactory
from django.views.generic import (
    ArchiveIndexView,
    CreateView,
    DayArchiveView,
    DetailView,
    ListView,
    MonthArchiveView,
    UpdateView,
    YearArchiveView,
)

from erpnext_bridge.identity import acting_as
from tests.erp.models import Customer, SalesOrder, SalesOrderItem, ToDo
from tests.orders import draft

pytestmark = [pytest.mark.erpnext(15, 16, user="alice@example.com")]


@pytest.fixture
def erp(erpnext_site, erpnext_user):
    """A demo company; the code acts as Alice."""
    with acting_as(erpnext_user):
        yield erpnext_site


class ToDoForm(ModelForm):
    class Meta:
        model = ToDo
        fields = ["description", "status", "priority", "date"]
        labels = {"date": "Due"}
        help_texts = {"description": "What is to be done."}
        error_messages = {"description": {"required": "Say what is to be done."}}
        widgets = {"description": forms.Textarea(attrs={"rows": 3})}

    def clean_priority(self):
        if self.cleaned_data["priority"] == "Urgent":
            raise ValidationError("Nothing is urgent.")
        return self.cleaned_data["priority"]


DATA = {"description": "Count the bolts", "status": "Open", "priority": "Low", "date": "2026-01-02"}


# Creating forms from models


def test_a_form_is_made_of_the_models_fields(erp):
    form = ToDoForm()
    assert list(form.fields) == ["description", "status", "priority", "date"]
    assert (form.fields["date"].label, form.fields["date"].required) == ("Due", False)
    assert form["priority"].initial == "Medium"
    assert 'rows="3"' in form.as_p()
    assert not erp.requests


def test_save_makes_an_object_or_changes_the_instance(erp):
    made = ToDoForm(DATA).save()
    assert erp.document("ToDo", made.pk)["description"] == "Count the bolts"
    changed = ToDoForm({**DATA, "priority": "High"}, instance=made).save()
    assert changed == made
    assert erp.document("ToDo", made.pk)["priority"] == "High"


def test_an_invalid_form_does_not_save(erp):
    form = ToDoForm({**DATA, "description": "", "priority": "Urgent", "date": "someday"})
    assert form.errors == {
        "description": ["Say what is to be done."],
        "priority": ["Nothing is urgent."],
        "date": ["Enter a valid date."],
    }
    with pytest.raises(ValueError, match="didn't validate"):
        form.save()
    assert not erp.requests


def test_commit_false_leaves_saving_to_the_caller(erp):
    made = ToDoForm(DATA).save(commit=False)
    assert made.pk is None
    made.allocated_to = "alice@example.com"
    made.save()
    assert erp.document("ToDo", made.pk)["allocated_to"] == "alice@example.com"


def test_links_are_choices(erp):
    form_class = modelform_factory(Customer, fields=["customer_name", "customer_type", "territory"])
    first = Customer.objects.order_by("name")[0]
    form = form_class(instance=first)
    assert form.initial["territory"] == first.territory_id
    choices = dict(form.fields["territory"].choices)
    assert first.territory_id in map(str, choices)
    form = form_class({"customer_name": "x", "customer_type": "Company", "territory": "Nowhere"})
    assert list(form.errors) == ["territory"]


def test_the_form_of_an_instance_saves_what_changed(erp):
    made = ToDo.objects.create(description="a")
    form = ToDoForm({**DATA, "description": "a"}, instance=made)
    assert set(form.changed_data) == {"priority", "date"}
    erp.requests.clear()
    form.save()
    assert [request.method for request in erp.requests] == ["PUT"]


# Model formsets


def test_a_formset_edits_a_queryset(erp):
    ToDo.objects.bulk_create([ToDo(description=f"bolt {n}", priority="Low") for n in range(3)])
    queryset = ToDo.objects.filter(description__startswith="bolt").order_by("description")
    formset_class = modelformset_factory(ToDo, fields=["description", "priority"], extra=1, can_delete=True)
    formset = formset_class(queryset=queryset)
    assert [form.initial.get("description") for form in formset] == ["bolt 0", "bolt 1", "bolt 2", None]
    data = {"form-TOTAL_FORMS": "4", "form-INITIAL_FORMS": "3"}
    for index, form in enumerate(formset.forms[:3]):
        data |= {
            f"form-{index}-name": form.instance.pk,
            f"form-{index}-description": f"bolt {index}",
            f"form-{index}-priority": "Low",
        }
    data |= {"form-0-priority": "High", "form-2-DELETE": "on"}
    data |= {"form-3-description": "bolt 3", "form-3-priority": "Medium"}
    formset = formset_class(data, queryset=queryset)
    assert formset.is_valid(), formset.errors
    formset.save()
    assert [
        len(each) for each in (formset.changed_objects, formset.new_objects, formset.deleted_objects)
    ] == [1, 1, 1]
    assert [(each.description, each.priority) for each in queryset.all()] == [
        ("bolt 0", "High"),
        ("bolt 1", "Low"),
        ("bolt 3", "Medium"),
    ]


def test_djangos_own_inline_formset_takes_rows(erp):
    order = draft(1)
    item = order.items.all()[0].item_code
    formset_class = inlineformset_factory(
        SalesOrder, SalesOrderItem, fields=["item_code", "qty", "rate"], extra=1
    )
    formset = formset_class(instance=order)
    assert formset.initial_form_count() == 1
    data = {
        "items-TOTAL_FORMS": "2",
        "items-INITIAL_FORMS": "1",
        "items-0-name": order.items.all()[0].pk,
        "items-0-item_code": item.pk,
        "items-0-qty": "5",
        "items-0-rate": "10",
        "items-1-item_code": item.pk,
        "items-1-qty": "7",
        "items-1-rate": "10",
    }
    formset = formset_class(data, instance=order)
    assert formset.is_valid(), formset.errors
    with order.edit():
        formset.save()
    assert [row["qty"] for row in erp.document("Sales Order", order.pk)["items"]] == [5, 7]


# Shortcuts


def test_shortcuts(erp):
    first = Customer.objects.order_by("name")[0]
    assert get_object_or_404(Customer, pk=first.pk) == first
    assert get_object_or_404(Customer.objects.filter(territory=first.territory_id), name=first.pk) == first
    assert get_list_or_404(Customer, territory=first.territory_id)
    with pytest.raises(Http404):
        get_object_or_404(Customer, pk="nobody")
    with pytest.raises(Http404):
        get_list_or_404(Customer, territory="Nowhere")


# Generic views, without any mixin


def get(view, url="/", **kwargs):
    response = view(RequestFactory().get(url), **kwargs)
    return response.context_data if hasattr(response, "context_data") else response


class CustomerDetail(DetailView):
    model = Customer

    def get_context_data(self, **kwargs):
        return super().get_context_data(others=Customer.objects.exclude(pk=self.object.pk), **kwargs)


class NorthCustomers(ListView):
    context_object_name = "north"

    def get_queryset(self):
        self.first = get_object_or_404(Customer, pk=self.kwargs["name"])
        return Customer.objects.filter(territory=self.first.territory_id)


def test_display_views(erp):
    first = Customer.objects.order_by("name")[0]
    context = get(ListView.as_view(model=Customer, paginate_by=10, ordering="-name"), "/?page=2")
    assert list(context["customer_list"]) == list(Customer.objects.order_by("-name")[10:20])
    assert context["page_obj"].paginator.count == Customer.objects.count()
    context = get(CustomerDetail.as_view(), pk=first.pk)
    assert (context["customer"], context["others"].count()) == (first, Customer.objects.count() - 1)
    context = get(NorthCustomers.as_view(), name=first.pk)
    assert {each.territory_id for each in context["north"]} == {first.territory_id}
    by_slug = DetailView.as_view(model=Customer, slug_field="customer_name")
    assert get(by_slug, slug=first.customer_name)["object"] == first
    with pytest.raises(Http404):
        get(DetailView.as_view(model=Customer), pk="nobody")
    with pytest.raises(Http404):
        get(ListView.as_view(queryset=Customer.objects.filter(name="nobody"), allow_empty=False))


def test_editing_views(erp):
    create = CreateView.as_view(model=ToDo, form_class=ToDoForm, success_url="/todos/{name}/")
    answer = create(RequestFactory().post("/", DATA))
    name = answer["Location"].split("/")[2]
    assert erp.document("ToDo", name)["priority"] == "Low"
    update = UpdateView.as_view(model=ToDo, fields=["priority"], success_url="/")
    assert update(RequestFactory().post("/", {"priority": "High"}), pk=name).status_code == 302
    assert erp.document("ToDo", name)["priority"] == "High"
    assert get(update, pk=name)["form"].initial == {"priority": "High"}


def test_views_by_date(erp):
    dates = {
        "date_field": "transaction_date",
        "queryset": SalesOrder.objects.order_by("name"),
        "allow_future": True,
    }
    newest = SalesOrder.objects.latest("transaction_date").transaction_date
    context = get(ArchiveIndexView.as_view(**dates))
    assert newest.year in {each.year for each in context["date_list"]}
    context = get(YearArchiveView.as_view(**dates, make_object_list=True), year=newest.year)
    assert (
        context["object_list"].count()
        == SalesOrder.objects.filter(transaction_date__year=newest.year).count()
    )
    assert newest.replace(day=1) in list(context["date_list"])
    month = MonthArchiveView.as_view(**dates, month_format="%m")
    context = get(month, year=newest.year, month=newest.month)
    assert all(each.transaction_date.month == newest.month for each in context["object_list"])
    day = DayArchiveView.as_view(**dates, month_format="%m")
    context = get(day, year=newest.year, month=newest.month, day=newest.day)
    assert {each.transaction_date for each in context["object_list"]} == {newest}
