"""What an error means for a write: one table, by what is to be done next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePath
from traceback import extract_tb
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from erpnext_bridge.backoff import wait_before
from erpnext_bridge.client import Payload
from erpnext_bridge.conf import get_settings
from erpnext_bridge.errors import (
    AuthenticationRefused,
    Conflict,
    ERPNextBridgeError,
    NotConnected,
    RefusedError,
)
from erpnext_bridge.models.write import Action, DocumentWrite, KeyStrategy, State

CREDENTIALS_PATHS = ("/api/method/frappe.integrations.oauth2.", "/api/method/login")


class OutcomeUnknown(ERPNextBridgeError):
    """Whether ERPNext carried the write out cannot be told from what it shows; a person decides."""


@contextmanager
def unknown_if_refused(text: str) -> Iterator[None]:
    """Ask what became of a write: where ERPNext refuses to tell, that stays unknown."""
    try:
        yield
    except AuthenticationRefused:
        raise
    except RefusedError as refusal:
        raise OutcomeUnknown(text, *refusal.messages) from refusal


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a delivery."""

    state: State
    text: str = ""
    error: Exception | None = None
    wait: float = 0.0
    """Seconds until the next attempt, when there is one."""
    counts: bool = True
    """Whether it uses up one of the attempts."""
    unknown: bool = False
    """Whether ERPNext may have carried it out all the same."""
    name: str = ""
    """The name of a new document."""
    answer: Payload = field(default_factory=dict)
    conflict: Payload | None = None

    @property
    def is_definite(self) -> bool:
        """Whether ERPNext has said what it did."""
        return self.state in (State.DONE, State.REFUSED, State.PENDING)


def outcome_of(write: DocumentWrite, error: Exception, sent: bool) -> Outcome:
    """Return what an error means; `sent` tells whether a request that could change something was under way."""
    sent = sent and getattr(error, "sent", True) and not _is_about_credentials(error)
    return next(react for kinds, react in REACTIONS if isinstance(error, kinds))(write, error, sent)


def _is_about_credentials(error: Exception) -> bool:
    # ERPNext answered the write with 401 and did nothing; what failed then is the attempt to get new tokens.
    return getattr(error, "path", "").startswith(CREDENTIALS_PATHS)


def _wait_for_connection(write: DocumentWrite, error: Exception, sent: bool) -> Outcome:
    """Nothing was sent. The next attempt follows when the user connects, or when somebody mended the settings."""
    longest = get_settings().write_backoff[1]
    what = "to connect" if isinstance(error, NotConnected) else "to be accepted"
    text = f"Waiting for {write.actor} {what} at {write.site_label}."
    return Outcome(State.RETRYING, " ".join((text, *_messages(error))), error, wait=longest, counts=False)


def _refuse(write: DocumentWrite, error: Exception, sent: bool) -> Outcome:
    text = "\n".join(_messages(error)) or f"ERPNext gave no message. {error}"
    views = error.document if isinstance(error, Conflict) else None
    return Outcome(State.REFUSED, text, error, conflict=views)


def _ask_a_person(write: DocumentWrite, error: Exception, sent: bool) -> Outcome:
    return Outcome(State.UNCERTAIN, "\n".join(_messages(error)), error, unknown=True)


def _try_later(write: DocumentWrite, error: Exception, sent: bool) -> Outcome:
    settings = get_settings()
    text = _tell(error)
    if sent and not can_find_out(write):
        text = f"{text}\nERPNext may have carried it out: look there before anything else."
        return Outcome(State.UNCERTAIN, text, error, unknown=True)
    if write.attempts >= settings.write_attempts:
        text = f"{text}\nGiven up after {write.attempts} attempts."
        return Outcome(State.UNCERTAIN, text, error, unknown=sent)
    first, longest = settings.write_backoff
    wait = wait_before(
        write.attempts, first=first, longest=longest, retry_after=getattr(error, "retry_after", None)
    )
    return Outcome(State.RETRYING, text, error, wait=wait, unknown=sent)


def can_find_out(write: DocumentWrite) -> bool:
    """Tell whether a lost answer can be made up for: by a look at the document, or by what a create carried along."""
    if write.creates:
        return write.key_strategy in (KeyStrategy.MARKER, KeyStrategy.FIELD)
    return write.action != Action.CALL


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


def _messages(error: Exception) -> tuple[str, ...]:
    return error.messages if isinstance(error, ERPNextBridgeError) else ()


def _tell(error: Exception) -> str:
    """Return what may be stored about an error: not the text of a foreign one, which might quote a header."""
    if isinstance(error, ERPNextBridgeError | ImproperlyConfigured):
        return str(error)
    frame = extract_tb(error.__traceback__)[-1]
    return f"Unexpected {type(error).__name__} in {PurePath(frame.filename).name}, line {frame.lineno}."
