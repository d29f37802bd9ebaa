"""What all workers together know of a site: how many requests went wrong in a row, and when the next may go."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class SiteGate(models.Model):
    """The circuit breaker and the rate budget of one site; no row means that nothing is amiss."""

    site = models.CharField(
        max_length=64, primary_key=True, help_text="Alias of the site in ERPNEXT_BRIDGE['SITES']."
    )
    failures = models.PositiveIntegerField(default=0, help_text="Deliveries in a row that the site failed.")
    closed_until = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Nothing is sent before, and then one write to see if the site is back.",
    )
    next_send_at = models.DateTimeField(
        null=True, blank=True, help_text="When the rate budget is full again."
    )
    last_error = models.TextField(blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[models.Manager[SiteGate]] = models.Manager()

    class Meta:
        verbose_name = "site's gate"

    def __str__(self) -> str:
        return self.site
