"""Finding and taking the next write where 1,000,000 are queued, next to where 1,000 are: on SQLite and PostgreSQL."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django
from django.conf import settings

from tests.services import PostgreSQL, service

FEW, MANY = 1_000, 1_000_000
ROUNDS = 50

SERIES = {
    "sqlite": "(WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < {count}) SELECT n FROM series) AS g",
    "postgresql": "generate_series(1, {count}) AS g(n)",
}
# What differs between the rows; all else is as in the row that was queued.
EACH = {
    "sqlite": {
        "id": "lower(hex(randomblob(16)))",
        "document_key": "lower(hex(randomblob(16)))",
        "created_at": "strftime('%Y-%m-%d %H:%M:%f000', w.created_at, '+' || (g.n / 1000.0) || ' seconds')",
        "next_attempt_at": "strftime('%Y-%m-%d %H:%M:%f000', w.next_attempt_at, '+' || (g.n / 1000.0) || ' seconds')",
    },
    "postgresql": {
        "id": "gen_random_uuid()",
        "document_key": "md5(g.n::text || w.action)",
        "created_at": "w.created_at + g.n * interval '1 millisecond'",
        "next_attempt_at": "w.next_attempt_at + g.n * interval '1 millisecond'",
    },
}


@contextmanager
def database(kind: str) -> Iterator[dict[str, Any]]:
    if kind == "postgresql":
        with service(PostgreSQL) as running:
            yield running.settings  # type: ignore[attr-defined]
        return
    with tempfile.TemporaryDirectory() as folder:
        options = {
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
            "transaction_mode": "IMMEDIATE",
        }
        yield {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": Path(folder) / "db.sqlite3",
            "OPTIONS": options,
        }


def set_up(entry: dict[str, Any]) -> None:
    settings.configure(
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "erpnext_bridge"],
        DATABASES={"default": entry},
        ERPNEXT_BRIDGE={"SITES": {"default": {"URL": "http://127.0.0.1:1", "WRITE_CONCURRENCY": None}}},
        CELERY_BROKER_URL="memory://",
        USE_TZ=True,
        TIME_ZONE="UTC",
    )
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def queue(kind: str, count: int) -> None:
    """Queue as many writes: half of them creates of one DocType, half updates of a document each."""
    from datetime import timedelta

    from django.db import connection
    from django.utils import timezone

    from erpnext_bridge.models import DocumentWrite

    DocumentWrite.objects.all().delete()
    # The updates are first in both queues, so that the same is taken from both.
    due = {"update": timezone.now() - timedelta(days=2), "create": timezone.now() - timedelta(days=1)}
    columns = [field.column for field in DocumentWrite._meta.concrete_fields]
    chosen = ", ".join(EACH[kind].get(column, f'w."{column}"') for column in columns)
    table = DocumentWrite._meta.db_table
    names = ", ".join(f'"{column}"' for column in columns)
    series = SERIES[kind].format(count=count // 2 - 1)
    for write in templates():
        DocumentWrite.objects.filter(pk=write.pk).update(
            created_at=due[write.action], next_attempt_at=due[write.action]
        )
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {table} ({names}) SELECT {chosen} FROM {table} w CROSS JOIN {series} WHERE w.id = %s",
                [write.pk if kind == "postgresql" else write.pk.hex],
            )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE" if kind == "sqlite" else "VACUUM ANALYZE")
    assert DocumentWrite.objects.due().count() == count


def templates() -> list[Any]:
    from erpnext_bridge.identity import Identity
    from erpnext_bridge.writes import enqueue

    identity = Identity.service()
    return [
        enqueue("create", identity, "Lead", payload={"lead_name": "Ada"}),
        enqueue("update", identity, "Customer", "CUST-1", {"territory": "North"}),
    ]


def claim() -> float:
    """Return the median of the seconds that it takes to find and take the next write; each is then put back."""
    from erpnext_bridge.models import DocumentWrite
    from erpnext_bridge.outbox.claiming import next_due, take

    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        delivery = take(next_due())
        seconds.append(time.perf_counter() - start)
        assert delivery is not None
        for write in delivery.writes:
            DocumentWrite.objects.filter(pk=write.pk).update(
                state="pending", lease_token=None, lease_expires_at=None, lane_lock=None, slot_lock=None,
                next_attempt_at=write.created_at,
            )  # fmt: skip
    return statistics.median(seconds)


def one(kind: str) -> None:
    with database(kind) as entry:
        set_up(entry)
        found = {}
        for count in (FEW, MANY):
            start = time.perf_counter()
            queue(kind, count)
            filled = time.perf_counter() - start
            claim()
            found[count] = claim()
            print(
                f"{kind}: {count:>9,} queued in {filled:.0f} s, the next one taken in {found[count] * 1000:.2f} ms",
                flush=True,
            )
        print(f"{kind} {found[MANY] / found[FEW]:.2f}")
        from django.db import connections

        connections.close_all()


def main() -> None:
    ratios = []
    for kind in SERIES:
        command = [sys.executable, "-m", "benchmarks.bench_claims", kind]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        print(run.stdout, end="", flush=True)
        ratios.append(run.stdout.splitlines()[-1])
    print(f"claims: the next of {MANY:,} in {', '.join(ratios)} of the time of {FEW:,}")


if __name__ == "__main__":
    one(sys.argv[1]) if len(sys.argv) > 1 else main()
