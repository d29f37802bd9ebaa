"""
A pair of tokens that ERPNext is still to revoke.

The row is written in the transaction that takes the tokens out of use, and stays until ERPNext has confirmed that they
are dead: neither a crash nor a site that is down leaves them alive.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.db import models
from django.utils import timezone

from erpnext_bridge.tokens.crypto import EncryptedTextField, SealedText


class Cause(models.TextChoices):
    DISCONNECTED = "disconnected", "disconnected"
    SUPERSEDED = "superseded", "replaced by newer tokens"
    UNUSED = "unused", "issued, and never used"


class PendingRevocationQuerySet(models.QuerySet["PendingRevocation"]):
    def due(self, now: datetime | None = None) -> PendingRevocationQuerySet:
        """Narrow to those to be tried now."""
        return self.filter(next_attempt_at__lte=now or timezone.now())


class PendingRevocation(models.Model):
    """Tokens that are out of use here, and not yet known to be dead at ERPNext."""

    site = models.CharField(max_length=64, help_text="Alias of the site in ERPNEXT_BRIDGE['SITES'].")
    site_url = models.CharField(
        max_length=500, help_text="Where the tokens were issued; they are sent nowhere else."
    )
    erp_user = models.CharField("ERPNext user", max_length=140, blank=True)
    cause = models.CharField(max_length=20, choices=Cause.choices)
    access_token = EncryptedTextField(editable=False)
    refresh_token = EncryptedTextField(editable=False, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=timezone.now, db_index=True)
    last_error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects: ClassVar[models.Manager[PendingRevocation]] = PendingRevocationQuerySet.as_manager()

    def __str__(self) -> str:
        return f"Tokens of {self.erp_user or 'somebody'} at {self.site_url}"

    @property
    def tokens(self) -> tuple[SealedText, SealedText]:
        return self.access_token, self.refresh_token
