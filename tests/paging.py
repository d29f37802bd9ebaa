"""
`make paging [SECONDS=…]`: reads long lists while a writer inserts, updates and deletes documents all the time.

5,000 documents stay as they are, and share one `modified`. Each walk has to bring every one of them once. It runs on
sandboxes of both versions, or with ERPNEXT_URL and an administrator's ERPNEXT_API_KEY and ERPNEXT_API_SECRET at a real
site, where server scripts have to be enabled: only there can documents be given one `modified`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from erpnext_bridge.client import FrappeClient
from erpnext_bridge.credentials import ApiKey
from erpnext_bridge.sandbox import Sandbox
from tests.own_doctypes import READER, OwnDocTypes, administrator, world_of

DOCTYPE = "Bridge Paging"
DEFINITION = {
    "name": DOCTYPE,
    "autoname": "prompt",
    "fields": [
        {"fieldname": "title", "label": "Title", "fieldtype": "Data"},
        {"fieldname": "number", "label": "Number", "fieldtype": "Int"},
    ],
}
MODIFIED = "2026-01-15 12:00:00.000000"
WRITES_A_SECOND = 200
BATCH = 10
"""Documents in one request of the writer: Frappe deletes no more at once without a background job."""
ORDERINGS = [
    ("modified",),
    ("-modified",),
    ("name",),
    ("number", "modified"),
    ("-number",),
    ("title",),
    ("-title", "number"),
]


def documents(amount: int) -> list[dict[str, Any]]:
    """Return the documents that stay: many of one number, title and time."""
    return [
        {
            "doctype": DOCTYPE,
            "name": f"S-{number:05}",
            "title": f"Title {number % 7}",
            "number": number % 5,
            "creation": MODIFIED,
            "modified": MODIFIED,
        }
        for number in range(amount)
    ]


# Writers


def writes_of(client: FrappeClient, size: int) -> Iterator[int]:
    """Insert, update and delete documents, `size` in one request; yield after each how many they were."""
    made: deque[str] = deque()
    for start in count(0, size):
        # Among the documents that stay, whatever they are sorted by.
        names = [f"S-{number % 5000:05}-{number}" for number in range(start, start + size)]
        client.insert_many(
            [
                {"doctype": DOCTYPE, "name": name, "title": f"Title {place % 9}", "number": place % 6}
                for place, name in enumerate(names)
            ]
        )
        yield size
        made.extend(names)
        changed = [
            {"doctype": DOCTYPE, "docname": name, "number": (start + 3) % 6, "title": f"Title {start % 5}"}
            for name in names
        ]
        # A list is a 500 there: v15 and v16 want JSON as text.
        client.call("frappe.client.bulk_update", docs=json.dumps(changed))
        yield size
        if len(made) > 10 * size:
            gone = [made.popleft() for _ in range(size)]
            client.call("frappe.desk.reportview.delete_items", doctype=DOCTYPE, items=json.dumps(gone))
            yield size


SHARE = f"""
for name in frappe.get_all("{DOCTYPE}", filters=dict(modified=("!=", "{MODIFIED}")), pluck="name", limit=500):
    frappe.db.set_value("{DOCTYPE}", name, "modified", "{MODIFIED}", update_modified=False)
"""
DELETE = f"""
for name in frappe.get_all("{DOCTYPE}", pluck="name", limit=200):
    frappe.delete_doc("{DOCTYPE}", name, delete_permanently=True)
