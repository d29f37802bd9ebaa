"""`manage.py erpnext_inspect Customer "Sales Order" > erp/models.py`: models of a site's DocTypes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from erpnext_bridge import drift, inspecting, source
from erpnext_bridge.access import open_site
from erpnext_bridge.client import FrappeClient
from erpnext_bridge.conf import DEFAULT_SITE
from erpnext_bridge.errors import ERPNextBridgeError
from erpnext_bridge.management import whose


class Command(BaseCommand):
    help = "Writes Django models of a site's DocTypes, or tells what a module of them has missed since."
    # The module that is written may be one that the project's checks would import.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("doctypes", nargs="*", metavar="DOCTYPE")
        parser.add_argument(
            "--all-links", action="store_true", help="take the DocTypes along that these link to"
        )
        parser.add_argument(
            "--app", default="", metavar="LABEL", help="label of the app that the module is for"
        )
        parser.add_argument(
            "--line-length", type=int, default=source.WIDTH, metavar="N", help="characters of a line"
        )
        parser.add_argument(
            "--check",
            type=Path,
            metavar="FILE",
            help="write nothing, but tell how the site differs from this module; exit code 1 if it does",
        )
        parser.add_argument(
            "--ignore-new",
            action="store_true",
            help="with --check: leave out fields and tables that only the site has",
        )
        whose.add_arguments(parser)

    def handle(self, *args: Any, doctypes: list[str], **options: Any) -> None:
        if bool(doctypes) == bool(options["check"]):
            raise CommandError("Name the DocTypes to write models of, or a module with --check FILE.")
        client = open_site(whose.identity_or_service(self, options)).client
        try:
            if options["check"]:
                self.check_module(client, options["check"], ignore_new=options["ignore_new"])
            else:
                self.write_module(client, doctypes, options)
        except ERPNextBridgeError as error:
            raise CommandError(str(error)) from error

    def write_module(self, client: FrappeClient, doctypes: list[str], options: dict[str, Any]) -> None:
        modelling, unread = inspecting.read(client, doctypes, all_links=options["all_links"])
        if unread:
            self.stderr.write(
                f"Left as names, as the site does not have or not show these DocTypes: {', '.join(unread)}."
            )
        text = inspecting.module(
            modelling,
            command=again(doctypes, options),
            app=options["app"],
            width=options["line_length"],
        )
        self.stdout.write(text, ending="")

    def check_module(self, client: FrappeClient, path: Path, *, ignore_new: bool) -> None:
        try:
            text = path.read_text("utf-8")
            differences = drift.compare(client, text, ignore_new=ignore_new)
        except (OSError, SyntaxError) as error:
            raise CommandError(f"{path} cannot be read: {error}") from error
        if not drift.declared_in(text):
            raise CommandError(f"{path} declares no documents.")
        for line in differences:
            self.stdout.write(line)
        if differences:
            raise CommandError(f"{path}: {len(differences)} differences from the site.", returncode=1)
        self.stdout.write(f"{path}: as the site has it.")


def again(doctypes: list[str], options: dict[str, Any]) -> list[str]:
    """Return the words of the command line that writes the same module."""
    words = ["manage.py", "erpnext_inspect", *sorted(set(doctypes))]
    words += ["--all-links"] if options["all_links"] else []
    words += ["--app", options["app"]] if options["app"] else []
    words += ["--line-length", str(options["line_length"])] if options["line_length"] != source.WIDTH else []
    return words + (["--site", options["site"]] if options["site"] != DEFAULT_SITE else [])
