"""Writes on their way through Celery: after the commit, by id alone, and whatever the broker does."""

from __future__ import annotations

import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from datetime import datetime, timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from erpnext_bridge import tasks
from erpnext_bridge.models import DocumentWrite
from erpnext_bridge.models.write import State
from erpnext_bridge.schedule import BEAT_SCHEDULE
from erpnext_bridge.writes import enqueue, retry
from tests.write_site import SERVICE, folder_broker, open_write_site

pytestmark = pytest.mark.django_db


@pytest.fixture
def broker(tmp_path):
    # An earlier test may have met a broker that was down.
    tasks._broker.rest(0)
    with folder_broker(tmp_path) as take:
        yield take
    tasks._broker.rest(0)


@pytest.fixture
def site(settings):
    with open_write_site(settings) as running:
        yield running


@pytest.fixture
def bridge(settings):
    settings.ERPNEXT_BRIDGE = {"SITES": {"default": {"URL": "http://127.0.0.1:1"}}}
    return settings.ERPNEXT_BRIDGE


def queue_ticket():
    return enqueue("create", SERVICE, "Ticket", payload={"subject": "confidential matter"})


class TestAskingAWorker:
    def test_a_worker_is_asked_after_the_commit_and_told_the_id_alone(
        self, bridge, broker, django_capture_on_commit_callbacks
    ):
        with django_capture_on_commit_callbacks(execute=True):
            write = queue_ticket()
            assert broker() == []
        ((headers, body),) = broker()
        assert headers["task"] == "erpnext_bridge.deliver"
        assert json.loads(body)[:2] == [[str(write.pk)], {}]
        assert "confidential" not in f"{headers}{body}"

    def test_writes_have_a_queue_of_their_own_if_the_settings_say_so(
        self, bridge, broker, tmp_path, django_capture_on_commit_callbacks
    ):
        bridge["WRITE_QUEUE"] = "erpnext"
        with django_capture_on_commit_callbacks(execute=True):
            queue_ticket()
        (message,) = tmp_path.glob("*.msg")
        assert message.name.endswith(".erpnext.msg")

    def test_a_retry_that_is_far_off_is_left_to_the_sweep(self, bridge, broker):
        write = queue_ticket()
        write.next_attempt_at = timezone.now() + timedelta(seconds=tasks.SWEEP_EVERY + 5)
        tasks.nudge(write)
        assert broker() == []
        write.next_attempt_at = timezone.now() + timedelta(seconds=tasks.SWEEP_EVERY - 5)
        tasks.nudge(write)
        assert len(broker()) == 1

    def test_one_worker_comes_back_when_a_sites_budget_allows_more(self, site, settings, broker):
        settings.ERPNEXT_BRIDGE["SITES"]["default"]["WRITE_RATE"] = 0.01
        first, second = [
            enqueue("update", SERVICE, "Ticket", f"TK-{number}", {"notes": "n"}) for number in range(2)
        ]
        for write in (first, second):
            tasks.deliver(str(write.pk))
        ((headers, body),) = broker()
        assert json.loads(body)[0] == [str(second.pk)]
        assert datetime.fromisoformat(headers["eta"]) > timezone.now() + timedelta(seconds=60)

    def test_a_settled_write_asks_for_nobody(self, bridge, broker, django_capture_on_commit_callbacks):
        write = queue_ticket()
        with django_capture_on_commit_callbacks(execute=True):
            assert write.advance((State.PENDING,), state=State.CANCELLED)
        assert broker() == []

    def test_a_broker_that_is_down_harms_nobody_and_its_password_stays_secret(
        self, bridge, broker, caplog, django_capture_on_commit_callbacks
    ):
        broker.app.conf.update(
            broker_url="amqp://user:hush@127.0.0.1:1//", broker_transport_options={"max_retries": 0}
        )
        with caplog.at_level(logging.DEBUG), django_capture_on_commit_callbacks(execute=True):
            writes = [queue_ticket(), queue_ticket()]
        assert [DocumentWrite.objects.get(pk=write.pk).state for write in writes] == ["pending", "pending"]
        assert f"Write {writes[0].pk}: no worker could be asked (OperationalError)" in caplog.text
        assert f"Write {writes[1].pk}: no worker" not in caplog.text
        assert "hush" not in caplog.text

    def test_a_broker_that_was_down_is_left_alone_for_a_while(self, bridge, broker):
        tasks._broker.rest(3600)
        tasks.nudge(queue_ticket())
        assert broker() == []
        tasks._broker.rest(0)
        tasks.nudge(DocumentWrite.objects.get())
        assert len(broker()) == 1


