"""
One delivery of a write: take it, send it, record what became of it.

Taking it is one conditional UPDATE, so however many workers are asked, one request goes out. What an error
means for the write stands in one table, by what is to be done next.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import PurePath
from traceback import extract_tb
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from erpnext_bridge.access import open_site
from erpnext_bridge.backoff import wait_before
from erpnext_bridge.client import Payload
from erpnext_bridge.conf import get_settings
from erpnext_bridge.errors import AuthenticationRefused, ERPNextBridgeError, NotConnected, RefusedError
from erpnext_bridge.models.write import DocumentWrite, State
from erpnext_bridge.payloads import decode
from erpnext_bridge.sending import Order, OutcomeUnknown, send

logger = logging.getLogger("erpnext_bridge")


CREDENTIALS_PATHS = ("/api/method/frappe.integrations.oauth2.", "/api/method/login")


class LeaseLost(Exception):
    """Somebody else has decided about this write in the meantime."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a delivery."""

    state: State
    text: str = ""
    error: Exception | None = None
    wait: float = 0.0
    """Seconds until the next attempt, when it is retried."""
    counts: bool = True
    """Whether it uses up one of the attempts."""
    unknown: bool = False
    """Whether ERPNext may have carried it out all the same."""
    answer: Payload = field(default_factory=dict)


def perform(pk: Any) -> DocumentWrite | None:
    """
    Deliver a write, and return it as it is then; None when it is not due, or another worker has it.

    It raises nothing that ERPNext or the network could cause. Not to be called inside a transaction: nobody
    else would see that the write is taken, and a rollback would forget what ERPNext has done.
    """
    write = _take(pk)
    if write is None:
        return None
    _record(write, _deliver(write))
    return write


def _take(pk: Any) -> DocumentWrite | None:
    now, token = timezone.now(), uuid.uuid4()
    with transaction.atomic(durable=True):
        taken = (
            DocumentWrite.objects.due(now)
            .filter(pk=pk)
            .update(
                state=State.SENDING,
                attempts=F("attempts") + 1,
                lease_token=token,
                lease_expires_at=now + timedelta(seconds=get_settings().write_lease),
                updated_at=now,
            )
        )
    return DocumentWrite.objects.select_related("user").get(pk=pk) if taken else None


def _deliver(write: DocumentWrite) -> Outcome:
    if write.is_orphan:
        return Outcome(
            State.CANCELLED, "Its user was deleted, so nobody is left whose rights it could be sent with."
        )
    begun = False
    try:
        access = open_site(write.identity)
        payload = decode(write.payload, lambda: access.facts.time_zone)
        order = Order(
            write, access.client, payload, lambda: access.facts.time_zone, lambda kept: _keep(write, kept)
        )
        begun = True
        return Outcome(State.DONE, answer=send(order))
    except Exception as error:
        sent = begun and getattr(error, "sent", True) and not _is_about_credentials(error)
        return next(react for kinds, react in REACTIONS if isinstance(error, kinds))(write, error, sent)


def _is_about_credentials(error: Exception) -> bool:
    # ERPNext answered the write with 401 and did nothing; what failed then is the attempt to get new tokens.
    return getattr(error, "path", "").startswith(CREDENTIALS_PATHS)


def _keep(write: DocumentWrite, kept: Payload) -> None:
    """Save the name of a new document, and go on under a fresh lease."""
    lease = timezone.now() + timedelta(seconds=get_settings().write_lease)
    write.remember("created", document=kept["name"])
    if not write.advance(
        HOLDING,
        state=State.SENDING,
        document_name=kept["name"],
        answer=kept,
        lease_expires_at=lease,
    ):
        logger.error("Write %s: created %s, but somebody else has decided about it.", write.pk, kept["name"])
        raise LeaseLost


# What an error means for the write.


