"""How classes of documents are made: unmanaged models that name their DocType, and rows tied to their parent."""

from __future__ import annotations

import re
from typing import Any

from django.db.models.base import ModelBase

from erpnext_bridge.children import ParentField

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


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
