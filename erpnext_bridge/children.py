"""
Child rows: found from their document, and written with it.

ERPNext takes a table as a whole: rows left out are deleted, columns left out are emptied, and a row whose name is not
known is dropped without a word (frappe/model/base_document.py, `update`). So a table is sent as it was read a moment
before, with the edits on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.db import models
from django.db.models.fields.related_descriptors import ReverseManyToOneDescriptor

from erpnext_bridge.errors import Conflict, UnsupportedQuery
from erpnext_bridge.fields import LinkField

Row = Any
"""A ChildDocument; `documents.py` stands above this file."""

if TYPE_CHECKING:
    Descriptor = ReverseManyToOneDescriptor[Any]
    ParentLink = LinkField[Any, Any]
else:
    Descriptor, ParentLink = ReverseManyToOneDescriptor, LinkField


def child_tables(model: type[models.Model]) -> dict[str, type[Any]]:
    """Return the accessor of each declared Table field, by which it is mostly called, → model of its rows."""
    return {
        str(relation.get_accessor_name()): relation.related_model
        for relation in model._meta.related_objects
        if isinstance(relation.field, ParentField)
    }


@dataclass
class TableEdit:
    """What is to happen to the rows of one table of one document."""

    saved: list[Row] = field(default_factory=list)
    """Rows that changed or are new, as instances."""
    removed: list[Row] = field(default_factory=list)
    arranged: list[Row] | None = None
    """The rows that the table is to have, in order; None to keep those it has."""
    columns: dict[int, frozenset[str]] = field(default_factory=dict)
    """id() of a row → the only columns of it that are sent; those not named here send all that changed."""

    def save(self, *rows: Row, columns: frozenset[str] | None = None) -> None:
        for row in rows:
            if not any(row is each for each in self.saved):
                self.saved.append(row)
            if columns is not None:
                self.columns[id(row)] = columns | self.columns.get(id(row), frozenset())

    def remove(self, *rows: Row) -> None:
        for row in rows:
            self.saved = [each for each in self.saved if each is not row]
            if row.name and not any(row.name == each.name for each in self.removed):
                self.removed.append(row)

    def __bool__(self) -> bool:
        """Tell whether there is anything to send."""
        changes = any(not row.name or row.is_moved() or self._changes(row) for row in self.saved)
        return bool(changes or self.removed or self.arranged is not None)

    def rows(self) -> list[Row]:
        """Return every instance that the edit names."""
        known: dict[int, Any] = {id(row): row for row in (*self.saved, *(self.arranged or ()))}
        return list(known.values())

    def apply(self, fresh: Iterable[Mapping[str, Any]]) -> list[PlannedRow]:
        """Return the whole table as it is to be. Conflict for a row that ERPNext does not have any more."""
        stored = {str(row["name"]): dict(row) for row in fresh}
        for row in (*self.saved, *self.removed, *(self.arranged or ())):
            if row.name and row.name not in stored:
                raise Conflict(f"The row {row.name} of {row.doctype} is not there any more.")
        planned = self._arranged(stored) if self.arranged is not None else self._in_place(stored)
        for number, each in enumerate(planned, start=1):
            each.payload["idx"] = number
        return planned

    def _arranged(self, stored: dict[str, dict[str, Any]]) -> list[PlannedRow]:
        arranged = [row for row in self.arranged or () if row not in self.removed]
        rows = [*arranged, *(row for row in self.saved if row not in arranged)]
        return [self._planned(row, stored) for row in rows]

    def _in_place(self, stored: dict[str, dict[str, Any]]) -> list[PlannedRow]:
        saved = {row.name: row for row in self.saved if row.name}
        gone = {row.name for row in self.removed}
        moved = [row for row in self.saved if row.idx and row.is_moved()]
        planned = [
            self._planned(saved[name], stored) if name in saved else PlannedRow(payload)
            for name, payload in stored.items()
            if name not in gone
        ]
        planned += [self._planned(row, stored) for row in self.saved if not row.name]
        return _with_moves(planned, moved)

    def _planned(self, row: Any, stored: Mapping[str, dict[str, Any]]) -> PlannedRow:
        if not row.name:
            return PlannedRow(row.row_payload(), row)
        changed = self._changes(row)
        return PlannedRow({**stored[row.name], **changed}, row, {*changed, "idx"})

    def _changes(self, row: Any) -> dict[str, Any]:
        changed: dict[str, Any] = row.changes()
        columns = self.columns.get(id(row))
        return {column: value for column, value in changed.items() if columns is None or column in columns}


@dataclass
class PlannedRow:
    """A row as it is sent, and the instance that it comes from."""

    payload: dict[str, Any]
    instance: Any = None
    sent: set[str] | None = None
    """Columns that are sent with the instance's own value; None for all."""


