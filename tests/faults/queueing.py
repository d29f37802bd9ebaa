"""The program that wants the documents: queues their writes as a view would, also while its database goes away."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connection, transaction

from erpnext_bridge.identity import Identity
from erpnext_bridge.models import DocumentWrite
from erpnext_bridge.models.write import Action
from erpnext_bridge.writes import enqueue
from tests.faults import doctype
from tests.faults.plan import CREATE_SUBMITTED, DocumentPlan

SERVICE = Identity.service()
CHUNK = 5

Result = TypeVar("Result")


def stubborn(work: Callable[[], Result], *, seconds: float = 600.0) -> Result:
    """Do it with the database, again when the connection was cut."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return work()
        except (OperationalError, InterfaceError):
            connection.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def queue(plan: DocumentPlan) -> None:
    """Queue all that a document is to go through, before it has a name."""
    payload = {"reference": plan.reference, "step": 0}
    is_submitted = plan.steps[0] == CREATE_SUBMITTED
    document = enqueue(Action.CREATE, SERVICE, doctype.NAME, payload=payload, submit=is_submitted)
    for step in plan.steps[1:]:
        if isinstance(step, int):
            enqueue(Action.UPDATE, SERVICE, doctype.NAME, document, {"step": step})
        else:
            enqueue(step, SERVICE, doctype.NAME, document)


def queue_all(plans: list[DocumentPlan]) -> None:
    """Queue everything that the plans say, once."""
    for start in range(0, len(plans), CHUNK):
        _queue(plans[start : start + CHUNK])


def _queue(chunk: list[DocumentPlan]) -> None:
    def work() -> None:
        # The cut may have hidden a commit that happened.
        if DocumentWrite.objects.filter(payload__reference=chunk[0].reference).exists():
            return
        with transaction.atomic():
            for plan in chunk:
                queue(plan)

    stubborn(work)
