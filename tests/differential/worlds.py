"""
Random models with random rows: as classes of the database, as documents, as DocTypes and as what a site is filled with.

A world has three DocTypes and a child table. The first one links to the second, to itself and, as a text without a
model, to the second again; the second links to the third.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from django.apps.registry import Apps
from django.db import models

from erpnext_bridge import values
from erpnext_bridge.documents import ChildDocument, Document
from erpnext_bridge.fields import Currency, Link, LinkField, Percent
from tests.differential.backend.base import COLLATION

ZONE = ZoneInfo("America/New_York")

TEXTS = [
    "", "alpha", "Alpha", "ALPHÁ", "alpha ", " alpha", "beta 50%", "beta 50", "under_score", "underXscore", "back\\slash",
    "comma, text", "a,b", 'quo"te', "it's", "'", "%", "_", "\\", "\\%", "東京", "東京タワー", "München", "munchen", "Straße",
    "🎉 party", "🚀", "zeta", "0", "10", "null", "None", "true", "[]", "{}", "a" * 60, "x\ty", "line\nbreak", "Ωmega", "éclair",
]  # fmt: skip
CHOICES = ["", "Open", "Closed", "50% off", "To Deliver, and Bill"]
INTEGERS = [-2_147_483_647, -5, -1, 0, 1, 2, 7, 10, 100, 2_000_000, 2_147_483_647]
DECIMALS = [
    Decimal(text)
    for text in ("-12.345678", "-999999999.99", "0", "0.1", "0.000001", "1", "2.5", "100", "99.99", "123456789012.5")
]  # fmt: skip
DAYS = [
    dt.date(2024, 2, 29),
    dt.date(2024, 3, 1),
    dt.date(1999, 12, 31),
    dt.date(2024, 12, 30),
    dt.date(2026, 1, 1),
]
MOMENTS = [
    # Where New York's clocks go forward, and the hour that comes twice when they go back.
    dt.datetime(2024, 3, 10, 6, 59, 59, 999999, tzinfo=dt.UTC),
    dt.datetime(2024, 3, 10, 7, 0, tzinfo=dt.UTC),
    dt.datetime(2024, 11, 3, 4, 59, 59, tzinfo=dt.UTC),
    dt.datetime(2024, 11, 3, 5, 0, tzinfo=dt.UTC),
    dt.datetime(2024, 11, 3, 5, 30, tzinfo=dt.UTC),
    dt.datetime(2024, 11, 3, 7, 0, tzinfo=dt.UTC),
    dt.datetime(2024, 3, 1, 0, 0, tzinfo=dt.UTC),
    dt.datetime(2024, 3, 1, 12, 30, 15, 250000, tzinfo=dt.UTC),
    dt.datetime(2025, 7, 4, 23, 59, 59, 999999, tzinfo=dt.UTC),
    dt.datetime(2025, 7, 5, 2, 0, tzinfo=dt.UTC),
]
CLOCKS = [dt.time(0), dt.time(9, 5), dt.time(10, 20, 5, 250000), dt.time(23, 59, 59), dt.time(12, 0, 0, 1)]
SPANS = [
    dt.timedelta(0),
    dt.timedelta(seconds=90),
    dt.timedelta(hours=26, microseconds=500000),
    dt.timedelta(seconds=1),
]


@dataclass(frozen=True)
class Kind:
    """A type of field: how Frappe calls it, how Django declares it, and which values it is tried with."""

    fieldtype: str
    make: Callable[[], Any]
    pool: list[Any]
    group: str
    """Which lookups it knows: a key of `querysets.LOOKUPS`."""
    nullable: bool = False
    options: str | None = None


def _char(**options: Any) -> Any:
    return models.CharField(max_length=140, db_collation=COLLATION, **options)


def _text(**options: Any) -> Any:
    return models.TextField(db_collation=COLLATION, **options)


KINDS = {
    "title": Kind("Data", lambda: _char(null=True), TEXTS, "text", nullable=True),
    "code": Kind("Data", lambda: _char(default=""), TEXTS, "text"),
    "note": Kind("Small Text", lambda: _text(null=True), TEXTS, "text", nullable=True),
    "memo": Kind("Text", lambda: _text(default=""), TEXTS, "text"),
    "state": Kind("Select", lambda: _char(default=""), CHOICES, "text", options="\n".join(CHOICES)),
    "number": Kind("Int", lambda: models.IntegerField(default=0), INTEGERS, "number"),
    "flag": Kind("Check", lambda: models.BooleanField(default=False), [True, False], "flag"),
    "amount": Kind("Currency", Currency, DECIMALS, "number"),
    "share": Kind("Percent", Percent, DECIMALS, "number"),
    "ratio": Kind(
        "Float", lambda: models.FloatField(default=0), [float(each) for each in DECIMALS], "number"
    ),
    "day": Kind("Date", lambda: models.DateField(null=True), DAYS, "date", nullable=True),
    "moment": Kind("Datetime", lambda: models.DateTimeField(null=True), MOMENTS, "moment", nullable=True),
    "clock": Kind("Time", lambda: models.TimeField(null=True), CLOCKS, "clock", nullable=True),
    "span": Kind("Duration", lambda: models.DurationField(null=True), SPANS, "clock", nullable=True),
}
"""Fields are called after their kind, with a number: `title1`."""


def kind_of(fieldname: str) -> Kind:
    return KINDS[fieldname.rstrip("0123456789")]


@dataclass(frozen=True)
class Shape:
    """One DocType of a world."""

    key: str
    """Name in code: Order, Party, Area or Row."""
    doctype: str
    fieldnames: tuple[str, ...]
    links: dict[str, str] = field(default_factory=dict)
    """Link field → key of the DocType that it leads to."""
    names: dict[str, str] = field(default_factory=dict)
    """The same for links that are declared without a model."""
    table: str = ""
    """The Table field of Order, for the child table."""

    def definition(self, doctypes: dict[str, str]) -> dict[str, Any]:
        fields = [
            {"fieldname": name, "label": name.title(), "fieldtype": kind.fieldtype, "options": kind.options}
            for name in self.fieldnames
            for kind in [kind_of(name)]
        ]
        for name, target in {**self.links, **self.names}.items():
            fields.append(
                {"fieldname": name, "label": name.title(), "fieldtype": "Link", "options": doctypes[target]}
            )
        if self.key == "Order":
            fields.append(
                {"fieldname": "rows", "label": "Rows", "fieldtype": "Table", "options": doctypes["Row"]}
            )
        return {
            "name": self.doctype,
            "fields": fields,
            **({"istable": 1} if self.table else {"autoname": "prompt"}),
        }

    def code(self) -> str:
        """Return the class of the documents as it is printed with a failure."""
        fields = [f"    {name} = {kind_of(name).fieldtype}" for name in self.fieldnames]
        fields += [f"    {name} = Link({target})" for name, target in self.links.items()]
        fields += [f"    {name} = Link({target!r})" for name, target in self.names.items()]
        head = f"class {self.key}({'ChildDocument, parent=Order, fieldname=' + repr(self.table) if self.table else 'Document'}):"
        return "\n".join([head, *fields])


ORDER_OF_MAKING = ("Area", "Party", "Row", "Order")


@dataclass(frozen=True)
class World:
    """Shapes, and the documents that are in them: what `Sides` makes classes of."""

    number: int
    shapes: dict[str, Shape]
    documents: tuple[dict[str, Any], ...]
    """Python values by fieldname, with `key`, `name`, and child rows under `rows`."""

    @property
    def doctypes(self) -> dict[str, str]:
        return {key: shape.doctype for key, shape in self.shapes.items()}

    def definitions(self) -> list[dict[str, Any]]:
        return [self.shapes[key].definition(self.doctypes) for key in ORDER_OF_MAKING]

    def code(self) -> str:
        """Return the documents as they are printed with a failure."""
        return "\n".join(f"  {document}" for document in self.documents)


def make_world(seed: str, prefix: str, *, orders: int = 40) -> World:
    """
    Return the world of a seed; `prefix` begins the names of its DocTypes.

    No link leads nowhere: Django takes foreign keys for whole, and its joins do not agree about those that are not.
    """
    rng = random.Random(seed)
    shapes = {
        "Area": Shape("Area", f"{prefix} Area", _fieldnames(rng, 2)),
        "Party": Shape("Party", f"{prefix} Party", _fieldnames(rng, 4), {"area": "Area"}),
        "Row": Shape("Row", f"{prefix} Row", _fieldnames(rng, 3), {"party": "Party"}, table="rows"),
        "Order": Shape(
            "Order",
            f"{prefix} Order",
            _fieldnames(rng, rng.randint(5, 9)),
            {"party": "Party", "before": "Order"},
            {"third": "Party"},
        ),
    }
    return World(0, shapes, tuple(_documents(rng, shapes, orders)))


def _fieldnames(rng: random.Random, count: int) -> tuple[str, ...]:
    kinds = rng.choices(list(KINDS), k=count)
    return tuple(dict.fromkeys(f"{kind}{rng.choice(['', '1', '2'])}" for kind in kinds))


def _documents(rng: random.Random, shapes: dict[str, Shape], orders: int) -> Iterator[dict[str, Any]]:
    names: dict[str, list[str]] = {}
    for key, count in {"Area": 5, "Party": 12, "Order": orders}.items():
        names[key] = []
        for number in range(count):
            document = {"key": key, "name": _name(rng, key, number)}
            document |= _values(rng, shapes[key], names) | (stamps := _stamps(rng))
            if key == "Order":
                count_of_rows = rng.choice([0, 1, 1, 2, 3])
                document["rows"] = [_values(rng, shapes["Row"], names) | stamps for _ in range(count_of_rows)]
            names[key].append(document["name"])
            yield document


def _name(rng: random.Random, key: str, number: int) -> str:
    odd = rng.choice(["", "", "", "50% ", "a_", "東", "🎉", "it's ", "x, ", 'q"', "é", "back\\", "#&?"])
    return f"{key[0]}{odd}{number:02}"


def _stamps(rng: random.Random) -> dict[str, Any]:
    """Many documents share a `modified`, as after an import."""
    moments = [each + dt.timedelta(seconds=rng.choice([0, 0, 1])) for each in rng.choices(MOMENTS, k=2)]
    return {"creation": min(moments), "modified": max(moments), "docstatus": rng.choice([0, 0, 1, 2])}


def _values(rng: random.Random, shape: Shape, names: dict[str, list[str]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for fieldname in shape.fieldnames:
        kind = kind_of(fieldname)
        missing = kind.nullable and rng.random() < 0.25
        found[fieldname] = None if missing else rng.choice(kind.pool)
    for fieldname, target in {**shape.links, **shape.names}.items():
        found[fieldname] = rng.choice([None, *names.get(target, ())])
    return found


@dataclass(frozen=True)
class Sides:
    """A world's classes: the database's and ERPNext's, by the same keys."""

    world: World
    tables: dict[str, type[models.Model]]
    documents: dict[str, type[Document]]

    @cached_property
    def fields(self) -> dict[str, list[str]]:
        """Key → the columns that are compared, as attributes of an instance."""
        return {
            key: [
                f.attname for f in table._meta.concrete_fields if f.name not in ("parenttype", "parentfield")
            ]
            for key, table in self.tables.items()
        }


