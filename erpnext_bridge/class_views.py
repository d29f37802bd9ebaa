"""Django's generic views on documents: one mixin, left of the view class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction
from django.forms import BaseModelForm, ModelForm, modelform_factory
from django.forms.formsets import all_valid
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from erpnext_bridge.decorators import ConnectionRequiredMixin
from erpnext_bridge.errors import DuplicateDocument, ValidationRefused
from erpnext_bridge.forms import DocumentForm, save_together
from erpnext_bridge.refusals import tell_refusal

if TYPE_CHECKING:
    from django.views.generic import UpdateView

    Base = UpdateView[Any, Any]
else:
    Base = object


@contextmanager
def _undone_when_refused() -> Iterator[None]:
    """
    With ATOMIC_REQUESTS, roll back what a view wrote before ERPNext refused its form.

    The page that shows the form answers the request, so that Django would commit it. A savepoint, as that page may query.
    """
    with ExitStack() as savepoints:
        for connection in connections.all(initialized_only=True):
            if connection.settings_dict["ATOMIC_REQUESTS"] and connection.in_atomic_block:
                savepoints.enter_context(transaction.atomic(using=connection.alias))
        yield


class _NotTaken(Exception):
    """Leaves form_valid() when nothing was saved; the messages are on the form and its formsets."""


class DocumentViewMixin(ConnectionRequiredMixin, Base):
    """
    For ListView, DetailView, CreateView, UpdateView, DeleteView and FormView.

    The view acts as the signed-in user, who is sent to connect first when there is no connection. What is hidden or
    missing is a 404; what ERPNext forbids is a 403 page by the middleware; what it does not accept, or somebody else
    saved first, is shown at the form.
    """

    formset_classes: Sequence[Any] = ()
    """Inline formsets of child rows, which CreateView and UpdateView save with the document; in the context as `formsets`."""
    _formsets: Sequence[Any] = ()
    """Those that were not saved, with what is wrong."""

    def get_form_class(self) -> Any:
        chosen = super().get_form_class()
        if self.form_class or not issubclass(chosen, ModelForm):
            return chosen
        # As Django's, with the form that notices conflicts.
        return modelform_factory(chosen._meta.model, form=DocumentForm, fields=self.fields)

    def get_formsets(self, instance: Any) -> list[Any]:
        """Return the formsets, bound to what was sent when something was."""
        sent = (
            {"data": self.request.POST, "files": self.request.FILES} if self.request.method == "POST" else {}
        )
        return [formset(instance=instance, **sent) for formset in self.formset_classes]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        if self.formset_classes and "formsets" not in context:
            context["formsets"] = self._formsets or self.get_formsets(context["form"].instance)
        return context

    def get_form(self, form_class: Any = None) -> Any:
        self._form = super().get_form(form_class)
        return self._form

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            with _undone_when_refused():
                return super().dispatch(request, *args, **kwargs)
        except _NotTaken:
            return self.form_invalid(self._form)
        except (ValidationRefused, DuplicateDocument) as refusal:
            # Whatever form_valid() wrote: a view has its own.
            form = getattr(self, "_form", None)
            if form is None or not form.is_bound:
                raise
            tell_refusal(refusal, form)
            return self.form_invalid(form)

    def form_valid(self, form: Any) -> HttpResponse:
        return self._save(form) if isinstance(form, BaseModelForm) else super().form_valid(form)

    def _save(self, form: Any) -> HttpResponse:
        formsets = self._formsets = self.get_formsets(form.instance)
        if not all_valid(formsets) or not save_together(form, *formsets):
            # Raised, not answered: what a view does after super().form_valid() is for what was saved.
            raise _NotTaken
        self.object = form.instance
        return HttpResponseRedirect(self.get_success_url())
