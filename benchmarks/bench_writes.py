"""
200 new documents: queued and delivered by the package, created by hand in batches, and by hand one by one.

The package's time is that of a worker from the first request to the last row that says done; queueing is not in it.
By hand, a request carries as many documents. Both ways of the package to create once are measured: markers, which
cost two documents more a request, and the key field, which is a DocType of its own here.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.sites import MeasuredSite, measured_site
from erpnext_bridge.outbox.keyfield import FIELDNAME

DOCUMENTS = 200
SINGLES = 40
"""Documents that are created one by one in a round."""
ROUNDS = 9

DOCTYPE = "Bridge Bench Note"
KEYED = "Bridge Bench Keyed Note"
KEY_FIELD = {"fieldname": FIELDNAME, "label": "Key", "fieldtype": "Data", "unique": 1, "length": 32}
FIELDS = [
    {"fieldname": "title", "label": "Title", "fieldtype": "Data"},
    {"fieldname": "day", "label": "Day", "fieldtype": "Date"},
    {"fieldname": "total", "label": "Total", "fieldtype": "Currency"},
]
DOCTYPES = [
    {"name": DOCTYPE, "autoname": "BBN-.######", "fields": FIELDS},
    {"name": KEYED, "autoname": "BBK-.######", "fields": [*FIELDS, KEY_FIELD]},
]


def payloads() -> list[dict[str, Any]]:
    return [{"title": f"Note {number}", "day": "2026-03-04", "total": number} for number in range(DOCUMENTS)]


class ByHand:
    """What one writes without the package, with one session."""

    def __init__(self, site: MeasuredSite) -> None:
        self.site = site
        self.session = site.by_hand().session

    def one_by_one(self, doctype: str) -> None:
        for payload in payloads()[:SINGLES]:
            answer = self.session.post(f"{self.site.url}/api/resource/{doctype}", json=payload, timeout=120)
            answer.raise_for_status()

    def in_batches(self, doctype: str) -> None:
        from erpnext_bridge.conf import get_settings

        batch = get_settings().write_batch
        url = f"{self.site.url}/api/method/frappe.client.insert_many"
        for start in range(0, DOCUMENTS, batch):
            docs = [{"doctype": doctype, **payload} for payload in payloads()[start : start + batch]]
            self.session.post(url, json={"docs": docs}, timeout=120).raise_for_status()


def set_up() -> None:
    """Make the tables, and a broker that is as near as a broker can be."""
    from celery import Celery
    from django.core.management import call_command

    Celery("benchmarks", broker="memory://").set_default()
    call_command("migrate", verbosity=0)


def by_package(doctype: str) -> Callable[[], None]:
    """Queue the documents, and return what delivers them."""
    from erpnext_bridge.identity import Identity
    from erpnext_bridge.models import DocumentWrite
    from erpnext_bridge.writes import drain, enqueue_many

    DocumentWrite.objects.all().delete()
    enqueue_many(Identity.service(), doctype, payloads())

    def deliver() -> None:
        while drain(60.0) is not None:
            pass
        assert DocumentWrite.objects.filter(state="done").exclude(document_name="").count() == DOCUMENTS

    return deliver


def timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(by_hand: ByHand, doctype: str) -> dict[str, float]:
    """Return how often the package's rate is that of each way by hand, as the median of all rounds."""
    # Once untimed: the package learns how long a document takes.
    by_package(doctype)()
    rates: list[tuple[float, float, float]] = []
    for _ in range(ROUNDS):
        rates.append(
            (
                DOCUMENTS / timed(by_package(doctype)),
                DOCUMENTS / timed(lambda: by_hand.in_batches(doctype)),
                SINGLES / timed(lambda: by_hand.one_by_one(doctype)),
            )
        )
    package, batches, singles = (statistics.median(each) for each in zip(*rates, strict=True))
    print(
        f"{doctype}: package {package:.0f} documents a second, in batches {batches:.0f}, one by one {singles:.0f}",
        flush=True,
    )
    return {
        "batches": statistics.median(package / batches for package, batches, _ in rates),
        "singles": statistics.median(package / singles for package, _, singles in rates),
    }


def main() -> None:
    with measured_site(DOCTYPES, []) as site:
        set_up()
        by_hand = ByHand(site)
        found = {"markers": measure(by_hand, DOCTYPE), "key field": measure(by_hand, KEYED)}
        told = "; ".join(
            f"{ratio['singles']:.1f} × the rate of one request a document and {ratio['batches']:.0%} of bare "
            f"insert_many with {way}"
            for way, ratio in found.items()
        )
        print(f"writes: {told} ({site.kind})")


if __name__ == "__main__":
    main()
