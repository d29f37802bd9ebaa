"""
What each worker of the storm has to import, once: its process is forked from one that has done so.

A worker that is killed every other second would else spend its life starting, above all where there are two cores.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import celery.apps.beat
import celery.apps.worker
import celery.bin.celery
import celery.concurrency.thread  # noqa: F401
import django
import django.db.backends.postgresql.base
import kombu.transport.pyamqp
import kombu.transport.redis  # noqa: F401

from tests.faults.project import app

django.setup()
app.loader.import_default_modules()
app.finalize()


def run(arguments: list[str], log: str) -> None:
    """Be a Celery process from here on."""
    with Path(log).open("ab") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    app.start(arguments)