@dataclass
class KnownRows:
    """The instances that stand for rows of a table, to be brought up to date when ERPNext answers."""

    by_name: dict[str, tuple[Any, set[str] | None]] = field(default_factory=dict)
    """Name → instance, and the columns that were sent with its own value (None for all)."""
    new: list[Row] = field(default_factory=list)
    """Instances of the rows that had no name yet, in the order they were sent; None for one without an instance."""

    def take(self, name: str) -> tuple[Any, set[str] | None]:
        """Return the instance of a row in the answer, None when there is none."""
        if name in self.by_name:
            return self.by_name[name]
        return (self.new.pop(0) if self.new else None), None


def _with_moves(planned: list[PlannedRow], moved: list[Row]) -> list[PlannedRow]:
    """Return the rows with each moved one at the place that its `idx` names, and the others in their order."""
    movers = {id(row) for row in moved}
    staying = [each for each in planned if id(each.instance) not in movers]
    for each in sorted((each for each in planned if id(each.instance) in movers), key=_place):
        staying.insert(_place(each) - 1, each)
    return staying


def _place(planned: PlannedRow) -> int:
    return max(1, int(planned.instance.idx))


def as_row(model: type[Any], row: Any, document: Any) -> Row:
    """Return a row given as an instance, or as a dict for a new one, belonging to the document."""
    if isinstance(row, Mapping):
        row = _row_of(model, row)
    if not isinstance(row, model):
        raise TypeError(f"A row of {document.doctype} is a {model.__name__} or a dict, not {row!r}.")
    if row.name and row.parent_id not in (None, document.pk):
        raise UnsupportedQuery(
            f"The row {row.name} belongs to {row.parent_id}. A row has one document: make a new row with its values."
        )
    row.parent = document
    row.erp_identity = document.erp_identity
    return row


def _row_of(model: type[Any], values: Mapping[str, Any]) -> Row:
    """Return a new row from fieldname → value, as ERPNext calls them; what the class does not know is sent along."""
    row = model()
    fields = {field.column: field for field in model._meta.concrete_fields}
    for name, value in values.items():
        field = fields.get(name)
        if field is None:
            row.unknown[name] = value
        elif isinstance(value, models.Model):
            setattr(row, field.name, value)
        else:
            setattr(row, field.attname, value)
    return row


class ChildRowsDescriptor(Descriptor):
    """`order.items`: Django's, whose manager writes rows as ERPNext takes them."""

    @cached_property
    def related_manager_cls(self) -> Any:
        return _manager_of_rows(super().related_manager_cls)


class ParentField(ParentLink):
    """The document that a row is in."""

    related_accessor_class = ChildRowsDescriptor

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        # A migration has no use for what writes rows.
        name, _, args, options = super().deconstruct()
        return name, f"{LinkField.__module__}.{LinkField.__qualname__}", args, options


class ChildRows:
    """
    The manager `order.items` writes with; it is put before Django's own, which reads.

    Each call sends one request for the whole table, or waits for the end of `document.edit()`.
    """

    instance: Any
    model: type[Any]

    def __call__(self, *, manager: str) -> Any:
        base = super().__call__(manager=manager)  # type: ignore[misc]
        return _manager_of_rows(type(base))(self.instance)

    def create(self, **values: Any) -> Any:
        """Append a row and return it."""
        row = as_row(self.model, self.model(**values), self.instance)
        row.save()
        return row

    def add(self, *rows: Any, bulk: bool = True) -> None:
        """Append new rows, and save the changes of those that are there."""
        given = [as_row(self.model, row, self.instance) for row in rows]
        self._edit(lambda edit: edit.save(*given))

    def remove(self, *rows: Any, bulk: bool = True) -> None:
        """Delete these rows: a row is nowhere without its document."""
        for row in rows:
            if not isinstance(row, self.model) or row.parent_id != self.instance.pk:
                raise self.instance.DoesNotExist(f"{row!r} is not related to {self.instance!r}.")
        self._edit(lambda edit: edit.remove(*rows))

    def clear(self, *, bulk: bool = True) -> None:
        """Delete all rows."""
        self.set([])

    def set(self, rows: Iterable[Any], *, bulk: bool = True, clear: bool = False) -> None:
        """Let the table have these rows in this order: rows that it has, new ones, or dicts of new ones."""
        arranged = [as_row(self.model, row, self.instance) for row in rows]
        names = [row.name for row in arranged if row.name]
        if len(set(names)) < len(names):
            raise ValueError("A row cannot be in its table twice. Make a new one with its values.")
        self._edit(lambda edit: setattr(edit, "arranged", arranged))

    def _edit(self, change: Callable[[TableEdit], Any]) -> None:
        self.instance.edit_rows(self.model, change)

    async def acreate(self, **values: Any) -> Any:
        return await sync_to_async(self.create)(**values)

    async def aremove(self, *rows: Any, bulk: bool = True) -> None:
        await sync_to_async(self.remove)(*rows)

    async def aclear(self, *, bulk: bool = True) -> None:
        await sync_to_async(self.clear)()


for _name in ("create", "add", "remove", "clear", "set", "acreate", "aremove", "aclear"):
    getattr(ChildRows, _name).alters_data = True


def _manager_of_rows(base: type) -> Any:
    return type("ChildRowsManager", (ChildRows, base), {})
