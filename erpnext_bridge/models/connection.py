"""A user's authorization at a site: whose account it is, its tokens, and whether they still work."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone

from erpnext_bridge.crypto import EncryptedTextField, SealedText
from erpnext_bridge.identity import Identity


class Health(models.TextChoices):
    HEALTHY = "healthy", "healthy"
    NEEDS_RECONNECT = "needs_reconnect", "needs to be connected again"


class ConnectionQuerySet(models.QuerySet["Connection"]):
    def for_identity(self, identity: Identity) -> ConnectionQuerySet:
        """Narrow to the connection of a user's identity; to nothing for a service account."""
        if identity.user_pk is None:
            return self.none()
        return self.filter(user_id=identity.user_pk, site=identity.site)


class Connection(models.Model):
    """One user's authorization at one site."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="erpnext_connections"
    )
    site = models.CharField(max_length=64, help_text="Alias of the site in ERPNEXT_BRIDGE['SITES'].")
    site_url = models.CharField(
        max_length=500, help_text="Where the tokens were issued; they are sent nowhere else."
    )
    erp_user = models.CharField("ERPNext user", max_length=140)
    full_name = models.CharField(max_length=255, blank=True)
    access_token = EncryptedTextField(editable=False)
    refresh_token = EncryptedTextField(editable=False, blank=True)
    expires_at = models.DateTimeField(help_text="When the access token expires; it is refreshed before.")
    scopes = models.CharField(max_length=500, blank=True)
    health = models.CharField(max_length=20, choices=Health.choices, default=Health.HEALTHY)
    reason = models.CharField(max_length=500, blank=True, help_text="Why it needs to be connected again.")
    connected_at = models.DateTimeField(default=timezone.now)
    refreshed_at = models.DateTimeField(null=True, blank=True)

    revoked: bool | None = None
    """After its deletion, whether ERPNext confirmed that the tokens are revoked; None before that is known."""

    objects: ClassVar[models.Manager[Connection]] = ConnectionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "site"], name="erpnext_bridge_connection_user_site")
        ]

    def __str__(self) -> str:
        return f"{self.erp_user} at {self.site_url}"

    @property
    def identity(self) -> Identity:
        return Identity(self.site, str(self.user_id))

    @property
    def is_healthy(self) -> bool:
        return self.health == Health.HEALTHY

    @property
    def label(self) -> str:
        """Who the user is at ERPNext, for people."""
        return f"{self.full_name} ({self.erp_user})" if self.full_name else self.erp_user

    def expires_within(self, seconds: float, now: datetime | None = None) -> bool:
        return self.expires_at <= (now or timezone.now()) + timedelta(seconds=seconds)

    @property
    def tokens(self) -> tuple[SealedText, SealedText]:
        return self.access_token, self.refresh_token
