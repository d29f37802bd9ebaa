"""A page of 50 orders with their customers and rows, next to a loop of single reads; and one document."""

from __future__ import annotations

from benchmarks.documents import DOCTYPES, customers, orders
from benchmarks.sites import measured_site
from benchmarks.timing import ROUNDS, measure

ORDERS = 50


def main() -> None:
    documents = [*customers(), *orders(ORDERS)]
    with measured_site(DOCTYPES, documents) as site:
        from benchmarks.models import Order

        theirs = site.by_hand()
        ours = Order.objects.as_service().order_by("name")

        def by_hand() -> list[tuple[str, int]]:
            names = theirs.get("Bridge Bench Order", order_by="name asc", limit_page_length=ORDERS)
            read = [theirs.get(f"Bridge Bench Order/{row['name']}") for row in names]
            return [
                (theirs.get(f"Bridge Bench Customer/{order['customer']}")["title"], len(order["rows"]))
                for order in read
            ]

        def package() -> list[tuple[str, int]]:
            page = ours.select_related("customer").prefetch_related("rows")[:ORDERS]
            return [(order.customer.title, len(order.rows.all())) for order in page]

        assert package() == by_hand()
        loop = measure(f"{ORDERS} orders, customers and rows", package, by_hand, rounds=min(ROUNDS, 5))
        name = "BENCH-O-000000"
        one = measure(
            "one order with its rows",
            lambda: len(ours.get(pk=name).rows.all()),
            lambda: len(theirs.get(f"Bridge Bench Order/{name}")["rows"]),
        )
        print(
            f"related: a page {1 / loop.ratio:.0f} times as fast as a loop of single reads, "
            f"one document {one.ratio:.2f} of a plain request ({site.kind})"
        )


if __name__ == "__main__":
    main()
