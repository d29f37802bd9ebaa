"""Background writes in tests: delivered here and now, without a worker, a broker, or a wait between attempts."""

from __future__ import annotations

from typing import Any

from django.db import router
from django.test import TestCase
from django.utils import timezone

from erpnext_bridge import writes
from erpnext_bridge.models import DocumentWrite
from erpnext_bridge.models.write import WAITING


def deliver_writes() -> list[DocumentWrite]:
    """
    Deliver each write that waits, oldest first, and return them as they are then.

    Each gets one attempt, whatever it waits for: call it again for the retry of a write that met trouble. The signal
    `write_changed` is sent as after a commit.
    """
    delivered: dict[Any, DocumentWrite] = {}
    while found := _one_more(delivered):
        delivered[found.pk] = found
    return list(delivered.values())


def _one_more(delivered: dict[Any, DocumentWrite]) -> DocumentWrite | None:
    waiting = DocumentWrite.objects.filter(state__in=WAITING, next_attempt_at__isnull=False)
    waiting = waiting.exclude(pk__in=delivered)
    for pk in waiting.order_by("created_at").values_list("pk", flat=True):
        DocumentWrite.objects.filter(pk=pk).update(next_attempt_at=timezone.now())
        # Inside a TestCase nothing is ever committed; outside of one there is nothing to capture.
        with TestCase.captureOnCommitCallbacks(using=router.db_for_write(DocumentWrite), execute=True):
            write = writes.perform(pk)
        if write is not None:
            return write
    return None
