"""
`make faults`: N documents created in the background, and updated, submitted, cancelled and deleted, in a storm.

A fifth of the answers is lost after the commit, a tenth of the connections cut before it, 5% are 429 or 503. A
worker is killed every other second, the broker comes back empty twice, and the database's connections are cut.
In the end the site is asked what it has. The last line says what came of it; the exit status is 0 when all is well.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.commands import FaultProcess
from tests.faults.plan import DocumentPlan, plans
from tests.faults.storm import ALONE, Storm, Worker
from tests.faults.verdict import Verdict, judge, seen_in
from tests.services import PostgreSQL, RabbitMQ, Redis, Service, service

WORKERS = 3
THREADS = 4
BRIDGE = {
    "TIMEOUT": (2.0, 10.0),
    "WRITE_LEASE": 12.0,
    "WRITE_BACKOFF": (0.2, 3.0),
    # A site that fails every third request is not what the limit is for.
    "WRITE_ATTEMPTS": 200,
}


@dataclass(frozen=True)
class Options:
    count: int = 2000
    strategy: str = "marker"
    version: int = 15
    seed: int = 1
    broker: str = "redis"
    seconds: float = 360.0

    @classmethod
    def parse(cls, arguments: list[str]) -> Options:
        parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
        parser.add_argument("--count", type=int, default=2000)
        parser.add_argument("--strategy", choices=("marker", "key"), default="marker")
        parser.add_argument("--version", type=int, choices=(15, 16), default=15)
        parser.add_argument("--seed", type=int, default=int(time.time()) % 10_000)
        parser.add_argument("--broker", choices=("redis", "rabbitmq"), default="redis")
        parser.add_argument("--seconds", type=float, default=360.0, help="when to give up")
        return cls(**vars(parser.parse_args(arguments)))


@dataclass
class Result:
    options: Options
    verdict: Verdict
    seconds: float
    writes: int
    met: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        options, met = self.options, ", ".join(f"{count} {what}" for what, count in self.met.items())
        return (
            f"faults: {options.count} documents, {self.writes} writes in {self.seconds:.0f} s, by {options.strategy} "
            f"on the sandbox of {options.version}, seed {options.seed}: {self.verdict} ({met})"
        )


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    options = Options.parse(arguments)
    folder = Path(tempfile.mkdtemp(prefix="bridge-faults-"))
    result = run(options, folder)
    if not result.verdict.is_good:
        say(f"{result.verdict.examples()}\n  the logs are in {folder}")
    else:
        shutil.rmtree(folder)
    say(str(result))
    return 0 if result.verdict.is_good else 1


def run(options: Options, folder: Path) -> Result:
    with contextlib.ExitStack() as stack:
        database: Any = stack.enter_context(service(PostgreSQL))
        broker = stack.enter_context(service(Redis if options.broker == "redis" else RabbitMQ))
        site = FaultProcess(
            *("tests.faults.sandboxed", "--version", str(options.version), "--seed", str(options.seed)),
            environment=dict(os.environ),
        )
        stack.callback(site.stop)
        entry = {"URL": site.hello["url"], "API_KEY": site.hello["key"], "API_SECRET": site.hello["secret"]}
        given = {
            "database": database.settings,
            "broker": broker.url,
            "sites": {"default": {**entry, "VERSION": options.version, "TIME_ZONE": "America/New_York"}},
            "bridge": BRIDGE,
        }
        os.environ |= {"FAULTS": json.dumps(given), "DJANGO_SETTINGS_MODULE": "tests.faults.project"}
        set_up()
        return weather(options, folder, database, broker, site)


def set_up() -> None:
    import django

    import tests.faults.project

    assert tests.faults.project.app
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def weather(
    options: Options, folder: Path, database: PostgreSQL, broker: Service, site: FaultProcess
) -> Result:
    """Let it storm until all writes are settled, or the time is over."""
    from tests.faults.queueing import Producer

    environment = dict(os.environ)
    pool = ("worker", "--pool", "threads", "--concurrency", str(THREADS), "--loglevel", "WARNING", *ALONE)
    workers = [Worker(f"worker{number}", pool, environment, folder) for number in range(WORKERS)]
    beat = Worker(
        "beat", ("beat", "--schedule", str(folder / "beat"), "--loglevel", "WARNING"), environment, folder
    )
    wanted = plans(options.count, options.seed)
    producer = Producer(wanted)
    watch = Watch(wanted)
    storm = Storm(workers, database, broker, options.seed, watch.share)
    start = time.monotonic()
    try:
        for worker in (*workers, beat):
            worker.start()
        site.ask("storm")
        storm.start()
        producer.queue_creates()
        while time.monotonic() - start < options.seconds:
            waiting = producer.queue_followers()
            watch.look()
            say(f"{time.monotonic() - start:5.0f} s  {watch}")
            if watch.is_over and (not waiting or watch.is_stuck):
                break
            time.sleep(1.0)
        storm.stop()
    finally:
        for worker in (*workers, beat):
            worker.kill()
    seconds = time.monotonic() - start
    site.ask("calm")
    watch.look()
    met = storm.counts + Counter(
        {TITLES[fate]: count for fate, count in site.ask("counts").items() if fate in TITLES}
    )
    verdict = judge(wanted, seen_in(site.ask("journal")), watch.names(), watch.states)
    return Result(options, verdict, seconds, watch.states.total(), met)


TITLES = {"lost": "answers lost", "cut": "requests cut", "limited": "429", "unavailable": "503"}


class Watch:
    """What the table of the writes says."""

    def __init__(self, wanted: list[DocumentPlan]) -> None:
        self.total = sum(len(plan.steps) for plan in wanted)
        self.states: Counter[str] = Counter()

    def look(self) -> None:
        from django.db.models import Count

        from erpnext_bridge.models import DocumentWrite
        from tests.faults.queueing import stubborn

        counted = DocumentWrite.objects.order_by().values_list("state").annotate(count=Count("pk"))
        self.states = Counter(dict(stubborn(lambda: list(counted))))

    @property
    def settled(self) -> int:
        return sum(self.states[state] for state in ("done", "refused", "uncertain", "cancelled"))

    @property
    def is_over(self) -> bool:
        return bool(self.states) and self.settled == self.states.total()

    @property
    def is_stuck(self) -> bool:
        return self.is_over and bool(self.states["uncertain"] + self.states["refused"])

    def share(self) -> float:
        return self.settled / self.total

    def names(self) -> dict[str, str]:
        from erpnext_bridge.models import DocumentWrite
        from tests.faults.queueing import stubborn

        found = DocumentWrite.objects.filter(action="create").values_list(
            "payload__reference", "document_name"
        )
        return dict(stubborn(lambda: list(found)))

    def __str__(self) -> str:
        return ", ".join(f"{count} {state}" for state, count in sorted(self.states.items()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