class TestTasks:
    def test_a_task_delivers_its_write(self, site):
        write = queue_ticket()
        tasks.deliver(str(write.pk))
        write.refresh_from_db()
        assert write.state == State.DONE

    def test_a_task_that_comes_twice_or_for_nothing_does_nothing(self, site):
        write = queue_ticket()
        for _ in range(2):
            tasks.deliver(str(write.pk))
        tasks.deliver("00000000-0000-0000-0000-000000000000")
        assert len(site.rows("Ticket")) == 1

    def test_an_eager_celery_delivers_at_the_commit_and_retries(
        self, site, broker, django_capture_on_commit_callbacks
    ):
        broker.app.conf.task_always_eager = True
        with django_capture_on_commit_callbacks(execute=True):
            write = enqueue("delete", SERVICE, "Ticket", "TK-9999")
        write.refresh_from_db()
        assert write.state == State.REFUSED
        with django_capture_on_commit_callbacks(execute=True):
            retry(write)
        assert [request.status for request in site.requests if request.path.endswith("TK-9999")] == [404, 404]

    def test_the_sweep_hands_over_what_nobody_was_asked_for(self, bridge, broker):
        write = queue_ticket()
        DocumentWrite.objects.update(next_attempt_at=timezone.now() - timedelta(minutes=1))
        tasks.sweep()
        ((headers, body),) = broker()
        assert (headers["task"], json.loads(body)[0]) == ("erpnext_bridge.deliver", [str(write.pk)])

    def test_beat_finds_its_tasks_by_name(self, broker):
        assert {entry["task"] for entry in BEAT_SCHEDULE.values()} <= set(broker.app.tasks)

    def test_a_task_may_take_as_long_as_its_deliveries(
        self, bridge, broker, django_capture_on_commit_callbacks
    ):
        bridge["WRITE_LEASE"] = 20.5
        with django_capture_on_commit_callbacks(execute=True):
            queue_ticket()
        ((headers, _),) = broker()
        assert headers["timelimit"] == [62 + tasks.LAST_WORDS, 62]

    def test_a_delivery_can_be_asked_for_by_hand(self, bridge, broker, django_capture_on_commit_callbacks):
        with django_capture_on_commit_callbacks() as callbacks:
            tasks.deliver.delay_on_commit("some-id")
        assert broker() == []
        for callback in callbacks:
            callback()
        assert json.loads(broker()[0][1])[0] == ["some-id"]


class TestCommand:
    def test_the_command_hands_over(self, bridge, broker, capsys):
        queue_ticket()
        DocumentWrite.objects.update(next_attempt_at=timezone.now() - timedelta(minutes=1))
        call_command("erpnext_sweep")
        assert len(broker()) == 1
        assert capsys.readouterr().out == "1 due write handed to the workers.\n"

    def test_the_command_tells_what_it_could_not_hand_over(self, bridge, broker, capsys):
        for _ in range(2):
            queue_ticket()
        DocumentWrite.objects.update(next_attempt_at=timezone.now() - timedelta(minutes=1))
        tasks._broker.rest()
        call_command("erpnext_sweep")
        assert broker() == []
        told = capsys.readouterr()
        assert told.out == "0 due writes handed to the workers.\n"
        assert "2 due writes left" in told.err
        assert "--deliver" in told.err

    def test_the_command_delivers_itself_where_there_is_no_celery(self, site, capsys):
        for _ in range(2):
            queue_ticket()
        DocumentWrite.objects.update(next_attempt_at=timezone.now() - timedelta(minutes=1))
        call_command("erpnext_sweep", "--deliver")
        assert len(site.rows("Ticket")) == 2
        assert capsys.readouterr().out == "2 due writes delivered.\n"


class WorkerProject:
    """The project of `tests.worker`, run in processes of its own."""

    def __init__(self, folder, sites):
        self.folder = folder
        self.environment = os.environ | {
            "WORKER_FOLDER": str(folder),
            "WORKER_SITES": json.dumps(sites),
            "DJANGO_SETTINGS_MODULE": "tests.worker",
        }

    def run(self, script):
        setup = "import django, tests.worker; django.setup(); "
        subprocess.run([sys.executable, "-c", setup + script], env=self.environment, check=True, timeout=60)

    def queue(self, subject, again=0):
        self.run(
            "from erpnext_bridge.writes import enqueue; from erpnext_bridge.identity import Identity; "
            "from erpnext_bridge.tasks import deliver; "
            f"pk = str(enqueue('create', Identity.service(), 'Ticket', payload={{'subject': {subject!r}}}).pk); "
            f"[deliver.delay(pk) for _ in range({again})]"
        )

    @contextmanager
    def worker(self):
        command = [sys.executable, "-m", "celery", "-A", "tests.worker", "worker"]
        options = ["-P", "threads", "-c", "4", "-l", "WARNING", "--without-gossip", "--without-mingle"]
        with (self.folder / "worker.log").open("a") as log:
            process = subprocess.Popen([*command, *options], env=self.environment, stdout=log, stderr=log)
            try:
                yield process
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait(30)

    def states(self):
        with closing(sqlite3.connect(self.folder / "db.sqlite3", timeout=30)) as database:
            return [
                state
                for (state,) in database.execute(
                    "select state from erpnext_bridge_documentwrite order by created_at"
                )
            ]

    def wait_for(self, *states):
        """Wait until the writes are in these states, however long a busy machine takes."""
        deadline = time.monotonic() + 60
        while self.states() != list(states):
            assert time.monotonic() < deadline, (self.states(), (self.folder / "worker.log").read_text())
            time.sleep(0.05)


def test_a_worker_process_delivers_once_is_killed_and_leaves_nothing_behind(settings, tmp_path):
    with open_write_site(settings) as site:
        project = WorkerProject(tmp_path, settings.ERPNEXT_BRIDGE["SITES"])
        project.run("from django.core.management import call_command; call_command('migrate', verbosity=0)")
        project.queue("queued while no worker runs, and asked for four times", again=3)
        with project.worker() as worker:
            project.wait_for("done")
            arrived, killed = threading.Event(), threading.Event()

            def hold(request):
                arrived.set()
                return killed.wait(30) and False

            site.trouble("unavailable", match=hold)
            project.queue("killed in the middle")
            assert arrived.wait(60)
            worker.kill()
            worker.wait(30)
            killed.set()
        site.trouble_clear()
        assert project.states() == ["done", "sending"]
        project.run("from django.core.management import call_command; call_command('erpnext_sweep')")
        assert project.states() == ["done", "retrying"]
        project.queue("after the crash")
        with project.worker():
            project.wait_for("done", "done", "done")
        assert len(site.rows("Ticket")) == 3
