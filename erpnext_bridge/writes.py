"""
What people and programs do with writes: queue one, send it again, give it up, settle it, pick up the pieces.

Everything goes through the database, and needs neither ERPNext nor a broker to be up.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Q
from django.dispatch import receiver
from django.utils import timezone

from erpnext_bridge.conf import get_settings, get_site
from erpnext_bridge.delivery import perform
from erpnext_bridge.identity import Identity
from erpnext_bridge.models.write import Action, DocumentWrite, State
from erpnext_bridge.payloads import encode
from erpnext_bridge.signals import connected

__all__ = [
    "WriteStateError",
    "can_resolve",
    "can_retry",
    "cancel",
    "enqueue",
    "perform",
    "resolve",
    "retry",
    "sweep",
]

GRACE = timedelta(seconds=10)
"""How long the worker that was asked after the commit has for itself before the sweep asks again."""

SWEEP_LIMIT = 1000
"""Writes that one sweep hands to the workers; the next one goes on."""


class WriteStateError(ValueError):
    """The write is in a state in which this cannot be done; the message tells what can."""


def enqueue(
    action: Action | str,
    identity: Identity,
    doctype: str,
    name: str = "",
    payload: Mapping[str, Any] | None = None,
    *,
    base_modified: str = "",
    submit: bool = False,
) -> DocumentWrite:
    """
    Queue a write in the caller's transaction: a rollback takes it back, a commit hands it to a worker.

    `base_modified` is the `modified` of the document that the change is based on; ERPNext then refuses it
    when somebody else has saved since. `submit` submits a document once it is created. Values may be dates,
    aware datetimes, decimals and UUIDs. Raises ValueError for what no delivery could ever send.
    """
    action = Action(action)
    fields = encode(payload or {})
    _check(action, doctype, name, fields, submit)
    get_site(identity.site)
    if action == Action.CREATE and name:
        # A wish, which ERPNext fulfils for DocTypes whose names are typed in (frappe/model/naming.py).
        fields, name = {**fields, "name": name}, ""
    write = DocumentWrite(
        site=identity.site,
        user_id=None if identity.is_service else get_user_model()._meta.pk.to_python(identity.user_pk),
        is_service=identity.is_service,
        action=action,
        doctype=doctype,
        document_name=name,
        payload=fields,
        base_modified=base_modified,
        submit=submit,
    )
    write.save(force_insert=True)
    write.announce("", write._state.db)
    return write


def _check(action: Action, doctype: str, name: str, payload: Mapping[str, Any], submit: bool) -> None:
    problems = {
        "A write needs a DocType.": not doctype,
        f"To {action} a document, name it.": action != Action.CREATE and not name,
        "There is nothing to update: the payload is empty.": action == Action.UPDATE and not payload,
        f"To {action} a document takes no payload.": bool(payload) and action not in _WITH_PAYLOAD,
        "Only a document that is created can be submitted along with it.": submit and action != Action.CREATE,
    }
    for problem, found in problems.items():
        if found:
            raise ValueError(problem)


_WITH_PAYLOAD = (Action.CREATE, Action.UPDATE)


def can_retry(write: DocumentWrite) -> bool:
    """Return whether the write can be sent again as it is, without a person having looked into ERPNext."""
    return write.state in _RETRIABLE and not write.is_orphan and not _may_exist(write)


def can_resolve(write: DocumentWrite) -> bool:
    """Return whether a person is to say what became of the write."""
    return write.state == State.UNCERTAIN and write.outcome_unknown


def retry(write: DocumentWrite, *, create_again: bool = False, by: str = "") -> None:
    """
    Send a write again: at once, with all its attempts, and with the payload it has now.

    Where ERPNext may have created the document, that takes `create_again=True`: somebody has looked, and it
    is not there. WriteStateError when the write is done, given up or under way.
    """
    if _may_exist(write) and not create_again:
        raise WriteStateError(
            "ERPNext may have created this document. Look for it there: resolve() the write with its name, "
            "or retry() it with create_again=True when it is not there."
        )
    if write.is_orphan:
        raise WriteStateError("The user of this write was deleted, so nobody is left who could send it.")
    _restart(write, _RETRIABLE, "retried", by, outcome_unknown=write.outcome_unknown and not write.creates)


def cancel(write: DocumentWrite, *, by: str = "") -> None:
    """Give a write up. WriteStateError when it is done, or a worker is sending it."""
    write.remember("cancelled", by=by)
    _move(write, _CANCELLABLE, state=State.CANCELLED, next_attempt_at=None, finished_at=timezone.now())


def resolve(write: DocumentWrite, document_name: str = "", *, by: str = "") -> None:
    """
    Say that ERPNext has carried out a write whose answer was lost.

    For a create, `document_name` is the new document's name; what it promised beyond that is still done.
    """
    if not can_resolve(write):
        raise WriteStateError(
            f"This write is {write.get_state_display().lower()}: there is nothing to settle."
        )
    if write.creates and not document_name:
        raise WriteStateError("Tell the name that ERPNext gave to the new document.")
    name = document_name if write.creates else write.document_name
    if write.creates and write.submit:
        _restart(write, (State.UNCERTAIN,), "resolved", by, document_name=name, outcome_unknown=True)
        return
    write.remember("resolved", by=by, document=name)
    _move(
        write,
        (State.UNCERTAIN,),
        state=State.DONE,
        document_name=name,
        outcome_unknown=False,
        last_error="",
        error_type="",
        finished_at=timezone.now(),
    )


_RETRIABLE = (State.RETRYING, State.REFUSED, State.UNCERTAIN)
_CANCELLABLE = (State.PENDING, State.RETRYING, State.REFUSED, State.UNCERTAIN)


def _may_exist(write: DocumentWrite) -> bool:
    return write.creates and write.outcome_unknown


def _restart(write: DocumentWrite, allowed: tuple[State, ...], event: str, by: str, **changes: Any) -> None:
    write.remember(event, by=by, document=changes.get("document_name"))
    _move(
        write,
        allowed,
        state=State.PENDING,
        attempts=0,
        next_attempt_at=timezone.now(),
        nudged_at=None,
        finished_at=None,
        **changes,
    )


def _move(write: DocumentWrite, allowed: tuple[State, ...], **changes: Any) -> None:
    if not write.advance(allowed, **changes):
        write.refresh_from_db()
        raise WriteStateError(
            f"This write is {write.get_state_display().lower()} by now. Look at it again before you decide."
        )


def sweep(now: datetime | None = None) -> list[DocumentWrite]:
    """
    Pick up what a crash left, and return the writes that are due and that no worker seems to be at.

    Safe to run at any time, from several places at once.
    """
    now = now or timezone.now()
    for write in DocumentWrite.objects.crashed(now).select_related("user"):
        _recover(write, now)
    again = now - timedelta(seconds=get_settings().write_lease)
    due = DocumentWrite.objects.due(now - GRACE).filter(Q(nudged_at=None) | Q(nudged_at__lte=again))
    found = list(due.order_by("next_attempt_at")[:SWEEP_LIMIT])
    # Asked again and again while no worker is there, they would fill the broker.
    DocumentWrite.objects.filter(pk__in=[write.pk for write in found]).update(nudged_at=now)
    return found


def _recover(write: DocumentWrite, now: datetime) -> None:
    """Decide about a write whose worker was not heard of again: nobody knows how far it came."""
    is_over = write.creates or write.attempts >= get_settings().write_attempts
    write.remember("crashed", attempt=write.attempts)
    write.advance(
        (State.SENDING,),
        Q(lease_expires_at__lte=now),
        state=State.UNCERTAIN if is_over else State.RETRYING,
        outcome_unknown=True,
        next_attempt_at=None if is_over else now,
        nudged_at=None,
        finished_at=now if is_over else None,
        error_type="Crashed",
        last_error="The worker stopped while it was sending this write."
        + (" ERPNext may have carried it out: look there." if is_over else ""),
    )


@receiver(connected)
def resume(*, connection: Any, **_: Any) -> None:
    """Send at once what has waited for this user to connect, and what was to be tried again later anyway."""
    for write in DocumentWrite.objects.for_identity(connection.identity).filter(state=State.RETRYING):
        write.advance((State.RETRYING,), next_attempt_at=timezone.now(), nudged_at=None)
