"""Documents in the admin, for staff who are connected."""

from __future__ import annotations

from django.contrib import admin

from erpnext_bridge.admin import ChildRowInline, ErpModelAdmin
from project.erp.models import Customer, SalesOrder, SalesOrderItem


@admin.register(Customer)
class CustomerAdmin(ErpModelAdmin):
    list_display = ["name", "customer_type", "customer_group", "territory", "disabled"]
    list_filter = ["customer_type", "disabled"]
    search_fields = ["customer_name"]


class ItemInline(ChildRowInline):
    model = SalesOrderItem
    fields = ["item_code", "qty", "rate", "amount"]
    readonly_fields = ["amount"]


@admin.register(SalesOrder)
class SalesOrderAdmin(ErpModelAdmin):
    list_display = ["name", "customer", "transaction_date", "status", "grand_total"]
    list_filter = ["status"]
    date_hierarchy = "transaction_date"
    search_fields = ["name", "customer__customer_name"]
    fields = ["customer", "transaction_date", "delivery_date", "status", "grand_total", "currency"]
    readonly_fields = ["status", "grand_total", "currency"]
    autocomplete_fields = ["customer"]
    inlines = [ItemInline]
