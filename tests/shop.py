"""Generic views on documents, as a project would have them."""

from __future__ import annotations

from django import forms
from django.contrib.auth.models import Group
from django.contrib.messages.views import SuccessMessageMixin
from django.forms import inlineformset_factory
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import include, path
from django.views.generic import (
    CreateView,
    DeleteView,
    DetailView,
    FormView,
    ListView,
    UpdateView,
)

from erpnext_bridge.class_views import DocumentViewMixin
from erpnext_bridge.decorators import connection_required
from erpnext_bridge.forms import ChildRowFormSet
from erpnext_bridge.pagination import UncountedPaginator
from tests.erp.models import Customer, Lead, SalesOrder, SalesOrderItem

Items = inlineformset_factory(
    SalesOrder,
    SalesOrderItem,
    formset=ChildRowFormSet,
    fields=["item_code", "qty", "rate"],
    extra=1,
    can_order=True,
)


class CustomerList(DocumentViewMixin, ListView):
    queryset = Customer.objects.order_by("name")
    paginate_by = 8
    paginator_class = UncountedPaginator
    template_name = "erp/list.html"


class CustomerCreate(SuccessMessageMixin, DocumentViewMixin, CreateView):
    model = Customer
    fields = ["customer_name", "customer_type", "customer_group", "territory"]
    template_name = "erp/form.html"
    success_url = "/customers/"
    success_message = "%(customer_name)s was created."


class CustomerUpdate(DocumentViewMixin, UpdateView):
    model = Customer
    fields = ["customer_name", "customer_group", "territory", "website"]
    template_name = "erp/form.html"
    success_url = "/customers/"


class CustomerDelete(DocumentViewMixin, DeleteView):
    model = Customer
    template_name = "erp/delete.html"
    success_url = "/customers/"


class OrderDetail(DocumentViewMixin, DetailView):
    model = SalesOrder
    template_name = "erp/detail.html"


class OrderCreate(DocumentViewMixin, CreateView):
    model = SalesOrder
    fields = ["customer", "company", "transaction_date", "delivery_date"]
    formset_classes = [Items]
    template_name = "erp/form.html"
    success_url = "/orders/{name}/"


class OrderUpdate(DocumentViewMixin, UpdateView):
    model = SalesOrder
    fields = ["customer", "transaction_date", "delivery_date"]
    formset_classes = [Items]
    template_name = "erp/form.html"
    success_url = "/orders/{name}/"


class LeadForm(forms.Form):
    first_name = forms.CharField()
    email_id = forms.CharField()


class LeadView(DocumentViewMixin, FormView):
    form_class = LeadForm
    template_name = "erp/form.html"
    success_url = "/customers/"

    def form_valid(self, form):
        Group.objects.get_or_create(name=form.cleaned_data["first_name"])
        Lead.objects.create(**form.cleaned_data)
        return super().form_valid(form)


@connection_required
def customer_name(request, pk):
    return HttpResponse(get_object_or_404(Customer, pk=pk).customer_name)


urlpatterns = [
    path("erpnext/", include("erpnext_bridge.urls")),
    path("customers/", CustomerList.as_view()),
    path("customers/new/", CustomerCreate.as_view()),
    path("customers/<pk>/", CustomerUpdate.as_view()),
    path("customers/<pk>/delete/", CustomerDelete.as_view()),
    path("customers/<pk>/name/", customer_name),
    path("orders/new/", OrderCreate.as_view()),
    path("orders/<pk>/", OrderDetail.as_view()),
    path("orders/<pk>/edit/", OrderUpdate.as_view()),
    path("leads/new/", LeadView.as_view()),
]
