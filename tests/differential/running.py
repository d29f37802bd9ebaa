"""One world: both sides are filled, cases are compared, and a case that differs is made small and told as code."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from django.conf import settings
from django.db import connection
from hypothesis import HealthCheck, Phase, Verbosity, given, seed
from hypothesis import settings as hypothesis_settings

from erpnext_bridge import values
from erpnext_bridge.access import open_site
from erpnext_bridge.client import FrappeClient
from erpnext_bridge.errors import ERPNextBridgeError, UnsupportedQuery
from erpnext_bridge.identity import Identity
from erpnext_bridge.sandbox import Sandbox
from tests.differential.comparing import answer, same
from tests.differential.querysets import Case, Starts, cases
from tests.differential.worlds import Sides, World, make_sides, make_world, wire_documents
from tests.own_doctypes import READER, OwnDocTypes, administrator, world_of

DIALECTS = ("v15", "v16")
PAGE_SIZES = (7, 25, 500)


# Failures


class Difference(Exception):
    """Both sides answered, and not the same."""

    def __init__(self, case: Case, site: str, expected: Any, found: Any) -> None:
        super().__init__(str(case))
        self.case, self.site, self.expected, self.found = case, site, expected, found


@dataclass
class Result:
    """What came of one world."""

    cases: int = 0
    compared: int = 0
    """Cases times sites."""
    refused: int = 0
    refusals: dict[str, int] = field(default_factory=dict)
    """Why, by the first words of the message."""
    failures: list[str] = field(default_factory=list)
    """Each as text: the smallest case that was found, with its documents."""


# Sides


@contextmanager
def tables_of(sides: Sides, rows: Mapping[str, list[Any]]) -> Iterator[None]:
    """Make the tables, with rows in them: key → instances."""
    connection.disable_constraint_checking()
    with connection.schema_editor() as editor:
        for table in sides.tables.values():
            editor.create_model(table)
    try:
        for key, table in sides.tables.items():
            table._base_manager.bulk_create(rows[key])
        yield
    finally:
        with connection.schema_editor() as editor:
            for table in reversed(sides.tables.values()):
                editor.delete_model(table)


def rows_of(sides: Sides) -> dict[str, list[Any]]:
    """Return the database's rows, as the world has its documents."""
    found: dict[str, list[Any]] = {key: [] for key in sides.tables}
    for document in sides.world.documents:
        found[document["key"]].append(_instance(sides.tables[document["key"]], document))
        for idx, row in enumerate(document.get("rows", ()), 1):
            place = {"name": f"{document['name']}-rows-{idx}", "idx": idx, "parent": document["name"]}
            found["Row"].append(_instance(sides.tables["Row"], {**row, **place}))
    return found


def _instance(table: Any, document: Mapping[str, Any]) -> Any:
    given_values = {f.attname: document[f.name] for f in table._meta.concrete_fields if f.name in document}
    return table(**given_values)


def rows_at(client: FrappeClient, sides: Sides) -> dict[str, list[Any]]:
    """
    Return the database's rows, as a real site stores the documents.

    It names the child rows, dates all of them, and strips blanks: what is compared is what is read, not what is written.
    """
    zone = open_site(Identity.service("real")).facts.time_zone
    found: dict[str, list[Any]] = {}
    for key, table in sides.tables.items():
        model = sides.documents[key]
        parent = sides.documents["Order"].doctype if key == "Row" else None
        raw = client.list(model.doctype, fields=["*"], order_by="name asc", parent=parent)
        columns = {f.column: f for f in model._meta.concrete_fields}
        fields = [f for f in table._meta.concrete_fields if f.column in columns]
        found[key] = [
            table(**{f.attname: values.decoder(columns[f.column], zone)(row.get(f.column)) for f in fields})
            for row in raw
        ]
    return found


