"""
DocTypes of our own, with documents in them: as a world for the sandbox, or made at a real site and removed again.

Documents are dicts as `frappe.client.insert_many` takes them: `doctype`, `name`, values, and child rows as lists.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from erpnext_bridge.client import MAX_INSERT_MANY, FrappeClient
from erpnext_bridge.credentials import ApiKey
from erpnext_bridge.errors import DocumentDoesNotExist, TransientError, ValidationRefused
from erpnext_bridge.sandbox import User, World

PERMISSION = dict.fromkeys(("read", "write", "create", "delete", "report"), 1)
READER = "all@example.com"
"""Who may see everything in a world that is made here."""


def definition(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a DocType's definition with what every one of ours has: a System Manager may do all."""
    full = {"module": "Custom", "custom": 1, "track_changes": 0, "permissions": [], **raw}
    if not full.get("istable"):
        full["permissions"] = [{"role": "System Manager", "permlevel": 0, **PERMISSION}]
    return full


def world_of(
    doctypes: Iterable[Mapping[str, Any]],
    documents: Iterable[Mapping[str, Any]],
    time_zone: str = "America/New_York",
) -> World:
    """Return the world that has these documents and a user who may see all of them."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for doctype, row in _rows(documents):
        rows.setdefault(doctype, []).append(row)
    definitions = {raw["name"]: definition(raw) for raw in doctypes}
    world = World.load({"doctypes": definitions, "rows": rows, "time_zone": time_zone})
    world.add_user(User(READER, full_name="All", roles=["System Manager"], password="all-sandbox"))
    return world


def _rows(documents: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for document in documents:
        tables = {key: value for key, value in document.items() if isinstance(value, list)}
        own = {key: value for key, value in document.items() if key not in tables and key != "doctype"}
        yield document["doctype"], own
        for fieldname, children in tables.items():
            place = {
                "parent": document["name"],
                "parenttype": document["doctype"],
                "parentfield": fieldname,
            }
            for idx, child in enumerate(children, 1):
                row = {key: value for key, value in child.items() if key != "doctype"}
                name = f"{document['name']}-{fieldname}-{idx}"
                yield child["doctype"], {"name": name, "idx": idx, **row, **place}


def administrator() -> FrappeClient | None:
    """Return the client of ERPNEXT_URL with ERPNEXT_API_KEY and ERPNEXT_API_SECRET; None without a URL."""
    url = os.environ.get("ERPNEXT_URL", "")
    if not url:
        return None
    missing = [name for name in ("ERPNEXT_API_KEY", "ERPNEXT_API_SECRET") if not os.environ.get(name)]
    if missing:
        raise SystemExit(f"ERPNEXT_URL is set, but {missing[0]} is not: the key of an Administrator there.")
    credentials = ApiKey(os.environ["ERPNEXT_API_KEY"], os.environ["ERPNEXT_API_SECRET"])
    return FrappeClient(url, credentials, timeout=110)


class OwnDocTypes:
    """Makes DocTypes at a real site, fills them, and removes both: with an administrator's rights."""

    def __init__(self, client: FrappeClient, doctypes: Sequence[Mapping[str, Any]]) -> None:
        self.client = client
        self.doctypes = [definition(raw) for raw in doctypes]
        """In the order in which they can be made: those that are linked to come first."""

    def make(self) -> None:
        """Make the DocTypes that are not there yet."""
        for raw in self.doctypes:
            if not self.client.list("DocType", filters=[["name", "=", raw["name"]]]):
                self.client.create("DocType", raw)

    def fill(self, documents: Sequence[Mapping[str, Any]]) -> None:
        """Insert the documents that are not there yet, by their names."""
        for doctype in dict.fromkeys(document["doctype"] for document in documents):
            there = set(self.names(doctype))
            missing = [each for each in documents if each["doctype"] == doctype and each["name"] not in there]
            for start in range(0, len(missing), MAX_INSERT_MANY):
                self.client.insert_many(missing[start : start + MAX_INSERT_MANY])

    def names(self, doctype: str) -> list[str]:
        return [row["name"] for row in self.client.list(doctype, fields=["name"], order_by="name asc")]

    def remove(self) -> None:
        """
        Delete the documents, then the DocTypes: a DocType's table outlives it, and would keep its rows.

        RuntimeError, or what the site answered, when something stays.
        """
        for raw in reversed(self.doctypes):
            if not self.client.list("DocType", filters=[["name", "=", raw["name"]]]):
                continue
            if not raw.get("istable"):
                self._empty(raw["name"])
            self.client.delete("DocType", raw["name"])

    def _empty(self, doctype: str) -> None:
        """Delete all documents; one that others link to waits until they are gone."""

        def delete(name: str) -> None:
            with suppress(DocumentDoesNotExist, ValidationRefused, TransientError):
                self.client.delete(doctype, name)

        left = self.names(doctype)
        while left:
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(delete, reversed(left)))
            before, left = left, self.names(doctype)
            if len(left) == len(before):
                raise RuntimeError(f"{len(left)} documents of {doctype} cannot be deleted.")
