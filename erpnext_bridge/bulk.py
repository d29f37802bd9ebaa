"""
Writes of a queryset: one document created, found or changed, and many at once, each with its own result.

ERPNext has one transaction for each request. Its own bulk_update() is not used: it commits what a document that failed had written until then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from asgiref.sync import sync_to_async
from django.core.exceptions import FieldDoesNotExist, ObjectDoesNotExist
from django.db import models
from django.db.models.signals import post_delete, pre_delete
from django.db.models.utils import resolve_callables

from erpnext_bridge import saving
from erpnext_bridge.client import MAX_INSERT_MANY
from erpnext_bridge.errors import (
    Conflict,
    DocumentDoesNotExist,
    DuplicateDocument,
    UnsupportedQuery,
)
from erpnext_bridge.inserting import insert, insert_each
from erpnext_bridge.results import Outcome
from erpnext_bridge.values import column_of, refuse_expression

ATTEMPTS = 3
"""How often a change is tried again on the fresh document when somebody else saved first."""

_D = TypeVar("_D", bound=models.Model, covariant=True)
Rows = list[Any]


class WritingQuerySet(models.QuerySet[_D]):
    """What a queryset of documents writes, with its own rights."""

    query: Any
    _fields: tuple[str, ...] | None
    if TYPE_CHECKING:
        _extract_model_params: Callable[..., dict[str, Any]]
        _chain: Callable[[], Any]

    # One document.

    def create(self, **kwargs: Any) -> _D:
        """Create a document with the rights of this queryset."""
        document = self.model(**kwargs)
        document.erp_identity = self.query.identity  # type: ignore[attr-defined]
        document.save(force_insert=True)
        return document

    def get_or_create(self, defaults: Any = None, **kwargs: Any) -> tuple[_D, bool]:
        """
        Return the document and whether it was created.

        Where ERPNext keeps the values unique, of two callers at once one creates it and the other reads it.
        """
        try:
            return self.get(**kwargs), False
        except ObjectDoesNotExist:
            values = self._extract_model_params(defaults, **kwargs)
        try:
            return self.create(**dict(resolve_callables(values))), True
        except DuplicateDocument:
            found = self.filter(**kwargs).first()
            if found is None:
                raise
            return found, False

    def update_or_create(
        self, defaults: Any = None, create_defaults: Any = None, **kwargs: Any
    ) -> tuple[_D, bool]:
        """
        Save these values, and return the document and whether it was created.

        They are set on the fresh document again when somebody else saved it meanwhile; Conflict after three times.
        """
        defaults = defaults or {}
        document, created = self.get_or_create(
            defaults if create_defaults is None else create_defaults, **kwargs
        )
        if not created:
            document = _on_fresh(document, lambda each: _set(each, dict(resolve_callables(defaults))))
        return document, created

    # Many documents.

    def bulk_create(
        self,
        objs: Iterable[Any],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        update_fields: Any = None,
        unique_fields: Any = None,
        *,
        atomic: bool = True,
    ) -> list[Any]:
        """
        Insert new documents, up to 200 in a request, and return them with their names; other fields are read on demand.

        All of them or none, which ERPNext can promise for 200. With `atomic=False`, or ignore_conflicts, any number
        and each on its own: BulkError, after all were tried, tells which were refused and why.

        Rows of child tables are appended with one request for each of their documents, so that `atomic` is for one document.
        """
        documents = list(objs)
        if update_conflicts:
            raise UnsupportedQuery(
                "ERPNext cannot update what an insert finds. Use update_or_create() for each."
            )
        if self._is_of_rows:
            return self._append_rows(documents, atomic=atomic, ignore_conflicts=ignore_conflicts)
        atomic = atomic and not ignore_conflicts
        if atomic and len(documents) > MAX_INSERT_MANY:
            raise UnsupportedQuery(
                f"ERPNext inserts at most {MAX_INSERT_MANY} documents in one transaction, not {len(documents)}. "
                "With atomic=False each is inserted on its own, and BulkError tells which were not."
            )
        for document in documents:
            document.erp_identity = self.query.identity
            if not document._state.adding:
                raise ValueError(f"{document!r} is saved already. Give bulk_create() new documents.")
        if not documents:
            return documents
        if atomic:
            insert(documents)
            return documents
        outcome = Outcome(documents)
        insert_each(outcome, min(batch_size or MAX_INSERT_MANY, MAX_INSERT_MANY))
        if ignore_conflicts:
            outcome.failed = [
                (each, error) for each, error in outcome.failed if not isinstance(error, DuplicateDocument)
            ]
        outcome.finish("created")
        return documents

    def bulk_update(self, objs: Iterable[Any], fields: Iterable[str], batch_size: int | None = None) -> int:
        """
        Send what changed of these fields, one request for each document, and return how many there were.

        BulkError, after all were tried, tells which ERPNext refused and why; a document that somebody else saved
        since it was read is among them.
        """
        names = _writable(self.model, fields)
        documents = list(objs)
        for document in documents:
            if document.pk is None:
                raise ValueError("All bulk_update() objects must have a primary key set.")
        if self._is_of_rows:
            outcome = self._for_each_document(
                documents, lambda rows: _save_rows(rows, _columns(self.model, names))
            )
        else:
            outcome = Outcome(documents)
            outcome.run(lambda each: _send_fields(each, names))
        outcome.finish("updated")
        return len(documents)

    def update(self, **kwargs: Any) -> int:
        """
        Set these values on every document that matches, one request for each that has other ones; return how many match.

        A document that somebody else saves meanwhile is changed if it still matches. BulkError, after all were
        tried, tells which ERPNext refused and why.
        """
        if self.query.is_sliced:
            raise TypeError("Cannot update a query once a slice has been taken.")
        if not kwargs:
            return 0
        names = _writable(self.model, kwargs)
        for name, value in kwargs.items():
            refuse_expression(name, value)
        if self._is_of_rows:
            outcome = self._for_each_document(
                self._known(names), lambda rows: self._update_rows(rows, kwargs, names)
            )
        else:
            outcome = Outcome(self._known(names))
            outcome.run(lambda each: self._update_one(each, kwargs, names))
        self._result_cache = None
        outcome.finish("updated")
        return len(outcome.ok)

    def delete(self) -> tuple[int, dict[str, int]]:
        """
        Delete every document that matches, one request for each; return how many, and of which model.

        BulkError, after all were tried, tells which ERPNext kept and why: others link to them.
        """
        if self.query.is_sliced:
            raise TypeError("Cannot use 'limit' or 'offset' with delete().")
        if self._fields is not None:
            raise TypeError("Cannot call delete() after .values() or .values_list()")
        if self._is_of_rows:
            outcome = self._for_each_document(self._to_delete(), _delete_rows)
        else:
            outcome = Outcome(self._to_delete())
            outcome.run(_delete)
        self._result_cache = None
        outcome.finish("deleted")
        count = len(outcome.ok)
        return count, {self.model._meta.label: count} if count else {}

    async def abulk_create(self, objs: Iterable[Any], *args: Any, **options: Any) -> list[Any]:
        return await sync_to_async(self.bulk_create)(objs, *args, **options)

    _writer: Any
    for _writer in (create, get_or_create, update_or_create, update, delete,
                    bulk_create, bulk_update, abulk_create):  # fmt: skip
        _writer.alters_data = True
    del _writer
    delete.queryset_only = True  # type: ignore[attr-defined]

    # Rows of child tables are written with their document.

    @property
    def _is_of_rows(self) -> bool:
        return hasattr(self.model, "parent_fieldname")

    def _for_each_document(self, rows: Iterable[Any], write: Callable[[Rows], None]) -> Outcome:
        """Write rows with one request for each of their documents; return what became of each row."""
        documents: dict[Any, Rows] = {}
        for row in rows:
            document = row._document()
            group = documents.setdefault(document.pk or id(document), [])
            row.parent = group[0].parent if group else document
            group.append(row)
        outcome = Outcome(documents.values())
        outcome.run(write)
        outcome.ok = [row for group in outcome.ok for row in group]
        outcome.failed = [(row, error) for group, error in outcome.failed for row in group]
        return outcome

    def _append_rows(self, rows: Rows, *, atomic: bool, ignore_conflicts: bool) -> Rows:
        if ignore_conflicts:
            raise UnsupportedQuery(
                "ERPNext names rows itself, so that none can be there already: leave ignore_conflicts out."
            )
        for row in rows:
            row.erp_identity = self.query.identity
        documents = {document.pk or id(document) for document in (row._document() for row in rows)}
        if atomic and len(documents) > 1:
            raise UnsupportedQuery(
                f"ERPNext writes rows with their document, one document in a transaction; these are in {len(documents)}. "
                "With atomic=False each document is written on its own, and BulkError tells which were not."
            )
        outcome = self._for_each_document(rows, _save_rows)
        outcome.finish("created")
        return rows

    def _update_rows(self, rows: Rows, kwargs: dict[str, Any], names: frozenset[str]) -> None:
        parent = rows[0].parent_id
        for attempt in range(ATTEMPTS):
            for row in rows:
                _set(row, kwargs)
            try:
                _save_rows(rows, _columns(self.model, names))
            except Conflict:
                rows = list(self._known(names).filter(parent=parent))
                if attempt == ATTEMPTS - 1:
                    raise
                if not rows:
                    return
            else:
                return

    # One of many documents.

    def _known(self, names: Iterable[str]) -> Any:
        """Return the matching documents with as much as has to be known of them to change these fields."""
        columns = ["name", "modified", *names, *(["parent"] if self._is_of_rows else [])]
        return self._chain().order_by().select_related(None).prefetch_related(None).only(*columns)

    def _to_delete(self) -> Any:
        # Whoever is told that a document goes may want to know what was in it.
        listened = any(signal.has_listeners(self.model) for signal in (pre_delete, post_delete))
        return self._chain().order_by() if listened else self._known(())

    def _update_one(self, document: Any, kwargs: dict[str, Any], names: frozenset[str]) -> None:
        for attempt in range(ATTEMPTS):
            _set(document, kwargs)
            try:
                _send_fields(document, names)
            except Conflict:
                again = self._known(names).filter(pk=document.pk).first()
                if attempt == ATTEMPTS - 1:
                    raise
                if again is None:
                    return
                document = again
            except DocumentDoesNotExist:
                return
            else:
                return


def _on_fresh(document: Any, change: Callable[[Any], None]) -> Any:
    """Change and save the document, or the fresh one when somebody else saved it first; return which it was."""
    for attempt in range(ATTEMPTS):
        change(document)
        try:
            document.save()
        except Conflict as conflict:
            if attempt == ATTEMPTS - 1 or not isinstance(conflict.document, type(document)):
                raise
            document = conflict.document
        else:
            break
    return document


def _set(document: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(document, name, value)


def _writable(model: type[models.Model], names: Iterable[str]) -> frozenset[str]:
    fields = [_field(model, name) for name in names]
    if not fields:
        raise ValueError("Field names must be given to bulk_update().")
    for field in fields:
        if field.column in model._never_sent:  # type: ignore[attr-defined]
            raise UnsupportedQuery(
                f"ERPNext sets {field.name} itself: it cannot be updated. "
                "submit(), cancel() and rename() of a document do what can be done."
            )
    return frozenset(field.name for field in fields)


def _field(model: type[models.Model], name: str) -> Any:
    by_attname = {field.attname: field for field in model._meta.concrete_fields}
    field = by_attname.get(name) or model._meta.get_field(name)
    if not getattr(field, "concrete", False):
        raise FieldDoesNotExist(f"{model._meta.object_name} has no field {name!r} to be written.")
    return field


def _columns(model: type[models.Model], names: frozenset[str]) -> frozenset[str]:
    return frozenset(column_of(field) for field in model._meta.concrete_fields if field.name in names)


def _send_fields(document: Any, names: frozenset[str]) -> None:
    """Send what changed of these fields, without the signals of save(), as Django's update() does."""
    columns = _columns(type(document), names)
    changed = {column: value for column, value in document.changes().items() if column in columns}
    saving.change(document, changed=changed, tables={})


def _save_rows(rows: Rows, columns: frozenset[str] | None = None) -> None:
    rows[0]._document().edit_rows(type(rows[0]), lambda edit: edit.save(*rows, columns=columns))


def _delete_rows(rows: Rows) -> None:
    rows[0]._document().edit_rows(type(rows[0]), lambda edit: edit.remove(*rows))


def _delete(document: Any) -> None:
    # Gone already is what was wanted.
    with suppress(DocumentDoesNotExist):
        document.delete()
