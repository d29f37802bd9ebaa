"""`manage.py erpnext_sweep`: what Celery beat does every minute, once, for cron."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from erpnext_bridge import tasks, writes
from erpnext_bridge.tokens import refreshing, revoking


class Command(BaseCommand):
    help = "Hands background writes that are due, and those that a crash left, to the workers; looks after tokens."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--deliver", action="store_true", help="deliver them in this process, without a Celery worker"
        )

    def handle(self, *args: Any, deliver: bool, **options: Any) -> None:
        found = writes.sweep()
        if deliver:
            for write in found:
                writes.perform(write.pk)
            self.stdout.write(f"{_writes(len(found))} delivered.")
        else:
            handed = sum(tasks.nudge(write) for write in found)
            self.stdout.write(f"{_writes(handed)} handed to the workers.")
            if handed < len(found):
                self.stderr.write(
                    f"{_writes(len(found) - handed)} left: no worker could be asked. Look whether the broker runs, or "
                    "deliver them here with --deliver."
                )
        revoked, refreshed = revoking.sweep(), refreshing.refresh_idle()
        if revoked or refreshed:
            self.stdout.write(f"{revoked} pairs of tokens revoked, {refreshed} idle connections refreshed.")


def _writes(count: int) -> str:
    return f"{count} due {'write' if count == 1 else 'writes'}"
