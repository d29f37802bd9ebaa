"""A user's authorization at a site: whose account it is, its tokens, and whether they still work."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from erpnext_bridge.identity import Identity
from erpnext_bridge.tokens.crypto import EncryptedTextField, SealedText


class Health(models.TextChoices):
    """How a connection is. A user has to act in the last two cases, and an administrator may have to in the second."""

    HEALTHY = "healthy", "healthy"
    DEGRADED = "degraded", "works, but could not be refreshed"
    NEEDS_RECONNECT = "needs_reconnect", "needs to be connected again"
    REVOKED = "revoked", "was revoked at ERPNext"


USABLE = (Health.HEALTHY, Health.DEGRADED)
"""Healths in which the tokens are good, as far as is known."""


class DatabaseNow(Now):
    """The time of the database, by which all hosts measure leases, whatever their own clocks say."""

    def as_mysql(self, compiler: object, connection: object, **_: object) -> tuple[str, tuple[()]]:
        # CURRENT_TIMESTAMP is in the session's time zone there, and Django stores UTC.
        return "UTC_TIMESTAMP(6)", ()


class ConnectionQuerySet(models.QuerySet["Connection"]):
    def for_identity(self, identity: Identity) -> ConnectionQuerySet:
        """Narrow to the connection of a user's identity; to nothing for a service account."""
        if identity.user_pk is None:
            return self.none()
        return self.filter(user_id=identity.user_pk, site=identity.site)

    def usable(self) -> ConnectionQuerySet:
        """Narrow to the connections whose users need not connect again."""
        return self.filter(health__in=USABLE)


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
    reason = models.CharField(max_length=500, blank=True, help_text="Why it is not healthy.")
    connected_at = models.DateTimeField(default=timezone.now)
    refreshed_at = models.DateTimeField(null=True, blank=True)

    lease = models.CharField(max_length=32, blank=True, editable=False)
    """Who is getting new tokens now, while the time of the database is before `leased_until`."""
    leased_until = models.DateTimeField(null=True, blank=True, editable=False)
    failures = models.PositiveIntegerField(
        default=0, editable=False, help_text="Refreshes in a row that came to nothing."
    )
    next_refresh_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="No refresh is tried before, after one has failed."
    )

    revoked: bool | None = None
    """After its deletion, whether ERPNext confirmed that the tokens are revoked; None before that is known."""

    objects: ClassVar[models.Manager[Connection]] = ConnectionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "site"], name="erpnext_bridge_connection_user_site")
        ]

    def __str__(self) -> str:
        return f"{self.erp_user} at {self.site_url}"

    def can(self, action: str, doctype: str, name: str | None = None) -> bool:
        """
        Return whether ERPNext lets this user do something to a DocType, or to one document of it.

        The actions are Frappe's: read, write, create, delete, submit, cancel, amend, print, email, report, export,
        import, share, select. An answer is believed for `PERMISSION_TTL` seconds. Raises what any request raises.
        """
        from erpnext_bridge import rights

        return rights.can(self.identity, action, doctype, name)

    @property
    def identity(self) -> Identity:
        return Identity(self.site, str(self.user_id))

    @property
    def is_usable(self) -> bool:
        """Whether the user need not connect again."""
        return self.health in USABLE

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
