"""
What a write costs a worker itself: CPU of its process, beyond that of the same request by hand.

The database is SQLite in the same process, so its CPU is in it too.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from benchmarks.bench_writes import DOCTYPE, DOCTYPES, payloads, set_up
from benchmarks.sites import MeasuredSite, measured_site

UPDATES = 200
ROUNDS = 5


def cpu(writes: list[Any]) -> float:
    """Return the milliseconds of CPU that each of these writes takes."""
    from erpnext_bridge.models import DocumentWrite
    from erpnext_bridge.writes import drain

    start = time.process_time()
    while drain(60.0) is not None:
        pass
    spent = time.process_time() - start
    done = DocumentWrite.objects.filter(pk__in=[write.pk for write in writes], state="done").count()
    assert done == len(writes), f"{done} of {len(writes)}"
    return spent / len(writes) * 1000


def cpu_by_hand(site: MeasuredSite, names: list[str]) -> float:
    session = site.by_hand().session
    start = time.process_time()
    for name in names:
        url = f"{site.url}/api/resource/{DOCTYPE}/{name}"
        session.put(url, json={"total": 6}, timeout=120).raise_for_status()
    return (time.process_time() - start) / len(names) * 1000


def main() -> None:
    with measured_site(DOCTYPES, []) as site:
        set_up()
        from erpnext_bridge.identity import Identity
        from erpnext_bridge.models import DocumentWrite
        from erpnext_bridge.writes import enqueue, enqueue_many

        identity = Identity.service()
        cpu(enqueue_many(identity, DOCTYPE, payloads()))
        creates = cpu(enqueue_many(identity, DOCTYPE, payloads()))
        names = list(DocumentWrite.objects.values_list("document_name", flat=True)[:UPDATES])

        def updates(value: int) -> float:
            return cpu([enqueue("update", identity, DOCTYPE, name, {"total": value}) for name in names])

        rounds = [(updates(number), cpu_by_hand(site, names)) for number in range(1, ROUNDS + 1)]
        package, by_hand = (statistics.median(times) for times in zip(*rounds, strict=True))
        print(f"an update {package:.2f} ms, of which the request takes {by_hand:.2f} ms by hand")
        print(
            f"workers: {creates:.1f} ms of CPU for a create in a batch, {package - by_hand:.1f} ms for an update "
            f"beyond its request ({site.kind})"
        )


if __name__ == "__main__":
    main()
