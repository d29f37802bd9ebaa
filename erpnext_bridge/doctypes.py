"""
What a DocType is, as far as a client needs to know: frozen facts, read from what a site tells of it.

The payloads are those of `frappe.desk.form.load.getdoctype`, which has custom fields and changed properties in it, and
leaves out what is empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TABLES = frozenset({"Table", "Table MultiSelect"})
LINKS = frozenset({"Link"})

LAYOUT = frozenset(
    {"Section Break", "Column Break", "Tab Break", "HTML", "Button", "Image", "Fold", "Heading"}
)
"""Field types that hold no value (frappe/model/__init__.py, no_value_fields, without the tables)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocField:
    """A field of a DocType that holds a value, or child rows."""

    fieldname: str
    fieldtype: str
    label: str = ""
    options: str = ""
    """The DocType of a Link or a table, the choices of a Select, the field that a Dynamic Link looks into."""
    description: str = ""
    default: str = ""
    length: int = 0
    """Characters of a text; 0 for the type's own length."""
    reqd: bool = False
    read_only: bool = False
    is_virtual: bool = False
    """Whether ERPNext computes the value and stores none: no list can have it."""

    @property
    def is_table(self) -> bool:
        return self.fieldtype in TABLES

    @property
    def choices(self) -> tuple[str, ...]:
        """The values of a Select in their order, each once, without the empty one."""
        if self.fieldtype != "Select":
            return ()
        return tuple(dict.fromkeys(option.strip() for option in self.options.split("\n") if option.strip()))


@dataclass(frozen=True, slots=True, kw_only=True)
class DocType:
    """A DocType with its fields in their order."""

    name: str
    description: str = ""
    fields: tuple[DocField, ...] = ()
    is_child: bool = False
    """Whether its documents are rows of other documents."""
    is_single: bool = False
    is_virtual: bool = False
    """Whether its documents are in no table; then lists may ignore filters."""

    @property
    def tables(self) -> tuple[DocField, ...]:
        return tuple(field for field in self.fields if field.is_table)

    @property
    def linked(self) -> tuple[str, ...]:
        """The DocTypes that its Links lead to, each once."""
        links = (field.options for field in self.fields if field.fieldtype in LINKS and field.options)
        return tuple(dict.fromkeys(links))


def read_doctypes(answer: Mapping[str, Any]) -> list[DocType]:
    """Return the DocTypes of an answer of getdoctype: the one that was asked for, then those of its tables."""
    return [read_doctype(meta) for meta in answer["docs"] if meta.get("doctype") == "DocType"]


def read_doctype(meta: Mapping[str, Any]) -> DocType:
    fields = (_field(raw) for raw in meta.get("fields") or ())
    return DocType(
        name=str(meta["name"]),
        description=_text(meta, "description"),
        fields=tuple(field for field in fields if field.fieldtype not in LAYOUT),
        is_child=_flag(meta, "istable"),
        is_single=_flag(meta, "issingle"),
        is_virtual=_flag(meta, "is_virtual"),
    )


def _field(raw: Mapping[str, Any]) -> DocField:
    return DocField(
        fieldname=str(raw["fieldname"]),
        fieldtype=str(raw["fieldtype"]),
        label=_text(raw, "label"),
        options=_text(raw, "options"),
        description=_text(raw, "description"),
        default=_text(raw, "default"),
        length=int(raw.get("length") or 0),
        reqd=_flag(raw, "reqd"),
        read_only=_flag(raw, "read_only"),
        is_virtual=_flag(raw, "is_virtual"),
    )


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    return "" if value is None else str(value)


def _flag(raw: Mapping[str, Any], name: str) -> bool:
    return bool(int(raw.get(name) or 0))
