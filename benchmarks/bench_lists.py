"""A list of 1,000 documents with 8 fields: instances by the package, dicts by hand."""

from __future__ import annotations

from typing import Any

from benchmarks.documents import DOCTYPES, FIELDS, customers, orders
from benchmarks.sites import measured_site
from benchmarks.timing import measure

ROWS = 1000


def main() -> None:
    documents = [*customers(), *orders(ROWS)]
    with measured_site(DOCTYPES, documents) as site:
        from benchmarks.models import Order

        theirs, ours = site.by_hand(), Order.objects.as_service().only(*FIELDS).order_by("name")

        def by_hand() -> list[dict[str, Any]]:
            fields = {"fields": FIELDS, "order_by": "name asc", "limit_page_length": ROWS}
            return theirs.get("Bridge Bench Order", **fields)

        def package() -> list[Order]:
            return list(ours[:ROWS])

        assert [order.name for order in package()] == [row["name"] for row in by_hand()]
        pair = measure(f"{ROWS} orders with {len(FIELDS)} fields", package, by_hand)
        print(f"lists: {pair.ratio:.2f} of plain requests to dicts ({site.kind})")


if __name__ == "__main__":
    main()
