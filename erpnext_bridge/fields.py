"""
Model fields for what Frappe has and Django has not: links, money, and texts that hold a name.

Every other field of a DocType is declared with Django's own: `models.CharField` for Data and Select,
`models.BooleanField` for Check, `models.DateTimeField` for Datetime.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.lookups import Contains, EndsWith, IContains, IEndsWith, IStartsWith, StartsWith

if TYPE_CHECKING:
    CharField = models.CharField[Any, Any]
    DecimalField = models.DecimalField[Any, Any]
    ForeignKey = models.ForeignKey[Any, Any]
else:
    CharField, DecimalField, ForeignKey = models.CharField, models.DecimalField, models.ForeignKey


class LinkField(ForeignKey):
    """A link to a document whose DocType has a model; `order.customer_id` is its name."""

    def __init__(self, to: Any, on_delete: Any = models.DO_NOTHING, **options: Any) -> None:
        # ERPNext keeps links whole; nothing here may act on them. Frappe's column has the field's own name.
        options.setdefault("null", True)
        options.setdefault("blank", True)
        options.setdefault("db_index", False)
        options["db_constraint"] = False
        super().__init__(to, on_delete, **options)

    def get_attname_column(self) -> tuple[str, str]:  # type: ignore[override]
        attname = self.get_attname()
        return attname, self.db_column or self.name

    def validate(self, value: Any, model_instance: Any) -> None:
        """As Django's, with the rights of the document that holds the link."""
        models.Field.validate(self, value, model_instance)
        if value is None:
            return
        linked = self.remote_field.model._meta.base_manager.db_manager(hints={"instance": model_instance})
        if not linked.filter(pk=value).complex_filter(self.get_limit_choices_to()).exists():
            params = {
                "model": self.remote_field.model._meta.verbose_name,
                "pk": value,
                "field": "name",
                "value": value,
            }
            raise ValidationError(self.error_messages["invalid"], code="invalid", params=params)

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        name, path, args, options = super().deconstruct()
        options.pop("db_constraint", None)
        return name, path, args, options


for _lookup in (Contains, IContains, StartsWith, IStartsWith, EndsWith, IEndsWith):
    # A link's value is a name, and names are searched: Django's foreign keys only compare theirs.
    LinkField.register_lookup(_lookup)


class NameField(CharField):
    """The name of a document of a DocType without a model; None where there is no link."""

    blank_is_null = True

    def __init__(self, *args: Any, doctype: str = "", **options: Any) -> None:
        options.setdefault("max_length", 140)
        options.setdefault("null", True)
        options.setdefault("blank", True)
        super().__init__(*args, **options)
        self.doctype = doctype

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        name, path, args, options = super().deconstruct()
        options["doctype"] = self.doctype
        return name, path, args, options


class Currency(DecimalField):
    """Money, as Frappe stores it: decimal(21, 9), never NULL."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("max_digits", 21)
        options.setdefault("decimal_places", 9)
        options.setdefault("default", 0)
        super().__init__(*args, **options)


class Percent(Currency):
    """A percentage, 12.5 for 12.5 %."""


def Link(to: Any, **options: Any) -> Any:  # noqa: N802
    """
    Return the field for a Frappe Link.

    `Link(Customer)` or `Link("app.Customer")` leads to the documents of a model. `Link("Territory")`, a text
    without a dot, names a DocType for which there is no model; its value is the document's name.
    """
    if isinstance(to, str) and "." not in to and to != "self":
        return NameField(doctype=to, **options)
    return LinkField(to, **options)
