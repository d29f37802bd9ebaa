"""Connections in the admin: to look at, and to end; their tokens are on no page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from erpnext_bridge import connecting
from erpnext_bridge.models import Connection

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Connection]
else:
    _ModelAdmin = admin.ModelAdmin


@admin.register(Connection)
class ConnectionAdmin(_ModelAdmin):
    list_display = ["user", "site", "erp_user", "health", "expires_at", "refreshed_at", "connected_at"]
    list_filter = ["health", "site"]
    list_select_related = ["user"]
    search_fields = ["erp_user", "full_name"]
    actions = ["disconnect"]
    fields = [
        "user",
        "site",
        "site_url",
        "erp_user",
        "full_name",
        "scopes",
        "health",
        "reason",
        "expires_at",
        "refreshed_at",
        "connected_at",
    ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Connection | None = None) -> bool:
        return False

    @admin.action(description="Disconnect, and revoke the tokens at ERPNext", permissions=["delete"])
    def disconnect(self, request: HttpRequest, queryset: QuerySet[Connection]) -> None:
        outcomes = [connecting.disconnect(connection) for connection in queryset]
        confirmed = sum(outcomes)
        self.message_user(request, f"{len(outcomes)} disconnected, {confirmed} confirmed by ERPNext.")
        if confirmed < len(outcomes):
            text = "ERPNext did not confirm the others: it could not be reached, or the tokens could not be read."
            self.message_user(request, text, messages.WARNING)
