"""The pages of documents; each is as short as it would be with tables of one's own."""

from __future__ import annotations

from typing import Any

from django.core.cache import cache
from django.core.paginator import Paginator
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from erpnext_bridge.decorators import connection_required
from erpnext_bridge.query import ErpQuerySet
from project.erp.forms import CustomerSearch, LeadForm
from project.erp.models import Customer, CustomerGroup, Territory

CHOICES_TTL = 300
COLUMNS = {
    "customer_name": "Customer",
    "customer_group": "Group",
    "territory": "Territory",
    "modified": "Modified",
}
DEFAULT_ORDER = "customer_name"


@connection_required
@require_GET
def customers(request: HttpRequest) -> HttpResponse:
    search = CustomerSearch(
        request.GET, territories=choices(request, Territory), groups=choices(request, CustomerGroup)
    )
    order = asked_order(request)
    found = search.narrow(Customer.objects.for_user(request.user)).order_by(order)
    columns = [column(name, label, order) for name, label in COLUMNS.items()]
    context = {"search": search, "columns": columns, **paged(request, found, 20)}
    return render(request, "erp/customers.html", context)


@connection_required
@require_GET
def customer(request: HttpRequest, name: str) -> HttpResponse:
    found = get_object_or_404(Customer.objects.for_user(request.user), pk=name)
    orders = found.orders.order_by("-transaction_date", "-name").prefetch_related("items")
    return render(request, "erp/customer.html", {"customer": found, **paged(request, orders, 10)})


@connection_required
@require_http_methods(["GET", "POST"])
def new_lead(request: HttpRequest) -> HttpResponse:
    form = LeadForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            write = form.save(commit=False).save_later(user=request.user)
        return redirect("erpnext_bridge:write", write.pk)
    return render(request, "erp/lead.html", {"form": form})


def paged(request: HttpRequest, documents: ErpQuerySet[Any], length: int) -> dict[str, Any]:
    """Return the page that is asked for, and the numbers to link to."""
    page = Paginator(documents, length).get_page(request.GET.get("page"))
    numbers = page.paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1)
    return {"page": page, "numbers": numbers}


def choices(request: HttpRequest, model: Any) -> list[str]:
    """Return the names that a filter offers: those this user may see, read once in a while."""
    key = f"choices:{model.doctype}:{request.user.pk}".replace(" ", "_")

    def names() -> list[str]:
        documents = model.objects.for_user(request.user).filter(is_group=False)
        return list(documents.order_by("name").values_list("name", flat=True))

    return cache.get_or_set(key, names, CHOICES_TTL) or []


def asked_order(request: HttpRequest) -> str:
    order = request.GET.get("order", DEFAULT_ORDER)
    return order if order.removeprefix("-") in COLUMNS else DEFAULT_ORDER


def column(name: str, label: str, order: str) -> dict[str, str]:
    """Return a header of the table: how it is sorted now, and what a click on it asks for."""
    if order == name:
        return {"label": label, "next": f"-{name}", "sort": "ascending"}
    return {"label": label, "next": name, "sort": "descending" if order == f"-{name}" else ""}
