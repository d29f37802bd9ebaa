"""What happens to the project while it works: workers killed, the broker emptied, the database connections cut."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.process
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Self

import psycopg

from tests.services import PostgreSQL, Service

KILL_EVERY = 2.0
CUT_EVERY = 7.0
BROKER_ENDS = 2

CELERY = (sys.executable, "-m", "celery", "--quiet", "--app", "tests.faults.project")
ALONE = ("--without-gossip", "--without-mingle", "--without-heartbeat")

forkserver = multiprocessing.get_context("forkserver")
forkserver.set_forkserver_preload(["tests.faults.preloaded"])


class Worker:
    """One Celery process of its own program, with those that it starts."""

    def __init__(
        self, label: str, arguments: tuple[str, ...], environment: dict[str, str], folder: Path
    ) -> None:
        self.label = label
        self.arguments = arguments
        self.environment = environment
        self.log = folder / f"{label}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                (*CELERY, *self.arguments),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        if self.process is not None:
            # The group: a pool of processes would outlive its parent.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


class ForkedWorker:
    """One Celery process, forked from one that has everything imported; without processes of its own."""

    def __init__(self, label: str, arguments: tuple[str, ...], folder: Path) -> None:
        self.arguments = list(arguments)
        self.log = folder / f"{label}.log"
        self.process: multiprocessing.process.BaseProcess | None = None

    def start(self) -> None:
        from tests.faults.preloaded import run

        self.process = forkserver.Process(target=run, args=(self.arguments, str(self.log)))
        self.process.start()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None


class Storm(threading.Thread):
    """Breaks one thing after the other until it is told to stop."""

    def __init__(
        self,
        workers: list[ForkedWorker],
        spared: list[ForkedWorker],
        database: PostgreSQL,
        broker: Service,
        seed: int,
        progress: Callable[[], float],
    ) -> None:
        super().__init__(name="storm", daemon=True)
        self.workers, self.spared = workers, spared
        self.database, self.broker = database, broker
        self.progress = progress
        self.counts: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._over = threading.Event()
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self.failure = error
            raise

    def _run(self) -> None:
        last_cut = time.monotonic()
        while not self._over.wait(KILL_EVERY):
            worker = self._chance.choice(self.workers)
            worker.kill()
            worker.start()
            self.counts["workers killed"] += 1
            if time.monotonic() - last_cut >= CUT_EVERY:
                self.counts["database connections cut"] += self.cut_database()
                last_cut = time.monotonic()
            done, ends = self.progress(), self.counts["broker emptied"]
            if ends < BROKER_ENDS and done >= (ends + 1) / (BROKER_ENDS + 1):
                self.broker.restart_empty()
                self.counts["broker emptied"] += 1

    def cut_database(self) -> int:
        url = f"host=127.0.0.1 port={self.database.port} user={self.database.user} dbname=bridge"
        with psycopg.connect(url, autocommit=True) as connection:
            found = connection.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = 'bridge' AND pid <> pg_backend_pid()"
            ).fetchone()
        return int(found[0]) if found else 0

    def __enter__(self) -> Self:
        for worker in (*self.workers, *self.spared):
            worker.start()
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # First the thread: it would start the workers again.
        self._over.set()
        self.join()
        for worker in (*self.workers, *self.spared):
            worker.kill()
        if self.failure is not None and kind is None:
            raise RuntimeError("The storm has ended before the run did.") from self.failure
