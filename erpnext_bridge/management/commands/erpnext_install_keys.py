"""`manage.py erpnext_install_keys Lead "Sales Order"`: the field that makes background creates exactly once without Tags."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q

from erpnext_bridge.access import open_site
from erpnext_bridge.client import FrappeClient
from erpnext_bridge.conf import DEFAULT_SITE
from erpnext_bridge.errors import ERPNextBridgeError, PermissionRefused
from erpnext_bridge.identity import Identity
from erpnext_bridge.models.write import IN_THE_WAY, DocumentWrite, KeyStrategy, State
from erpnext_bridge.outbox import creating, keyfield


class Command(BaseCommand):
    help = (
        f"Adds a hidden unique field, {keyfield.FIELDNAME}, to DocTypes of ERPNext, so that it refuses a document that "
        "a background write has created already. Acts as the site's service account, which must be a System Manager."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("doctypes", nargs="+", metavar="doctype")
        parser.add_argument("--site", default=DEFAULT_SITE, help="alias in ERPNEXT_BRIDGE['SITES']")
        parser.add_argument(
            "--remove", action="store_true", help="take the field away again; writes use Tags then"
        )

    def handle(self, *args: Any, doctypes: list[str], site: str, remove: bool, **options: Any) -> None:
        access = open_site(Identity.service(site))
        for doctype in doctypes:
            if remove:
                _refuse_while_needed(site, doctype)
            self.stdout.write(f"{doctype}: {self._change(access.client, doctype, remove)}")
            creating.forget_field(access.site.url, doctype)

    def _change(self, client: FrappeClient, doctype: str, remove: bool) -> str:
        change = keyfield.uninstall if remove else keyfield.install
        done, was_so = ("removed", "is not there") if remove else ("installed", "is there already")
        try:
            return done if change(client, doctype) else was_so
        except PermissionRefused as refusal:
            raise CommandError(
                f"The service account may not change {doctype}. Give it the role System Manager.\n{refusal}"
            ) from refusal
        except ERPNextBridgeError as error:
            raise CommandError(f"{doctype}: {error}") from error


def _refuse_while_needed(site: str, doctype: str) -> None:
    keyed = DocumentWrite.objects.filter(site=site, doctype=doctype, key_strategy=KeyStrategy.FIELD)
    under_way = keyed.filter(Q(state=State.SENDING) | Q(state__in=IN_THE_WAY, outcome_unknown=True))
    if count := under_way.filter(document_name="").count():
        raise CommandError(
            f"{doctype}: the field tells of {count} {'write' if count == 1 else 'writes'} whether ERPNext has the document. "
            "Wait until all are delivered, and decide about those that are uncertain; then remove it."
        )
