"""
What documents and child rows share: the columns that every DocType has, what was read, and whose rights they carry.

An instance keeps what it was read with, so that saving sends only what changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from copy import deepcopy
from typing import Any, ClassVar, Self
from zoneinfo import ZoneInfo

from django.db import DEFAULT_DB_ALIAS, models

from erpnext_bridge import instances, payloads, saving, values
from erpnext_bridge.access import SiteAccess, open_site
from erpnext_bridge.children import KnownRows, child_tables
from erpnext_bridge.classes import DocumentBase
from erpnext_bridge.conf import DEFAULT_SITE
from erpnext_bridge.errors import NotConnected, PermissionRefused, UnsupportedQuery
from erpnext_bridge.fields import OwnName
from erpnext_bridge.identity import Identity, acting_as, ambient_identity
from erpnext_bridge.query import ErpManager, OwnManager


class Docstatus(models.IntegerChoices):
    """Where a submittable document stands."""

    DRAFT = 0, "Draft"
    SUBMITTED = 1, "Submitted"
    CANCELLED = 2, "Cancelled"


class BaseDocument(models.Model, metaclass=DocumentBase):
    """What documents and child rows share: the columns that every DocType has, and how rows become instances."""

    doctype: ClassVar[str] = ""
    """Name of the DocType."""
    site: ClassVar[str] = DEFAULT_SITE
    """Alias of the site that the documents are at, where no identity says it."""
    is_single: ClassVar[bool] = False
    """Whether the DocType has one document only, which is called as it is: `class X(Document, single=True)`."""

    # None and not '' until ERPNext names it: '' would make all new documents one and the same to Django.
    name = OwnName(max_length=140, primary_key=True, blank=True, editable=False, default=None)
    owner = models.CharField(max_length=140, blank=True, editable=False)
    creation = models.DateTimeField(null=True, blank=True, editable=False)
    modified = models.DateTimeField(null=True, blank=True, editable=False)
    modified_by = models.CharField(max_length=140, blank=True, editable=False)
    docstatus = models.IntegerField(choices=Docstatus.choices, default=Docstatus.DRAFT, editable=False)
    idx = models.IntegerField(default=0, editable=False)

    objects: OwnManager = ErpManager()
    _every: ClassVar[ErpManager[Self]] = ErpManager()
    """Follows links and reads documents again, whatever an `objects` of the class's own leaves out."""

    class Meta:
        abstract = True

    erp_identity: Identity | None = None
    """Whose rights this instance is read and saved with."""
    _never_sent: ClassVar[frozenset[str]] = saving.SET_BY_FRAPPE

    _beside_fields: ClassVar[tuple[tuple[str, Callable[[], Any]], ...]] = ()
    """What `__init__` adds to an instance that is read: attribute → what makes its value."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._loaded: dict[str, Any] = {}
        super().__init__(*args, **self._with_promises(kwargs))
        if not args:
            # Not from a row, which knows whose it is.
            self.erp_identity = ambient_identity(self._site())

    def __str__(self) -> str:
        return self.name or f"new {self.doctype}"

    def validate_unique(self, exclude: Any = None) -> None:
        with self._as_itself():
            super().validate_unique(exclude)

    def validate_constraints(self, exclude: Any = None) -> None:
        with self._as_itself():
            super().validate_constraints(exclude)

    def refresh_from_db(
        self, using: str | None = None, fields: Any = None, from_queryset: Any = None
    ) -> None:
        """Read the document again, or these fields of it."""
        refuse_database(using)
        super().refresh_from_db(using, fields, from_queryset)
        known = [field for field in self._meta.concrete_fields if field.attname in self.__dict__]
        wanted = {field.attname for field in known} if fields is None else set(fields)
        chosen = [field.attname for field in known if {field.name, field.attname} & wanted]
        if fields is not None and len(chosen) < len(wanted):
            raise PermissionRefused(
                f"ERPNext does not show {', '.join(sorted(wanted))} of {self} to this user."
            )
        self._remember(chosen)

    def _as_itself(self) -> Any:
        return acting_as(self.erp_identity) if self.erp_identity is not None else nullcontext()

    @classmethod
    def _site(cls) -> str:
        return cls.site

    @classmethod
    def from_wire(
        cls,
        row: Mapping[str, Any],
        decoders: Iterable[tuple[str, str, Callable[[Any], Any]]],
        identity: Identity | None,
        zone: ZoneInfo,
    ) -> Self:
        """
        Return the instance for a row: fieldname → value as Frappe sent it.

        A whole document comes without the fields that are empty (frappe/utils/response.py leaves NULL out); a list
        row comes without the fields this user may not see, which stay deferred.
        """
        whole = "doctype" in row
        if whole:
            known = {attname: decode(row.get(column)) for attname, column, decode in decoders}
        else:
            known = {attname: decode(row[column]) for attname, column, decode in decoders if column in row}
        instance: Self = instances.make(cls, known)
        instance.erp_identity = identity
        instance._read_zone = zone
        instance._loaded = instances.kept(cls, known)
        if whole:
            instance._fill_children(row, zone)
        return instance

    def changes(self) -> dict[str, Any]:
        """Return the fields that differ from what was read, by fieldname."""
        return {
            values.column_of(field): values.to_payload(field, self.__dict__[field.attname])
            for field in self._meta.concrete_fields
            if field.column not in self._never_sent and self._is_changed(field.attname)
        }

    def as_read(self) -> Self:
        """Return the document as it was read, without what changed here since."""
        known = [field.attname for field in self._meta.concrete_fields if field.attname in self._loaded]
        instance = self.from_db(None, known, [_frozen(self._loaded[attname]) for attname in known])
        instance.erp_identity = self.erp_identity
        instance._loaded = dict(self._loaded)
        return instance

    _read_zone: ZoneInfo
    _prefetched_objects_cache: dict[str, Any]

    def _is_changed(self, attname: str) -> bool:
        value = self.__dict__.get(attname, models.DEFERRED)
        return value is not models.DEFERRED and value != self._loaded.get(attname, models.DEFERRED)

    def _remember(self, attnames: Iterable[str]) -> None:
        """Keep these values as they are at ERPNext, so that saving sends only what changed."""
        for attname in attnames:
            self._loaded[attname] = _frozen(self.__dict__[attname])

    def _absorb(self, row: Mapping[str, Any], zone: ZoneInfo, sent: set[str] | None) -> None:
        """
        Take over a row as ERPNext answered it, with what it filled in.

        What changed here and was not among the fields `sent` (None: all were) stays as it is, to be saved later.
        """
        self._read_zone = zone
        for attname, column, decode in decoders_of(type(self), zone):
            # Frappe leaves out what is NULL (frappe/utils/response.py): what is missing is empty.
            value = decode(row.get(column))
            if sent is None or column in sent or not self._is_changed(attname):
                setattr(self, attname, value)
            self._loaded[attname] = _frozen(value)

    def _fill_children(
        self, row: Mapping[str, Any], zone: ZoneInfo, known: Mapping[str, KnownRows] | None = None
    ) -> None:
        for accessor, child in child_tables(type(self)).items():
            if child.parent_fieldname not in row:
                continue
            decoders = decoders_of(child, zone)
            known_rows = (known or {}).get(accessor) or KnownRows()
            rows = sorted(row[child.parent_fieldname], key=lambda each: int(each.get("idx") or 0))
            children = []
            for each in rows:
                instance, sent = known_rows.take(str(each["name"]))
                if instance is None:
                    instance = child.from_wire(each, decoders, self.erp_identity, zone)
                else:
                    instance._absorb(each, zone, sent)
                    instance._state.adding = False
                instance._meta.get_field("parent").set_cached_value(instance, self)
                children.append(instance)
            _cache_children(self, accessor, children)

    # Payloads.

    def _given(self) -> dict[str, Any]:
        """Return the fields that were given; what is left empty gets ERPNext's own default."""
        skip = self._never_sent
        links = [
            field for field in self._meta.concrete_fields if field.is_relation and field.column not in skip
        ]
        promised = self._promised(links)
        if known := [field for field in links if field.column not in promised]:
            self._prepare_related_fields_for_save("save", known)  # type: ignore[attr-defined]
        return promised | {
            values.column_of(field): values.to_payload(field, value)
            for field in self._meta.concrete_fields
            if field.column not in skip
            and (value := getattr(self, field.attname)) is not None
            and (value or value != field.get_default())
        }

    def _promised(self, links: Iterable[Any]) -> dict[str, Any]:
        """Return the links to documents that are queued to be created: by fieldname, the write instead of the name."""
        linked = ((field, field.get_cached_value(self, default=None)) for field in links)
        return {
            values.column_of(field): document.creation_write
            for field, document in linked
            if document is not None
            and document.pk is None
            and getattr(document, "creation_write", None) is not None
        }

    @classmethod
    def _with_promises(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Let a link be given as the write that creates its document: `SalesOrder(customer=write)`."""
        promises = [name for name, value in given.items() if isinstance(value, payloads.Promised)]
        return (
            given
            if not promises
            else {
                cls._meta.get_field(name).attname if name in promises else name: value  # type: ignore[union-attr]
                for name, value in given.items()
            }
        )

    # Whose rights.

    def _identity(self) -> Identity:
        identity = self.erp_identity or ambient_identity(self._site())
        if identity is None:
            raise NotConnected(
                f"This {type(self).__name__} acts as nobody. Build it inside acting_as(user), "
                "or read it with for_user(request.user)."
            )
        return identity

    def _access(self) -> SiteAccess:
        self.erp_identity = self._identity()
        return open_site(self.erp_identity)

    def _zone(self) -> ZoneInfo:
        return self.__dict__.get("_read_zone") or open_site(self._identity()).facts.time_zone

    def _save_table(self, *args: Any, **kwargs: Any) -> Any:
        # Where Django's deserializers get to, past save().
        raise UnsupportedQuery(
            f"A fixture cannot be loaded into ERPNext. Create its {self.doctype} documents with bulk_create()."
        )


def refuse_database(alias: str | None) -> None:
    if alias not in (None, DEFAULT_DB_ALIAS):
        raise UnsupportedQuery(
            f"Documents are in no database, and so not in {alias!r}. Name the site: for_user(user, site='…')."
        )


def _frozen(value: Any) -> Any:
    # Only the value of a JSON field can change in place.
    return deepcopy(value) if isinstance(value, list | dict) else value


def decoders_of(model: type[models.Model], zone: ZoneInfo) -> list[tuple[str, str, Callable[[Any], Any]]]:
    return [
        (field.attname, values.column_of(field), values.decoder(field, zone))
        for field in model._meta.concrete_fields
    ]


def _cache_children(document: BaseDocument, accessor: str, rows: list[Any]) -> None:
    """Fill `document.items.all()`, as prefetch_related() would."""
    manager = getattr(document, accessor)
    queryset = manager.get_queryset()
    queryset._result_cache = rows
    queryset._prefetch_done = True
    if not hasattr(document, "_prefetched_objects_cache"):
        document._prefetched_objects_cache = {}
    document._prefetched_objects_cache[accessor] = queryset
