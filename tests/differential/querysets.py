"""
Random querysets as values: they are made by hypothesis, applied to either side, and printed as code.

A case starts at one of a world's classes, goes through `filter`, `exclude`, `order_by` and slices, and ends with what
is read: rows, values, a count, an aggregate, …
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Avg, Count, F, Max, Min, Q, Sum
from hypothesis import strategies as st

from tests.differential.worlds import MOMENTS, World, kind_of

Models = dict[str, Any]
"""Key → class, of one side."""

# Conditions


@dataclass(frozen=True)
class Test:
    """One lookup."""

    path: str
    lookup: str
    value: Any

    def q(self, start: Starts) -> Q:
        value = self.value
        if isinstance(value, Inner):
            value = value.queryset(start)
        elif isinstance(value, Column):
            value = F(value.path)
        return Q(**{f"{self.path}__{self.lookup}": value})

    def __str__(self) -> str:
        return f"Q({self.path}__{self.lookup}={self.value!r})"


@dataclass(frozen=True)
class Column:
    """Another column of the same row on the right side: F()."""

    path: str

    def __repr__(self) -> str:
        return f"F({self.path!r})"


@dataclass(frozen=True)
class Joined:
    """Two conditions joined by `&`, `|` or `^`."""

    operator: str
    left: Condition
    right: Condition

    def q(self, start: Starts) -> Q:
        left, right = self.left.q(start), self.right.q(start)
        return {"&": left & right, "|": left | right, "^": left ^ right}[self.operator]

    def __str__(self) -> str:
        return f"({self.left} {self.operator} {self.right})"


@dataclass(frozen=True)
class Negated:
    condition: Condition

    def q(self, start: Starts) -> Q:
        return ~self.condition.q(start)

    def __str__(self) -> str:
        return f"~{self.condition}"


Condition = Test | Joined | Negated
Starts = Callable[[str], Any]
"""Key → the queryset of all documents of one side."""


@dataclass(frozen=True)
class Inner:
    """A queryset on the right side of `__in`."""

    key: str
    column: str
    condition: Condition

    def queryset(self, start: Starts) -> Any:
        return start(self.key).filter(self.condition.q(start)).values(self.column)

    def __repr__(self) -> str:
        return f"{self.key}.objects.filter({self.condition}).values({self.column!r})"


# Cases


@dataclass(frozen=True)
class Case:
    """One queryset and what is read of it."""

    key: str
    steps: tuple[tuple[str, Condition], ...]
    """("filter" or "exclude", condition)."""
    ordering: tuple[str, ...]
    reverse: bool
    slice: tuple[int | None, int | None] | None
    ending: str
    """A key of `ENDINGS`."""
    columns: tuple[str, ...] = ()
    aggregates: tuple[tuple[str, str], ...] = ()
    """(function, column)."""
    argument: Any = field(default=None)

    @property
    def sorts(self) -> bool:
        """Whether the order of the rows is that of the queryset alone."""
        return any(key.lstrip("-") in ("name", "pk") for key in self.ordering)

    def queryset(self, start: Starts, *, once: bool = False) -> Any:
        """Return the queryset of one side; `once` leaves out a row's repetitions, which a join of many rows makes."""
        queryset = start(self.key)
        for method, condition in self.steps:
            queryset = getattr(queryset, method)(condition.q(start))
        # An aggregate over related rows is of those that the same join has let pass.
        if self.steps and once and self.ending != "annotate":
            queryset = start(self.key).filter(pk__in=queryset.order_by().values("pk"))
        if self.ordering:
            queryset = queryset.order_by(*self.ordering)
        if self.reverse:
            queryset = queryset.reverse()
        if self.slice is not None:
            queryset = queryset[slice(*self.slice)]
        return queryset

    def __str__(self) -> str:
        parts = [f"{self.key}.objects"]
        parts += [f".{method}({condition})" for method, condition in self.steps]
        if self.ordering:
            parts.append(f".order_by({', '.join(map(repr, self.ordering))})")
        if self.reverse:
            parts.append(".reverse()")
        if self.slice is not None:
            start, stop = ("" if bound is None else bound for bound in self.slice)
            parts.append(f"[{start}:{stop}]")
        return "".join(parts) + self._ending()

    def _aliases(self) -> list[str]:
        return [f"{function.lower()}_{column}" for function, column in self.aggregates]

    def _ending(self) -> str:
        columns = ", ".join(map(repr, self.columns))
        aggregates = ", ".join(
            f"{function.lower()}_{column}={function}({column!r})" for function, column in self.aggregates
        )
        return {
            "values": f".values({columns})",
            "values_list": f".values_list({columns})",
            "flat": f".values_list({columns}, flat=True)",
            "only": f".only({columns})",
            "distinct": f".values_list({columns}).distinct()",
            "aggregate": f".aggregate({aggregates})",
            "group": f".values({columns}).annotate({aggregates}).order_by()",
            "earliest": f".earliest({columns})",
            "latest": f".latest({columns})",
            "annotate": f".annotate({aggregates})"
            + ("" if self.argument is None else f".filter({self._aliases()[0]}__gt={self.argument})"),
            "dates": f".dates({columns}, {self.argument!r})",
            "in_bulk": f".in_bulk({self.argument!r})",
            "get": f".get(pk={self.argument!r})",
            "item": f"[{self.argument}]",
            "step": f"[::{self.argument}]",
            "related": ".select_related(<links>)",
        }.get(self.ending, f".{self.ending}()")


