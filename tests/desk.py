"""An admin site of documents, as a project would have it."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from erpnext_bridge.admin import ChildRowInline, ErpModelAdmin
from tests.erp.models import Customer, Item, Lead, SalesOrder, SalesOrderItem, Territory

desk = admin.AdminSite(name="desk")


@admin.register(Customer, site=desk)
class CustomerAdmin(ErpModelAdmin):
    list_display = ["name", "customer_type", "territory", "disabled"]
    list_filter = ["customer_type", "disabled", "territory"]
    search_fields = ["customer_name", "website"]
    ordering = ["customer_name"]


@admin.register(Item, site=desk)
class ItemAdmin(ErpModelAdmin):
    search_fields = ["item_code", "item_name"]


@admin.register(Lead, site=desk)
class LeadAdmin(ErpModelAdmin):
    list_display = ["name", "lead_name", "status"]
    list_editable = ["status"]
    search_fields = ["lead_name"]


@admin.register(Territory, site=desk)
class TerritoryAdmin(ErpModelAdmin):
    pass


class ItemInline(ChildRowInline):
    model = SalesOrderItem
    fields = ["item_code", "qty", "rate", "amount"]
    readonly_fields = ["amount"]
    autocomplete_fields = ["item_code"]


@admin.register(SalesOrder, site=desk)
class SalesOrderAdmin(ErpModelAdmin):
    list_display = ["name", "customer", "transaction_date", "grand_total", "docstatus"]
    list_filter = ["docstatus", "transaction_date"]
    date_hierarchy = "transaction_date"
    search_fields = ["name", "customer__customer_name"]
    fields = ["customer", "company", "transaction_date", "delivery_date", "grand_total"]
    readonly_fields = ["grand_total"]
    autocomplete_fields = ["customer"]
    inlines = [ItemInline]

    def save_related(self, request, form, formsets, change):
        if "fail" in request.GET:
            raise RuntimeError("before anything was sent")
        super().save_related(request, form, formsets, change)


urlpatterns = [
    path("desk/", desk.urls),
    path("erpnext/", include("erpnext_bridge.urls")),
]
