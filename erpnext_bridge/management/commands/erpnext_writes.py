"""`manage.py erpnext_writes list|retry|cancel|resolve|prune|stats`: background writes from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q
from django.utils import timezone

from erpnext_bridge import metrics, retention
from erpnext_bridge.models.write import Action, DocumentWrite, DocumentWriteQuerySet, State
from erpnext_bridge.outbox import cleaning
from erpnext_bridge.writes import WriteStateError, cancel, resolve, retry

BY = "manage.py"
"""Who did it, in the history of a write."""

LISTED = 100


class Command(BaseCommand):
    help = "Lists background writes, and does with them what the admin can do."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        for name, add, told in (
            ("list", _add_list, "writes, newest first"),
            ("retry", _add_retry, "send writes again"),
            ("cancel", _add_chosen, "give writes up"),
            ("resolve", _add_resolve, "say that ERPNext has carried out a write whose answer was lost"),
            (
                "prune",
                _add_prune,
                "delete writes that are done or cancelled, and old enough, and Tags at ERPNext that none needs",
            ),
            ("stats", _add_stats, "how the queue is doing"),
        ):
            add(commands.add_parser(name, help=told, description=told))

    def handle(self, *args: Any, command: str, **options: Any) -> None:
        getattr(self, f"_{command}")(options)

    def _list(self, options: dict[str, Any]) -> None:
        writes = chosen(options).select_related("user").order_by("-created_at")
        found = list(writes[: options["limit"]])
        if options["json"]:
            self.stdout.write(json.dumps([as_data(write) for write in found], indent=2, ensure_ascii=False))
            return
        for write in found:
            self.stdout.write(as_line(write))
        if len(found) == options["limit"]:
            self.stderr.write(f"Only the newest {len(found)} are shown: --limit shows more.")

    def _retry(self, options: dict[str, Any]) -> None:
        again = options["create_again"]
        self._each(options, "queued again", lambda write: retry(write, create_again=again, by=BY))

    def _cancel(self, options: dict[str, Any]) -> None:
        self._each(options, "given up", lambda write: cancel(write, by=BY))

    def _resolve(self, options: dict[str, Any]) -> None:
        write = DocumentWrite.objects.filter(pk=options["write"]).first()
        if write is None:
            raise CommandError(f"There is no write {options['write']}.")
        try:
            resolve(write, options["name"], by=BY)
        except WriteStateError as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(as_line(write))

    def _prune(self, options: dict[str, Any]) -> None:
        days = options["days"]
        if options["dry_run"]:
            self.stdout.write(f"{_count(retention.prunable(days).count())} would be deleted.")
            return
        if requests := cleaning.clean():
            self.stdout.write(f"Tags of creates deleted at ERPNext, by request: {requests}.")
        self.stdout.write(f"{_count(retention.prune(days))} deleted.")

    def _stats(self, options: dict[str, Any]) -> None:
        if options["prometheus"]:
            self.stdout.write(metrics.exposition(), ending="")
            return
        found = {site: vars(figures) for site, figures in metrics.figures().items()}
        if options["json"]:
            self.stdout.write(json.dumps(found, indent=2))
            return
        for site, figures in found.items():
            states = ", ".join(f"{count} {state}" for state, count in figures["states"].items()) or "0 open"
            self.stdout.write(
                f"{site}: {states}; {figures['due']} due, the first for {figures['oldest_due']:.0f} s; "
                f"{sum(figures['finished'].values())} finished in the last 5 min"
            )

    def _each(self, options: dict[str, Any], done: str, act: Callable[[DocumentWrite], None]) -> None:
        if not any(options[name] for name in ("writes", *FILTERS)):
            raise CommandError(
                "Name the writes, or narrow them by an option such as --state; --help lists all."
            )
        writes, count, refusals = chosen(options).order_by("created_at"), 0, 0
        if options["dry_run"]:
            self.stdout.write(f"{_count(writes.count())} would be {done}, where their states allow it.")
            return
        for write in writes.iterator():
            try:
                act(write)
                count += 1
            except WriteStateError as refusal:
                refusals += 1
                self.stderr.write(f"{write.pk} {write}: {refusal}")
        self.stdout.write(f"{_count(count)} {done}.")
        if refusals:
            raise CommandError(f"{_count(refusals)} could not be {done}; each is told above.")


# Options

FILTERS = ("state", "site", "doctype", "action", "user", "error", "older_than")


def _add_chosen(parser: CommandParser) -> None:
    parser.add_argument("writes", nargs="*", type=UUID, metavar="ID")
    _add_filters(parser)
    parser.add_argument("--dry-run", action="store_true", help="only count them")


def _add_filters(parser: CommandParser) -> None:
    parser.add_argument("--state", action="append", choices=State.values, help="may be given several times")
    parser.add_argument("--site", metavar="ALIAS")
    parser.add_argument("--doctype")
    parser.add_argument("--action", choices=Action.values)
    parser.add_argument("--user", metavar="USERNAME", help="whose writes")
    parser.add_argument("--error", metavar="TEXT", help="kind of error, or a part of its message")
    parser.add_argument("--older-than", type=float, metavar="HOURS", help="queued before that")


def _add_list(parser: CommandParser) -> None:
    parser.add_argument("writes", nargs="*", type=UUID, metavar="ID")
    _add_filters(parser)
    parser.add_argument("--limit", type=int, default=LISTED, metavar="N")
    parser.add_argument("--json", action="store_true", help="with payload and history")


def _add_retry(parser: CommandParser) -> None:
    _add_chosen(parser)
    parser.add_argument(
        "--create-again",
        action="store_true",
        help="also creates that ERPNext may have carried out: somebody has looked, and it has not",
    )


def _add_resolve(parser: CommandParser) -> None:
    parser.add_argument("write", type=UUID, metavar="ID")
    parser.add_argument("--name", default="", help="that ERPNext gave to the new document")


def _add_prune(parser: CommandParser) -> None:
    parser.add_argument("--days", type=float, help="finished before that; WRITE_RETENTION if left out")
    parser.add_argument("--dry-run", action="store_true", help="only count them")


def _add_stats(parser: CommandParser) -> None:
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--json", action="store_true")
    kinds.add_argument(
        "--prometheus", action="store_true", help="as text for node_exporter's textfile collector"
    )


def chosen(options: dict[str, Any]) -> DocumentWriteQuerySet:
    """Return the writes that the options name."""
    wanted = {
        "pk__in": options["writes"],
        "state__in": options["state"],
        "site": options["site"],
        "doctype": options["doctype"],
        "action": options["action"],
    }
    if options["user"]:
        wanted[f"user__{get_user_model().USERNAME_FIELD}"] = options["user"]
    if options["older_than"]:
        wanted["created_at__lt"] = timezone.now() - timedelta(hours=options["older_than"])
    writes = DocumentWrite.objects.filter(**{lookup: value for lookup, value in wanted.items() if value})
    if error := options["error"]:
        writes = writes.filter(Q(error_type__iexact=error) | Q(last_error__icontains=error))
    return writes


# What is shown


def as_line(write: DocumentWrite) -> str:
    """Return a write on one line, which begins with its id."""
    queued = timezone.localtime(write.created_at).strftime("%Y-%m-%d %H:%M:%S")
    parts = [str(write.pk), queued, f"{write.state:<9}", write.site, write.title, f"by {write.actor}"]
    if write.last_error:
        parts.append(f"| {write.error_type}: {write.last_error.splitlines()[0]}")
    return " ".join(parts)


SHOWN = (
    "site", "action", "doctype", "document_name", "payload", "base_modified", "submit", "state", "attempts",
    "outcome_unknown", "error_type", "last_error", "history",
)  # fmt: skip
MOMENTS = ("created_at", "next_attempt_at", "finished_at")


def as_data(write: DocumentWrite) -> dict[str, Any]:
    """Return a write as JSON can hold it."""
    moments = {name: getattr(write, name) for name in MOMENTS}
    return {
        "id": str(write.pk),
        "user": write.actor,
        **{name: getattr(write, name) for name in SHOWN},
        **{name: moment and moment.isoformat() for name, moment in moments.items()},
    }


def _count(number: int) -> str:
    return f"{number} {'write' if number == 1 else 'writes'}"
