"""What a case reads on one side, as values that can be compared with the other's."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.core.exceptions import ObjectDoesNotExist

from erpnext_bridge import collation
from tests.differential.querysets import FUNCTIONS, Case, Starts

Fields = dict[str, list[str]]
"""Key → the attributes of an instance that are compared."""


def answer(case: Case, start: Starts, fields: Fields, *, once: bool = False) -> Any:
    """Return what the case reads; an error that Django documents comes as its name."""
    queryset = case.queryset(start, once=once)
    try:
        return ENDINGS[case.ending](case, queryset, fields[case.key])
    except ObjectDoesNotExist:
        return "DoesNotExist"
    except IndexError:
        return "IndexError"


def same(left: Any, right: Any) -> bool:
    """Whether both sides read the same; sums are floats on both sides of the wire, and rounded differently."""
    if isinstance(left, float | Decimal) and isinstance(right, float | Decimal | int):
        return left == right or math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-9)
    if isinstance(left, tuple | list) and type(left) is type(right):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


def _row(instance: Any, attributes: list[str]) -> tuple[Any, ...]:
    return tuple(getattr(instance, attribute) for attribute in attributes)


def _rows(case: Case, rows: list[Any]) -> Any:
    """Return the rows; as a bag where the order is nobody's."""
    if case.sorts:
        return rows
    if case.slice is not None:
        # Which of the rows that tie are inside is nobody's either.
        return len(rows)
    return sorted(rows, key=_sort_key)


def _sort_key(value: Any) -> str:
    """Return what sorts equal rows to the same place; a Decimal shows how many digits it came with."""
    if isinstance(value, tuple | list):
        return repr(list(map(_sort_key, value)))
    if isinstance(value, dict):
        return _sort_key(sorted(value.items()))
    return f"{value:.9e}" if isinstance(value, float | Decimal) else repr(value)


def _instances(case: Case, queryset: Any, attributes: list[str]) -> Any:
    return _rows(case, [_row(each, attributes) for each in queryset])


def _iterated(case: Case, queryset: Any, attributes: list[str]) -> Any:
    return _rows(case, [_row(each, attributes) for each in queryset.iterator(chunk_size=7)])


def _related(case: Case, queryset: Any, attributes: list[str]) -> Any:
    links = {"Order": ("party__area", "before"), "Party": ("area",), "Row": ("party",)}.get(case.key, ())
    found = queryset.select_related(*links) if links else queryset
    if case.key == "Order":
        found = found.prefetch_related("rows")
    return _rows(case, [(*_row(each, attributes), *_linked(case, each)) for each in found])


def _linked(case: Case, instance: Any) -> list[Any]:
    if case.key != "Order":
        return []
    return [[(row.name, row.idx, row.party_id) for row in instance.rows.all()]]


def _single(method: str) -> Callable[[Case, Any, list[str]], Any]:
    def read(case: Case, queryset: Any, attributes: list[str]) -> Any:
        found = getattr(queryset, method)(*case.columns)
        if found is None or not (case.sorts or case.columns or _by_name(case)):
            return found is None
        return _row(found, attributes)

    return read


def _by_name(case: Case) -> bool:
    # first() and last() sort by the key where nothing else does; child rows have an order of their own.
    return not case.ordering and case.key != "Row"


def _only(case: Case, queryset: Any, attributes: list[str]) -> Any:
    names = [f"{name}_id" if f"{name}_id" in attributes else name for name in case.columns]
    return _rows(case, [_row(each, ["pk", *names]) for each in queryset.only(*case.columns)])


def _distinct(case: Case, queryset: Any, attributes: list[str]) -> Any:
    found = queryset.order_by().values_list(*case.columns).distinct()
    return Counter(tuple(map(_weight, row)) for row in found)


def _weight(value: Any) -> Any:
    """Return what stands for a text and all that are equal to it: which of them is shown is nobody's."""
    return collation.sort_key(value) if isinstance(value, str) else value


def _functions(case: Case) -> dict[str, Any]:
    return {
        f"{function.lower()}_{column}": FUNCTIONS[function](column) for function, column in case.aggregates
    }


def _aggregate(case: Case, queryset: Any, attributes: list[str]) -> Any:
    return queryset.aggregate(**_functions(case))


def _group(case: Case, queryset: Any, attributes: list[str]) -> Any:
    found = queryset.order_by().values(*case.columns).annotate(**_functions(case))
    rows = [
        (
            tuple(_weight(row[key]) for key in case.columns),
            tuple(_weight(row[key]) for key in _functions(case)),
        )
        for row in found
    ]
    return sorted(rows, key=lambda row: _sort_key(row[0]))


def _annotate(case: Case, queryset: Any, attributes: list[str]) -> Any:
    ((alias, aggregate),) = _functions(case).items()
    found = queryset.annotate(**{alias: aggregate})
    if case.argument is not None:
        found = found.filter(**{f"{alias}__gt": case.argument})
    return _rows(case, [(each.pk, getattr(each, alias)) for each in found])


ENDINGS: dict[str, Callable[[Case, Any, list[str]], Any]] = {
    "all": _instances,
    "iterator": _iterated,
    "related": _related,
    "only": _only,
    "values": lambda case, queryset, _: _rows(case, list(queryset.values(*case.columns))),
    "values_list": lambda case, queryset, _: _rows(case, list(queryset.values_list(*case.columns))),
    "flat": lambda case, queryset, _: _rows(case, list(queryset.values_list(*case.columns, flat=True))),
    "count": lambda case, queryset, _: queryset.count(),
    "exists": lambda case, queryset, _: queryset.exists(),
    "first": _single("first"),
    "last": _single("last"),
    "earliest": _single("earliest"),
    "latest": _single("latest"),
    "in_bulk": lambda case, queryset, attributes: {
        name: _row(each, attributes) for name, each in queryset.in_bulk(case.argument).items()
    },
    "get": lambda case, queryset, attributes: _row(queryset.get(pk=case.argument), attributes),
    "item": lambda case, queryset, attributes: (
        _row(queryset[case.argument], attributes) if case.sorts else bool(queryset[case.argument])
    ),
    "step": lambda case, queryset, attributes: (
        [_row(each, attributes) for each in queryset[:: case.argument]]
        if case.sorts
        else len(queryset[:: case.argument])
    ),
    "distinct": _distinct,
    "aggregate": _aggregate,
    "group": _group,
    "annotate": _annotate,
    "dates": lambda case, queryset, _: list(queryset.order_by().dates(*case.columns, case.argument)),
}
"""How a case's ending is read."""
