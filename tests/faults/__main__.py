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
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults import doctype
from tests.faults.plan import plans
from tests.faults.sites import Account, RealSite, SandboxSite, TestedSite
from tests.faults.storm import ALONE, ForkedWorker, Storm
from tests.faults.verdict import Verdict, judge
from tests.services import PostgreSQL, RabbitMQ, Redis, Service, service

WORKERS = 3
THREADS = 4
BRIDGE = {
    "TIMEOUT": (2.0, 5.0),
    # What a killed worker held is taken for lost after this.
    "WRITE_LEASE": 7.0,
    # What is sent together is killed together.
    "WRITE_BATCH": 10,
    "WRITE_BACKOFF": (0.2, 3.0),
    # A site that fails every third request, for ever, is not what these two are for.
    "WRITE_ATTEMPTS": 200,
    "WRITE_BREAKER": (5, 0.5, 2.0),
}


SITE = {"WRITE_CONCURRENCY": 12}
STRATEGIES = {"marker": "marker", "key": "field"}


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
    title: str
    verdict: Verdict
    seconds: float
    writes: int
    met: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        options, met = self.options, ", ".join(f"{count} {what}" for what, count in self.met.items())
        return (
            f"faults: {options.count} documents, {self.writes} writes in {self.seconds:.0f} s, by {options.strategy} "
            f"on {self.title}, seed {options.seed}: {self.verdict} ({met})"
        )


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    options = Options.parse(arguments)
    # Ended from outside, it takes along what it has started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
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
        account = Account.from_environment()
        site: TestedSite
        site = RealSite(account, options.seed) if account else SandboxSite(options.version, options.seed)
        stack.callback(site.clear)
        given = {
            "database": database.settings,
            "broker": broker.url,
            "sites": {"default": {**site.settings, **SITE, "CREATE_KEY": STRATEGIES[options.strategy]}},
            "bridge": BRIDGE,
        }
        os.environ |= {"FAULTS": json.dumps(given), "DJANGO_SETTINGS_MODULE": "tests.faults.project"}
        set_up(options)
        return weather(options, folder, database, broker, site)


def set_up(options: Options) -> None:
    import django

    import tests.faults.project

    assert tests.faults.project.app
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    if options.strategy == "key":
        call_command("erpnext_install_keys", doctype.NAME)


def weather(
    options: Options, folder: Path, database: PostgreSQL, broker: Service, site: TestedSite
) -> Result:
    """Let it storm until all writes are settled, or the time is over."""
    from tests.faults.queueing import queue_all
    from tests.faults.watch import Watch

    pool = ("worker", "--pool", "threads", "--concurrency", str(THREADS), "--loglevel", "WARNING", *ALONE)
    workers = [ForkedWorker(f"worker{number}", pool, folder) for number in range(WORKERS)]
    beat = ForkedWorker("beat", ("beat", "--schedule", str(folder / "beat"), "--loglevel", "WARNING"), folder)
    wanted = plans(options.count, options.seed)
    watch = Watch(wanted)
    start = time.monotonic()
    with Storm(workers, [beat], database, broker, options.seed, watch.share) as storm:
        site.faults.ask("storm")
        queue_all(wanted)
        while time.monotonic() - start < options.seconds:
            watch.look()
            say(f"{time.monotonic() - start:5.0f} s  {watch}")
            if watch.is_over:
                break
            time.sleep(1.0)
    seconds = time.monotonic() - start
    site.faults.ask("calm")
    watch.look()
    met = storm.counts + Counter(
        {TITLES[fate]: count for fate, count in site.faults.ask("counts").items() if fate in TITLES}
    )
    if not watch.is_over or watch.settled != watch.states["done"]:
        (folder / "writes.json").write_text(watch.unfinished())
    verdict = judge(wanted, site.seen(), watch.names(), watch.states)
    return Result(options, site.title, verdict, seconds, watch.states.total(), met)


TITLES = {"lost": "answers lost", "cut": "requests cut", "limited": "429", "unavailable": "503"}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
