"""
Model fields for what Frappe has and Django has not: links, money, ratings, files, and texts that hold a name.

Every other field of a DocType is declared with Django's own: `models.CharField` for Data and Select,
`models.BooleanField` for Check, `models.DateTimeField` for Datetime.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.lookups import Contains, EndsWith, IContains, IEndsWith, IStartsWith, StartsWith
from django.forms import TextInput

from erpnext_bridge.attachments import AttachedFileAttribute
from erpnext_bridge.compiler.operators import TREE_LOOKUPS

if TYPE_CHECKING:
    from django.db.models import CharField, DecimalField, ForeignKey, TextField
    from django.db.models.expressions import Combinable

    from erpnext_bridge.attachments import AttachedFile
else:

    class _Untyped:
        """Stands for a field class of Django's, which only type checkers take to be generic."""

        def __init__(self, kind):
            self.kind = kind

        def __getitem__(self, types):
            return self.kind

    def _itself(cls, types):
        return cls

    CharField, DecimalField = _Untyped(models.CharField), _Untyped(models.DecimalField)
    ForeignKey, TextField = _Untyped(models.ForeignKey), _Untyped(models.TextField)

_M = TypeVar("_M", bound=models.Model)
_ST = TypeVar("_ST", contravariant=True)
"""What a field may be set to."""
_GT = TypeVar("_GT", covariant=True)
"""What it gives."""


class LinkField(ForeignKey[_ST, _GT]):
    """A link to a document whose DocType has a model; `order.customer_id` is its name."""

    if TYPE_CHECKING:
        _pyi_private_set_type: Any | Combinable | None
        _pyi_private_get_type: Any | None

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
        if value is None or self._is_read(value, model_instance):
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

    def _is_read(self, value: Any, model_instance: Any) -> bool:
        """Tell whether the linked document is at hand, read at ERPNext by a form that has tested its limits."""
        linked = self.get_cached_value(model_instance, default=None)
        return linked is not None and linked.pk == value and not linked._state.adding

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        name, path, args, options = super().deconstruct()
        options.pop("db_constraint", None)
        return name, path, args, options


for _lookup in (Contains, IContains, StartsWith, IStartsWith, EndsWith, IEndsWith):
    # A link's value is a name, and names are searched: Django's foreign keys only compare theirs.
    LinkField.register_lookup(_lookup)


class OwnName(CharField[_ST, _GT]):
    """The name of the document itself; to migrations a CharField."""

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        name, _, args, options = super().deconstruct()
        return name, "django.db.models.CharField", args, options


class NameField(CharField[_ST, _GT]):
    """The name of a document of a DocType without a model; None where there is no link."""

    if TYPE_CHECKING:
        _pyi_private_set_type: str | int | Combinable | None  # type: ignore[assignment]
        _pyi_private_get_type: str | None  # type: ignore[assignment]
    else:
        __class_getitem__ = classmethod(_itself)

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


for _field in (LinkField, NameField, OwnName):
    for _tree_lookup in TREE_LOOKUPS:
        _field.register_lookup(_tree_lookup)


class DynamicLink(NameField[_ST, _GT]):
    """The name of a document whose DocType another field names: `DynamicLink("reference_type")`."""

    def __init__(self, doctype_field: str = "", *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.doctype_field = doctype_field
        """Fieldname of the field that holds the DocType."""

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        name, path, args, options = super().deconstruct()
        options.pop("doctype")
        options["doctype_field"] = self.doctype_field
        return name, path, args, options


class Attach(TextField[_ST, _GT]):
    """The URL of a file at ERPNext, such as /private/files/offer.pdf: `order.offer.read()`, `order.offer.url`."""

    if TYPE_CHECKING:
        _pyi_private_set_type: str | Combinable
        _pyi_private_get_type: AttachedFile

    descriptor_class = AttachedFileAttribute

    def formfield(self, **options: Any) -> Any:
        return super().formfield(**{"widget": TextInput, **options})


class Currency(DecimalField[_ST, _GT]):
    """Money, as Frappe stores it: decimal(21, 9), never NULL."""

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(_itself)

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("max_digits", 21)
        options.setdefault("decimal_places", 9)
        options.setdefault("default", 0)
        super().__init__(*args, **options)


class Percent(Currency[_ST, _GT]):
    """A percentage, 12.5 for 12.5 %."""


class Rating(DecimalField[_ST, _GT]):
    """Stars as Frappe stores them: a part of 1, in decimal(3, 2), never NULL; 0.8 is four stars of five."""

    default_validators = [MinValueValidator(0), MaxValueValidator(1)]

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("max_digits", 3)
        options.setdefault("decimal_places", 2)
        options.setdefault("default", 0)
        super().__init__(*args, **options)


@overload
def Link(to: type[_M], **options: Any) -> models.ForeignKey[_M | None, _M | None]: ...
@overload
def Link(to: str, **options: Any) -> Any: ...
def Link(to: Any, **options: Any) -> Any:  # noqa: N802
    """
    Return the field for a Frappe Link.

    `Link(Customer)` or `Link("app.Customer")` leads to the documents of a model. `Link("Territory")`, a text
    without a dot, names a DocType for which there is no model; its value is the document's name.
    """
    if isinstance(to, str) and "." not in to and to != "self":
        return NameField(doctype=to, **options)
    return LinkField(to, **options)
