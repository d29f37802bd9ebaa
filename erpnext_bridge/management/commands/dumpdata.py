"""
Django's dumpdata, which leaves documents out unless it is told whose rights to read them with.

A backup of a project's database would otherwise fail at the first document, or copy all of ERPNext.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from django.apps import apps
from django.core.management import CommandError, CommandParser
from django.core.management.commands import dumpdata

from erpnext_bridge.documents import BaseDocument
from erpnext_bridge.identity import acting_as
from erpnext_bridge.management import whose


class Command(dumpdata.Command):
    help = f"{dumpdata.Command.help} Documents of ERPNext are left out unless --user or --service says who reads them."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        whose.add_arguments(parser)

    def handle(self, *app_labels: str, **options: Any) -> None:
        identity = whose.named_identity(options)
        if identity is None:
            documents = {
                model._meta.label: model for model in apps.get_models() if issubclass(model, BaseDocument)
            }
            named = {label.lower() for label in app_labels}
            if asked := [label for label in documents if label.lower() in named]:
                raise CommandError(
                    f"{', '.join(asked)} is read at ERPNext: say whose rights with --user or --service."
                )
            options["exclude"] = [*options["exclude"], *documents]
        with acting_as(identity) if identity is not None else nullcontext():
            super().handle(*app_labels, **options)
