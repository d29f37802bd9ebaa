"""Workers at a real Redis and a real RabbitMQ: several processes, one queue, each write delivered once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack

import psycopg
import pytest

from erpnext_bridge.sandbox import Sandbox
from tests.faults.storm import ALONE, Worker
from tests.services import PostgreSQL, RabbitMQ, Redis, ServiceMissing, service
from tests.write_site import service_account, world

pytestmark = pytest.mark.service

COUNT = 12
SECONDS = 120


@pytest.fixture
def start():
    """Return a function that starts a server for this test, which is left out where it is not installed."""
    with ExitStack() as stack:

        def start(kind):
            try:
                return stack.enter_context(service(kind))
            except ServiceMissing as missing:
                pytest.skip(str(missing))

        yield start


@pytest.fixture
def project(start, request, tmp_path):
    """A project with PostgreSQL and a broker, whose writes have a queue of their own."""
    database, broker = start(PostgreSQL), start(request.param)
    with Sandbox(world=world()) as site:
        running = Project(database, broker, site, tmp_path)
        try:
            running.python(
                "from django.core.management import call_command; call_command('migrate', verbosity=0)"
            )
            yield running
        finally:
            for worker in running.workers:
                worker.kill()


class Project:
    def __init__(self, database, broker, site, folder):
        self.database, self.broker, self.site, self.folder = database, broker, site, folder
        self.workers = []
        given = {
            "database": database.settings,
            "broker": broker.url,
            "sites": {"default": {"URL": site.url, **service_account(site, "clerk@example.com")}},
            "bridge": {"WRITE_QUEUE": "erpnext", "WRITE_LEASE": 60.0},
        }
        settings = {"DJANGO_SETTINGS_MODULE": "tests.faults.project", "FAULTS": json.dumps(given)}
        self.environment = os.environ | settings

    def python(self, script):
        setup = "import django, tests.faults.project; django.setup(); "
        subprocess.run(
            [sys.executable, "-c", setup + script], env=self.environment, check=True, timeout=SECONDS
        )

    def queue(self, count):
        self.python(
            "from erpnext_bridge.identity import Identity; from erpnext_bridge.writes import enqueue; "
            f"[enqueue('create', Identity.service(), 'Ticket', payload={{'subject': str(n)}}) for n in range({count})]"
        )

    def work(self, label, *options):
        arguments = ("worker", "--loglevel", "WARNING", *ALONE, *options)
        worker = Worker(label, arguments, self.environment, self.folder)
        worker.start()
        self.workers.append(worker)
        return worker

    def states(self):
        place = f"host=127.0.0.1 port={self.database.port} user={self.database.user} dbname=bridge"
        with psycopg.connect(place) as connection:
            return dict(
                connection.execute(
                    "SELECT state, count(*) FROM erpnext_bridge_documentwrite GROUP BY state"
                ).fetchall()
            )

    def wait_for(self, **states):
        deadline = time.monotonic() + SECONDS
        while self.states() != states:
            logs = "".join(path.read_text(errors="replace") for path in self.folder.glob("*.log"))
            assert time.monotonic() < deadline, (self.states(), logs)
            time.sleep(0.1)


@pytest.mark.parametrize("project", [Redis, RabbitMQ], indirect=True)
def test_workers_share_a_queue_of_their_own(project):
    project.queue(COUNT)
    project.work("processes", "--pool", "prefork", "--concurrency", "2", "--queues", "erpnext")
    project.work("threads", "--pool", "threads", "--concurrency", "2", "--queues", "erpnext")
    project.wait_for(done=COUNT)
    assert sorted(row["subject"] for row in project.site.rows("Ticket")) == sorted(map(str, range(COUNT)))


@pytest.mark.parametrize("project", [Redis], indirect=True)
def test_a_broker_that_forgets_everything_loses_nothing(project):
    project.queue(3)
    project.broker.restart_empty()
    project.work("worker", "--pool", "threads", "--concurrency", "2", "--queues", "erpnext,celery")
    # Long after the commit, as the sweep takes it.
    project.python(
        "from datetime import timedelta; from django.db.models import F; from erpnext_bridge.models import DocumentWrite; "
        "DocumentWrite.objects.update(next_attempt_at=F('next_attempt_at') - timedelta(minutes=1)); "
        "from erpnext_bridge import tasks; tasks.sweep.delay()"
    )
    project.wait_for(done=3)
    assert len(project.site.rows("Ticket")) == 3
