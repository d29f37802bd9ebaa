"""How long finished writes are kept: done and cancelled ones for `WRITE_RETENTION` days, all others until a person has decided."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

from erpnext_bridge.conf import get_settings
from erpnext_bridge.models.write import IN_THE_WAY, DocumentWrite, DocumentWriteQuerySet, State

PRUNABLE = (State.DONE, State.CANCELLED)
"""States of which nothing is asked any more. A refused or an uncertain write is a promise that was not kept."""

CHUNK = 1000
"""Writes deleted in one transaction, so that nobody waits for it."""


def prunable(days: float | None = None, now: datetime | None = None) -> DocumentWriteQuerySet:
    """Return the writes that were finished this many days ago: WRITE_RETENTION of them, if none are given."""
    if days is None:
        days = get_settings().write_retention
    # The name of its document is still wanted by those that wait for it.
    writes = DocumentWrite.objects.filter(state__in=PRUNABLE).exclude(dependents__state__in=IN_THE_WAY)
    if days is None:
        return writes.none()
    return writes.filter(finished_at__lt=(now or timezone.now()) - timedelta(days=days))


def prune(days: float | None = None, now: datetime | None = None) -> int:
    """Delete the writes that nobody needs any more, and return how many they were."""
    found = prunable(days, now)
    count = 0
    while chunk := list(found.values_list("pk", flat=True)[:CHUNK]):
        # Asked again by state: since it was listed, somebody may have sent one of them again.
        _, deleted = found.filter(pk__in=chunk).delete()
        count += deleted.get(DocumentWrite._meta.label, 0)
    return count
