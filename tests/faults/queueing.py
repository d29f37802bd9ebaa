"""The program that wants the documents: queues their writes as a view would, also while its database goes away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connection, transaction

from erpnext_bridge.identity import Identity
from erpnext_bridge.models import DocumentWrite
from erpnext_bridge.models.write import Action, State
from erpnext_bridge.writes import enqueue
from tests.faults import doctype
from tests.faults.plan import CREATE_SUBMITTED, DocumentPlan, Step

SERVICE = Identity.service()
CHUNK = 20

Result = TypeVar("Result")


def stubborn(work: Callable[[], Result], *, seconds: float = 60.0) -> Result:
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


def create(plan: DocumentPlan) -> DocumentWrite:
    payload = {"reference": plan.reference, "step": 0}
    is_submitted = plan.steps[0] == CREATE_SUBMITTED
    return enqueue(Action.CREATE, SERVICE, doctype.NAME, payload=payload, submit=is_submitted)


def follow(write: DocumentWrite, steps: Iterable[Step]) -> None:
    for step in steps:
        if isinstance(step, int):
            enqueue(Action.UPDATE, SERVICE, doctype.NAME, write.document_name, {"step": step})
        else:
            enqueue(step, SERVICE, doctype.NAME, write.document_name)


class Producer:
    """Queues everything that the plans say, once."""

    def __init__(self, plans: list[DocumentPlan]) -> None:
        self.plans = plans
        self._unfollowed = {plan.reference: plan for plan in plans if len(plan.steps) > 1}

    def queue_creates(self) -> None:
        for start in range(0, len(self.plans), CHUNK):
            self._queue(self.plans[start : start + CHUNK])

    def _queue(self, chunk: list[DocumentPlan]) -> None:
        def work() -> None:
            # The cut may have hidden a commit that happened.
            if DocumentWrite.objects.filter(payload__reference=chunk[0].reference).exists():
                return
            with transaction.atomic():
                for plan in chunk:
                    create(plan)

        stubborn(work)

    def queue_followers(self) -> int:
        """Queue what follows on documents that have their names by now; return how many still have not."""
        names = {
            write.payload["reference"]: write
            for write in stubborn(
                lambda: list(DocumentWrite.objects.filter(action=Action.CREATE, state=State.DONE))
            )
        }
        for reference in [reference for reference in self._unfollowed if reference in names]:
            self._follow(names[reference], self._unfollowed.pop(reference))
        return len(self._unfollowed)

    def _follow(self, write: DocumentWrite, plan: DocumentPlan) -> None:
        def work() -> None:
            if (
                DocumentWrite.objects.filter(
                    document_name=write.document_name, created_at__gt=write.created_at
                )
                .exclude(pk=write.pk)
                .exists()
            ):
                return
            with transaction.atomic():
                follow(write, plan.steps[1:])

        stubborn(work)
