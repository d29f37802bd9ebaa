"""Connections in the admin: to look at, to probe and to end; their tokens are on no page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from erpnext_bridge import connecting
from erpnext_bridge.models import Connection, PendingRevocation
from erpnext_bridge.probing import probe
from erpnext_bridge.tokens import revoking

if TYPE_CHECKING:
    _ConnectionAdmin = admin.ModelAdmin[Connection]
    _RevocationAdmin = admin.ModelAdmin[PendingRevocation]
else:
    _ConnectionAdmin = _RevocationAdmin = admin.ModelAdmin

MAX_PROBES = 50
"""Connections that one click probes: each is a request to ERPNext, and the page waits for all."""


@admin.register(Connection)
class ConnectionAdmin(_ConnectionAdmin):
    list_display = [
        "user",
        "site",
        "erp_user",
        "health",
        "reason",
        "expires_at",
        "refreshed_at",
        "connected_at",
    ]
    list_filter = ["health", "site"]
    list_select_related = ["user"]
    search_fields = ["erp_user", "full_name"]
    actions = ["probe", "disconnect"]
    fields = [
        "user",
        "site",
        "site_url",
        "erp_user",
        "full_name",
        "scopes",
        "health",
        "reason",
        "failures",
        "next_refresh_at",
        "expires_at",
        "refreshed_at",
        "connected_at",
    ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Connection | None = None) -> bool:
        return False

    @admin.action(description="Probe: ask ERPNext whether the tokens work", permissions=["view"])
    def probe(self, request: HttpRequest, queryset: QuerySet[Connection]) -> None:
        chosen = list(queryset[: MAX_PROBES + 1])
        works = 0
        for connection in chosen[:MAX_PROBES]:
            found = probe(connection)
            works += found.works
            if not found.works:
                self.message_user(request, f"{connection}: {found.text}", messages.WARNING)
        self.message_user(request, f"{works} of {len(chosen[:MAX_PROBES])} work.")
        if len(chosen) > MAX_PROBES:
            text = f"Only the first {MAX_PROBES} were probed: choose fewer."
            self.message_user(request, text, messages.WARNING)

    @admin.action(description="Disconnect, and revoke the tokens at ERPNext", permissions=["delete"])
    def disconnect(self, request: HttpRequest, queryset: QuerySet[Connection]) -> None:
        outcomes = [connecting.disconnect(connection) for connection in queryset]
        confirmed = sum(outcomes)
        self.message_user(request, f"{len(outcomes)} disconnected, {confirmed} confirmed by ERPNext.")
        if confirmed < len(outcomes):
            text = "ERPNext did not confirm the others yet; they are tried again in the background."
            self.message_user(request, text, messages.WARNING)


@admin.register(PendingRevocation)
class PendingRevocationAdmin(_RevocationAdmin):
    """What ERPNext has not confirmed yet. Deleting a row gives it up: its tokens may live on."""

    list_display = ["erp_user", "site", "cause", "created_at", "attempts", "next_attempt_at", "last_error"]
    list_filter = ["cause", "site"]
    search_fields = ["erp_user"]
    actions = ["try_now"]
    fields = [
        "erp_user", "site", "site_url", "cause", "created_at", "attempts", "next_attempt_at", "last_error",
    ]  # fmt: skip

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: PendingRevocation | None = None) -> bool:
        return False

    @admin.action(description="Try to revoke now", permissions=["delete"])
    def try_now(self, request: HttpRequest, queryset: QuerySet[PendingRevocation]) -> None:
        chosen = list(queryset.values_list("pk", flat=True)[:MAX_PROBES])
        queryset.model.objects.filter(pk__in=chosen).update(next_attempt_at=timezone.now())
        confirmed = sum(revoking.attempt(pk) for pk in chosen)
        self.message_user(request, f"{confirmed} of {len(chosen)} revoked and confirmed by ERPNext.")
