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
        for write in found:
            if deliver:
                writes.perform(write.pk)
            else:
                tasks.nudge(write)
        done = "delivered" if deliver else "handed to the workers"
        self.stdout.write(f"{len(found)} due {'write' if len(found) == 1 else 'writes'} {done}.")
        revoked, refreshed = revoking.sweep(), refreshing.refresh_idle()
        if revoked or refreshed:
            self.stdout.write(f"{revoked} pairs of tokens revoked, {refreshed} idle connections refreshed.")
