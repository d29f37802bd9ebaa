"""`manage.py erpnext_snapshot Customer "Sales Order" > world.json`: DocTypes of a site, for a sandbox."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from erpnext_bridge import snapshot
from erpnext_bridge.access import open_site
from erpnext_bridge.conf import DEFAULT_SITE
from erpnext_bridge.errors import ERPNextBridgeError
from erpnext_bridge.identity import Identity


class Command(BaseCommand):
    help = "Writes DocTypes of a site, and rows if asked, as the JSON that a sandbox loads; without secrets."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("doctypes", nargs="+", metavar="DOCTYPE")
        parser.add_argument(
            "--rows",
            type=int,
            default=0,
            metavar="N",
            help="take the newest N documents of each, and what they link to",
        )
        parser.add_argument(
            "--site", default=DEFAULT_SITE, metavar="ALIAS", help="site in ERPNEXT_BRIDGE['SITES']"
        )
        parser.add_argument(
            "--all-links", action="store_true", help="take the DocTypes along that these link to"
        )

    def handle(
        self, *args: Any, doctypes: list[str], rows: int, site: str, all_links: bool, **options: Any
    ) -> None:
        client = open_site(Identity.service(site)).client
        try:
            world = snapshot.take(client, doctypes, rows=rows, all_links=all_links)
        except (ERPNextBridgeError, snapshot.NotTaken) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(snapshot.as_json(world), ending="")
        count = sum(map(len, world["rows"].values()))
        self.stderr.write(f"DocTypes: {len(world['doctypes'])}, rows: {count}.")
