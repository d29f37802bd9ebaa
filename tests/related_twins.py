"""Orders with rows and groups, in the database and at ERPNext: what is asked of one is asked of the other."""

from __future__ import annotations

import datetime as dt
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import F, Q

from erpnext_bridge import values
from erpnext_bridge.sandbox import Sandbox, User, World
from tests import twins
from tests.erp.models import DbGroup, DbOrder, DbRow, ErpGroup, ErpOrder, ErpRow

ZONE = ZoneInfo("America/New_York")
TIMES = [dt.time(0), dt.time(9, 30), dt.time(23, 59, 59)]


@dataclass(frozen=True)
class Side:
    """The same three models, on one side."""

    orders: Callable[[], Any]
    groups: Callable[[], Any]
    rows: Callable[[], Any]


DATABASE = Side(DbOrder.objects.all, DbGroup.objects.all, DbRow.objects.all)
ERPNEXT = Side(
    lambda: ErpOrder.objects.as_service(),
    lambda: ErpGroup.objects.as_service(),
    lambda: ErpRow.objects.as_service(),
)


def _field(fieldname: str, fieldtype: str, **options: Any) -> dict[str, Any]:
    return {"fieldname": fieldname, "label": fieldname.title(), "fieldtype": fieldtype, **options}


GROUP = {"fieldtype": "Link", "options": "Bridge Twin Group"}
DOCTYPES = {
    "Bridge Twin Group": [
        _field("label", "Data"),
        _field("rank", "Int"),
        _field("since", "Date"),
        _field("above", **GROUP),
    ],
    "Bridge Twin Row": [
        _field("item", **GROUP),
        _field("qty", "Float"),
        _field("rate", "Currency"),
        _field("note", "Data"),
    ],
    "Bridge Twin Order": [
        *twins.DOCTYPE["fields"],
        _field("start", "Time"),
        _field("due", "Date"),
        _field("group", **GROUP),
        _field("rows", "Table", options="Bridge Twin Row"),
    ],
}


def make(rng: random.Random, orders: int = 60) -> None:
    """Fill the database."""
    names = [f"G{number}" for number in range(8)]
    DbGroup.objects.bulk_create(
        DbGroup(
            name=name,
            label=rng.choice([None, "", "red", "blue", "50% off"]),
            rank=rng.randint(-2, 3),
            since=rng.choice([None, *twins.DAYS]),
            above_id=rng.choice([None, *names[:position]]),
        )
        for position, name in enumerate(names)
    )
    made = []
    for number in range(orders):
        order = DbOrder(
            name=f"O{number:03}",
            start=rng.choice([None, *TIMES]),
            due=rng.choice([None, *twins.DAYS]),
            group_id=rng.choice([None, *names]),
        )
        for column in twins.COLUMNS:
            setattr(order, column, getattr(twins.make_rows(rng, 1)[0], column))
        made.append(order)
    DbOrder.objects.bulk_create(made)
    DbRow.objects.bulk_create(
        DbRow(
            name=f"{order.name}-{idx}",
            parent=order,
            idx=idx,
            item_id=rng.choice([None, *names]),
            qty=rng.choice([0, 1, 2.5, 10]),
            rate=rng.choice([Decimal(0), Decimal("1.25"), Decimal("99.9")]),
            note=rng.choice([None, "", "x", "long note"]),
        )
        for order in made
        for idx in range(1, rng.choice([0, 1, 2, 3]) + 1)
    )


def world() -> World:
    """Return a site with the rows of the database."""
    doctypes = {
        name: {**twins.DOCTYPE, "name": name, "fields": fields, "istable": int(name.endswith("Row"))}
        for name, fields in DOCTYPES.items()
    }
    rows = {
        "Bridge Twin Group": [_wire(row, ErpGroup) for row in DbGroup.objects.all()],
        "Bridge Twin Order": [_wire(row, ErpOrder) for row in DbOrder.objects.all()],
        "Bridge Twin Row": [
            _wire(row, ErpRow)
            | {
                "parent": row.parent_id,
                "parenttype": "Bridge Twin Order",
                "parentfield": "rows",
                "idx": row.idx,
            }
            for row in DbRow.objects.all()
        ],
    }
    found = World.load({"doctypes": doctypes, "rows": rows})
    found.add_user(User("all@example.com", full_name="All", roles=["System Manager"], password="x"))
    return found


def _wire(row: Any, model: Any) -> dict[str, Any]:
    own = {field.name for field in row._meta.concrete_fields} - {"name", "idx", "parent"}
    return {"name": row.pk} | {
        name: values.to_wire(
            model._meta.get_field(name), getattr(row, row._meta.get_field(name).attname), ZONE
        )
        for name in own
    }