FUNCTIONS = {"Count": Count, "Sum": Sum, "Avg": Avg, "Min": Min, "Max": Max}

# Strategies

ORDERED = ("gt", "gte", "lt", "lte")
SEARCHES = ("contains", "icontains", "startswith", "istartswith", "endswith", "iendswith")
PARTS = ("month", "day", "week_day", "quarter", "iso_year")
LOOKUPS = {
    "text": ("exact", "iexact", "in", "range", "isnull", *SEARCHES, *ORDERED),
    "link": ("exact", "in", "isnull", "icontains", "startswith"),
    "number": ("exact", "in", "range", "isnull", *ORDERED),
    "flag": ("exact", "in", "isnull"),
    "date": ("exact", "in", "range", "isnull", *ORDERED, "year", "year__gte", "year__lt", *PARTS),
    "moment": (
        "exact",
        "in",
        "range",
        "isnull",
        *ORDERED,
        "year",
        "date",
        "date__gte",
        "date__lt",
        "hour",
        "minute",
        *PARTS,
    ),
    "clock": ("exact", "in", "range", "isnull", *ORDERED),
}
"""Group → lookups."""

_PART_OF: dict[str, Callable[[Any], Any]] = {
    "year": lambda each: each.year,
    "iso_year": lambda each: each.isocalendar().year,
    "month": lambda each: each.month,
    "day": lambda each: each.day,
    "week_day": lambda each: each.isoweekday() % 7 + 1,
    "quarter": lambda each: (each.month + 2) // 3,
    "date": lambda each: each.date(),
    "hour": lambda each: each.hour,
    "minute": lambda each: each.minute,
}


