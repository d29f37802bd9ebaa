"""`manage.py erpnext_doctor`: looks at everything between this project and ERPNext, and says what to change."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser

from erpnext_bridge.doctor import NOTE, OK, PROBLEM, WARNING, Finding, examine


class Command(BaseCommand):
    help = (
        "Looks at DNS, TLS, clocks, rate limit, OAuth Client, version, redirect URI, scopes, roles, webhooks and connections, "
        "and says what to change. Exits with 1 when there is a problem."
    )
    # It runs them itself, and goes on.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--site", default="", help="alias of one site; all of them when left out")
        parser.add_argument(
            "--user", default="", help="whose connection to look with, instead of the service account"
        )
        parser.add_argument("--json", action="store_true", help="print the findings as JSON")

    def handle(self, *args: Any, site: str, user: str, **options: Any) -> None:
        if user and not get_user_model().objects.filter(**{get_user_model().USERNAME_FIELD: user}).exists():
            raise CommandError(f"There is no user {user!r} here.")
        findings = []
        for finding in examine(site, user):
            findings.append(finding)
            if not options["json"]:
                self._tell(finding)
        problems = sum(finding.level == PROBLEM for finding in findings)
        if options["json"]:
            told = {"problems": problems, "findings": [asdict(finding) for finding in findings]}
            self.stdout.write(json.dumps(told, indent=2))
        else:
            self.stdout.write(f"{problems} {'problem' if problems == 1 else 'problems'}.")
        if problems:
            sys.exit(1)

    def _tell(self, finding: Finding) -> None:
        styles: dict[str, Callable[[str], str]] = {
            OK: self.style.SUCCESS,
            NOTE: str,
            WARNING: self.style.WARNING,
            PROBLEM: self.style.ERROR,
        }
        where = f"{finding.site}, {finding.step}" if finding.site else finding.step
        self.stdout.write(f"{styles[finding.level](finding.level.ljust(8))} {where}: {finding.text}")
        if finding.advice:
            self.stdout.write(f"         → {finding.advice}")
