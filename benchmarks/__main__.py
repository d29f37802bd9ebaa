"""
`make bench`: each thing twice, by the package and by hand with plain `requests`, one after the other.

A number above 1 is what the package costs, one below 1 is what it saves. The sandbox runs in a process of its
own and answers faster than an ERPNext does, so costs look larger here than they are.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import django
import requests
from django.conf import settings

ROUNDS = 15
ROWS = 200
ORDERS = 50
FIELDS = ["name", "customer_name", "customer_type", "customer_group", "territory", "disabled", "modified"]

SITE_SOURCE = """
import sys
from erpnext_bridge.sandbox import Sandbox
with Sandbox() as site:
    print(site.url, *site.api_key("alice@example.com"), flush=True)
    sys.stdin.read()
"""


@contextmanager
def site() -> Iterator[tuple[str, str, str]]:
    """Yield the URL of a sandbox in a process of its own, and Alice's API key and secret."""
    command = [sys.executable, "-c", SITE_SOURCE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        url, key, secret = process.stdout.readline().split()
        try:
            yield url, key, secret
        finally:
            process.stdin.close()


def configure(url: str, key: str, secret: str) -> None:
    settings.configure(
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "erpnext_bridge",
            "project.erp",
        ],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        ERPNEXT_BRIDGE={"SITES": {"default": {"URL": url, "API_KEY": key, "API_SECRET": secret}}},
        USE_TZ=True,
    )
    django.setup()


class ByHand:
    """What one writes without the package."""

    def __init__(self, url: str, key: str, secret: str) -> None:
        self.url = f"{url}/api/resource"
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"token {key}:{secret}"

    def get(self, path: str, **params: Any) -> Any:
        answer = self.session.get(f"{self.url}/{path}", params=params, timeout=30)
        answer.raise_for_status()
        return answer.json()["data"]

    def customers(self) -> list[dict[str, Any]]:
        fields = str(FIELDS).replace("'", '"')
        return self.get("Customer", fields=fields, order_by="name asc", limit_page_length=ROWS)

    def customer(self, name: str) -> dict[str, Any]:
        return self.get(f"Customer/{name}")

    def orders_with_rows(self) -> int:
        names = self.get("Sales Order", order_by="name asc", limit_page_length=ORDERS)
        return sum(len(self.get(f"Sales Order/{row['name']}")["items"]) for row in names)


class ByPackage:
    """The same with the models of the demo."""

    def __init__(self) -> None:
        from project.erp.models import Customer, SalesOrder

        self.all_customers = Customer.objects.as_service()
        self.all_orders = SalesOrder.objects.as_service()

    def customers(self) -> list[Any]:
        return list(self.all_customers.only(*FIELDS).order_by("name")[:ROWS])

    def customer(self, name: str) -> Any:
        return self.all_customers.get(pk=name)

    def orders_with_rows(self) -> int:
        orders = self.all_orders.prefetch_related("items").order_by("name")[:ORDERS]
        return sum(len(order.items.all()) for order in orders)


@dataclass(frozen=True)
class Pair:
    """The median times of one thing, in seconds."""

    title: str
    package: float
    by_hand: float

    @property
    def ratio(self) -> float:
        return self.package / self.by_hand

    def __str__(self) -> str:
        package, by_hand = (f"{seconds * 1000:8.1f} ms" for seconds in (self.package, self.by_hand))
        return f"{self.title:<42} {package} {by_hand} {self.ratio:8.2f}"


def measure(title: str, package: Callable[[], Any], by_hand: Callable[[], Any]) -> Pair:
    """Time both in turns, so that what else the machine does meets both alike."""
    seconds: dict[Callable[[], Any], list[float]] = {package: [], by_hand: []}
    for work in (package, by_hand):
        work()
    for _ in range(ROUNDS):
        for work, times in seconds.items():
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
    return Pair(title, statistics.median(seconds[package]), statistics.median(seconds[by_hand]))


def pairs(ours: ByPackage, theirs: ByHand) -> Iterator[Pair]:
    names = [row["name"] for row in theirs.customers()]
    assert [customer.name for customer in ours.customers()] == names, "both have to read the same"
    assert ours.orders_with_rows() == theirs.orders_with_rows(), "both have to read the same"
    yield measure(f"a list of {ROWS} customers, 7 fields", ours.customers, theirs.customers)
    yield measure("one customer", lambda: ours.customer(names[0]), lambda: theirs.customer(names[0]))
    yield measure(f"{ORDERS} orders with their rows", ours.orders_with_rows, theirs.orders_with_rows)


def main() -> None:
    with site() as (url, key, secret):
        configure(url, key, secret)
        print(f"{'':<42} {'package':>11} {'by hand':>11} {'ratio':>8}")
        found = []
        for pair in pairs(ByPackage(), ByHand(url, key, secret)):
            print(pair)
            found.append(pair)
    many, one, loop = (pair.ratio for pair in found)
    print(
        f"bench: a list takes {many:.2f} and a document {one:.2f} of plain requests, orders with rows {loop:.2f}"
    )


if __name__ == "__main__":
    main()
