"""The DocTypes that the benchmarks about reading use, and documents for them."""

from __future__ import annotations

from typing import Any

FIELDS = ["name", "title", "customer", "day", "moment", "total", "paid", "modified"]
"""The eight columns that lists of orders read."""


def _field(fieldname: str, fieldtype: str, options: str | None = None) -> dict[str, Any]:
    return {"fieldname": fieldname, "label": fieldname.title(), "fieldtype": fieldtype, "options": options}


DOCTYPES = [
    {
        "name": "Bridge Bench Row",
        "istable": 1,
        "fields": [_field("item", "Data"), _field("quantity", "Float"), _field("rate", "Currency")],
    },
    {
        "name": "Bridge Bench Customer",
        "autoname": "prompt",
        "fields": [_field("title", "Data"), _field("website", "Data")],
    },
    {
        "name": "Bridge Bench Order",
        "autoname": "prompt",
        "fields": [
            _field("title", "Data"),
            _field("customer", "Link", "Bridge Bench Customer"),
            _field("day", "Date"),
            _field("moment", "Datetime"),
            _field("total", "Currency"),
            _field("paid", "Check"),
            _field("rows", "Table", "Bridge Bench Row"),
        ],
    },
]


def customers() -> list[dict[str, Any]]:
    return [
        {
            "doctype": "Bridge Bench Customer",
            "name": f"BENCH-C-{number:05}",
            "title": f"Customer {number} GmbH & Co.",
            "website": f"https://customer-{number}.example.com",
        }
        for number in range(50)
    ]


def orders(count: int) -> list[dict[str, Any]]:
    """Return orders of 50 customers; the first 50 have child rows."""
    return [
        {
            "doctype": "Bridge Bench Order",
            "name": f"BENCH-O-{number:06}",
            "title": f"Order {number}, from the warehouse in Köln",
            "customer": f"BENCH-C-{number % 50:05}",
            "day": f"2026-{number % 12 + 1:02}-{number % 28 + 1:02}",
            "moment": f"2026-03-{number % 28 + 1:02} {number % 24:02}:15:{number % 60:02}.250000",
            "total": number * 1.25,
            "paid": number % 2,
            "rows": [
                {"doctype": "Bridge Bench Row", "item": f"BOLT-M{row}", "quantity": row + 1, "rate": 0.35}
                for row in range(4 if number < 50 else 0)
            ],
        }
        for number in range(count)
    ]
