"""
Documents in Django REST framework, which is not required: `pip install djangorestframework`.

DRF's own ModelSerializer and ModelViewSet take documents as they are. What is here is rows that are written with
their document, and ERPNext's refusals as DRF's answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rest_framework import exceptions, serializers, status
from rest_framework.response import Response
from rest_framework.views import exception_handler as default_handler
from rest_framework.views import set_rollback

from erpnext_bridge.addresses import connect_page
from erpnext_bridge.conf import DEFAULT_SITE
from erpnext_bridge.errors import (
    AuthenticationRefused,
    Conflict,
    DocumentDoesNotExist,
    DuplicateDocument,
    ERPNextBridgeError,
    NotConnected,
    UnsupportedQuery,
    ValidationRefused,
)
from erpnext_bridge.pages import page_for
from erpnext_bridge.refusals import row_number
from erpnext_bridge.values import column_of

Tables = Mapping[str, list[Any]]
"""Accessor of a table → its rows as they were sent."""


class ChildRowSerializer(serializers.ModelSerializer):  # type: ignore[misc]
    """
    Rows of a table, nested in the serializer of their document.

    A row with the `name` that it has at ERPNext is that row, and keeps what is not sent of it; one without is new.
    """

    name = serializers.CharField(required=False, allow_null=True)


class DocumentSerializer(serializers.ModelSerializer):  # type: ignore[misc]
    """
    A ModelSerializer that writes nested rows with their document, in one request.

    A table that is sent is to have these rows in this order, as a PUT at ERPNext; one that is left out stays.
    """

    def create(self, validated_data: dict[str, Any]) -> Any:
        return self._write(self.Meta.model(), validated_data)

    def update(self, instance: Any, validated_data: dict[str, Any]) -> Any:
        return self._write(instance, validated_data)

    def _write(self, document: Any, values: dict[str, Any]) -> Any:
        tables = self._tables(values)
        arranged = {name: self._rows(document, name, *rows) for name, rows in tables.items()}
        for name, value in values.items():
            setattr(document, name, value)
        with self._refusals(arranged), document.edit():
            document.save()
            for name, rows in arranged.items():
                getattr(document, name).set(rows)
        return document

    def _tables(self, validated_data: dict[str, Any]) -> dict[str, tuple[Any, list[dict[str, Any]]]]:
        """Take the rows out of the data: accessor of a table → model and rows."""
        nested = {field.source: getattr(field, "child", None) for field in self.fields.values()}
        return {
            name: (serializer.Meta.model, validated_data.pop(name))
            for name, serializer in nested.items()
            if isinstance(serializer, ChildRowSerializer) and name in validated_data
        }

    def _rows(self, document: Any, table: str, model: Any, sent: list[dict[str, Any]]) -> list[Any]:
        stored = {} if document._state.adding else {row.name: row for row in getattr(document, table).all()}
        rows = []
        for values in sent:
            name = values.pop("name", None)
            if name and name not in stored:
                raise serializers.ValidationError({table: [f"There is no row {name!r} in this document."]})
            row = stored[name] if name else model()
            for field, value in values.items():
                setattr(row, field, value)
            rows.append(row)
        return rows

    @contextmanager
    def _refusals(self, tables: Tables) -> Iterator[None]:
        try:
            yield
        except Conflict:
            raise
        except (ValidationRefused, DuplicateDocument) as refusal:
            raise serializers.ValidationError(self._told(refusal, tables)) from refusal

    def _told(self, refusal: Any, tables: Tables) -> dict[str, Any]:
        """Return the messages by field as DRF has them; those about a row stand at its place in the table that was sent."""
        told: dict[str, Any] = {}
        named = self._named(refusal) or ["non_field_errors"]
        for message in refusal.messages or (str(refusal),):
            place = row_number(message)
            table = next((name for name, rows in tables.items() if 0 < place <= len(rows)), None)
            if table is None:
                for name in named:
                    told.setdefault(name, []).append(message)
                continue
            field = next(field for field in self.fields.values() if field.source == table)
            at_rows = told.setdefault(field.field_name, [{} for _ in tables[table]])
            for name in _labelled(message, field.child) or ["non_field_errors"]:
                at_rows[place - 1].setdefault(name, []).append(message)
        return told

    def _named(self, refusal: Any) -> list[str]:
        columns = {field.name: column_of(field) for field in self.Meta.model._meta.concrete_fields}
        return [
            name for name, field in self.fields.items() if columns.get(field.source, name) in refusal.fields
        ]


def _labelled(message: str, row: Any) -> list[str]:
    """Return the field with whose label a message ends: "Row #1: Value missing for: Item Code" (frappe/model/base_document.py)."""
    told = message.lower()
    return [name for name, field in row.fields.items() if told.endswith(f": {field.label}".lower())]


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """
    Answer what ERPNext says as DRF answers its own errors: `"EXCEPTION_HANDLER": "erpnext_bridge.rest.exception_handler"`.

    404 for what is missing or hidden, 403 for what is forbidden, and for who is not connected, with `connect_url`; 400
    and 409 for what is refused; 503, with Retry-After, while ERPNext does not answer.
    """
    if isinstance(error, NotConnected):
        told: dict[str, Any] = {"detail": str(error), "connect_url": connect_page(error.site or DEFAULT_SITE)}
        return _answer(told, status.HTTP_403_FORBIDDEN)
    if isinstance(error, DocumentDoesNotExist):
        return default_handler(exceptions.NotFound(), context)
    if isinstance(error, UnsupportedQuery) or not isinstance(error, ERPNextBridgeError):
        return default_handler(error, context)
    page = page_for(error)
    if page is None:
        return default_handler(error, context)
    is_invalid = isinstance(error, ValidationRefused) and not isinstance(error, Conflict)
    told = {"detail": page.title}
    if page.quotes and not isinstance(error, AuthenticationRefused):
        told["messages"] = list(error.messages)
    retry_after = getattr(error, "retry_after", None)
    headers = {"Retry-After": str(round(retry_after))} if retry_after else None
    return _answer(told, 400 if is_invalid else page.status, headers)


def _answer(told: dict[str, Any], code: int, headers: dict[str, str] | None = None) -> Response:
    """Return the answer, and roll back with ATOMIC_REQUESTS what the view wrote, as DRF does for its own errors."""
    set_rollback()
    return Response(told, status=code, headers=headers)