def _wait_for_connection(write: DocumentWrite, error: Exception, sent: bool) -> Outcome:
    """Nothing was sent. The next attempt follows when the user connects, or when somebody mended the settings."""
    longest = get_settings().write_backoff[1]
    what = "to connect" if isinstance(error, NotConnected) else "to be accepted"
    text = f"Waiting for {write.actor} {what} at {write.site_label}."
    return Outcome(State.RETRYING, " ".join((text, *_messages(error))), error, wait=longest, counts=False)


def _refuse(write: DocumentWrite, error: Exception, sent: bool) -> Outcome:
    text = "\n".join(_messages(error)) or f"ERPNext gave no message. {error}"
    return Outcome(State.REFUSED, text, error)


def _ask_a_person(write: DocumentWrite, error: Exception, sent: bool) -> Outcome:
    return Outcome(State.UNCERTAIN, "\n".join(_messages(error)), error, unknown=True)


def _try_later(write: DocumentWrite, error: Exception, sent: bool) -> Outcome:
    settings = get_settings()
    text = _tell(error)
    if sent and write.creates:
        text = f"{text}\nERPNext may have created the document: look for it there before anything else."
        return Outcome(State.UNCERTAIN, text, error, unknown=True)
    if write.attempts >= settings.write_attempts:
        text = f"{text}\nGiven up after {write.attempts} attempts."
        return Outcome(State.UNCERTAIN, text, error, unknown=sent)
    first, longest = settings.write_backoff
    wait = wait_before(
        write.attempts, first=first, longest=longest, retry_after=getattr(error, "retry_after", None)
    )
    return Outcome(State.RETRYING, text, error, wait=wait, unknown=sent)


Reaction = Callable[[DocumentWrite, Exception, bool], Outcome]

REACTIONS: tuple[tuple[Any, Reaction], ...] = (
    # Credentials are never about one write alone, so ERPNext's no to them settles none.
    ((NotConnected, AuthenticationRefused), _wait_for_connection),
    (RefusedError, _refuse),
    (OutcomeUnknown, _ask_a_person),
    # TransientError, UnreadableAnswer, and mistakes in the settings or in this code: mended, the write goes on.
    (Exception, _try_later),
)
"""Errors → what becomes of the write; the first row that matches."""

HOLDING = (State.SENDING, State.UNCERTAIN)
"""
States in which a delivery may still say what it learnt. A lease that ended makes a create uncertain. As long as
it is, nobody has acted on that or sent it again, and the answer that comes at last is the truth.
"""


def _messages(error: Exception) -> tuple[str, ...]:
    return error.messages if isinstance(error, ERPNextBridgeError) else ()


def _tell(error: Exception) -> str:
    """Return what may be stored about an error: not the text of a foreign one, which might quote a header."""
    if isinstance(error, ERPNextBridgeError | ImproperlyConfigured):
        return str(error)
    frame = extract_tb(error.__traceback__)[-1]
    return f"Unexpected {type(error).__name__} in {PurePath(frame.filename).name}, line {frame.lineno}."


def _record(write: DocumentWrite, outcome: Outcome) -> None:
    now = timezone.now()
    retries = outcome.state == State.RETRYING
    error_type = type(outcome.error).__name__ if outcome.error else ""
    exc_type = getattr(outcome.error, "exc_type", "")
    write.remember(outcome.state, attempt=write.attempts, error=exc_type or error_type, text=outcome.text)
    definite = outcome.state in (State.DONE, State.REFUSED)
    recorded = write.advance(
        HOLDING if definite else (State.SENDING,),
        state=outcome.state,
        attempts=write.attempts if outcome.counts else write.attempts - 1,
        next_attempt_at=now + timedelta(seconds=outcome.wait) if retries else None,
        nudged_at=None,
        lease_token=None,
        lease_expires_at=None,
        outcome_unknown=not definite and (write.outcome_unknown or outcome.unknown),
        last_error=outcome.text,
        error_type=error_type,
        answer=outcome.answer or write.answer,
        finished_at=None if retries else now,
    )
    if not recorded:
        logger.warning(
            "Write %s: its lease ended before this delivery did, which came to: %s %s",
            write.pk, outcome.state, write.document_name or outcome.answer.get("name", ""),
        )  # fmt: skip