def make_sides(world: World) -> Sides:
    """Return the classes of a world, each side in a registry of its own."""
    registry, other = Apps(["tests.differential"]), Apps(["tests.differential"])
    tables: dict[str, Any] = {}
    documents: dict[str, Any] = {}
    for key in ("Area", "Party", "Order", "Row"):
        shape = world.shapes[key]
        tables[key] = _table(shape, tables, registry)
        documents[key] = _document(shape, documents, other)
    return Sides(world, tables, documents)


def _meta(registry: Apps, **options: Any) -> type:
    return type("Meta", (), {"app_label": "differential", "apps": registry, **options})


def _columns(shape: Shape, made: dict[str, Any]) -> dict[str, Any]:
    columns = {name: kind_of(name).make() for name in shape.fieldnames}
    for name, target in shape.links.items():
        to = made.get(target, "self")
        columns[name] = LinkField(to, related_name=f"{shape.key.lower()}s_of_{name}")
    for name, target in shape.names.items():
        columns[name] = Link(target, db_collation=COLLATION)
    return columns


def _table(shape: Shape, made: dict[str, Any], registry: Apps) -> Any:
    columns = {
        "name": models.CharField(max_length=140, primary_key=True, db_collation=COLLATION),
        "creation": models.DateTimeField(null=True),
        "modified": models.DateTimeField(null=True),
        "docstatus": models.IntegerField(default=0),
        "idx": models.IntegerField(default=0),
        **_columns(shape, made),
    }
    ordering = []
    if shape.table:
        columns["parent"] = LinkField(made["Order"], related_name=shape.table, db_column="parent", null=False)
        ordering = ["idx"]
    meta = _meta(registry, db_table=f"{shape.key}_{id(registry)}".lower(), ordering=ordering)
    return type(shape.key, (models.Model,), {"__module__": __name__, "Meta": meta, **columns})


