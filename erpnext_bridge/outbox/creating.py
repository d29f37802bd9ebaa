"""
Creates, exactly once: many in one request, each with something that makes ERPNext refuse it a second time.

That is a pair of marker Tags around the documents, or a key in a unique field of each. A request whose answer was
lost is sent again as it was; ERPNext then carries it out, or says that it has already, and the names are looked for.
Where neither works, a create goes alone, and a lost answer is for a person.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from django.core.cache import cache

from erpnext_bridge.access import SiteAccess
from erpnext_bridge.client import FrappeClient, Payload
from erpnext_bridge.errors import (
    AuthenticationRefused,
    DocumentDoesNotExist,
    DuplicateDocument,
    ERPNextBridgeError,
    PermissionRefused,
    RefusedError,
)
from erpnext_bridge.models.write import Action, DocumentWrite, KeyStrategy
from erpnext_bridge.outbox import keyfield, markers
from erpnext_bridge.outbox.claiming import Delivery, pace
from erpnext_bridge.outbox.markers import Standing, Window
from erpnext_bridge.outbox.outcomes import OutcomeUnknown, unknown_if_refused
from erpnext_bridge.outbox.sending import holds
from erpnext_bridge.payloads import FILE, decode

Writes = Sequence[DocumentWrite]

REMEMBERED = 3600
"""Seconds for which it is believed that a DocType has the key field, or that a user may not create markers."""

LOOKED_FOR_AGAIN = 300
"""Seconds after which it is asked again whether a DocType has the key field by now."""


@dataclass(frozen=True, slots=True)
class Step:
    """What has become of some writes of a delivery."""

    writes: Writes
    names: Sequence[str] = ()
    """The names of their documents, if they were created."""
    error: Exception | None = None
    sent: bool = False
    """Whether a request was under way that may have been carried out."""
    heir: DocumentWrite | None = None
    """Who takes over the locks, when the delivery goes on."""


@dataclass
class Creation:
    """One delivery of creates. Iterating carries it out, step by step."""

    delivery: Delivery
    access: SiteAccess
    client: FrappeClient = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.access.client

    def __iter__(self) -> Iterator[Step]:
        writes = self.delivery.writes
        if writes[0].outcome_unknown:
            yield from self._find_out(writes)
        else:
            yield from self._create(writes)

    # What was not sent before

    def _create(self, writes: Writes) -> Iterator[Step]:
        strategy = self._strategy()
        if strategy == KeyStrategy.NONE:
            yield from self._in_parts([[write] for write in writes], strategy, self._plain)
        else:
            yield from self._in_parts([writes], strategy, self._keyed(strategy))

    def _in_parts(self, parts: list[Writes], strategy: KeyStrategy, insert: Insert) -> Iterator[Step]:
        """Send the parts, and those that are refused in halves, until each document has got its own answer."""
        waiting = parts[::-1]
        while waiting:
            part = waiting.pop()
            batch = uuid4()
            self.delivery.renew(part, batch=batch, key_strategy=strategy)
            try:
                names = self._timed(insert, part, batch)
            except AuthenticationRefused as error:
                yield Step([*part, *_flat(waiting)], error=error)
                return
            except MarkersRefused:
                yield from self._create([*part, *_flat(waiting)])
                return
            except RefusedError as refusal:
                if len(part) > 1:
                    half = len(part) // 2
                    waiting += [part[half:], part[:half]]
                else:
                    yield Step(part, error=refusal, heir=_heir(waiting))
            except OutcomeUnknown as error:
                yield Step(part, error=error, sent=True, heir=_heir(waiting))
            except Exception as error:
                yield Step(part, error=error, sent=True, heir=None)
                if waiting:
                    yield Step(_flat(waiting), error=error)
                return
            else:
                yield Step(part, names, heir=_heir(waiting))

    def _timed(self, insert: Insert, part: Writes, batch: UUID) -> list[str]:
        begin = time.monotonic()
        names = insert(part, batch)
        pace.learn(part[0].lane, len(part), time.monotonic() - begin)
        return names

    def _plain(self, part: Writes, batch: UUID) -> list[str]:
        (write,) = part
        return [str(self.client.create(write.doctype, self._document(write)).get("name", ""))]

    def _keyed(self, strategy: KeyStrategy) -> Insert:
        return self._with_field if strategy == KeyStrategy.FIELD else self._with_markers

    def _with_markers(self, part: Writes, batch: UUID) -> list[str]:
        try:
            return markers.insert(self.client, batch, self._documents(part))
        except AuthenticationRefused:
            raise
        except RefusedError as refusal:
            if not markers.is_about_marker(refusal, batch):
                raise
            if isinstance(refusal, DuplicateDocument):
                # Something between here and there has sent the request twice.
                return self._made_earlier(part, batch, refusal)
            if self._wanted != "auto":
                raise RefusedError(
                    f"{self.access.site.label} lets this user create no Tags, which CREATE_KEY = 'marker' needs:",
                    *refusal.messages,
                ) from refusal
            cache.set(self._cache_key("markers", self.access.identity.user_pk or ""), False, REMEMBERED)
            raise MarkersRefused from refusal

    def _with_field(self, part: Writes, batch: UUID) -> list[str]:
        documents = [
            {**document, keyfield.FIELDNAME: write.pk.hex}
            for document, write in zip(self._documents(part), part, strict=True)
        ]
        try:
            return self.client.insert_many(documents)
        except AuthenticationRefused:
            raise
        except RefusedError as refusal:
            # The key may be why: somebody has sent the write again, and it had arrived.
            found = self._by_key(part)
            if not found and len(part) == 1 and keyfield.is_about_key(refusal):
                raise OutcomeUnknown(
                    f"ERPNext has created the {part[0].doctype}, and does not show it to this user. Look for it there "
                    "as somebody who may read it.",
                    *refusal.messages,
                ) from refusal
            if len(found) < len(part):
                raise
            return [found[write.pk.hex] for write in part]

    # What may have been carried out

    def _find_out(self, writes: Writes) -> Iterator[Step]:
        first = writes[0]
        self.delivery.renew(writes)
        try:
            if first.batch is None or first.key_strategy not in (KeyStrategy.MARKER, KeyStrategy.FIELD):
                raise OutcomeUnknown("ERPNext may have created the document already.")
            if first.key_strategy == KeyStrategy.FIELD:
                names = self._ask_for_keys(writes)
            else:
                names = self._repeat(writes, first.batch)
        except AuthenticationRefused as error:
            yield Step(writes, error=error)
        except _NeverCarriedOut as proof:
            yield from self._anew(writes, proof.refusal)
        except Exception as error:
            yield Step(writes, error=error, sent=True)
        else:
            yield from self._found(writes, names)

    def _found(self, writes: Writes, names: Sequence[str]) -> Iterator[Step]:
        known = [(write, name) for write, name in zip(writes, names, strict=True) if name]
        rest = [write for write, name in zip(writes, names, strict=True) if not name]
        if known:
            found, told = zip(*known, strict=True)
            yield Step(found, told, heir=rest[0] if rest else None)
        if rest:
            # With its key, whatever is the way by now: the first request may still be at work.
            yield from self._in_parts([rest], KeyStrategy.FIELD, self._with_field)

    def _anew(self, writes: Writes, refusal: RefusedError | None) -> Iterator[Step]:
        if refusal is not None and len(writes) == 1:
            yield Step(writes, error=refusal)
            return
        strategy = self._strategy()
        half = len(writes) // 2
        if refusal is None or strategy == KeyStrategy.NONE:
            yield from self._create(writes)
        else:
            parts: list[Writes] = [writes[:half], writes[half:]]
            yield from self._in_parts(parts, strategy, self._keyed(strategy))

    def _ask_for_keys(self, writes: Writes) -> list[str]:
        found = self._by_key(writes)
        return [found.get(write.pk.hex, "") for write in writes]

    def _by_key(self, writes: Writes) -> dict[str, str]:
        doctype, keys = writes[0].doctype, [write.pk.hex for write in writes]
        with unknown_if_refused(f"ERPNext may have created the {doctype}, and cannot be asked for its key:"):
            return keyfield.names_by_key(self.client, doctype, keys)

    def _repeat(self, writes: Writes, batch: UUID) -> list[str]:
        """Send the request again as it was, and return the names of its documents, whichever request made them."""
        if DocumentWrite.objects.filter(batch=batch).count() > len(writes):
            # Without the others it is another request, whose markers would speak for them too.
            return self._made_earlier(writes, batch)
        try:
            return markers.insert(self.client, batch, self._documents(writes))
        except AuthenticationRefused:
            raise
        except RefusedError as refusal:
            return self._made_earlier(writes, batch, refusal)

    def _made_earlier(self, writes: Writes, batch: UUID, refusal: RefusedError | None = None) -> list[str]:
        """Return the names of what an earlier request made; where none did, see to it that none will."""
        with unknown_if_refused(
            "An answer was lost, and ERPNext refuses the Tags that would tell what it did:"
        ):
            standing, window = markers.look(self.client, batch)
            if standing is Standing.OPEN and markers.fence(self.client, batch):
                # The earlier request may still be at work: now it cannot come through any more.
                is_about_marker = refusal is None or markers.is_about_marker(refusal, batch)
                raise _NeverCarriedOut(None if is_about_marker else refusal)
            if standing is Standing.OPEN:
                standing, window = markers.look(self.client, batch)
        if standing is Standing.OPEN:
            raise OutcomeUnknown(
                "An answer was lost, and ERPNext does not show the Tags that would tell what it did: "
                "they are there, but not in the list that this user sees."
            )
        if window is None:
            raise _NeverCarriedOut(None)
        return self._names(writes, batch, window)

    # The names of documents that are there

    def _names(self, writes: Writes, batch: UUID, window: Window) -> list[str]:
        doctype = writes[0].doctype
        everyone = list(DocumentWrite.objects.filter(batch=batch).order_by("created_at", "pk"))
        found = self._others_left_out(writes, batch, self._listed(doctype, window, len(everyone)))
        if len(found) == len(everyone):
            by_pk = {write.pk: name for write, name in zip(everyone, found, strict=True)}
            return [by_pk[write.pk] for write in writes]
        return self._by_content(writes, found)

    def _listed(self, doctype: str, window: Window, expected: int) -> list[str]:
        with unknown_if_refused(f"ERPNext has created the {doctype}, and does not show it to this user:"):
            return markers.documents_in(self.client, doctype, window, expected)

    def _others_left_out(self, writes: Writes, batch: UUID, names: list[str]) -> list[str]:
        """Leave out what other writes are known to have created since these were queued, and nobody has deleted."""
        first = writes[0]
        of_names = DocumentWrite.objects.filter(
            site=first.site, doctype=first.doctype, document_name__in=names
        )
        # Deleting the newest document of a series gives its name back (frappe/model/naming.py,
        # revert_series_if_last): one of these documents may have it by now.
        deleted = of_names.filter(action=Action.DELETE, attempts__gt=0).values("document_name")
        others = (
            of_names.filter(action=Action.CREATE)
            .exclude(batch=batch)
            .exclude(finished_at__lt=min(write.created_at for write in writes))
            .exclude(document_name__in=deleted)
        )
        known = set(others.values_list("document_name", flat=True))
        return [name for name in names if name not in known]

    def _by_content(self, writes: Writes, names: list[str]) -> list[str]:
        """Return the names of the documents that hold what the writes wanted, where that leaves no choice."""
        contents = [self._content(writes[0].doctype, name) for name in names]
        wanted = [self._payload(write) for write in writes]
        places = only_embedding(wanted, contents, lambda payload, found: holds(found, payload))
        if places is None:
            raise OutcomeUnknown(
                f"ERPNext has created the {writes[0].doctype}, but which one cannot be told: look there. "
                f"It is one of {', '.join(names[:10]) or 'those that this user does not see'}."
            )
        return [names[place] for place in places]

    def _content(self, doctype: str, name: str) -> Payload:
        try:
            return self.client.read(doctype, name)
        except (DocumentDoesNotExist, PermissionRefused):
            return {}

    # What is sent

    def _documents(self, writes: Writes) -> list[Payload]:
        return [{"doctype": write.doctype, **self._document(write)} for write in writes]

    def _document(self, write: DocumentWrite) -> Payload:
        payload = self._payload(write)
        if isinstance(content := payload.get("content"), dict) and content.keys() == {FILE}:
            return {**payload, "content": base64.b64encode(write.file.content).decode(), "decode": 1}
        return payload

    def _payload(self, write: DocumentWrite) -> Payload:
        return decode(write.payload, self._zone)

    def _zone(self) -> ZoneInfo:
        return self.access.facts.time_zone

    # What makes a second request harmless

    @property
    def _wanted(self) -> str:
        return self.access.site.create_key_for(self.delivery.writes[0].doctype)

    def _strategy(self) -> KeyStrategy:
        wanted = self._wanted
        if wanted != "auto":
            return KeyStrategy(wanted)
        if self._has_field(self.delivery.writes[0].doctype):
            return KeyStrategy.FIELD
        may_mark = cache.get(self._cache_key("markers", self.access.identity.user_pk or ""), True)
        return KeyStrategy.MARKER if may_mark else KeyStrategy.NONE

    def _has_field(self, doctype: str) -> bool:
        key = self._cache_key("field", doctype)
        known = cache.get(key)
        if known is None:
            known = keyfield.is_installed(self.client, doctype)
            cache.set(key, known, REMEMBERED if known else LOOKED_FOR_AGAIN)
        return bool(known)

    def _cache_key(self, what: str, whose: str) -> str:
        return cache_key(self.access.site.url, what, whose)


def cache_key(url: str, what: str, whose: str) -> str:
    return f"erpnext_bridge:create:{what}:{url}:{whose}".replace(" ", "_")


def forget_field(url: str, doctype: str) -> None:
    """Ask again whether a DocType has the key field; other processes with caches of their own do so in time."""
    cache.delete(cache_key(url, "field", doctype))


Insert = Callable[[Writes, UUID], list[str]]


class MarkersRefused(Exception):
    """The site does not let this user create Tags."""


class _NeverCarriedOut(ERPNextBridgeError):
    """No request with these markers was carried out, and none will be."""

    def __init__(self, refusal: RefusedError | None) -> None:
        super().__init__()
        self.refusal = refusal


def _flat(parts: list[Writes]) -> list[DocumentWrite]:
    return [write for part in reversed(parts) for write in part]


def _heir(waiting: list[Writes]) -> DocumentWrite | None:
    return waiting[-1][0] if waiting else None


def only_embedding(
    small: Sequence[Any], large: Sequence[Any], fits: Callable[[Any, Any], bool]
) -> list[int] | None:
    """Return where each of `small` is in `large`, in order; None when there is no way, or more than one."""
    ways = [[0] * (len(large) + 1) for _ in range(len(small) + 1)]
    ways[len(small)] = [1] * (len(large) + 1)
    fitting = [[fits(one, other) for other in large] for one in small]
    for row in reversed(range(len(small))):
        for column in reversed(range(len(large))):
            here = ways[row + 1][column + 1] if fitting[row][column] else 0
            ways[row][column] = ways[row][column + 1] + here
    if not small or ways[0][0] != 1:
        return None
    places, row = [], 0
    for column in range(len(large)):
        if row < len(small) and fitting[row][column] and ways[row + 1][column + 1]:
            places.append(column)
            row += 1
    return places
