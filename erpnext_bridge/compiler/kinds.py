"""What Frappe makes of a Django model: how it compares a field's column, and which rows of a table are the model's."""

from __future__ import annotations

from typing import Any

from erpnext_bridge.compiler import lookups
from erpnext_bridge.compiler.formula import TRUE, Formula, all_of

Field = Any
"""A model field; the stubs know too little of `column`, `target_field` and `is_relation` to be of help."""

_KINDS = {
    **dict.fromkeys(("FloatField", "DecimalField"), lookups.DECIMAL),
    **dict.fromkeys(("DateField", "DateTimeField"), lookups.DATE),
    "TimeField": lookups.TIME,
    "DurationField": lookups.DURATION,
    "JSONField": lookups.JSON,
    **dict.fromkeys(
        ("BooleanField", "IntegerField", "BigIntegerField", "SmallIntegerField", "PositiveIntegerField",
         "PositiveBigIntegerField", "PositiveSmallIntegerField"),
        lookups.NUMBER,
    ),
}  # fmt: skip

_STAMPS = frozenset({"creation", "modified"})


def kind_of(field: Field) -> str:
    """Return how Frappe compares a field's column."""
    if field.is_relation or getattr(field, "blank_is_null", False):
        return lookups.LINK
    if field.column == "name":
        return lookups.NAME
    if field.column in _STAMPS:
        return lookups.STAMP
    return _KINDS.get(field.get_internal_type(), lookups.TEXT if field.null else lookups.BLANK)


def rows_of(model: Any) -> Formula:
    """Return the condition that a DocType's rows are the model's: a child table may serve several parents."""
    parent = getattr(model, "parent_doctype", "")
    if not parent:
        return TRUE
    pairs = (("parenttype", parent), ("parentfield", model.parent_fieldname))
    return all_of(lookups.leaf(lookups.BLANK, name, "eq", value, negated=False) for name, value in pairs)