@contextmanager
def sandboxes_of(sides: Sides, dialects: tuple[str, ...], page_size: int) -> Iterator[None]:
    """Start a sandbox for each dialect, as the site of its name."""
    documents = wire_documents(sides)
    content = world_of(sides.world.definitions(), documents)
    with ExitStack() as stack:
        sites = {}
        for dialect in dialects:
            sandbox = stack.enter_context(Sandbox(version=int(dialect.removeprefix("v")), world=content))
            key, secret = sandbox.api_key(READER)
            sites[dialect] = {"URL": sandbox.url, "API_KEY": key, "API_SECRET": secret}
            sites[dialect] |= {"VERSION": sandbox.version, "TIME_ZONE": content.time_zone}
        settings.ERPNEXT_BRIDGE = {"SITES": sites, "PAGE_SIZE": page_size}
        yield


@contextmanager
def real_site_of(client: FrappeClient, sides: Sides, page_size: int) -> Iterator[dict[str, list[Any]]]:
    """Make the DocTypes at a real site and fill them; yield what it stored, and remove all of it again."""
    credentials: Any = client.credentials
    site = {"URL": client.url, "API_KEY": credentials.key, "API_SECRET": credentials.secret}
    settings.ERPNEXT_BRIDGE = {"SITES": {"real": site}, "PAGE_SIZE": page_size}
    own = OwnDocTypes(client, sides.world.definitions())
    own.remove()
    try:
        own.make()
        own.fill([_without_stamps(document) for document in wire_documents(sides)])
        yield rows_at(client, sides)
    finally:
        try:
            own.remove()
        except (RuntimeError, ERPNextBridgeError) as error:
            # What was compared is worth more than a clean site; the next run begins by removing.
            print(f"differential: not all removed from {client.url}: {error}", file=sys.stderr)


