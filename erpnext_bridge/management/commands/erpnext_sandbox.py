"""`manage.py erpnext_sandbox`: the sandbox's own runner, behind Django's door."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from erpnext_bridge.sandbox import __main__ as runner


class Command(BaseCommand):
    help = "Run an in-process ERPNext for development, until Ctrl-C."
    requires_system_checks: list[str] = []

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        # Both Django and the sandbox have a --version; here it is Frappe's.
        kwargs.setdefault("conflict_handler", "resolve")
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        runner.arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        runner.serve(argparse.Namespace(**options), self.stdout.write)
