"""Sales orders for tests, made with the rights of the running code."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from tests.erp.models import Customer, Item, SalesOrder


def draft(*quantities: float) -> SalesOrder:
    """Return a draft with a row of another item for each quantity, at a rate of ten."""
    items = Item.objects.order_by("name")[: len(quantities)]
    return SalesOrder.objects.create(
        customer=Customer.objects.order_by("name")[0],
        company=SalesOrder.objects.order_by("name")[0].company,
        transaction_date=dt.date(2026, 1, 2),
        delivery_date=dt.date(2026, 1, 9),
        items=[
            {"item_code": item.pk, "qty": qty, "rate": Decimal(10)}
            for item, qty in zip(items, quantities, strict=True)
        ],
    )
