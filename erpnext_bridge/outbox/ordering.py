"""
Whose turn it is: a write waits for the earlier ones to its document, and for those that it depends on.

One that waits is `pending` without `next_attempt_at`, and has `waits_since`. It comes free when what it waits for is done; where a crash
kept that from happening, the sweep finds it. A write that depends on a refused or cancelled one shares its fate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from erpnext_bridge.collation import sort_key
from erpnext_bridge.identity import Identity
from erpnext_bridge.models.write import IN_THE_WAY, DocumentWrite, DocumentWriteQuerySet, State
from erpnext_bridge.payloads import fill_names

RELEASE_LIMIT = 1000
"""Waiting writes that one look sets free; the next one goes on."""


def key_of_document(site: str, doctype: str, name: str) -> str:
    """Return the key of a document's writes; names that are equal to the site have the same."""
    return _digest("document", site, doctype, sort_key(name))


def key_of_new(pk: UUID) -> str:
    """Return the key of the writes to a document that has no name yet."""
    return _digest("new", pk.hex)


def lane_of(identity: Identity, doctype: str) -> str:
    """Return the lane of creates: those of one identity and DocType go one request after the other."""
    return _digest("lane", identity.site, identity.user_pk or "", doctype)


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def earlier(key: Any, created_at: Any) -> DocumentWriteQuerySet:
    """Return the writes to a document that hold up one that was queued at this moment."""
    return _writes().filter(document_key=key, created_at__lt=created_at, state__in=IN_THE_WAY)


def has_turn() -> Q:
    """Return the condition that nothing is in a write's way."""
    undone = DocumentWrite.depends_on.through.objects.filter(from_documentwrite_id=OuterRef("pk")).exclude(
        to_documentwrite__state=State.DONE
    )
    return ~Exists(earlier(OuterRef("document_key"), OuterRef("created_at"))) & ~Exists(undone)


def release(keys: Iterable[str] = (), after: Iterable[UUID] = ()) -> None:
    """Set free what waited for its turn at these documents, or for these writes."""
    keys, after = [key for key in keys if key], list(after)
    found = set[UUID]()
    if keys:
        found.update(_waiting().filter(document_key__in=keys).values_list("pk", flat=True))
    if after:
        found.update(_waiting().filter(depends_on__in=after).values_list("pk", flat=True))
    if found:
        _set_free(_waiting().filter(pk__in=found))


def release_all() -> None:
    """Set free what nothing holds up any more, whoever should have done so."""
    _set_free(_waiting())


def _set_free(waiting: DocumentWriteQuerySet) -> None:
    turns = waiting.filter(has_turn()).select_related("user", "follows").order_by("waits_since")
    for write in turns[:RELEASE_LIMIT]:
        write.advance(
            (State.PENDING,), Q(next_attempt_at=None), next_attempt_at=timezone.now(), **_learnt(write)
        )


def _learnt(write: DocumentWrite) -> dict[str, Any]:
    """Return what the writes that this one has waited for tell: the names of their documents, and `modified`."""
    learnt: dict[str, Any] = {}
    names = {pk: name for pk, name in write.depends_on.values_list("pk", "document_name") if name}
    if names:
        learnt["payload"] = fill_names(write.payload, {str(pk): name for pk, name in names.items()})
    name = next((name for pk, name in names.items() if key_of_new(pk) == write.document_key), "")
    if name:
        learnt |= {"document_name": name, "document_key": key_of_document(write.site, write.doctype, name)}
    before = write.follows
    if (
        before is not None
        and before.state == State.DONE
        and before.base_modified == write.base_modified != ""
    ):
        learnt["base_modified"] = before.answer.get("modified") or write.base_modified
    return learnt


def hurry(pks: Iterable[UUID], priority: int) -> None:
    """
    Let what these writes wait for go before what is less urgent than they are, and so what that waits for.

    Not in the transaction that queues a write, which would keep workers from what it waits for. One row at a time: who
    changes several may be in the way of another who does.
    """
    waiting = list(pks)
    while waiting:
        ahead = Q(dependents__in=waiting) | Q(followers__in=waiting)
        slower = _writes().filter(ahead, priority__lt=priority, state__in=IN_THE_WAY)
        waiting = list(slower.values_list("pk", flat=True).distinct())
        for pk in waiting:
            _writes().filter(pk=pk, priority__lt=priority).update(priority=priority)


def waiting_at(keys: Iterable[str]) -> set[str]:
    """Return those of these documents that a write waits for its turn at."""
    return set(_waiting().filter(document_key__in=list(keys)).values_list("document_key", flat=True))


def have_dependents(pks: Iterable[UUID]) -> bool:
    """Tell whether anything depends on one of these writes."""
    return bool(DocumentWrite.depends_on.through.objects.filter(to_documentwrite__in=list(pks)).exists())


def pass_on(write: DocumentWrite, previous_key: str, previous_base: str) -> None:
    """
    Tell the writes that wait for this one what they need of it: the document's name, and its new `modified`.

    What was based on the same version of the document as this write is no conflict with it.
    """
    waiting = _waiting().filter(document_key=previous_key)
    if previous_key != write.document_key:
        waiting.update(document_key=write.document_key, document_name=write.document_name)
    elif (
        write.state == State.DONE and previous_base and (modified := str(write.answer.get("modified") or ""))
    ):
        for later in waiting.filter(base_modified=previous_base):
            ours = {key: value for key, value in write.payload.items() if key in later.base_values}
            base_values = {**later.base_values, **ours}
            waiting.filter(pk=later.pk).update(base_modified=modified, base_values=base_values)


def share_fate(write: DocumentWrite) -> None:
    """Let what depends on a refused or cancelled write come to the same end."""
    ended = [write]
    while ended:
        cause = ended.pop()
        state = State(cause.state)
        text = f"It builds on another write, “{cause.title}”, which was {state.label.lower()}."
        for dependent in _waiting().filter(depends_on=cause).select_related("user"):
            dependent.remember(state, error=FATE, text=text)
            changes = {"state": state, "error_type": FATE, "last_error": text, "finished_at": timezone.now()}
            if dependent.advance((State.PENDING,), Q(next_attempt_at=None), **changes):
                ended.append(dependent)
                release([dependent.document_key])


def share_fates() -> None:
    """Let what waits for refused and cancelled writes end along, whoever should have done so."""
    ended = DocumentWrite.depends_on.through.objects.filter(
        from_documentwrite__waits_since__isnull=False,
        to_documentwrite__state__in=(State.REFUSED, State.CANCELLED),
    )
    pks = ended.values_list("to_documentwrite_id", flat=True).distinct()[:RELEASE_LIMIT]
    for write in _writes().filter(pk__in=list(pks)):
        share_fate(write)


def revive(write: DocumentWrite) -> None:
    """Let what was refused along with a write wait for it again."""
    revived = [write]
    while revived:
        along = _writes().filter(depends_on=revived.pop(), state=State.REFUSED, error_type=FATE)
        for dependent in along.select_related("user"):
            dependent.remember("revived")
            changes = {"state": State.PENDING, "next_attempt_at": None, "error_type": "", "last_error": ""}
            if dependent.advance((State.REFUSED,), finished_at=None, **changes):
                revived.append(dependent)


FATE = "DependencyFailed"
"""`error_type` of a write that ended because of another one."""


def _waiting() -> DocumentWriteQuerySet:
    return _writes().filter(waits_since__isnull=False)


def _writes() -> DocumentWriteQuerySet:
    return DocumentWriteQuerySet(DocumentWrite)
