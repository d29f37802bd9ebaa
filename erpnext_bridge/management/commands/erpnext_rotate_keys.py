"""`manage.py erpnext_rotate_keys`: seals stored tokens anew with the first of `TOKEN_KEYS`, so that the others can go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import models, router

from erpnext_bridge.tokens.crypto import EncryptedTextField, SealedText, TokensUnreadable, first_cipher

BATCH = 500


class Command(BaseCommand):
    help = (
        "Seals all stored tokens with the first key in ERPNEXT_BRIDGE['TOKEN_KEYS']. Put a new key there, before the old "
        "one, restart all processes, run this, and remove the old key. It may be stopped and run again at any time, "
        "beside running servers and workers."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check",
            action="store_true",
            help="change nothing; exit with 1 while a key other than the first is needed",
        )

    def handle(self, *args: Any, check: bool, **options: Any) -> None:
        try:
            first_cipher()
        except ImproperlyConfigured as wrong:
            raise CommandError(str(wrong)) from None
        found: Counter[str] = Counter()
        for model, field in encrypted_fields():
            found += rotate(model, field, change=not check)
        todo = "to be sealed anew" if check else "sealed anew"
        self.stdout.write(
            f"{found['anew']} texts {todo}, {found['current']} were current, {found['unreadable']} cannot be opened."
        )
        if found["unreadable"]:
            raise CommandError(
                "No key in TOKEN_KEYS opens some tokens. Put the key back that sealed them and run this again, or let "
                "their users connect again; until then keep no key for them."
            )
        if check and found["anew"]:
            raise CommandError(
                "The first key does not open all of them: keep the others, and run this without --check."
            )


def encrypted_fields() -> Iterator[tuple[type[models.Model], EncryptedTextField]]:
    """Yield each encrypted column of the project, other apps' included."""
    for model in apps.get_models():
        if model._meta.managed and not model._meta.proxy:
            for field in model._meta.local_concrete_fields:
                if isinstance(field, EncryptedTextField):
                    yield model, field


def rotate(model: type[models.Model], field: EncryptedTextField, *, change: bool) -> Counter[str]:
    """Seal one column anew, row by row; a row that somebody else changes meanwhile is theirs, and sealed by the first key."""
    found: Counter[str] = Counter()
    rows: models.QuerySet[Any] = models.QuerySet(model).using(router.db_for_write(model)).order_by("pk")
    last: Any = None
    while True:
        batch = rows if last is None else rows.filter(pk__gt=last)
        pairs = list(batch.values_list("pk", field.name)[:BATCH])
        if not pairs:
            return found
        for pk, sealed in pairs:
            found[_rotate_one(rows.filter(pk=pk), field, sealed, change=change)] += 1
        last = pairs[-1][0]


def _rotate_one(
    rows: models.QuerySet[Any], field: EncryptedTextField, sealed: SealedText | None, *, change: bool
) -> str:
    if not sealed or sealed.is_current:
        return "current" if sealed else "empty"
    try:
        anew = sealed.sealed_anew()
    except TokensUnreadable:
        return "unreadable"
    if change:
        rows.filter(**{field.name: sealed}).update(**{field.name: anew})
    return "anew"
