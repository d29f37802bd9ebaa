"""
A DocType, and rows of it for the database and for ERPNext: `related_twins.py` builds on them.

Texts differ from one another by more than case, accents and trailing blanks, which SQLite's own collation minds.
"""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal

from tests.erp.models import Twin

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
