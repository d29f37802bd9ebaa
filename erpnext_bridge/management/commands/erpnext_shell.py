"""`manage.py erpnext_shell --user alice`: Django's shell, acting as a connected user or as the service account."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from django.core.management.base import CommandParser
from django.core.management.commands import shell

from erpnext_bridge.identity import acting_as
from erpnext_bridge.management import whose

IMPORTS = (
    "django.db.models.Q",
    "erpnext_bridge.identity.Identity",
    "erpnext_bridge.identity.acting_as",
    "erpnext_bridge.sites.site",
    "erpnext_bridge.sites.sites",
)


class Command(shell.Command):
    help = "Django's shell with the project's documents at hand; querysets act as --user or --service."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        whose.add_arguments(parser)

    def get_auto_imports(self) -> list[str]:
        """Django imports every model, documents included; these come on top."""
        return [*(super().get_auto_imports() or ()), *IMPORTS]

    def handle(self, **options: Any) -> None:
        identity = whose.named_identity(options)
        if identity is None:
            self.stderr.write("Nobody acts: name a user with --user, or the service account with --service.")
        else:
            who = f"user {options['user']!r} at site {identity.site!r}" if options["user"] else identity
            self.stderr.write(f"Acting as {who}.")
        with acting_as(identity) if identity is not None else nullcontext():
            super().handle(**options)