class Paths:
    """The columns that a class's querysets reach, each with its group of lookups and the values found in it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.names = {
            key: [each["name"] for each in world.documents if each["key"] == key]
            for key in ("Area", "Party", "Order")
        }
        self.own = {key: list(self._own(key)) for key in world.shapes}
        self.linked = {
            key: [
                f"{link}__{name}"
                for link, target in shape.links.items()
                if target != key
                for name, group, _ in self.own[target]
                if group != "link"
            ]
            for key, shape in world.shapes.items()
        }
        self.all = {key: self.own[key] + self._linked(key) for key in world.shapes}

    def _own(self, key: str) -> Any:
        shape = self.world.shapes[key]
        for name in shape.fieldnames:
            kind = kind_of(name)
            yield name, kind.group, kind.pool
        for name, target in {**shape.links, **shape.names}.items():
            yield name, "link", [*self.names[target][:6], "gone"]
        if key != "Row":
            yield "name", "text", [*self.names[key][:8], "a", "%", "nobody"]
            yield "modified", "moment", MOMENTS
        yield "docstatus", "number", [0, 1, 2]

    def _linked(self, key: str) -> list[Any]:
        reached = {
            "Area": [("partys_of_area", "Party")],
            "Party": [("area", "Area"), ("orders_of_party", "Order")],
            "Order": [
                ("party", "Party"),
                ("party__area", "Area"),
                ("before", "Order"),
                ("rows", "Row"),
                ("rows", "Row"),
            ],
            "Row": [("party", "Party"), ("parent", "Order")],
        }[key]
        return [
            (f"{path}__{name}", group, pool)
            for path, target in reached
            for name, group, pool in self.own[target]
        ]


def cases(world: World) -> st.SearchStrategy[Case]:
    """Return the strategy of a world's cases."""
    paths = Paths(world)

    @st.composite
    def case(draw: Any) -> Case:
        key = draw(st.sampled_from(("Order", "Order", "Order", "Party", "Area", "Row")))
        steps = tuple(
            (draw(st.sampled_from(("filter", "filter", "exclude"))), draw(_conditions(paths, key)))
            for _ in range(draw(st.integers(0, 2)))
        )
        ordering = draw(_orderings(paths, key))
        ending = draw(st.sampled_from(_WEIGHTED))
        if ending == "annotate":
            # Two joins of the same rows would multiply what is counted.
            steps = steps[:1]
        sliced = ending in _SLICED and draw(st.booleans())
        slice_ = (draw(st.integers(0, 6)), draw(st.integers(3, 14))) if sliced else None
        return Case(
            key,
            steps,
            ordering,
            draw(st.booleans()) if ordering else False,
            slice_,
            ending,
            **_details(draw, paths, key, ending),
        )

    return case()


_SLICED = frozenset({"all", "values", "values_list", "flat", "only", "count", "exists", "related"})

_WEIGHTED = [
    ending
    for ending, weight in {
        "all": 8, "values": 2, "values_list": 2, "flat": 2, "only": 1, "count": 4, "exists": 3, "first": 1, "last": 1,
        "earliest": 1, "latest": 1, "iterator": 2, "related": 2, "in_bulk": 1, "get": 1, "item": 1, "step": 1,
        "distinct": 1, "aggregate": 2, "group": 2, "dates": 1, "annotate": 2,
    }.items()
    for _ in range(weight)
]  # fmt: skip


def _conditions(paths: Paths, key: str) -> st.SearchStrategy[Condition]:
    return st.recursive(
        _tests(paths, key),
        lambda inner: st.builds(Joined, st.sampled_from("&&&|||^"), inner, inner) | st.builds(Negated, inner),
        max_leaves=4,
    )


@st.composite
def _tests(draw: Any, paths: Paths, key: str, *, inner: bool = True) -> Test:
    if inner and draw(st.integers(0, 19)) == 0:
        return draw(_inner_tests(paths, key))
    own = draw(st.integers(0, 2)) > 0
    path, group, pool = draw(st.sampled_from(paths.own[key] if own else paths.all[key]))
    others = [other for other, its, _ in paths.own[key] if its == group and other != path]
    if own and others and group in ("text", "number", "date") and draw(st.integers(0, 14)) == 0:
        return Test(path, draw(st.sampled_from(("exact", *ORDERED))), Column(draw(st.sampled_from(others))))
    lookup = draw(st.sampled_from(LOOKUPS[group]))
    return Test(path, lookup, draw(_arguments(lookup, pool)))


@st.composite
def _inner_tests(draw: Any, paths: Paths, key: str) -> Test:
    other, column = draw(
        st.sampled_from(
            {
                "Order": [("Row", "parent"), ("Order", "before"), ("Order", "name")],
                "Party": [("Order", "party"), ("Row", "party"), ("Order", "third")],
                "Area": [("Party", "area")],
                "Row": [("Row", "name")],
            }[key]
        )
    )
    return Test("pk", "in", Inner(other, column, draw(_tests(paths, other, inner=False))))


