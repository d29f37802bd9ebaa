"""Whose rights a command acts with: `--user NAME` or `--service`, and never somebody's in silence."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser

from erpnext_bridge.conf import DEFAULT_SITE, get_site
from erpnext_bridge.identity import Identity
from erpnext_bridge.models import Connection


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--site", default=DEFAULT_SITE, metavar="ALIAS", help="site in ERPNEXT_BRIDGE['SITES']"
    )
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--user", metavar="NAME", help="act as this Django user, who is connected to the site")
    who.add_argument("--service", action="store_true", help="act as the site's service account")


def named_identity(options: dict[str, Any]) -> Identity | None:
    """Return the identity that the options name, or None. CommandError where it cannot act."""
    alias = options["site"]
    if options["user"]:
        return _connected(options["user"], alias)
    if options["service"]:
        if not get_site(alias).has_service_account:
            raise CommandError(
                f"Site {alias!r} has no service account: put 'API_KEY' and 'API_SECRET' into "
                f"ERPNEXT_BRIDGE['SITES'][{alias!r}], or name a connected user with --user."
            )
        return Identity.service(alias)
    return None


def identity_or_service(command: BaseCommand, options: dict[str, Any]) -> Identity:
    """Return the identity that the options name, else the service account, and say so."""
    identity = named_identity(options) or named_identity({**options, "service": True})
    if identity is None:
        raise CommandError("Name who acts: --user NAME, or --service.")
    if not (options["user"] or options["service"]):
        command.stderr.write(f"Acting as the {identity}. Name a user with --user.")
    return identity


def _connected(name: str, alias: str) -> Identity:
    model = get_user_model()
    try:
        user = model._default_manager.get_by_natural_key(name)  # noqa: SLF001
    except model.DoesNotExist:
        raise CommandError(f"There is no user {name!r}.") from None
    identity = Identity.for_user(user, get_site(alias).alias)
    if not Connection.objects.for_identity(identity).exists():
        raise CommandError(
            f"{name!r} is not connected to site {alias!r}. Let them connect in the browser, or use --service."
        )
    return identity
