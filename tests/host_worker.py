"""A worker on a host of its own, as a process: `python -m tests.host_worker COMMAND`, with its settings in HOST_WORKER."""

from __future__ import annotations

import json
import os
import sys
import time

import django
from django.conf import settings

from tests import settings as base

DEADLINE = 60.0


def main(command, *arguments):
    given = json.loads(os.environ["HOST_WORKER"])
    values = {name: getattr(base, name) for name in dir(base) if name.isupper()}
    settings.configure(**{**values, **given})
    django.setup()
    from erpnext_bridge import tasks

    tasks._broker.rest(3600)
    COMMANDS[command](*arguments)


def migrate():
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def queue(subject):
    from erpnext_bridge.identity import Identity
    from erpnext_bridge.writes import enqueue

    sys.stdout.write(str(enqueue("create", Identity.service(), "Ticket", payload={"subject": subject}).pk))


def deliver(pk):
    """Deliver once, as a task does."""
    from erpnext_bridge.outbox.delivery import perform

    perform(pk)


def take_over(pk):
    """Do what beat and a worker do, until the write is settled."""
    from erpnext_bridge.models import DocumentWrite
    from erpnext_bridge.outbox.delivery import perform
    from erpnext_bridge.writes import sweep

    deadline = time.monotonic() + DEADLINE
    while not (write := DocumentWrite.objects.get(pk=pk)).is_settled and time.monotonic() < deadline:
        sweep()
        perform(pk)
        time.sleep(0.1)
    show(pk, write.state)


def show(pk, *_):
    from erpnext_bridge.models import DocumentWrite

    write = DocumentWrite.objects.get(pk=pk)
    sys.stdout.write(
        json.dumps([write.state, write.document_name, [event["event"] for event in write.history]])
    )


COMMANDS = {each.__name__: each for each in (migrate, queue, deliver, take_over, show)}

if __name__ == "__main__":
    main(*sys.argv[1:])
