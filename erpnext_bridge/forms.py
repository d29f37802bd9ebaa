"""
Forms of documents and formsets of their rows: saved together, with ERPNext's refusals on the fields they are about.

Django's own ModelForm and inline formsets work with documents. These classes add what only a document needs: whether
somebody saved it since the page was opened, and one request for a document with its rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.core.exceptions import ValidationError as Invalid
from django.forms.models import BaseInlineFormSet, ModelChoiceField
from django.utils.functional import cached_property
from django.utils.text import capfirst

from erpnext_bridge.documents import BaseDocument, Document
from erpnext_bridge.errors import DuplicateDocument, ValidationRefused
from erpnext_bridge.refusals import label_of, tell_refusal

if TYPE_CHECKING:
    from django.http import QueryDict

    ModelForm = forms.ModelForm[BaseDocument]
    InlineFormSet = BaseInlineFormSet[Any, Any, Any]
    TextField = forms.CharField
else:
    ModelForm, InlineFormSet = forms.ModelForm, BaseInlineFormSet


class DocumentForm(ModelForm):
    """
    A ModelForm that notices when its document was saved since the page was opened.

    A hidden field carries the `modified` that the page shows. When it is not the document's any more, the form is not
    valid, tells what ERPNext has now, and is saved when it is sent once more.
    """

    based_on = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            self.fields["based_on"].initial = _modified(self.instance)

    @cached_property
    def changed_data(self) -> list[str]:
        return [name for name in super().changed_data if name != "based_on"]

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        based_on = self.cleaned_data.get("based_on")
        if based_on and not self.instance._state.adding and based_on != _modified(self.instance):
            self.tell_conflict(self.instance.as_read())

    def tell_conflict(self, fresh: Any) -> None:
        """Add an error that tells what the document has now where it differs; the next send is based on that."""
        self.add_error(None, Invalid("\n".join(_conflict_lines(self, fresh)), code="conflict"))
        data = cast("QueryDict", self.data).copy()
        data[self.add_prefix("based_on")] = _modified(fresh)
        self.data = data


class ChildRowFormSet(InlineFormSet):
    """
    Child rows in a page: `inlineformset_factory(SalesOrder, SalesOrderItem, formset=ChildRowFormSet, fields=[…])`.

    Rows are read with their document, choices of links once for all rows, and all changes are one request. With
    `can_order` the rows get the order that the page says.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._choices: dict[str, list[Any]] = {}
        super().__init__(*args, **kwargs)

    def get_queryset(self) -> Any:
        if not hasattr(self, "_queryset"):
            # Not a query of its own: the rows came with their document.
            rows = [] if self.instance.pk is None else list(self._manager().all())
            self._queryset = _Rows(cast("type[Any]", self.model), rows)
        return self._queryset

    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)
        if "name" in form.fields:
            form.fields["name"] = _RowField(self, initial=form.instance.pk)
        for name, field in form.fields.items():
            if type(field) is ModelChoiceField and _lists_choices(field):
                field.choices = _Shared(self._choices, name, field)

    def save(self, commit: bool = True) -> Any:
        if not commit:
            return super().save(commit=False)
        with self.instance.edit():
            saved = super().save()
            if self.can_order:
                self._arrange()
        return saved

    def _arrange(self) -> None:
        for place, form in enumerate(self.ordered_forms, start=1):
            if form.instance.idx != place:
                form.instance.idx = place
                form.instance.save()

    def _manager(self) -> Any:
        return getattr(self.instance, self.fk.remote_field.get_accessor_name())


class _Rows:
    """Rows that are read already, with as much of a queryset as a formset asks for."""

    ordered = True
    db = None

    def __init__(self, model: type[Any], rows: list[Any]) -> None:
        self.model = model
        self.rows = rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]


class _RowField(forms.CharField):
    """The name of a row in a page, which becomes the row."""

    widget = forms.HiddenInput

    def __init__(self, formset: Any, **options: Any) -> None:
        super().__init__(required=False, **options)
        self.rows = {row.pk: row for row in formset.get_queryset()}

    def clean(self, value: Any) -> Any:
        if not value:
            return None
        if value not in self.rows:
            raise Invalid(f"The row {value} is not there any more.", code="invalid_choice")
        return self.rows[value]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return False


class _Shared:
    """Choices that are read once for all forms of a formset."""

    def __init__(self, known: dict[str, list[Any]], name: str, field: Any) -> None:
        self.known = known
        self.name = name
        self.read = field.iterator(field)

    def __call__(self) -> list[Any]:
        if self.name not in self.known:
            self.known[self.name] = list(iter(self.read))  # list() alone would count them first
        return self.known[self.name]


def _lists_choices(field: Any) -> bool:
    widget = getattr(field.widget, "widget", field.widget)
    return type(widget) in (forms.Select, forms.RadioSelect)


# Saving


def save_together(form: Any, *formsets: Any) -> bool:
    """
    Save a valid form and its valid formsets with one request; return whether ERPNext took them.

    What it refuses is put on the fields, rows and forms it is about, to be shown again. A missing right, a site that
    does not answer and a connection that ended are raised: they are no matter of what was filled in.
    """
    try:
        with writing_together(form.instance):
            form.save()
            for formset in formsets:
                formset.save()
    except (ValidationRefused, DuplicateDocument) as refusal:
        tell_refusal(refusal, form, *formsets)
        return False
    return True


@contextmanager
def writing_together(instance: Any) -> Iterator[None]:
    """Send what is written to a document and its rows inside the block at once."""
    if not isinstance(instance, Document):
        yield
        return
    with instance.edit():
        yield


# Conflicts


def _modified(document: Any) -> str:
    moment = document.__dict__.get("modified")
    return moment.isoformat() if moment is not None else ""


def _conflict_lines(form: Any, fresh: Any) -> Iterator[str]:
    who = fresh.__dict__.get("modified_by") or "Somebody else"
    yield f"{who} saved this since you opened it. Send it again to put yours over what ERPNext has now."
    fields = {field.name: field.attname for field in fresh._meta.concrete_fields}
    for name, mine in form.cleaned_data.items():
        attname = fields.get(name)
        if attname not in fresh.__dict__:
            continue
        theirs = fresh.__dict__[attname]
        if theirs != getattr(mine, "pk", mine):
            yield f"{capfirst(label_of(form, name))}: {theirs if theirs not in (None, '') else '(empty)'}"