def _document(shape: Shape, made: dict[str, Any], registry: Apps) -> Any:
    options: dict[str, Any] = {"doctype": shape.doctype}
    base: Any = Document
    meta = _meta(registry)
    if shape.table:
        base = ChildDocument
        options |= {"parent": made["Order"], "fieldname": shape.table}
        meta = _meta(registry, ordering=["idx"])
    attrs = {"__module__": __name__, "Meta": meta, **_columns(shape, made)}
    return type(base)(shape.key, (base,), attrs, **options)


def wire_documents(sides: Sides) -> list[dict[str, Any]]:
    """Return the documents as a site is filled with them."""
    return [
        {
            **_wire_values(sides.documents[document["key"]], document),
            **(
                {"rows": [_wire_values(sides.documents["Row"], row) for row in document["rows"]]}
                if "rows" in document
                else {}
            ),
        }
        for document in sides.world.documents
    ]


def _wire_values(model: Any, document: dict[str, Any]) -> dict[str, Any]:
    return {"doctype": model.doctype} | {
        f.column: _wire_value(f, document) for f in model._meta.concrete_fields if f.column in document
    }


def _wire_value(f: Any, document: dict[str, Any]) -> Any:
    value = document[f.column]
    wire = values.to_wire(f, value, ZONE)
    either = f.is_relation or getattr(f, "blank_is_null", False) or (not f.null and wire == "")
    if either and not wire:
        # Frappe stores NULL or '' where there is nothing, and a class without `null=True` takes both alike.
        return random.Random(f"{f.column} {document!r}").choice([None, ""])
    return (
        float(wire) if isinstance(wire, str) and isinstance(value, Decimal | float | dt.timedelta) else wire
    )
