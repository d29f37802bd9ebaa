"""
Querysets of documents: Django's own, with a query that is read at ERPNext instead of a database.

The identity, whose rights the requests carry, is part of the query: every clone, related lookup and instance
has it from there. Building a queryset sends nothing; neither does its `repr()`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from copy import copy
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from django.apps import apps
from django.core.exceptions import FieldError
from django.db import DEFAULT_DB_ALIAS, models
from django.db.models.functions import Random
from django.db.models.sql import Query

from erpnext_bridge.bulk import WritingQuerySet
from erpnext_bridge.compiler import resolved_aggregates
from erpnext_bridge.conf import DEFAULT_SITE
from erpnext_bridge.errors import UnsupportedQuery
from erpnext_bridge.identity import Identity, ambient_identity
from erpnext_bridge.iterables import BaseIterable, DocumentIterable
from erpnext_bridge.later import LaterQuerySet
from erpnext_bridge.reading.explaining import WHOLE_DOCUMENT, told
from erpnext_bridge.running import ErpCompiler, ErpQuery

_D = TypeVar("_D", bound=models.Model, covariant=True)
_M = TypeVar("_M", bound=models.Model)


class ErpQuerySet(WritingQuerySet[_D], LaterQuerySet):
    """A lazy set of documents at ERPNext. Methods that Frappe cannot answer raise UnsupportedQuery."""

    query: ErpQuery
    _hints: dict[str, Any]
    _fields: tuple[str, ...] | None
    _prefetch_related_lookups: tuple[Any, ...]
    _chain: Callable[[], Self]

    def __init__(
        self,
        model: type[models.Model] | None = None,
        query: Query | None = None,
        using: str | None = None,
        hints: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(model, query or ErpQuery(model), using, hints)
        self._iterable_class: type[BaseIterable] = DocumentIterable
        self._linked: tuple[str, ...] = ()
        if model is not None and self.query.identity is None:
            self.query.identity = _identity_of(self._hints) or ambient_identity(self._site())

    # Whose rights the requests carry.

    def for_user(self, user: Any, site: str | None = None) -> Self:
        """Return the queryset as this Django user sees it. NotConnected for an anonymous user."""
        return self.acting_as(Identity.for_user(user, site or self._site()))

    def as_service(self, site: str | None = None) -> Self:
        """Return the queryset as the site's service account sees it."""
        return self.acting_as(Identity.service(site or self._site()))

    def acting_as(self, identity: Identity) -> Self:
        """Return the queryset as this identity sees it."""
        clone = self._chain()
        clone.query.identity = identity
        clone.query.identity_is_given = True
        return clone

    @property
    def identity(self) -> Identity | None:
        return self.query.identity

    @property
    def ordered(self) -> bool:
        """Whether two reads give one order: documents are always sorted by their names last, groups only as they are told."""
        keys = self.query.order_by
        if any(key == "?" or isinstance(key, Random) for key in keys):
            return False
        is_grouped = self.query.group_by is not None or (self.query.distinct and self._fields is not None)
        return not is_grouped or super().ordered

    # What is read along.

    def select_related(self, *fields: Any) -> Self:
        """Read linked documents along: one more request for each link, not for each document."""
        if self._fields is not None:
            raise TypeError("Cannot call select_related() after .values() or .values_list()")
        clone = self._chain()
        if fields == (None,):
            clone._linked = ()
            return clone
        if not fields:
            raise UnsupportedQuery("select_related() needs the names of the links to follow.")
        for path in fields:
            _check_links(self.model, path)
        clone._linked = tuple(dict.fromkeys((*clone._linked, *fields)))
        return clone

    def prefetch_related(self, *lookups: Any) -> Self:
        return super().prefetch_related(*map(_own_lookup, lookups))

    def explain(
        self, *, format: str | None = None, aggregate: Mapping[str, Any] | None = None, **options: Any
    ) -> str:
        """
        Return the requests that evaluating this queryset sends, as text, or as JSON with `format="json"`.

        With `aggregate={"n": Count("pk")}`, those that aggregate(n=Count("pk")) sends. Inner queries are shown, not run.
        """
        if aggregate:
            query: Any = self.query.chain()
            report = ErpCompiler(query).explain(resolved_aggregates(query, aggregate))
            return told(report, as_json=format == "json")
        report = ErpCompiler(self.query).explain()
        further = [f"{path}: 1 request for all (select_related)" for path in self._linked]
        further += [
            f"{getattr(each, 'prefetch_to', each)}: 1 request for all (prefetch_related)"
            for each in self._prefetch_related_lookups
            # The rows of a document that is read whole come with it.
            if report["summary"] != WHOLE_DOCUMENT or not isinstance(each, str)
        ]
        report["then"] += further
        report["round_trips"] += len(further)
        return told(report, as_json=format == "json")

    def union(self, *others: Any, all: bool = False) -> Self:
        """Return the documents that one of these querysets finds, each once."""
        if all:
            self._refuse(
                "union(all=True)", "Documents come once: leave all=True out, or use itertools.chain()."
            )
        found = self._combinable("union", others)
        for other in others:
            found = found | other
        return found

    def intersection(self, *others: Any) -> Self:
        """Return the documents that all of these querysets find."""
        found = self._combinable("intersection", others)
        for other in others:
            found = found & other
        return found

    def difference(self, *others: Any) -> Self:
        """Return the documents of this queryset that none of the others find."""
        found = self._combinable("difference", others)
        for other in others:
            found = found.exclude(pk__in=other.order_by().values("pk"))
        return found

    def _combinable(self, name: str, others: Iterable[Any]) -> Self:
        """Return this queryset without its order, after checking that its rows are documents as the others' are."""
        for each in (self, *others):
            query = each.query
            if each.model is not self.model or each._fields is not None or query.annotations:
                self._refuse(
                    f"{name}()", "Combine querysets of the same documents, then call values() or annotate()."
                )
            if query.is_sliced:
                self._refuse(f"{name}() of a slice", "Combine them, then slice.")
        return self.order_by()

    def in_bulk(self, id_list: Any = None, *, field_name: str = "pk") -> dict[Any, Any]:
        """As Django's, which would ask the database how many names one of its queries may have."""
        wanted = None if id_list is None else tuple(id_list)
        if not wanted or self.query.is_sliced:
            return super().in_bulk(wanted, field_name=field_name)
        return super(ErpQuerySet, self.filter(**{f"{field_name}__in": wanted})).in_bulk(field_name=field_name)

    def _fetch_all(self) -> None:
        fresh = self._result_cache is None
        super()._fetch_all()
        if fresh and self._linked and self._result_cache:
            models.prefetch_related_objects(self._result_cache, *self._linked)

    def _iterator(self, use_chunked_fetch: bool, chunk_size: int | None) -> Iterator[Any]:
        if not self._linked:
            return super()._iterator(use_chunked_fetch, chunk_size)  # type: ignore[misc,no-any-return]
        clone = self.prefetch_related(*self._linked)
        clone._linked = ()
        return clone._iterator(use_chunked_fetch, chunk_size or 2000)

    async def aiterator(self, chunk_size: int = 2000) -> AsyncIterator[Any]:
        queryset = self.prefetch_related(*self._linked)
        async for each in super(ErpQuerySet, queryset).aiterator(chunk_size):
            yield each

    # What Frappe cannot do.

    def extra(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._refuse("extra()", "Use filter() and order_by().")

    def raw(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._refuse("raw()", "Use filter(), or call a method of ERPNext.")

    def select_for_update(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._refuse("select_for_update()", "save() refuses a document that was changed meanwhile.")

    def using(self, alias: str | None) -> Self:
        """Return the queryset unchanged: documents are in no database. Related managers call this with None."""
        if alias not in (None, DEFAULT_DB_ALIAS):
            self._refuse("using()", "Name the site: for_user(user, site='…').")
        return self._chain()

    def _refuse(self, name: str, way_out: str) -> NoReturn:
        raise UnsupportedQuery(f"{name} is not supported for documents of ERPNext. {way_out}")

    # How a clone keeps what this queryset knows.

    def __repr__(self) -> str:
        if self._result_cache is None:
            return f"<{type(self).__name__} of {self.query}, not read yet>"
        shown = [
            *self._result_cache[:20],
            *(["...(remaining elements truncated)..."] if len(self._result_cache) > 20 else []),
        ]
        return f"<{type(self).__name__} {shown!r}>"

    def __getstate__(self) -> dict[str, Any]:
        if self.model._meta.apps is not apps:
            # Django finds the fields of a pickled query in its own registry.
            self._refuse("Pickling a queryset without a class", "Pickle list(queryset), or write the class.")
        state: dict[str, Any] = super().__getstate__()
        return state

    def _clone(self) -> Self:
        clone: Self = super()._clone()  # type: ignore[misc]
        clone._linked = self._linked
        # Django sets the hints of a Prefetch's own queryset, and with them whose rights it carries: none is shared.
        clone._prefetch_related_lookups = tuple(map(_own_lookup, clone._prefetch_related_lookups))
        return clone

    def _add_hints(self, **hints: Any) -> None:
        """Act as the document that this queryset is now related to, unless it was told whom to act as."""
        super()._add_hints(**hints)  # type: ignore[misc]
        if not self.query.identity_is_given:
            self.query.identity = _identity_of(hints) or self.query.identity

    def _merge_sanity_check(self, other: Any) -> None:
        super()._merge_sanity_check(other)  # type: ignore[misc]
        if other.query.identity not in (None, self.query.identity):
            raise UnsupportedQuery(
                "Querysets that act as two identities cannot be combined. Use the same for both."
            )
        if self.query.is_sliced or other.query.is_sliced:
            raise UnsupportedQuery(
                "A slice cannot be combined with another queryset. Combine them, then slice."
            )

    def _site(self) -> str:
        return getattr(self.model, "site", DEFAULT_SITE)


if TYPE_CHECKING:

    class OwnManager:
        """`objects` of a document class: the manager of that class, unless it has another one."""

        def __get__(self, instance: None, owner: type[_M]) -> ErpManager[_M]: ...

    class _Manager(models.Manager[_D], OwnManager):
        """What `from_queryset` makes, told to type checkers: querysets of the model."""

        _queryset_class: type[ErpQuerySet[_D]]
        _hints: dict[str, Any]

        def __get__(self, instance: Any, cls: Any = None) -> Self: ...  # type: ignore[override]

        def all(self) -> ErpQuerySet[_D]: ...
        def none(self) -> ErpQuerySet[_D]: ...
        def filter(self, *args: Any, **kwargs: Any) -> ErpQuerySet[_D]: ...
        def exclude(self, *args: Any, **kwargs: Any) -> ErpQuerySet[_D]: ...
        def complex_filter(self, filter_obj: Any) -> ErpQuerySet[_D]: ...
        def order_by(self, *field_names: Any) -> ErpQuerySet[_D]: ...
        def reverse(self) -> ErpQuerySet[_D]: ...
        def distinct(self, *field_names: str) -> ErpQuerySet[_D]: ...
        def only(self, *fields: str) -> ErpQuerySet[_D]: ...
        def defer(self, *fields: str | None) -> ErpQuerySet[_D]: ...
        def select_related(self, *fields: Any) -> ErpQuerySet[_D]: ...
        def prefetch_related(self, *lookups: Any) -> ErpQuerySet[_D]: ...
        def using(self, alias: str | None) -> ErpQuerySet[_D]: ...
        def for_user(self, user: Any, site: str | None = None) -> ErpQuerySet[_D]: ...
        def as_service(self, site: str | None = None) -> ErpQuerySet[_D]: ...
        def acting_as(self, identity: Identity) -> ErpQuerySet[_D]: ...

else:
    OwnManager = object
    _Manager = models.Manager.from_queryset(ErpQuerySet)


class ErpManager(_Manager[_D]):
    """`Customer.objects`: a manager whose querysets are read at ERPNext."""

    def get_queryset(self) -> ErpQuerySet[_D]:
        queryset: ErpQuerySet[_D] = self._queryset_class(model=self.model, hints=self._hints)
        return queryset

    def db_manager(self, using: str | None = None, hints: dict[str, Any] | None = None) -> Self:
        return super().db_manager(None, hints)


def _identity_of(hints: dict[str, Any]) -> Identity | None:
    """Return whose rights the document carries that a queryset is related to."""
    return getattr(hints.get("instance"), "erp_identity", None)


def _own_lookup(lookup: Any) -> Any:
    if getattr(lookup, "queryset", None) is None:
        return lookup
    own = copy(lookup)
    own.queryset = lookup.queryset._chain()
    return own


def _check_links(model: type[models.Model], path: str) -> None:
    for name in path.split("__"):
        links = [field.name for field in model._meta.fields if field.is_relation]
        if name not in links:
            choices = ", ".join(links) or "(none)"
            raise FieldError(
                f"Invalid field name(s) given in select_related: {name!r}. Choices are: {choices}"
            )
        model = model._meta.get_field(name).related_model  # type: ignore[assignment]