def _arguments(lookup: str, pool: list[Any]) -> st.SearchStrategy[Any]:
    value = st.sampled_from(pool)
    if lookup == "isnull":
        return st.booleans()
    if lookup == "in":
        return st.lists(value, max_size=3)
    if lookup == "range":
        return st.tuples(value, value).map(lambda pair: tuple(sorted(pair)))
    if (part := lookup.partition("__")[0]) in _PART_OF:
        return value.map(_PART_OF[part])
    if lookup in SEARCHES:
        return _pieces(value)
    return value


@st.composite
def _pieces(draw: Any, texts: st.SearchStrategy[str]) -> str:
    text = draw(texts)
    start = draw(st.integers(0, max(0, len(text) - 1)))
    return text[start : start + draw(st.integers(1, 5))]


@st.composite
def _orderings(draw: Any, paths: Paths, key: str) -> tuple[str, ...]:
    names = [path for path, group, _ in paths.own[key] if group != "link"]
    names += paths.linked[key][:3]
    chosen = draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
    chosen += draw(st.sampled_from(([], ["name"], ["name"], ["pk"]))) if "name" not in chosen else []
    return tuple(draw(st.sampled_from(("", "-"))) + name for name in chosen)


def _details(draw: Any, paths: Paths, key: str, ending: str) -> dict[str, Any]:
    own = [path for path, _, _ in paths.own[key]]
    if ending in ("values", "values_list", "only", "distinct"):
        reach = own if ending == "only" else own + paths.linked[key]
        columns = draw(st.lists(st.sampled_from(reach), min_size=1, max_size=3, unique=True))
        return {"columns": tuple(columns)}
    if ending == "flat":
        return {"columns": (draw(st.sampled_from(own)),)}
    if ending in ("earliest", "latest"):
        return {"columns": (draw(st.sampled_from(own)), "name")}
    if ending == "in_bulk":
        names = paths.names.get(key) or ["nobody"]
        return {"argument": draw(st.lists(st.sampled_from(names), max_size=4, unique=True))}
    if ending == "get":
        return {"argument": draw(st.sampled_from([*(paths.names.get(key) or ()), "nobody"]))}
    if ending in ("item", "step"):
        return {"argument": draw(st.integers(1 if ending == "step" else 0, 5))}
    return _numbers(draw, paths, key, ending)


def _numbers(draw: Any, paths: Paths, key: str, ending: str) -> dict[str, Any]:
    groups: dict[str, list[str]] = {}
    for path, group, _ in paths.own[key]:
        groups.setdefault(group, []).append(path)
    if ending == "dates":
        columns = groups.get("date") or ["creation"]
        return {
            "columns": (draw(st.sampled_from(columns)),),
            "argument": draw(st.sampled_from(("year", "month", "day"))),
        }
    if ending == "annotate":
        many = {"Order": "rows", "Party": "orders_of_party", "Area": "partys_of_area", "Row": "parent"}[key]
        target = {"Order": "Row", "Party": "Order", "Area": "Party", "Row": "Order"}[key]
        numbers = [name for name, group, _ in paths.own[target] if group == "number"]
        pairs = [
            ("Count", many),
            *((name, f"{many}__{number}") for name in ("Sum", "Max") for number in numbers),
        ]
        return {
            "aggregates": (draw(st.sampled_from(pairs)),),
            "argument": draw(st.sampled_from((None, 0, 1, 2))),
        }
    if ending not in ("aggregate", "group"):
        return {}
    pairs = [("Count", path) for path, _, _ in paths.own[key]]
    pairs += [(function, path) for function in ("Sum", "Avg") for path in groups["number"]]
    comparable = [*groups["number"], *groups.get("date", []), *groups.get("moment", [])]
    pairs += [(function, path) for function in ("Min", "Max") for path in comparable]
    aggregates = tuple(draw(st.lists(st.sampled_from(pairs), min_size=1, max_size=2, unique=True)))
    if ending == "aggregate":
        return {"aggregates": aggregates}
    plain = [path for path, group, _ in paths.own[key] if path != "name"]
    columns = draw(st.lists(st.sampled_from(plain), min_size=1, max_size=2, unique=True))
    return {"columns": tuple(columns), "aggregates": aggregates}