def _without_stamps(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a client may write."""
    kept = {
        name: value for name, value in document.items() if name not in ("creation", "modified", "docstatus")
    }
    return kept | ({"rows": list(map(_without_stamps, kept["rows"]))} if "rows" in kept else {})


def database(sides: Sides) -> Starts:
    return lambda key: sides.tables[key]._base_manager.all()


def erpnext(sides: Sides, site: str) -> Starts:
    return lambda key: sides.documents[key].objects.as_service(site=site)


# Comparing


def run(number: int, examples: int, seed: int) -> Result:
    """Run one world in this process."""
    seed_text = f"{seed}/{number}"
    client = administrator()
    if client is None:
        return run_on_sandboxes(make_world(seed_text, f"Diff {number}"), examples, seed_text)
    world = make_world(seed_text, f"Bridge Differential {number}")
    return run_on_real_site(client, world, examples, seed_text)


def run_on_sandboxes(world: World, examples: int, seed_text: str) -> Result:
    sides = make_sides(world)
    page_size = random.Random(seed_text).choice(PAGE_SIZES)
    with tables_of(sides, rows_of(sides)), sandboxes_of(sides, DIALECTS, page_size):
        result, difference = explore(sides, DIALECTS, examples, seed_text)
    if difference is not None:
        small = reduce_documents(world, lambda fewer: _differs(fewer, difference, page_size))
        result.failures.append(tell(small, difference, page_size, seed_text))
    return result


def run_on_real_site(client: FrappeClient, world: World, examples: int, seed_text: str) -> Result:
    sides = make_sides(world)
    page_size = random.Random(seed_text).choice(PAGE_SIZES[1:])
    with real_site_of(client, sides, page_size) as rows, tables_of(sides, rows):
        result, difference = explore(sides, ("real",), examples, seed_text)
    if difference is not None:
        result.failures.append(tell(world, difference, page_size, seed_text))
    return result


def explore(
    sides: Sides, sites: tuple[str, ...], examples: int, seed_text: str
) -> tuple[Result, Difference | None]:
    """Compare so many random cases; the first one that differs ends it, and comes back as small as it could be made."""
    result, failed = Result(), False

    @seed(seed_text)
    @hypothesis_settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
        report_multiple_bugs=False,
        print_blob=False,
    )
    @given(cases(sides.world))
    def check(case: Case) -> None:
        nonlocal failed
        try:
            compare(case, sides, sites, Result() if failed else result)
        except Difference:
            failed = True
            raise

    try:
        check()
    except Difference as difference:
        return result, difference
    return result, None


def compare(case: Case, sides: Sides, sites: tuple[str, ...], result: Result) -> None:
    """Read a case on both sides. Difference when they disagree; a refusal is counted."""
    # No document comes twice from ERPNext; from a database it does, once for each child row that matches.
    expected = answer(case, database(sides), sides.fields, once=True)
    result.cases += 1
    for site in sites:
        result.compared += 1
        try:
            found = answer(case, erpnext(sides, site), sides.fields)
        except UnsupportedQuery as refusal:
            result.refused += 1
            reason = " ".join(re.sub(r"'[^']*'", "…", str(refusal)).split()[:9])
            result.refusals[reason] = result.refusals.get(reason, 0) + 1
            continue
        except Exception as error:
            raise Difference(case, site, expected, f"{type(error).__name__}: {error}") from error
        if not same(found, expected):
            raise Difference(case, site, expected, found)


# Reducing


def reduce_documents(world: World, fails: Callable[[World], bool]) -> World:
    """Leave out documents and child rows as long as the world still fails (delta debugging)."""
    for part in (_documents_as_units, _rows_as_units):
        units, build = part(world)
        size = max(1, len(units) // 2)
        while size:
            position = 0
            while position < len(units):
                fewer = units[:position] + units[position + size :]
                candidate = build(fewer)
                if fails(candidate):
                    units, world = fewer, candidate
                else:
                    position += size
            size //= 2
    return world


def _documents_as_units(world: World) -> tuple[list[Any], Any]:
    return list(world.documents), lambda kept: replace(world, documents=_whole(world, kept))


def _whole(world: World, documents: list[Any]) -> tuple[dict[str, Any], ...]:
    """Return the documents without links to those that were left out."""
    names = {each["name"] for each in documents}
    links = {name for shape in world.shapes.values() for name in (*shape.links, *shape.names)}

    def whole(values: dict[str, Any]) -> dict[str, Any]:
        return {
            name: None if name in links and value not in names else value for name, value in values.items()
        }

    return tuple(
        {**whole(each), "rows": list(map(whole, each["rows"]))} if "rows" in each else whole(each)
        for each in documents
    )


def _rows_as_units(world: World) -> tuple[list[Any], Any]:
    units = [(number, row) for number, each in enumerate(world.documents) for row in each.get("rows", ())]

    def build(kept: list[Any]) -> World:
        documents = tuple(
            {**each, "rows": [row for at, row in kept if at == number]} if "rows" in each else each
            for number, each in enumerate(world.documents)
        )
        return replace(world, documents=documents)

    return units, build


def _differs(world: World, difference: Difference, page_size: int) -> bool:
    sides, site = make_sides(world), difference.site
    with tables_of(sides, rows_of(sides)), sandboxes_of(sides, (site,), page_size):
        try:
            compare(difference.case, sides, (site,), Result())
        except Difference as smaller:
            difference.expected, difference.found = smaller.expected, smaller.found
            return True
    return False


def tell(world: World, difference: Difference, page_size: int, seed_text: str) -> str:
    """Return a failure as code: the classes, the documents, the queryset, and what each side answered."""
    case = difference.case
    return "\n".join(
        [
            f"# {difference.site} answers otherwise than the database (world {seed_text}, PAGE_SIZE {page_size})",
            *(shape.code() for shape in world.shapes.values()),
            "documents = [",
            *(f"    {shown}," for shown in (_shown(each, str(case)) for each in world.documents)),
            "]",
            str(case),
            f"# the database: {difference.expected!r}",
            f"# ERPNext:      {difference.found!r}",
        ]
    )


def _shown(document: Mapping[str, Any], code: str) -> dict[str, Any]:
    """Return of a document what the case names."""
    words = set(re.findall(r"\w+?(?=__|\b)", code)) | set(re.findall(r"\w+", code)) | {"key", "name"}
    shown = {name: value for name, value in document.items() if name in words}
    if document.get("rows"):
        shown["rows"] = [
            {name: value for name, value in row.items() if name in words} for row in document["rows"]
        ]
    return shown
