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

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, Self

from django.db import models
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save
from django.utils.timezone import is_aware, make_aware

from erpnext_bridge import payloads, saving, values
from erpnext_bridge.actions import Actions
from erpnext_bridge.base_document import BaseDocument, Docstatus, decoders_of, refuse_database
from erpnext_bridge.children import TableEdit, child_tables
from erpnext_bridge.classes import DocumentBase, doctype_of_class
from erpnext_bridge.errors import UnsupportedQuery
from erpnext_bridge.later import Later

__all__ = [
    "BaseDocument",
    "ChildDocument",
    "Docstatus",
    "Document",
    "DocumentBase",
    "child_tables",
    "doctype_of_class",
]

_edited: ContextVar[tuple[Any, ...]] = ContextVar("erpnext_bridge_edited", default=())
"""The documents whose edit() is open, the innermost last."""


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
        refuse_database(using)
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
            if update_fields is not None:
                raise UnsupportedQuery("edit() sends all that changed. Leave update_fields out.")
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
        refuse_database(using)
        pre_delete.send(sender=type(self), instance=self, using=using, origin=self)
        self._access().client.delete(self.doctype, self.name)
        post_delete.send(sender=type(self), instance=self, using=using, origin=self)
        return 1, {self._meta.label: 1}

    delete.alters_data = True  # type: ignore[attr-defined]

    def _send(self, staged: saving.Tables, *, raw: bool = False, update_fields: Any = None) -> None:
        self._refuse_set_by_hand()
        # As with Django, a document whose key is taken away is saved as another one.
        created = self._state.adding = self._state.adding or self.pk is None
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

    def _refuse_set_by_hand(self) -> None:
        """Refuse a docstatus or a name that somebody set: no save sends it, and none may seem to."""
        if self.__dict__.get("docstatus", 0) != self._loaded.get("docstatus", 0):
            raise UnsupportedQuery(
                f"A save does not set the docstatus of a {self.doctype}. Call submit() or cancel()."
            )
        if not self._state.adding and self.pk not in (None, self._loaded.get("name", self.pk)):
            raise UnsupportedQuery(
                f"A save does not rename {self._loaded['name']}. Call rename({self.pk!r})."
            )

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
        self._refuse_set_by_hand()
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
        return type(self).from_wire(fresh, decoders_of(type(self), zone), self.erp_identity, zone)


class ChildDocument(BaseDocument):
    """A row of a Table field of a document: `class SalesOrderItem(ChildDocument, parent=SalesOrder, fieldname="items")`."""

    parent_doctype: ClassVar[str] = ""
    """DocType of the documents that the rows are in."""
    parent_fieldname: ClassVar[str] = ""
    """Table field that holds the rows."""

    if TYPE_CHECKING:
        # Made with the class, which names it; the mypy plugin knows its type.
        parent: Any

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
        refuse_database(using)
        columns = None if update_fields is None else frozenset(map(self._column, update_fields))
        self._edit(lambda edit: edit.save(self, columns=columns))

    save.alters_data = True  # type: ignore[attr-defined]

    def delete(self, using: str | None = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:
        """Delete the row from its document's table."""
        refuse_database(using)
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
            for attname, column, decode in decoders_of(type(self), zone)
            if attname in self._loaded and column not in ("modified", "modified_by", "idx")
        )
