"""How rows become the documents that a queryset yields: each with the rights, links and peers that its queryset knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from weakref import ref

from django.db.models.query import ModelIterable

from erpnext_bridge.identity import acting_as
from erpnext_bridge.values import column_of, decoder

if TYPE_CHECKING:
    BaseIterable = ModelIterable[Any]
else:
    BaseIterable = ModelIterable


class DocumentIterable(BaseIterable):  # in_bulk() and Prefetch ask for a ModelIterable
    """Yields a document for each row; a column that Frappe left out stays deferred."""

    queryset: Any

    def __iter__(self) -> Iterator[Any]:
        queryset = self.queryset
        compiler = queryset.query.get_compiler()
        compiled = compiler.compile()
        zone = compiler.access.facts.time_zone
        decoders = [(field.attname, column_of(field), decoder(field, zone)) for field in compiled.fields]
        finish = _Finish(queryset)
        for row in compiler.rows(compiled):
            document = queryset.model.from_wire(row, decoders, queryset.query.identity, zone)
            for name, term in compiled.annotations:
                setattr(document, name, term.value(row))
            finish(document)
            yield document


class _Finish:
    """Gives a document what its queryset knows: related objects, and from Django 6.1 on its fetch mode and peers."""

    def __init__(self, queryset: Any) -> None:
        self.known = list(queryset._known_related_objects.items())
        self.fetch_mode = _with_own_rights(getattr(queryset, "_fetch_mode", None))
        self.peers: list[Any] = []
        # Django takes rows that came with their document for prefetched, and would leave these querysets out.
        self.asked_otherwise = [
            each.prefetch_to
            for each in queryset._prefetch_related_lookups
            if getattr(each, "queryset", None) is not None
        ]

    def __call__(self, document: Any) -> None:
        for name in self.asked_otherwise:
            document.__dict__.get("_prefetched_objects_cache", {}).pop(name, None)
        for field, objects in self.known:
            related = objects.get(document.__dict__.get(field.attname))
            if related is not None and not field.is_cached(document):
                setattr(document, field.name, related)
        if self.fetch_mode is not None:
            document._state.fetch_mode = self.fetch_mode
            if self.fetch_mode.track_peers:
                self.peers.append(ref(document))
                document._state.peers = self.peers


class _OwnRights:
    """A fetch mode of Django 6.1 whose requests carry the rights that its document was read with."""

    def __init__(self, mode: Any) -> None:
        self.mode = mode
        self.track_peers = mode.track_peers

    def fetch(self, fetcher: Any, instance: Any) -> None:
        with acting_as(instance.erp_identity):
            self.mode.fetch(fetcher, instance)


def _with_own_rights(mode: Any) -> Any:
    # Only one that fetches for several documents at once passes none of them on as a hint.
    return (
        _OwnRights(mode) if getattr(mode, "track_peers", False) and not isinstance(mode, _OwnRights) else mode
    )
