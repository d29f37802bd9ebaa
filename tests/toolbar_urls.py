"""A page with the debug toolbar, which asks ERPNext for customers one by one."""

from __future__ import annotations

from debug_toolbar.toolbar import debug_toolbar_urls
from django.http import HttpResponse
from django.template import engines
from django.urls import path

from erpnext_bridge.errors import TransientError
from erpnext_bridge.identity import Identity
from erpnext_bridge.rights import can
from tests.erp.models import Customer

PAGE = "<html><body>{% for each in customers %}<p>{{ each }}</p>{% endfor %}</body></html>"


def loop(request):
    customers = Customer.objects.as_service()
    names = customers.filter(customer_name__icontains="a").order_by("name").values_list("pk", flat=True)[:3]
    found = [customers.get(pk=name) for name in [*names, names[0]]]
    return HttpResponse(engines["django"].from_string(PAGE).render({"customers": found}))


def nothing(request):
    return HttpResponse("<html><body>nothing</body></html>")


def busy(request):
    try:
        found = Customer.objects.as_service().filter(disabled=True).exists()
    except TransientError:
        found = "busy"
    return HttpResponse(f"<html><body>{found}</body></html>")


def rights(request):
    may = [can(Identity.service(), action, "Customer") for action in ("read", "write", "delete")]
    return HttpResponse(f"<html><body>{may}</body></html>")


urlpatterns = [
    path("loop/", loop),
    path("nothing/", nothing),
    path("busy/", busy),
    path("rights/", rights),
    *debug_toolbar_urls(),
]