"""


def run_script(client: FrappeClient, script: str) -> None:
    """Run Python at a real site, in its System Console."""
    console = {"doctype": "System Console", "type": "Python", "console": script, "commit": 1}
    answer = client.call(
        "frappe.desk.doctype.system_console.system_console.execute_code", doc=json.dumps(console)
    )
    output = str((answer or {}).get("output") or "")
    if "Traceback" in output or "Error" in output:
        raise RuntimeError(output.strip().splitlines()[-1])


class Writer(threading.Thread):
    """Writes in the background, at a steady rate if the site can."""

    def __init__(self, writes: Iterator[int]) -> None:
        super().__init__(daemon=True)
        self.writes = writes
        self.done = 0
        self.error: BaseException | None = None
        self.stopped = threading.Event()
        self.seconds = 0.0

    def run(self) -> None:
        started = time.monotonic()
        try:
            for written in self.writes:
                self.done += written
                self.seconds = time.monotonic() - started
                ahead = self.done / WRITES_A_SECOND - self.seconds
                if self.stopped.wait(max(0.0, ahead)):
                    return
        except BaseException as error:
            self.error = error

    def __enter__(self) -> Writer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.join(60)


# Walks


@dataclass
class Figures:
    """What came of the walks."""

    walks: int = 0
    rows: int = 0
    writes: int = 0
    rate: float = 0.0
    lost: list[str] = field(default_factory=list)
    """Names that stayed put, and did not come."""
    repeated: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.walks} walks, {self.rows} rows, {self.writes} writes ({self.rate:.0f} a second): "
            f"{len(self.lost)} lost, {len(self.repeated)} repeated"
        )


def walk_while_writing(
    queryset: Any, stay: set[str], writes: Iterator[int], enough: Callable[[Figures], bool]
) -> Figures:
    """Walk in all orders, over and over, until it is enough."""
    figures = Figures()
    with Writer(writes) as writer:
        for number in count():
            ordering = ORDERINGS[number % len(ORDERINGS)]
            found = Counter(each.pk for each in queryset.order_by(*ordering).iterator())
            figures.walks += 1
            figures.rows += found.total()
            figures.lost += [f"{name} by {ordering}" for name in sorted(stay - found.keys())]
            figures.repeated += [f"{name} by {ordering}" for name in sorted(stay) if found[name] > 1]
            figures.writes = writer.done
            if writer.error is not None:
                raise writer.error
            if number % len(ORDERINGS) == len(ORDERINGS) - 1 and enough(figures):
                figures.rate = writer.done / (writer.seconds or 1)
                return figures
    raise AssertionError("unreachable")


def model() -> Any:
    from django.db import models

    from erpnext_bridge.documents import Document

    class Paged(Document, doctype=DOCTYPE):
        title = models.CharField(max_length=140)
        number = models.IntegerField(default=0)

        class Meta:
            app_label = "paging"

    return Paged


# The command


@contextmanager
def sandbox(version: int, amount: int) -> Iterator[tuple[FrappeClient, Iterator[int]]]:
    with Sandbox(version=version, world=world_of([DEFINITION], documents(amount))) as site:
        client = FrappeClient(site.url, ApiKey(*site.api_key(READER)))
        yield client, writes_of(client, BATCH)


@contextmanager
def real_site(client: FrappeClient, amount: int) -> Iterator[tuple[FrappeClient, Iterator[int]]]:
    own = OwnDocTypes(client, [DEFINITION])
    try:
        own.make()
        own.fill(
            [
                {key: value for key, value in each.items() if key not in ("creation", "modified")}
                for each in documents(amount)
            ]
        )
        while client.list(DOCTYPE, filters=[["modified", "!=", MODIFIED]], limit_page_length=1):
            run_script(client, SHARE)
        yield client, writes_of(client, BATCH)
    finally:
        while own.names(DOCTYPE):
            run_script(client, DELETE)
        own.remove()


def main(seconds: float, amount: int = 5000) -> int:
    import django
    from django.conf import settings

    settings.configure(
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "erpnext_bridge"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        ERPNEXT_BRIDGE={"SITES": {}},
        USE_TZ=True,
    )
    django.setup()
    paged = model()
    client = administrator()
    sites = (
        {"real site": real_site(client, amount)}
        if client
        else {f"sandbox v{version}": sandbox(version, amount) for version in (15, 16)}
    )
    told, failed = [], False
    for title, context in sites.items():
        with context as (reader, writes):
            credentials: Any = reader.credentials
            site = {"URL": reader.url, "API_KEY": credentials.key, "API_SECRET": credentials.secret}
            settings.ERPNEXT_BRIDGE = {"SITES": {"default": site}}
            same = reader.list(DOCTYPE, filters=[["modified", "=", MODIFIED]], limit_page_length=0)
            assert len(same) == amount, f"{len(same)} documents share one modified, not {amount}"
            end = time.monotonic() + seconds
            stay = {each["name"] for each in documents(amount)}
            figures = walk_while_writing(
                paged.objects.as_service(), stay, writes, lambda _, end=end: time.monotonic() > end
            )
            # Before the documents are removed again, which takes a real site its time.
            print(f"{title}: {figures}", *figures.lost[:5], *figures.repeated[:5], sep="\n  ", flush=True)
        told.append(f"{title}: {figures}")
        failed = failed or bool(figures.lost or figures.repeated)
    print(f"paging: {'; '.join(told)}")
    return 1 if failed else 0


if __name__ == "__main__":
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 30.0))
