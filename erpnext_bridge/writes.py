"""
What people and programs do with writes: queue one, send it again, give it up, settle it, pick up the pieces.

Everything goes through the database, and needs neither ERPNext nor a broker to be up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, BinaryIO

from django.contrib.auth import get_user_model
from django.db import router, transaction
from django.db.models import Q
from django.dispatch import receiver
from django.utils import timezone

from erpnext_bridge.conf import get_settings, get_site
from erpnext_bridge.identity import Identity
from erpnext_bridge.models.write import (
    IN_THE_WAY,
    WAITING,
    Action,
    DocumentWrite,
    OnConflict,
    Priority,
    State,
    WriteFile,
)
from erpnext_bridge.outbox import gate
from erpnext_bridge.outbox.delivery import drain, perform, perform_next
from erpnext_bridge.outbox.ordering import (
    hurry,
    key_of_document,
    key_of_new,
    lane_of,
    pass_on,
    release,
    release_all,
    revive,
    share_fate,
    share_fates,
)
from erpnext_bridge.outbox.outcomes import can_find_out
from erpnext_bridge.payloads import FILE, encode, fill_names, references
from erpnext_bridge.signals import connected

__all__ = [
    "WriteStateError",
    "can_resolve",
    "can_retry",
    "cancel",
    "drain",
    "enqueue",
    "enqueue_file",
    "enqueue_many",
    "perform",
    "perform_next",
    "resolve",
    "retry",
    "sweep",
    "wait",
]

GRACE = timedelta(seconds=10)
"""How long the worker that was asked after the commit has for itself before the sweep asks again."""

SWEEP_LIMIT = 1000
"""Writes that one sweep hands to the workers; the next one goes on."""

INSERTED_AT_ONCE = 500


class WriteStateError(ValueError):
    """The write is in a state in which this cannot be done; the message tells what can."""


def enqueue(
    action: Action | str,
    identity: Identity,
    doctype: str,
    name: str | DocumentWrite = "",
    payload: Mapping[str, Any] | None = None,
    *,
    base_modified: str = "",
    base_values: Mapping[str, Any] | None = None,
    on_conflict: OnConflict | str = "",
    submit: bool = False,
    priority: Priority | int = Priority.NORMAL,
    after: Iterable[DocumentWrite] = (),
) -> DocumentWrite:
    """
    Queue a write in the caller's transaction: a rollback takes it back, a commit hands it to a worker.

    `name` may be the write that creates the document, and so may be any value of the payload that is to be the name
    of a document: this write then waits for that one, as it does for those in `after`. `base_modified` is the
    `modified` of the document that the change is based on; ERPNext then refuses it when somebody else has saved since,
    and `on_conflict` says what becomes of it, for which `base_values` holds what the changed fields were. `submit`
    submits a document once it is created. Values may be dates, aware datetimes, decimals and UUIDs. A call has the
    payload `{"method": …, "arguments": {…}}`, and a name when it is a method of a document. Raises ValueError for
    what no delivery could ever send.
    """
    promise = _Promise(
        action=Action(action),
        identity=identity,
        doctype=doctype,
        name=name,
        payload=encode(payload or {}),
        base_modified=base_modified,
        base_values=encode(base_values or {}),
        on_conflict=OnConflict(on_conflict or get_settings().write_conflict),
        submit=submit,
        priority=Priority(priority),
        after=list(after),
    )
    promise.check()
    get_site(identity.site)
    with transaction.atomic(using=router.db_for_write(DocumentWrite)):
        write = promise.row()
        write.save(force_insert=True)
        if promise.after:
            write.depends_on.set(promise.after)
    _announce_new([write])
    return write


def enqueue_many(
    identity: Identity,
    doctype: str,
    payloads: Iterable[Mapping[str, Any]],
    *,
    submit: bool = False,
    priority: Priority | int = Priority.LOW,
) -> list[DocumentWrite]:
    """
    Queue a create for each payload, and return the writes in that order.

    They are sent many in one request, after what is more urgent; each is done or refused by itself.
    """
    get_site(identity.site)
    common: dict[str, Any] = {
        "action": Action.CREATE,
        "identity": identity,
        "doctype": doctype,
        "submit": submit,
    }
    writes, depend = [], []
    with transaction.atomic(using=router.db_for_write(DocumentWrite)):
        for payload in payloads:
            promise = _Promise(payload=encode(payload), priority=Priority(priority), **common)
            promise.check()
            writes.append(promise.row())
            depend += [(writes[-1], other) for other in promise.after]
        for write in writes[1:]:
            # The worker that is asked for the first one takes the others along.
            write.nudged_at = write.created_at
        DocumentWrite.objects.bulk_create(writes, batch_size=INSERTED_AT_ONCE)
        for write, other in depend:
            write.depends_on.add(other)
    _announce_new(writes)
    return writes


def enqueue_file(
    identity: Identity,
    doctype: str,
    name: str | DocumentWrite,
    content: bytes | BinaryIO,
    filename: str,
    *,
    fieldname: str = "",
    is_private: bool = True,
    priority: Priority | int = Priority.NORMAL,
) -> DocumentWrite:
    """
    Queue the upload of a file that is attached to a document, or to the one that a write creates.

    The content waits in the database. It is uploaded exactly once, as a document of DocType File.
    """
    data = content if isinstance(content, bytes) else content.read()
    limit = get_settings().write_file_limit
    if len(data) > limit:
        raise ValueError(
            f"{filename} has {len(data):,} bytes; a background write carries at most {limit:,} (WRITE_FILE_LIMIT). "
            "Upload it at once, by the client's upload()."
        )
    payload = {
        "file_name": filename,
        "attached_to_doctype": doctype,
        "attached_to_name": name,
        "attached_to_field": fieldname or None,
        "is_private": is_private,
        "content": {FILE: len(data)},
    }
    with transaction.atomic(using=router.db_for_write(DocumentWrite)):
        write = enqueue(Action.CREATE, identity, "File", payload=payload, priority=priority)
        WriteFile.objects.create(write=write, content=data, size=len(data))
    return write


@dataclass(kw_only=True)
class _Promise:
    """A write before it is a row."""

    action: Action
    identity: Identity
    doctype: str
    name: str | DocumentWrite = ""
    payload: dict[str, Any]
    base_modified: str = ""
    base_values: dict[str, Any] = field(default_factory=dict)
    on_conflict: OnConflict = OnConflict.REFUSE
    submit: bool = False
    priority: Priority = Priority.NORMAL
    after: list[DocumentWrite] = field(default_factory=list)

    def check(self) -> None:
        action, name, payload = self.action, self.name, self.payload
        unnamed = action not in (Action.CREATE, Action.CALL) and not name
        problems = {
            "A write needs a DocType.": not self.doctype and (action != Action.CALL or bool(name)),
            f"To {action} a document, name it.": unnamed,
            "There is nothing to update: the payload is empty.": action == Action.UPDATE and not payload,
            "A call needs a method.": action == Action.CALL and not payload.get("method"),
            f"To {action} a document takes no payload.": bool(payload) and action not in _WITH_PAYLOAD,
            "Only a document that is created can be submitted along with it.": self.submit
            and action != Action.CREATE,
            "A write that creates a document names it by itself.": action == Action.CREATE
            and isinstance(name, DocumentWrite),
        }
        for problem, found in problems.items():
            if found:
                raise ValueError(problem)

    def row(self) -> DocumentWrite:
        """Return the row: what it waits for is known by then, and `after` holds all that it depends on."""
        self._take_references()
        write = DocumentWrite(
            site=self.identity.site,
            user_id=_user_id(self.identity),
            is_service=self.identity.is_service,
            action=self.action,
            doctype=self.doctype,
            base_modified=self.base_modified,
            base_values=self.base_values,
            on_conflict=self.on_conflict,
            submit=self.submit,
            priority=self.priority,
        )
        self._place(write)
        write.payload = self.payload
        if self.after or write.follows_id:
            write.next_attempt_at, write.waits_since = None, write.created_at
        return write

    def _take_references(self) -> None:
        """Fill in the names that are known by now, and wait for the others."""
        known = {}
        for pk in references(self.payload):
            other = DocumentWrite.objects.filter(pk=pk).first()
            if other is None or other.action != Action.CREATE:
                raise ValueError(
                    "Only a write that creates a document, and is saved, stands for the document's name."
                )
            if other.state == State.DONE:
                known[pk] = other.document_name
            else:
                self.after.append(other)
        self.payload = fill_names(self.payload, known)
        self._keep_undone()

    def _keep_undone(self) -> None:
        if not self.after:
            return
        found = DocumentWrite.objects.in_bulk({each.pk for each in self.after})
        for other in found.values():
            if other.state in (State.REFUSED, State.CANCELLED):
                raise ValueError(
                    f"A write cannot wait for one that is {other.state}: {other.title}. Retry that first."
                )
        self.after = [other for other in found.values() if other.state != State.DONE]

    def _place(self, write: DocumentWrite) -> None:
        """Say which document the write is about, and put it behind those that are about the same."""
        if self.action == Action.CREATE:
            if self.name:
                # A wish, which ERPNext fulfils for DocTypes whose names are typed in (frappe/model/naming.py).
                self.payload = {**self.payload, "name": self.name}
            write.document_key = key_of_new(write.pk)
            write.lane = lane_of(self.identity, self.doctype)
            return
        if isinstance(self.name, DocumentWrite):
            self._place_behind_create(write, self.name)
        elif self.name:
            write.document_name = self.name
            write.document_key = key_of_document(self.identity.site, self.doctype, self.name)
        if not write.document_key:
            write.document_key = key_of_new(write.pk)
        else:
            self._queue_up(write)

    def _place_behind_create(self, write: DocumentWrite, create: DocumentWrite) -> None:
        create.refresh_from_db()
        if create.action != Action.CREATE:
            raise ValueError("Only a write that creates a document can stand for its name.")
        write.document_name, write.document_key = create.document_name, create.document_key
        if create.state != State.DONE and create not in self.after:
            self.after.append(create)

    def _queue_up(self, write: DocumentWrite) -> None:
        before = DocumentWrite.objects.filter(document_key=write.document_key, state__in=IN_THE_WAY)
        last = before.order_by("created_at").last()
        if last is not None:
            write.follows = last
            # Clocks differ, and step back.
            write.created_at = max(write.created_at, last.created_at + timedelta(microseconds=1))


_WITH_PAYLOAD = (Action.CREATE, Action.UPDATE, Action.CALL)


def _user_id(identity: Identity) -> Any:
    return None if identity.is_service else get_user_model()._meta.pk.to_python(identity.user_pk)


def _announce_new(writes: list[DocumentWrite]) -> None:
    using = writes[0]._state.db if writes else None
    waiting = [write for write in writes if write.next_attempt_at is None]
    for write in writes:
        write.announce("", using)
    if waiting:
        # What it waits for may have been done since it was looked at, by somebody who could not see this one yet.
        keys, pks = {write.document_key for write in waiting}, [write.pk for write in waiting]
        transaction.on_commit(partial(_release_new, keys, pks, waiting[0].priority), using=using)


def _release_new(keys: set[str], pks: list[Any], priority: int) -> None:
    if priority > Priority.LOW:
        hurry(pks, priority)
    others = DocumentWrite.depends_on.through.objects.filter(from_documentwrite_id__in=pks)
    release(keys, set(others.values_list("to_documentwrite_id", flat=True)))


def wait(*writes: DocumentWrite, timeout: float = 60.0, poll: float = 0.1) -> None:
    """Wait until these writes are settled; TimeoutError when one is not after so many seconds together."""
    deadline = timezone.now() + timedelta(seconds=timeout)
    for write in writes:
        write.wait(max(0.0, (deadline - timezone.now()).total_seconds()), poll=poll)


def can_retry(write: DocumentWrite) -> bool:
    """Return whether the write can be sent again as it is, without a person having looked into ERPNext."""
    return write.state in _RETRIABLE and not write.is_orphan and not _may_exist(write)


def can_resolve(write: DocumentWrite) -> bool:
    """Return whether a person is to say what became of the write."""
    return write.state == State.UNCERTAIN and write.outcome_unknown


def retry(write: DocumentWrite, *, create_again: bool = False, by: str = "") -> None:
    """
    Send a write again: at once, with all its attempts, and with the payload it has now.

    Where ERPNext may have created the document, or carried out a call, that takes `create_again=True`: somebody has
    looked, and it has not. It sends any write as one that was never sent: ERPNext is not asked first what became of an
    earlier attempt. WriteStateError when the write is done, given up or under way.
    """
    if _may_exist(write) and not create_again:
        raise WriteStateError(_LOOK_FIRST if write.creates else _LOOK_FIRST_AT_A_CALL)
    if write.is_orphan:
        raise WriteStateError("The user of this write was deleted, so nobody is left who could send it.")
    unknown = write.outcome_unknown and not create_again
    _restart(write, _RETRIABLE, "retried", by, outcome_unknown=unknown)
    revive(write)


def cancel(write: DocumentWrite, *, by: str = "") -> None:
    """Give a write up. WriteStateError when it is done, or a worker is sending it."""
    write.remember("cancelled", by=by)
    gone = {"next_attempt_at": None, "finished_at": timezone.now(), "lane_lock": None}
    _move(write, _CANCELLABLE, state=State.CANCELLED, **gone)
    share_fate(write)
    release([write.document_key])


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
    key = write.document_key
    name = document_name if write.creates else write.document_name
    named = {"document_name": name, "lane": ""} if write.creates else {}
    if write.creates:
        named["document_key"] = key_of_document(write.site, write.doctype, name)
    if write.creates and write.submit:
        _restart(write, (State.UNCERTAIN,), "resolved", by, outcome_unknown=True, **named)
    else:
        write.remember("resolved", by=by, document=name)
        done = {"outcome_unknown": False, "last_error": "", "error_type": "", "finished_at": timezone.now()}
        _move(write, (State.UNCERTAIN,), state=State.DONE, **done, **named)
    if key != write.document_key:
        pass_on(write, key, "")
    release([write.document_key], [write.pk])


_RETRIABLE = (State.RETRYING, State.REFUSED, State.UNCERTAIN)
_CANCELLABLE = (State.PENDING, State.RETRYING, State.REFUSED, State.UNCERTAIN)


def _may_exist(write: DocumentWrite) -> bool:
    """Tell whether nothing but a person's look can say if ERPNext has done it."""
    return write.outcome_unknown and not can_find_out(write)


