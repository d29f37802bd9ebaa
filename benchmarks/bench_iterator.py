"""20,000 documents: one page after the other by `.iterator()`, all in one request by hand; time and memory."""

from __future__ import annotations

from benchmarks.documents import DOCTYPES, FIELDS, customers, orders
from benchmarks.sites import measured_site
from benchmarks.timing import measure, peak_memory

ROWS = 20_000


def main() -> None:
    documents = [*customers(), *orders(ROWS)]
    with measured_site(DOCTYPES, documents) as site:
        from benchmarks.models import Order

        theirs, ours = site.by_hand(), Order.objects.as_service().only(*FIELDS).order_by("name")

        def by_hand() -> int:
            fields = {"fields": FIELDS, "order_by": "name asc", "limit_page_length": 0}
            return len(theirs.get("Bridge Bench Order", **fields))

        def package() -> int:
            return sum(1 for _ in ours.iterator())

        assert package() == by_hand() >= ROWS
        pair = measure(f"{ROWS} orders with {len(FIELDS)} fields", package, by_hand, rounds=3)
        held, held_by_hand = peak_memory(package), peak_memory(by_hand)
        memory = held / held_by_hand
        print(f"peak memory: package {held >> 10} KiB, by hand {held_by_hand >> 10} KiB: {memory:.2f}")
        print(
            f"iterator: {pair.ratio:.2f} of one unbounded request, {memory:.2f} of its memory ({site.kind})"
        )


if __name__ == "__main__":
    main()
