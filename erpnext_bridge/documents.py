"""
`Document` and `ChildDocument`: Django models of DocTypes, read and written at ERPNext.

    class Customer(Document):
        customer_name = models.CharField(max_length=140)

    class SalesOrder(Document):                       # DocType "Sales Order"
        customer = Link(Customer)

    class SalesOrderItem(ChildDocument, parent=SalesOrder, fieldname="items"):
        qty = models.FloatField()

A class names its DocType by its own name, split at the capitals; `class ToDo(Document, doctype="ToDo")` says
another one. A DocType that is in several tables is an abstract ChildDocument with a class for each table. No database
table is ever made for any.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from copy import deepcopy
from typing import Any, ClassVar, Self
from zoneinfo import ZoneInfo

from django.db import DEFAULT_DB_ALIAS, models
from django.db.models.base import ModelBase
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save
from django.utils.timezone import is_aware, make_aware

from erpnext_bridge import instances, payloads, saving, values
from erpnext_bridge.access import SiteAccess, open_site
from erpnext_bridge.actions import Actions
from erpnext_bridge.children import KnownRows, ParentField, TableEdit, child_tables
from erpnext_bridge.conf import DEFAULT_SITE
from erpnext_bridge.errors import NotConnected, PermissionRefused, UnsupportedQuery
from erpnext_bridge.fields import OwnName
from erpnext_bridge.identity import Identity, acting_as, ambient_identity
from erpnext_bridge.later import Later
from erpnext_bridge.query import ErpManager, OwnManager

_edited: ContextVar[tuple[Any, ...]] = ContextVar("erpnext_bridge_edited", default=())
"""The documents whose edit() is open, the innermost last."""

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Docstatus(models.IntegerChoices):
    """Where a submittable document stands."""

    DRAFT = 0, "Draft"
    SUBMITTED = 1, "Submitted"
    CANCELLED = 2, "Cancelled"


class DocumentBase(ModelBase):
    """Makes each class unmanaged, names its DocType, and ties child rows to their parent."""

    def __new__(
        cls,
        name: str,
        bases: tuple[type, ...],
        attrs: dict[str, Any],
        *,
        doctype: str | None = None,
        parent: Any = None,
        fieldname: str | None = None,
        related_name: str | None = None,
        single: bool = False,
        **kwargs: Any,
    ) -> Any:
        meta = attrs.get("Meta")
        abstract = getattr(meta, "abstract", False)
        inherited = [base.Meta for base in bases if meta is None and hasattr(base, "Meta")]
        parents = (meta,) if meta is not None else tuple(inherited[:1])
        options = {"managed": False, "abstract": abstract, "base_manager_name": "_every"}
        attrs["Meta"] = type("Meta", parents, options)
        proxy = getattr(meta, "proxy", False)
        _refuse_concrete_bases(name, () if proxy else bases)
        if not proxy:
            _name_doctype(name, bases, attrs, doctype, abstract=abstract)
        if single:
            attrs["is_single"] = True
        if parent is not None:
            attrs |= _child_attrs(name, parent, fieldname, related_name)
        return super().__new__(cls, name, bases, attrs, **kwargs)


def _refuse_concrete_bases(name: str, bases: tuple[type, ...]) -> None:
    for base in bases:
        if isinstance(base, DocumentBase) and not base._meta.abstract:  # type: ignore[attr-defined]
            raise TypeError(
                f"{name} inherits from {base.__name__}, but no DocType extends another one. "
                f"Make {base.__name__} abstract, or {name} a proxy."
            )


def _name_doctype(
    name: str, bases: tuple[type, ...], attrs: dict[str, Any], doctype: str | None, *, abstract: bool
) -> None:
    if doctype:
        attrs["doctype"] = doctype
    elif not abstract:
        inherited = next((found for base in bases if (found := getattr(base, "doctype", ""))), None)
        attrs.setdefault("doctype", inherited or doctype_of_class(name))


def doctype_of_class(name: str) -> str:
    """Return the DocType that a class of this name is of, unless it says another one."""
    return _WORD.sub(" ", name)


def _child_attrs(name: str, parent: Any, fieldname: str | None, related_name: str | None) -> dict[str, Any]:
    if not fieldname:
        raise TypeError(f"{name} names its parent, but not the Table field it is in. Add fieldname='items'.")
    parent_doctype = getattr(parent, "doctype", None)
    if parent_doctype is None:
        raise TypeError(f"{name}: parent must be a Document class, defined before its child rows.")
    link = ParentField(
        parent,
        related_name=related_name or fieldname,
        db_column="parent",
        null=False,
        blank=False,
        editable=False,
    )
    return {"parent": link, "parent_doctype": parent_doctype, "parent_fieldname": fieldname}


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
        _refuse_database(using)
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
        known = {
            attname: decode(row.get(column)) for attname, column, decode in decoders if whole or column in row
        }
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
        for attname, column, decode in _decoders(type(self), zone):
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
            decoders = _decoders(child, zone)
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


class Document(Actions, Later, BaseDocument):
    """A document of a DocType. Instances act with the rights they were read with."""

    class Meta:
        abstract = True

    _staged: saving.Tables | None = None
    """Edits of rows that wait for the end of edit()."""

    _beside_fields = (("_new_rows", dict),)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        tables = child_tables(type(self)) if kwargs else {}
        rows = {name: kwargs.pop(name) for name in tables if name in kwargs}
        super().__init__(*args, **kwargs)
        self._new_rows: dict[str, list[Any]] = {name: list(given) for name, given in rows.items()}

    # Writing now.

    def save(
        self,
        *,
        force_insert: Any = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Any = None,
    ) -> None:
        """
        Create the document, or send the fields and the rows of it that changed, in one request.

        `update_fields` may name fields, and tables by what their rows are called here ("items"). Raises Conflict
        when somebody else saved it since it was read, and ValidationRefused with ERPNext's messages when ERPNext
        does not take it.
        """
        _refuse_database(using)
        if force_update if self._state.adding else force_insert:
            raise UnsupportedQuery(
                "force_insert is for new documents, force_update for those that were read. Leave them out."
            )
        self._prepare_related_fields_for_save("save")  # type: ignore[attr-defined]
        if update_fields is not None:
            update_fields = frozenset(update_fields)
            self._check_update_fields(update_fields)
            if not update_fields:
                return
        self.save_base(force_insert=force_insert, force_update=force_update, update_fields=update_fields)

    save.alters_data = True  # type: ignore[attr-defined]

    def save_base(
        self,
        raw: bool = False,
        force_insert: Any = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Any = None,
    ) -> None:
        if self._staged is not None:
            return
        self._send({}, raw=raw, update_fields=update_fields)

    save_base.alters_data = True  # type: ignore[attr-defined]

    @classmethod
    def load(cls) -> Self:
        """Return the one document of a Single DocType."""
        if not cls.is_single:
            raise TypeError(f"There are many documents of {cls.doctype}. Use objects.get().")
        return cls.objects.get()

    @contextmanager
    def edit(self) -> Iterator[Self]:
        """
        Send everything that is done to the document and its rows inside the block as one request, at its end.

        Saves and deletes of rows, `items.create()` and its like, and save() wait; an exception drops them.
        """
        if self._staged is not None:
            yield self
            return
        staged = self._staged = {}
        token = _edited.set((*_edited.get(), self))
        try:
            yield self
        finally:
            self._staged = None
            _edited.reset(token)
        self._send(staged)

    def edit_rows(self, model: type[models.Model], change: Callable[[TableEdit], Any]) -> None:
        """Let `change` edit the table of these rows, and send it now or at the end of edit()."""
        tables = child_tables(type(self))
        accessor = next(name for name, each in tables.items() if issubclass(model, each))
        if self._staged is not None:
            change(self._staged.setdefault(accessor, TableEdit()))
            return
        if self._state.adding:
            raise ValueError(
                f"This {self.doctype} is not saved yet. Give its rows to the constructor, or write both inside edit()."
            )
        edit = TableEdit()
        change(edit)
        with saving.row_signals({accessor: edit}):
            saving.change(self, changed={}, tables={accessor: edit})

    edit_rows.alters_data = True  # type: ignore[attr-defined]

    def delete(self, using: str | None = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:
        """Delete the document at ERPNext, which refuses it while others link to it."""
        _refuse_database(using)
        pre_delete.send(sender=type(self), instance=self, using=using, origin=self)
        self._access().client.delete(self.doctype, self.name)
        post_delete.send(sender=type(self), instance=self, using=using, origin=self)
        return 1, {self._meta.label: 1}

    delete.alters_data = True  # type: ignore[attr-defined]

    def _send(self, staged: saving.Tables, *, raw: bool = False, update_fields: Any = None) -> None:
        created = self._state.adding
        signal = {
            "sender": type(self),
            "instance": self,
            "raw": raw,
            "using": None,
            "update_fields": update_fields,
        }
        pre_save.send(**signal)
        tables = saving.merged(staged, saving.changed_rows(self))
        changed = {} if created else self.changes()
        if update_fields is not None:
            tables = {name: edit for name, edit in tables.items() if name in update_fields}
            chosen = {values.column_of(field) for field in self._fields_of(update_fields)}
            changed = {column: value for column, value in changed.items() if column in chosen}
        with saving.row_signals(tables):
            if created:
                self._refuse_new_single()
                self._refuse_queued()
                saving.create(self, tables)
            else:
                saving.change(self, changed=changed, tables=tables)
        post_save.send(created=created, **signal)

    def _refuse_new_single(self) -> None:
        if self.is_single:
            raise UnsupportedQuery(
                f"ERPNext has a {self.doctype} already. Read it with load(), and change it."
            )

    def _fields_of(self, names: Iterable[str]) -> list[Any]:
        return [field for field in self._meta.concrete_fields if {field.name, field.attname} & set(names)]

    def _check_update_fields(self, names: frozenset[str]) -> None:
        known = {
            name
            for field in self._fields_of(names)
            if not field.primary_key
            for name in (field.name, field.attname)
        }
        unknown = names - known - child_tables(type(self)).keys()
        if unknown:
            raise ValueError(
                f"{self._meta.object_name} has no such fields or tables to save: {', '.join(sorted(unknown))}."
            )

    # Payloads.

    def creation_payload(self) -> dict[str, Any]:
        """Return the fields of a new document by fieldname, with its child rows."""
        payload = self._given()
        if self.name:
            payload["name"] = self.name
        tables = child_tables(type(self))
        for accessor, rows in self._new_rows.items():
            payload[tables[accessor].parent_fieldname] = [saving.row_payload(row) for row in rows]
        return payload

    def _wire(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        return payloads.decode(payloads.encode(payload), self._zone)

    def _base_modified(self) -> str | None:
        """
        Return the `modified` that this instance was read with, as Frappe spells it.

        Frappe compares the text (frappe/model/document.py `check_if_latest`), which is `str()` of a naive datetime.
        """
        moment = self._loaded.get("modified")
        if moment is None:
            return None
        aware = moment if is_aware(moment) else make_aware(moment)
        return str(aware.astimezone(self._zone()).replace(tzinfo=None))

    def _is_as_read(self, fresh: Mapping[str, Any]) -> bool:
        return self._base_modified() in (None, fresh["modified"])

    def _read_fresh(self) -> Self:
        return type(self)._every.acting_as(self._identity()).get(pk=self.name)

    def _from_fresh(self, fresh: Mapping[str, Any]) -> Self:
        zone = self._access().facts.time_zone
        return type(self).from_wire(fresh, _decoders(type(self), zone), self.erp_identity, zone)


class ChildDocument(BaseDocument):
    """A row of a Table field of a document: `class SalesOrderItem(ChildDocument, parent=SalesOrder, fieldname="items")`."""

    parent_doctype: ClassVar[str] = ""
    """DocType of the documents that the rows are in."""
    parent_fieldname: ClassVar[str] = ""
    """Table field that holds the rows."""

    parenttype = models.CharField(max_length=140, blank=True, editable=False)
    parentfield = models.CharField(max_length=140, blank=True, editable=False)

    class Meta:
        abstract = True
        ordering = ["idx"]

    _beside_fields = (("unknown", dict),)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.unknown: dict[str, Any] = {}
        """Fields of a new row that the class does not declare, by fieldname."""
        super().__init__(*args, **kwargs)

    _never_sent: ClassVar[frozenset[str]] = saving.SET_BY_FRAPPE | {"parent", "parenttype", "parentfield"}

    def __str__(self) -> str:
        # As ERPNext's messages call it; its name is a random one.
        return f"Row #{self.idx}" if self.idx else f"new {self.doctype}"

    def save(
        self,
        *,
        force_insert: Any = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Any = None,
    ) -> None:
        """
        Append the row to its document's table, or send what changed of it: the whole table goes as one request.

        Raises Conflict when the document, or the row where it was read alone, changed since it was read.
        """
        _refuse_database(using)
        columns = None if update_fields is None else frozenset(map(self._column, update_fields))
        self._edit(lambda edit: edit.save(self, columns=columns))

    save.alters_data = True  # type: ignore[attr-defined]

    def delete(self, using: str | None = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:
        """Delete the row from its document's table."""
        _refuse_database(using)
        self._edit(lambda edit: edit.remove(self))
        return 1, {self._meta.label: 1}

    delete.alters_data = True  # type: ignore[attr-defined]

    def row_payload(self) -> dict[str, Any]:
        """Return the fields of a new row by fieldname."""
        return self._given() | self.unknown

    def is_moved(self) -> bool:
        """Return whether `idx` names another place than the row was read at."""
        return self._is_changed("idx") and self.idx > 0

    def _column(self, name: str) -> str:
        return values.column_of(self._meta.get_field(name))

    def _document(self) -> Any:
        """Return the document that the row is in; one that was not read yet has nothing but its name."""
        field: Any = self._meta.get_field("parent")
        document = field.get_cached_value(self, default=None)
        if document is None:
            # One that a form's queryset found does not know whose page it is on.
            document = next((each for each in _edited.get() if self._is_in(each)), None)
        if document is not None:
            return document
        if not self.parent_id:  # type: ignore[attr-defined]
            raise ValueError(
                f"This {self.doctype} is in no document. Give it parent=…, or use {self.parent_fieldname}.create()."
            )
        document = field.related_model.from_db(None, ["name"], [self.parent_id])  # type: ignore[attr-defined]
        document.erp_identity = self._identity()
        document._remember(["name"])
        return document

    def _is_in(self, document: Any) -> bool:
        field: Any = self._meta.get_field("parent")
        same_rights = document.erp_identity == self.erp_identity
        return isinstance(document, field.related_model) and document.pk == self.parent_id and same_rights  # type: ignore[attr-defined]

    def _edit(self, change: Callable[[TableEdit], Any]) -> None:
        field: Any = self._meta.get_field("parent")
        is_alone = not field.is_cached(self)
        self._document().edit_rows(type(self), change)
        if is_alone and field.is_cached(self):
            # Rows of one document that were read alone do not know of each other: each is compared as it was read.
            field.delete_cached_value(self)

    def _is_as_read(self, fresh: Mapping[str, Any]) -> bool:
        """Return whether the row at ERPNext has the values that it was read with."""
        zone = self._zone()
        return all(
            self._loaded[attname] == decode(fresh.get(column))
            for attname, column, decode in _decoders(type(self), zone)
            if attname in self._loaded and column not in ("modified", "modified_by", "idx")
        )


def _refuse_database(alias: str | None) -> None:
    if alias not in (None, DEFAULT_DB_ALIAS):
        raise UnsupportedQuery(
            f"Documents are in no database, and so not in {alias!r}. Name the site: for_user(user, site='…')."
        )


def _frozen(value: Any) -> Any:
    # Only the value of a JSON field can change in place.
    return deepcopy(value) if isinstance(value, list | dict) else value


def _decoders(model: type[models.Model], zone: ZoneInfo) -> list[tuple[str, str, Callable[[Any], Any]]]:
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
