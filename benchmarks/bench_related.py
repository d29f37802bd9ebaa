"""A page of 50 orders with their customers and rows, next to a loop of single reads; and one document."""

from __future__ import annotations

from typing import Any

from requests import HTTPError

from benchmarks.documents import DOCTYPES, customers, orders
from benchmarks.sites import ByHand, measured_site
from benchmarks.timing import ROUNDS, measure

ORDERS = 50


def has_sales_orders(theirs: ByHand) -> bool:
    """Whether the site is an ERPNext with a page of orders: its documents are what a loop really reads."""
    try:
        return len(theirs.get("Sales Order", order_by="name asc", limit_page_length=ORDERS)) == ORDERS
    except HTTPError:
        return False


def main() -> None:
    documents = [*customers(), *orders(ORDERS)]
    with measured_site(DOCTYPES, documents) as site:
        from benchmarks.models import Order, SalesOrder

        theirs = site.by_hand()
        own = not has_sales_orders(theirs)
        model: Any = Order if own else SalesOrder
        table, title = ("rows", "title") if own else ("items", "customer_name")
        customer = "Bridge Bench Customer" if own else "Customer"
        ours = model.objects.as_service().order_by("name")

        def by_hand() -> list[tuple[str, int]]:
            names = theirs.get(model.doctype, order_by="name asc", limit_page_length=ORDERS)
            read = [theirs.get(f"{model.doctype}/{row['name']}") for row in names]
            return [
                (theirs.get(f"{customer}/{order['customer']}")[title], len(order[table])) for order in read
            ]

        def package() -> list[tuple[str, int]]:
            page = ours.select_related("customer").prefetch_related("rows")[:ORDERS]
            return [(order.customer.title, len(order.rows.all())) for order in page]

        assert package() == by_hand()
        what = f"{ORDERS} × {model.doctype}, customers and rows"
        loop = measure(what, package, by_hand, rounds=min(ROUNDS, 5))
        name = ours[0].name
        one = measure(
            f"one {model.doctype} with its rows",
            lambda: len(ours.get(pk=name).rows.all()),
            lambda: len(theirs.get(f"{model.doctype}/{name}")[table]),
        )
        print(
            f"related: a page {1 / loop.ratio:.0f} times as fast as a loop of single reads, "
            f"one document {one.ratio:.2f} of a plain request ({site.kind}, {model.doctype})"
        )


if __name__ == "__main__":
    main()
