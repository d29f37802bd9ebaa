"""What the table of the writes says, while it storms and afterwards."""

from __future__ import annotations

from collections import Counter

from django.core import serializers
from django.db.models import Count

from erpnext_bridge.models import DocumentWrite
from tests.faults.plan import DocumentPlan
from tests.faults.queueing import stubborn


class Watch:
    """What the table of the writes says."""

    def __init__(self, wanted: list[DocumentPlan]) -> None:
        self.total = sum(len(plan.steps) for plan in wanted)
        self.states: Counter[str] = Counter()

    def look(self) -> None:
        counted = DocumentWrite.objects.order_by().values_list("state").annotate(count=Count("pk"))
        self.states = Counter(dict(stubborn(lambda: list(counted))))

    @property
    def settled(self) -> int:
        return sum(self.states[state] for state in ("done", "refused", "uncertain", "cancelled"))

    @property
    def is_over(self) -> bool:
        return bool(self.states) and self.settled == self.states.total()

    def share(self) -> float:
        return self.settled / self.total

    def names(self) -> dict[str, str]:

        found = DocumentWrite.objects.filter(action="create").values_list(
            "payload__reference", "document_name"
        )
        return dict(stubborn(lambda: list(found)))

    def unfinished(self) -> str:
        """Return the writes that are not done, for whoever looks for the reason."""
        writes = DocumentWrite.objects.exclude(state="done").order_by("created_at")
        return str(serializers.serialize("json", stubborn(lambda: list(writes)), indent=1))

    def __str__(self) -> str:
        return ", ".join(f"{count} {state}" for state, count in sorted(self.states.items()))