@contextmanager
def site(version: int, settings: Any, **options: Any) -> Iterator[Sandbox]:
    with Sandbox(version=version, world=world()) as found:
        key, secret = found.api_key("all@example.com")
        default = {"URL": found.url, "API_KEY": key, "API_SECRET": secret}
        settings.ERPNEXT_BRIDGE = {"SITES": {"default": default}, "TOKEN_KEYS": ["k" * 40], **options}
        yield found


def plain(found: Any) -> Any:
    """Return an answer as it can be compared: documents by name, numbers as they are equal, to 12 digits."""
    if isinstance(found, float | Decimal) and not isinstance(found, bool):
        return float(f"{float(found):.12g}")
    if isinstance(found, dict):
        return {key: plain(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return tuple(map(plain, found))
    return found.pk if hasattr(found, "pk") else found


# Random conditions

_POOLS: dict[str, list[Any]] = {
    "number": twins.NUMBERS,
    "title": twins.TEXTS,
    "code": twins.TEXTS,
    "flag": [True, False],
    "day": twins.DAYS,
    "due": twins.DAYS,
    "since": twins.DAYS,
    "moment": twins.MOMENTS,
    "amount": twins.AMOUNTS,
    "group": ["G0", "G1", "nobody"],
    "item": ["G0", "G1"],
    "start": TIMES,
    "qty": [0, 1, 2.5, 10],
    "note": ["", "x", "long note"],
    "rate": [0, Decimal("1.25")],
    "label": ["", "red", "blue", "50% off"],
    "rank": [-2, 0, 1, 3],
}
_COLUMNS = {
    "": ("number", "title", "code", "flag", "day", "moment", "amount", "group", "start", "due"),
    "group__": ("label", "rank", "since"),
    "group__above__": ("label", "rank", "since"),
    "rows__": ("qty", "note", "rate", "item"),
    "rows__item__": ("label", "rank", "since"),
}
_TEXTS = ("title", "code", "note", "label")
_DATES = ("day", "due", "since", "moment")


def random_q(rng: random.Random, depth: int = 2) -> Q:
    """Return a condition of nested AND, OR, XOR and NOT, over links and child rows."""
    if depth == 0 or rng.random() < 0.25:
        q = _condition(rng)
    else:
        q, other = random_q(rng, depth - 1), random_q(rng, depth - 1)
        join = rng.choice("&&||^")
        q = q & other if join == "&" else q | other if join == "|" else q ^ other
    return ~q if rng.random() < 0.25 else q


def _condition(rng: random.Random) -> Q:
    path = rng.choice(["", "", "", *_COLUMNS])
    column = rng.choice(_COLUMNS[path])
    pool, field = _POOLS[column], path + column
    kind = rng.choice(_kinds(path, column))
    values: dict[str, Callable[[], Any]] = {
        "isnull": lambda: rng.random() < 0.5,
        "in": lambda: rng.sample(pool, rng.randint(0, len(pool[:3]))),
        "range": lambda: tuple(sorted(rng.choices(pool, k=2))),
        "year": lambda: rng.choice([1999, 2024, 2025]),
        "month": lambda: rng.choice([2, 3, 7, 12]),
        "week_day": lambda: rng.choice([5, 6]),
    }
    if kind == "f":
        return Q(
            **{f"{field}__{rng.choice(['gt', 'lte', 'exact'])}": F(rng.choice(["number", "group__rank"]))}
        )
    if kind in ("icontains", "contains", "startswith", "regex"):
        text = rng.choice(pool)[:2]
        return Q(**{f"{field}__{kind}": re.escape(text) if kind == "regex" else text})
    return Q(**{f"{field}__{kind}": values.get(kind, lambda: rng.choice(pool))()})


def _kinds(path: str, column: str) -> list[str]:
    kinds = ["exact", "in", "isnull"]
    if column in _TEXTS:
        return [*kinds, "icontains", "contains", "startswith", "regex"]
    if column in ("flag", "group", "item"):
        return kinds
    kinds += ["gt", "lte", "range", *(("year", "month", "week_day") if column in _DATES else ())]
    return [*kinds, "f"] if column in ("number", "rank") and not path.startswith("rows") else kinds


def random_orders(side: Side, rng: random.Random) -> Any:
    """Return orders that pass one or two random conditions."""
    orders = side.orders()
    for _ in range(rng.randint(1, 2)):
        orders = getattr(orders, rng.choice(["filter", "exclude"]))(random_q(rng))
    return orders
