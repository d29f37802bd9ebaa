"""How the admin's list of writes is narrowed: by what can be asked of an index, however long the list is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.http import HttpRequest

from erpnext_bridge.conf import get_settings
from erpnext_bridge.metrics import OPEN
from erpnext_bridge.models.write import DocumentWrite

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList
    from django.db.models import QuerySet

MOST = 100
"""DocTypes and kinds of errors that are offered."""


class SiteFilter(admin.SimpleListFilter):
    title = "site"
    parameter_name = "site"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(alias, site.label) for alias, site in get_settings().sites.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[DocumentWrite]) -> QuerySet[DocumentWrite]:
        return queryset.filter(site=self.value()) if self.value() else queryset


class DocTypeFilter(admin.SimpleListFilter):
    title = "DocType"
    parameter_name = "doctype"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(doctype, doctype) for doctype in _doctypes()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[DocumentWrite]) -> QuerySet[DocumentWrite]:
        return queryset.filter(doctype=self.value()) if self.value() else queryset


def _doctypes() -> Iterator[str]:
    """Yield the DocTypes by leaps through their index; a DISTINCT would read all writes."""
    doctype = ""
    for _ in range(MOST):
        later = DocumentWrite.objects.filter(doctype__gt=doctype).order_by("doctype")
        found = later.values_list("doctype", flat=True).first()
        if found is None:
            return
        doctype = found
        yield doctype


class ErrorFilter(admin.SimpleListFilter):
    title = "error"
    parameter_name = "error_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        failed = DocumentWrite.objects.filter(state__in=OPEN).exclude(error_type="").order_by("error_type")
        return [(kind, kind) for kind in failed.values_list("error_type", flat=True).distinct()[:MOST]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[DocumentWrite]) -> QuerySet[DocumentWrite]:
        return queryset.filter(error_type=self.value()) if self.value() else queryset


class UserFilter(admin.SimpleListFilter):
    """A field for a name: there are too many users for links."""

    title = "user"
    parameter_name = "user"
    template = "erpnext_bridge/admin/text_filter.html"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        # Without any it would not be shown.
        return [("", "")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[DocumentWrite]) -> QuerySet[DocumentWrite]:
        if not self.value():
            return queryset
        return queryset.filter(**{f"user__{get_user_model().USERNAME_FIELD}": self.value()})

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        others = {name: value for name, value in changelist.params.items() if name != self.parameter_name}
        yield {
            "name": self.parameter_name,
            "value": self.value() or "",
            "others": [(name, each) for name, value in others.items() for each in _each(value)],
            "without": changelist.get_query_string(remove=[self.parameter_name]),
        }


def _each(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
