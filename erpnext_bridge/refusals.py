"""
Where what ERPNext refused is shown: at the fields of a form, at the rows of its formsets, else at the form as a whole.

ERPNext names fields only here and there, and its messages are in the language of its user.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS

from erpnext_bridge.errors import Conflict, RefusedError
from erpnext_bridge.values import column_of

_ROW = re.compile(r"#(\d+)")
"""How ERPNext names a row in a message of any language: "Row #2: …"."""


def tell_refusal(refusal: RefusedError, form: Any, *formsets: Any) -> None:
    """Put what ERPNext refused on the fields of a form and on the rows of formsets, else on the form as a whole."""
    if isinstance(refusal, Conflict) and refusal.document is not None and hasattr(form, "tell_conflict"):
        form.tell_conflict(refusal.document)
        return
    for message in refusal.messages or (str(refusal),):
        row = _row_of(message, formsets)
        about = row if row is not None else form
        names = _labelled(message, row) if row is not None else _fields_of(refusal, message, form)
        for name in names or [NON_FIELD_ERRORS]:
            _add_error(about, name, message)


def _add_error(form: Any, name: str, message: str) -> None:
    if name == NON_FIELD_ERRORS or not hasattr(form, "cleaned_data"):
        form.add_error(None, message)
    else:
        form.add_error(name, message)


def _row_of(message: str, formsets: Iterable[Any]) -> Any:
    """Return the form of the row that a message names by its number."""
    place = row_number(message)
    for formset in formsets:
        kept = [each for each in _kept_forms(formset) if each.instance.pk or each.has_changed()]
        if 0 < place <= len(kept):
            return kept[place - 1]
    return None


def row_number(message: str) -> int:
    """Return the number of the row that a message names, counted from 1; 0 when it names none."""
    named = _ROW.search(message)
    return int(named[1]) if named else 0


def _kept_forms(formset: Any) -> list[Any]:
    if formset.can_order:
        return list(formset.ordered_forms)
    deleted = formset.deleted_forms if formset.can_delete else ()
    return [each for each in formset.forms if each not in deleted]


def _fields_of(refusal: RefusedError, message: str, form: Any) -> list[str]:
    """Return the fields of the form that a message is about."""
    named = [name for name in form.fields if _column(form, name) in refusal.fields]
    if len(named) > 1:
        return [name for name in _labelled(message, form) if name in named] or named
    if not named and refusal.exc_type == "LinkValidationError":
        named = [name for name in form.fields if _is_link(form, name) and _is_told(form, name, message)]
    return named or _beginning(message, form)


def _beginning(message: str, form: Any) -> list[str]:
    """Return the field with whose label a message begins: "Customer Type cannot be …" (frappe/model/base_document.py)."""
    found = [name for name in form.fields if message.lower().startswith(f"{label_of(form, name).lower()} ")]
    return sorted(found, key=lambda name: len(label_of(form, name)))[-1:]


def _labelled(message: str, form: Any) -> list[str]:
    """Return the fields with whose label a message ends: "Row #1: Value missing for: Item Code" (frappe/model/base_document.py)."""
    return [name for name in form.fields if message.lower().endswith(f" {label_of(form, name).lower()}")]


def _column(form: Any, name: str) -> str:
    fields = (
        {field.name: field for field in form._meta.model._meta.concrete_fields} if _has_model(form) else {}
    )
    return column_of(fields[name]) if name in fields else name


def _has_model(form: Any) -> bool:
    return getattr(getattr(form, "_meta", None), "model", None) is not None


def label_of(form: Any, name: str) -> str:
    return str(form.fields[name].label or name.replace("_", " "))


def _is_link(form: Any, name: str) -> bool:
    if not _has_model(form):
        return True
    fields = {field.name: field for field in form._meta.model._meta.concrete_fields}
    field = fields.get(name)
    return field is not None and (field.is_relation or hasattr(field, "doctype"))


def _is_told(form: Any, name: str, message: str) -> bool:
    """Tell whether a message names the value of a link, as "Could not find Territory: Nowhere" does in any language."""
    value = getattr(form, "cleaned_data", {}).get(name)
    text = str(getattr(value, "pk", value) or "")
    return bool(text) and message.endswith(text)
