"""
The same rows in the database and at ERPNext, and random conditions on them: the two must agree.

Texts differ from one another by more than case, accents and trailing blanks, and random comparisons of their order
use first letters that SQLite's byte order and a site's collation sort alike.
"""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal

from django.db.models import Q

from erpnext_bridge import values
from tests.erp.models import Twin, TwinDocument

DOCTYPE = {
    "name": "Bridge Twin",
    "module": "Custom",
    "custom": 1,
    "autoname": "Prompt",
    "fields": [
        {"fieldname": "title", "label": "Title", "fieldtype": "Data"},
        {"fieldname": "code", "label": "Code", "fieldtype": "Data"},
        {"fieldname": "number", "label": "Number", "fieldtype": "Int"},
        {"fieldname": "amount", "label": "Amount", "fieldtype": "Currency"},
        {"fieldname": "flag", "label": "Flag", "fieldtype": "Check"},
        {"fieldname": "day", "label": "Day", "fieldtype": "Date"},
        {"fieldname": "moment", "label": "Moment", "fieldtype": "Datetime"},
    ],
    "permissions": [
        {
            "role": "System Manager",
            "permlevel": 0,
            "read": 1,
            "write": 1,
            "create": 1,
            "delete": 1,
            "report": 1,
        }
    ],
}
COLUMNS = ("title", "code", "number", "amount", "flag", "day", "moment")

TEXTS = [
    "",
    "alpha",
    "beta 50%",
    "under_score",
    "back\\slash",
    "comma, text",
    'quo"te',
    "it's",
    "東京",
    "zeta",
    " lead",
]
NUMBERS = [-5, 0, 1, 7, 2_000_000]
AMOUNTS = [Decimal(text) for text in ("-12.345678", "0", "0.1", "100", "99999999.99")]
DAYS = [dt.date(2024, 2, 29), dt.date(2024, 3, 1), dt.date(1999, 12, 31)]
MOMENTS = [
    dt.datetime(2024, 3, 1, 0, 0, tzinfo=dt.UTC),
    dt.datetime(2024, 3, 1, 12, 30, 15, 250000, tzinfo=dt.UTC),
    dt.datetime(2025, 7, 4, 23, 59, 59, 999999, tzinfo=dt.UTC),
]


def make_rows(rng: random.Random, count: int) -> list[Twin]:
    """Return rows that are not in the database yet."""
    return [
        Twin(
            name=f"TWIN-{number:04}",
            title=rng.choice([None, *TEXTS]),
            code=rng.choice(TEXTS),
            number=rng.choice(NUMBERS),
            amount=rng.choice(AMOUNTS),
            flag=rng.random() < 0.5,
            day=rng.choice([None, *DAYS]),
            moment=rng.choice([None, *MOMENTS]),
        )
        for number in range(count)
    ]


def wire_row(row: Twin, zone) -> dict[str, object]:
    """Return the row's columns as Frappe stores them, NULLs included."""
    fields = [Twin._meta.get_field(name) for name in COLUMNS]
    return {"name": row.name} | {
        field.name: values.to_wire(field, getattr(row, field.name), zone) for field in fields
    }


TEXT_TESTS = (
    "exact",
    "iexact",
    "icontains",
    "istartswith",
    "iendswith",
    "contains",
    "startswith",
    "endswith",
)
ORDER_TESTS = ("gt", "gte", "lt", "lte")


def random_condition(rng: random.Random) -> Q:
    """Return a condition on one column."""
    column = rng.choice(COLUMNS)
    if column in ("title", "code"):
        return _text_condition(rng, column)
    pool = {"number": NUMBERS, "amount": AMOUNTS, "flag": [True, False], "day": DAYS, "moment": MOMENTS}[
        column
    ]
    kind = rng.choice(["exact", "in", "range", "isnull", *ORDER_TESTS])
    if kind == "isnull":
        return Q(**{f"{column}__isnull": rng.random() < 0.5})
    if kind == "in":
        return Q(**{f"{column}__in": rng.sample(pool, rng.randint(0, 2))})
    if kind == "range":
        return Q(**{f"{column}__range": tuple(sorted(rng.choices(pool, k=2)))})
    return Q(**{f"{column}__{kind}": rng.choice(pool)})


def _text_condition(rng: random.Random, column: str) -> Q:
    kind = rng.choice(["isnull", "in", "order", *TEXT_TESTS])
    if kind == "isnull":
        return Q(**{f"{column}__isnull": rng.random() < 0.5})
    if kind == "in":
        return Q(**{f"{column}__in": rng.sample(TEXTS, rng.randint(0, 3))})
    if kind == "order":
        return Q(**{f"{column}__{rng.choice(ORDER_TESTS)}": rng.choice(["", "c", "n", "v"])})
    text = rng.choice(TEXTS)
    if kind not in ("exact", "iexact") and text:
        start = rng.randrange(len(text))
        text = text[start : start + rng.randint(1, 4)]
    return Q(**{f"{column}__{kind}": text})


def random_q(rng: random.Random, depth: int = 2) -> Q:
    """Return a condition of nested AND, OR, XOR and NOT."""
    if depth == 0 or rng.random() < 0.3:
        q = random_condition(rng)
    else:
        q, other = random_q(rng, depth - 1), random_q(rng, depth - 1)
        join = rng.choice("&&||^")
        q = q & other if join == "&" else q | other if join == "|" else q ^ other
    return ~q if rng.random() < 0.3 else q


def random_pair(rng: random.Random, documents):
    """Return a queryset of the database and the same one of `documents`."""
    pair = [Twin.objects.all(), documents]
    for _ in range(rng.randint(1, 2)):
        q, method = random_q(rng), rng.choice(["filter", "exclude"])
        pair = [getattr(queryset, method)(q) for queryset in pair]
    ordering = rng.choice(
        [("name",), ("-name",), ("number", "name"), ("-amount", "-name"), ("flag", "-number", "name")]
    )
    pair = [queryset.order_by(*ordering) for queryset in pair]
    if rng.random() < 0.3:
        start, length = rng.randint(0, 5), rng.randint(1, 10)
        pair = [queryset[start : start + length] for queryset in pair]
    return pair


def snapshot(row) -> tuple[object, ...]:
    return (row.pk, *(getattr(row, name) for name in COLUMNS))


def documents():
    return TwinDocument.objects.as_service()