_LOOK_FIRST = (
    "ERPNext may have created this document. Look for it there: resolve() the write with its name, "
    "or retry() it with create_again=True when it is not there."
)
_LOOK_FIRST_AT_A_CALL = (
    "ERPNext may have carried out this call. Look what it did: resolve() the write when it has, "
    "or retry() it with create_again=True when it has not."
)


def _restart(write: DocumentWrite, allowed: tuple[State, ...], event: str, by: str, **changes: Any) -> None:
    write.remember(event, by=by, document=changes.get("document_name"))
    waits = write.depends_on.exclude(state=State.DONE).exists()
    _move(
        write,
        allowed,
        state=State.PENDING,
        attempts=0,
        next_attempt_at=None if waits else timezone.now(),
        nudged_at=None,
        finished_at=None,
        conflict=None,
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
    share_fates()
    release_all()
    again = now - timedelta(seconds=get_settings().write_lease)
    ready = DocumentWrite.objects.ready(now - GRACE)
    if closed := gate.closed_sites(now):
        ready = ready.exclude(site__in=closed)
    oldest = [write for write in ready.order_by("next_attempt_at")[:SWEEP_LIMIT] if write.state in WAITING]
    # Asked again and again while no worker is there, they would fill the broker.
    found = [write for write in oldest if write.nudged_at is None or write.nudged_at <= again]
    DocumentWrite.objects.filter(pk__in=[write.pk for write in found]).update(nudged_at=now)
    return found


def _recover(write: DocumentWrite, now: datetime) -> None:
    """Decide about a write whose worker was not heard of again: nobody knows how far it came."""
    may_have_sent = not write.creates or bool(write.key_strategy)
    is_lost = may_have_sent and not can_find_out(write)
    is_over = is_lost or write.attempts >= get_settings().write_attempts
    unknown = write.outcome_unknown or may_have_sent
    write.remember("crashed", attempt=write.attempts)
    write.advance(
        (State.SENDING,),
        Q(lease_expires_at__lte=now),
        state=State.UNCERTAIN if is_over else State.RETRYING,
        outcome_unknown=unknown,
        next_attempt_at=None if is_over else now,
        nudged_at=None,
        finished_at=now if is_over else None,
        lease_expires_at=None,
        lane_lock=write.lane_lock if unknown and write.creates and not is_over else None,
        slot_lock=None,
        error_type="Crashed",
        last_error="The worker stopped while it was sending this write."
        + (" ERPNext may have carried it out: look there." if is_over else ""),
    )


@receiver(connected)
def resume(*, connection: Any, **_: Any) -> None:
    """Send at once what has waited for this user to connect, and what was to be tried again later anyway."""
    for write in DocumentWrite.objects.for_identity(connection.identity).filter(state=State.RETRYING):
        write.advance((State.RETRYING,), next_attempt_at=timezone.now(), nudged_at=None)
