"""
200 new documents: queued and delivered by the package, created by hand in batches, and by hand one by one.

The package's time is that of a worker from the first request to the last row that says done; queueing is not in it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.sites import MeasuredSite, measured_site

DOCUMENTS = 200
BATCH = 50
ROUNDS = 5

DOCTYPE = "Bridge Bench Note"
DOCTYPES = [
    {
        "name": DOCTYPE,
        "autoname": "BBN-.######",
        "fields": [
            {"fieldname": "title", "label": "Title", "fieldtype": "Data"},
            {"fieldname": "day", "label": "Day", "fieldtype": "Date"},
            {"fieldname": "total", "label": "Total", "fieldtype": "Currency"},
        ],
    }
]


def payloads() -> list[dict[str, Any]]:
    return [{"title": f"Note {number}", "day": "2026-03-04", "total": number} for number in range(DOCUMENTS)]


class ByHand:
    """What one writes without the package, with one session."""

    def __init__(self, site: MeasuredSite) -> None:
        self.site = site
        self.session = site.by_hand().session

    def one_by_one(self) -> None:
        for payload in payloads():
            answer = self.session.post(f"{self.site.url}/api/resource/{DOCTYPE}", json=payload, timeout=120)
            answer.raise_for_status()

    def in_batches(self) -> None:
        url = f"{self.site.url}/api/method/frappe.client.insert_many"
        for start in range(0, DOCUMENTS, BATCH):
            docs = [{"doctype": DOCTYPE, **payload} for payload in payloads()[start : start + BATCH]]
            self.session.post(url, json={"docs": docs}, timeout=120).raise_for_status()


def set_up() -> None:
    """Make the tables, and a broker that is as near as a broker can be."""
    from celery import Celery
    from django.core.management import call_command

    Celery("benchmarks", broker="memory://").set_default()
    call_command("migrate", verbosity=0)


def by_package() -> Callable[[], None]:
    """Queue the documents, and return what delivers them."""
    from erpnext_bridge.identity import Identity
    from erpnext_bridge.models import DocumentWrite
    from erpnext_bridge.writes import drain, enqueue_many

    DocumentWrite.objects.all().delete()
    enqueue_many(Identity.service(), DOCTYPE, payloads())

    def deliver() -> None:
        while drain(60.0) is not None:
            pass
        assert DocumentWrite.objects.filter(state="done").exclude(document_name="").count() == DOCUMENTS

    return deliver


def timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    with measured_site(DOCTYPES, []) as site:
        set_up()
        by_hand = ByHand(site)
        seconds: dict[str, list[float]] = {"package": [], "in batches": [], "one by one": []}
        # Once untimed: the package learns how many documents a request may carry.
        by_package()()
        for _ in range(ROUNDS):
            seconds["package"].append(timed(by_package()))
            seconds["in batches"].append(timed(by_hand.in_batches))
            seconds["one by one"].append(timed(by_hand.one_by_one))
        rates = {way: DOCUMENTS / statistics.median(times) for way, times in seconds.items()}
        for way, rate in rates.items():
            print(f"{way:<12} {rate:7.1f} documents a second")
        print(
            f"writes: {rates['package'] / rates['one by one']:.2f} × the rate of one request a document, "
            f"{rates['package'] / rates['in batches']:.0%} of bare insert_many ({site.kind})"
        )


if __name__ == "__main__":
    main()
