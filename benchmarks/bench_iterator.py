"""20,000 documents: page by page with `.iterator()`, by hand in one request and in pages as large; time and memory."""

from __future__ import annotations

from benchmarks.documents import DOCTYPES, FIELDS, customers, orders
from benchmarks.sites import measured_site
from benchmarks.timing import measure, peak_memory

ROWS = 20_000
PAGE = 2000
"""Documents in each further page of `.iterator()`."""


def main() -> None:
    documents = [*customers(), *orders(ROWS)]
    with measured_site(DOCTYPES, documents) as site:
        from benchmarks.models import Order

        theirs, ours = site.by_hand(), Order.objects.as_service().only(*FIELDS).order_by("name")

        def by_hand() -> int:
            fields = {"fields": FIELDS, "order_by": "name asc", "limit_page_length": 0}
            return len(theirs.get("Bridge Bench Order", **fields))

        def by_hand_in_pages() -> int:
            fields = {"fields": FIELDS, "order_by": "name asc", "limit_page_length": PAGE}
            page = theirs.get("Bridge Bench Order", **fields)
            count = len(page)
            while len(page) == PAGE:
                after = [["name", ">", page[-1]["name"]]]
                page = theirs.get("Bridge Bench Order", **fields, filters=after)
                count += len(page)
            return count

        def package() -> int:
            return sum(1 for _ in ours.iterator())

        assert package() == by_hand() == by_hand_in_pages() >= ROWS
        pair = measure(f"{ROWS} orders with {len(FIELDS)} fields", package, by_hand, rounds=3)
        paged = measure(f"the same, by hand in pages of {PAGE}", package, by_hand_in_pages, rounds=3)
        held, held_by_hand = peak_memory(package), peak_memory(by_hand)
        memory = held / held_by_hand
        print(f"peak memory: package {held >> 10} KiB, by hand {held_by_hand >> 10} KiB: {memory:.2f}")
        print(
            f"iterator: {pair.ratio:.2f} of one unbounded request, {paged.ratio:.2f} of pages by hand, "
            f"{memory:.2f} of the memory ({site.kind})"
        )


if __name__ == "__main__":
    main()
