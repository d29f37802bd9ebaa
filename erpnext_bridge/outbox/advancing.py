"""Many writes moved on by one UPDATE: what each becomes is in it, and so is the condition that nobody else moved one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from django.db import router, transaction
from django.db.models import Expression, Field
from django.utils import timezone

from erpnext_bridge.models.write import DocumentWrite, State

AT_ONCE = 100
"""Rows of one statement, which has some parameters for each; SQLite once took no more than 999."""

Changes = Sequence[tuple[DocumentWrite, dict[str, Any]]]
"""What is to become of each: columns and values. All have the same columns."""


def advance_together(changes: Changes, allowed: Iterable[State]) -> list[DocumentWrite]:
    """Change writes of one lease as `DocumentWrite.advance` does each; return those that were as they are known here."""
    allowed, advanced = list(allowed), list[DocumentWrite]()
    for start in range(0, len(changes), AT_ONCE):
        advanced += _advance(changes[start : start + AT_ONCE], allowed)
    return advanced


def _advance(changes: Changes, allowed: list[State]) -> list[DocumentWrite]:
    if len(changes) > 1:
        now = timezone.now()
        stamped = [(write, write.stamped(each, now)) for write, each in changes]
        if _update(stamped, allowed):
            return [write for write, _ in changes]
    return [write for write, each in changes if write.advance(allowed, **each)]


class _NotAll(Exception):
    """Some of the rows are not as they were: each is then looked at by itself."""


def _update(stamped: Changes, allowed: list[State]) -> bool:
    first, columns = stamped[0]
    using = router.db_for_write(DocumentWrite)
    rows = DocumentWrite.objects.using(using).filter(
        pk__in=[write.pk for write, _ in stamped], state__in=allowed, lease_token=first.lease_token
    )
    try:
        with transaction.atomic(using=using):
            if rows.update(**{name: _value(name, stamped) for name in columns}) != len(stamped):
                raise _NotAll
    except _NotAll:
        return False
    for write, each in stamped:
        write.become(each, using)
    return True


def _value(name: str, stamped: Changes) -> Any:
    """Return the value of a column where it is the same for all, else an expression that tells each row's."""
    values = [each[name] for _, each in stamped]
    if all(value == values[0] for value in values):
        return values[0]
    return _OfEachRow(name, {write.pk: each[name] for write, each in stamped})


class _OfEachRow(Expression):
    """
    CASE id WHEN … THEN … END: a value for each row, by its key.

    Django's own Case builds a condition for each row and column, which takes longer than as many UPDATEs.
    """

    def __init__(self, name: str, values: Mapping[Any, Any]) -> None:
        super().__init__(output_field=cast("Field[Any, Any]", DocumentWrite._meta.get_field(name)))
        self.values = values

    def resolve_expression(self, *args: Any, **kwargs: Any) -> Any:
        # Each field converts its values for the database that the statement goes to, once that is known.
        return self

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        key, field = DocumentWrite._meta.pk, self.output_field
        params = []
        for pk, value in self.values.items():
            params += [
                key.get_db_prep_save(pk, connection=connection),
                field.get_db_prep_save(value, connection=connection),
            ]
        cases = " ".join(["WHEN %s THEN %s"] * len(self.values))
        sql = f"CASE {connection.ops.quote_name(key.column)} {cases} END"
        if connection.features.requires_casted_case_in_updates:
            sql = f"CAST({sql} AS {field.db_type(connection)})"
        return sql, params
