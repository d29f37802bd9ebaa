"""
What a site consists of, as the JSON that `sandbox.World.load` reads: DocTypes, and rows if asked.

No secret gets in: Password fields and those that are called like one are left out, rows of DocTypes that hold
credentials are refused, and users become user1@example.com, user2@example.com…
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from erpnext_bridge.client import FrappeClient

Payload = dict[str, Any]

BATCH = 100

TESTER = "tester@example.com"
"""A user of the world who has every role that its DocTypes know."""

SECRET = re.compile(
    r"(^|_)(api_?key|access_?key|private_?key|encryption_?key|secrets?|token|password|passwd|pwd|otp|credentials?)(_|$)",
    re.IGNORECASE,
)
"""Fieldnames whose values stay at the site, whatever their type: OAuth Client keeps its secret in a Data field."""

SECRET_MODULES = frozenset({"Core", "Email", "Integrations"})
"""Frappe's modules of users, log-ins, mail boxes, keys and logs."""

HARMLESS = frozenset({"Country", "Currency", "Note", "Tag", "Tag Link", "ToDo"})
"""DocTypes of Frappe itself that hold what people enter."""

STAMPS = frozenset(
    {"name", "doctype", "owner", "creation", "modified", "modified_by", "docstatus", "idx", "parent", "parentfield"}
    | {"parenttype", "migration_hash", "oldfieldname", "oldfieldtype"}
)  # fmt: skip
"""What differs between two sites with the same DocType, or says nothing."""

PEOPLE = ("owner", "modified_by")
NOBODY = frozenset({"Administrator", "Guest", "", None})
TABLES = ("Table", "Table MultiSelect")


class NotTaken(ValueError):
    """A snapshot that would hold secrets; the message tells which DocType it is."""


def take(client: FrappeClient, doctypes: Sequence[str], *, rows: int = 0, all_links: bool = False) -> Payload:
    """
    Return the world of these DocTypes: with the newest `rows` documents of each and all that those link to.

    `all_links` takes the DocTypes along that these link to. Raises NotTaken, and the client's errors.
    """
    taken = _Metadata(client)
    for doctype in doctypes:
        taken.add(doctype)
    if all_links:
        for doctype in sorted(taken.linked()):
            taken.add(doctype)
    found = _Rows(client, taken)
    if rows:
        found.take([taken.refuse_secrets(doctype) for doctype in doctypes], rows)
    return _world(client.time_zone(), taken.doctypes, found)


def as_json(world: Payload) -> str:
    """Return the text of a world; the same world has the same text."""
    text = json.dumps(world, indent=1, sort_keys=True, ensure_ascii=False, default=_number)
    return f"{text}\n"


def _number(value: Any) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} is not JSON.")


# DocTypes


@dataclass
class _Metadata:
    """DocTypes as the site's Desk sees them: with custom fields, changed properties and its own permissions."""

    client: FrappeClient
    doctypes: dict[str, Payload] = field(default_factory=dict)

    def add(self, doctype: str) -> None:
        """Take a DocType and its child tables, unless they are there."""
        if doctype in self.doctypes or is_frappes_own(doctype):
            return
        for meta in self.client.doctype(doctype)["docs"]:
            if meta.get("doctype") == "DocType":
                self.doctypes.setdefault(meta["name"], _doctype(meta))

    def linked(self) -> set[str]:
        return {
            one["options"]
            for meta in self.doctypes.values()
            for one in meta["fields"]
            if one["fieldtype"] == "Link"
        }

    def tables(self, doctype: str) -> Iterator[tuple[str, str]]:
        """Yield fieldname and DocType of each table."""
        for one in self.fields(doctype):
            if one["fieldtype"] in TABLES and one["options"] in self.doctypes:
                yield one["fieldname"], one["options"]

    def fields(self, doctype: str) -> list[Payload]:
        found: list[Payload] = self.doctypes.get(doctype, {}).get("fields", [])
        return found

    def has_rows(self, doctype: str) -> bool:
        """Tell whether rows of a DocType may be taken along, as the target of a link."""
        meta = self.doctypes.get(doctype)
        if meta is None:
            return doctype in HARMLESS
        return not (meta.get("istable") or meta.get("issingle") or self.holds_secrets(doctype))

    def holds_secrets(self, doctype: str) -> bool:
        module = self.doctypes.get(doctype, {}).get("module")
        return doctype not in HARMLESS and (is_frappes_own(doctype) or module in SECRET_MODULES)

    def refuse_secrets(self, doctype: str) -> str:
        if self.holds_secrets(doctype):
            raise NotTaken(
                f"Rows of {doctype} may hold credentials or logs. Take its DocType without --rows."
            )
        return doctype


def is_frappes_own(doctype: str) -> bool:
    """Tell whether the sandbox brings a DocType along that no world may replace."""
    from erpnext_bridge.sandbox.world import builtin_doctypes

    return doctype not in HARMLESS and any(doctype == known.name for known in builtin_doctypes(15))


def _doctype(meta: Payload) -> Payload:
    kept = {name: value for name, value in _told(meta) if value not in (None, "")}
    fields = [_field(one) for one in meta["fields"]]
    # A missing flag of a permission counts as 1: these are the defaults of DocPerm.
    permissions = [
        {name: value for name, value in _told(one) if value is not None} for one in meta["permissions"]
    ]
    return {**kept, "name": meta["name"], "fields": fields, "permissions": permissions}


def _field(raw: Payload) -> Payload:
    kept = {name: value for name, value in _told(raw) if value not in (None, "", 0)}
    if _is_secret(kept):
        kept.pop("default", None)
    return kept


def _told(raw: Payload) -> Iterator[tuple[str, Any]]:
    for name, value in raw.items():
        if not (name in STAMPS or name.startswith("_") or isinstance(value, list | dict)):
            yield name, value


def _is_secret(df: Payload) -> bool:
    return df["fieldtype"] == "Password" or SECRET.search(df["fieldname"]) is not None


# Rows


@dataclass
class _Rows:
    """Documents by DocType and name, and the single ones."""

    client: FrappeClient
    metadata: _Metadata
    rows: dict[str, dict[str, Payload]] = field(default_factory=dict)
    singles: dict[str, Payload] = field(default_factory=dict)
    asked: set[tuple[str, str]] = field(default_factory=set)

    def take(self, doctypes: Iterable[str], count: int) -> None:
        """Take the newest documents of each, and whatever they link to among the DocTypes of the snapshot."""
        for doctype in doctypes:
            if self.metadata.doctypes.get(doctype, {}).get("issingle"):
                self.singles[doctype] = self.public(doctype, self.client.read(doctype, doctype))
            elif not self.metadata.doctypes.get(doctype, {}).get("istable"):
                self.newest(doctype, count)
        while missing := self.missing():
            for doctype, names in missing.items():
                self.named(doctype, names)

    def newest(self, doctype: str, count: int) -> None:
        order = f"`tab{doctype}`.`creation` desc, `tab{doctype}`.`name` desc"
        self.keep(doctype, self.client.list(doctype, fields=["*"], order_by=order, limit_page_length=count))

    def named(self, doctype: str, names: Sequence[str]) -> None:
        self.asked.update((doctype, name) for name in names)
        for batch in _batches(names):
            self.keep(doctype, self.client.list(doctype, fields=["*"], filters=[["name", "in", batch]]))

    def keep(self, doctype: str, found: list[Payload]) -> None:
        kept = self.rows.setdefault(doctype, {})
        kept.update((str(row["name"]), self.public(doctype, row)) for row in found)
        for fieldname, child in self.metadata.tables(doctype):
            for batch in _batches([row["name"] for row in found]):
                self.keep_rows(child, doctype, fieldname, batch)

    def keep_rows(self, child: str, parenttype: str, fieldname: str, parents: list[Any]) -> None:
        place = {"parenttype": parenttype, "parentfield": fieldname}
        filters = [["parent", "in", parents], *([name, "=", value] for name, value in place.items())]
        found = self.client.list(child, fields=["*"], filters=filters, parent=parenttype)
        self.rows.setdefault(child, {}).update((str(row["name"]), self.public(child, row)) for row in found)

    def public(self, doctype: str, row: Payload) -> Payload:
        secret = {one["fieldname"] for one in self.metadata.fields(doctype) if _is_secret(one)}
        return {
            name: value
            for name, value in row.items()
            if not (name in secret or name.startswith("_") or name == "doctype" or SECRET.search(name))
        }

    def missing(self) -> dict[str, list[str]]:
        """Return the documents that are linked to and not there, where rows of their DocType may be taken."""
        wanted: dict[str, set[str]] = {}
        for doctype, row in self.all():
            for target, name in self.links(doctype, row):
                known = (target, name) in self.asked or name in self.rows.get(target, {})
                if not known and self.metadata.has_rows(target):
                    wanted.setdefault(target, set()).add(name)
        return {doctype: sorted(names) for doctype, names in sorted(wanted.items())}

    def links(self, doctype: str, row: Payload) -> Iterator[tuple[str, str]]:
        for one in self.metadata.fields(doctype):
            value = row.get(one["fieldname"])
            if value and one["fieldtype"] == "Link":
                yield one["options"], str(value)
            elif value and one["fieldtype"] == "Dynamic Link" and row.get(one["options"]):
                yield str(row[one["options"]]), str(value)

    def all(self) -> Iterator[tuple[str, Payload]]:
        for doctype, found in self.rows.items():
            for row in found.values():
                yield doctype, row
        yield from self.singles.items()


def _batches(names: Sequence[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(names), BATCH):
        yield list(names[start : start + BATCH])


# The world


def _world(time_zone: str, doctypes: dict[str, Payload], found: _Rows) -> Payload:
    people = _rename_people(found)
    roles = sorted(
        {rule["role"] for meta in doctypes.values() for rule in meta["permissions"]} - {"Guest", "All"}
    )
    tester = {"user": TESTER, "full_name": "Test User", "roles": roles}
    return {
        "doctypes": doctypes,
        "rows": {name: [rows[key] for key in sorted(rows)] for name, rows in found.rows.items()},
        "singles": found.singles,
        "series": _series(doctypes, found.rows),
        # The tester comes first, as who is meant when nobody is named.
        "users": {"0": tester} | {one: {"user": one, "full_name": one.partition("@")[0]} for one in people},
        "time_zone": time_zone,
    }


def _rename_people(found: _Rows) -> list[str]:
    """Give users other names, the same wherever one appears; return the new ones."""
    places = [(row, name) for doctype, row in found.all() for name in _people_fields(found.metadata, doctype)]
    people = sorted({row[name] for row, name in places if row.get(name) not in NOBODY})
    renamed = {user: f"user{number}@example.com" for number, user in enumerate(people, 1)}
    for row, name in places:
        if row.get(name) in renamed:
            row[name] = renamed[row[name]]
    return list(renamed.values())


def _people_fields(metadata: _Metadata, doctype: str) -> list[str]:
    links = [
        one for one in metadata.fields(doctype) if one["fieldtype"] == "Link" and one["options"] == "User"
    ]
    return [*PEOPLE, *(one["fieldname"] for one in links)]


def _series(doctypes: dict[str, Payload], rows: dict[str, dict[str, Payload]]) -> dict[str, int]:
    """Return how far each naming series has come, told from the names that it made."""
    counted: dict[str, int] = {}
    for doctype, found in rows.items():
        rule = str(doctypes.get(doctype, {}).get("autoname", ""))
        if not (rule.startswith("naming_series:") or "#" in rule):
            continue
        for name in found:
            prefix, number = _split(name)
            if number:
                counted[prefix] = max(int(number), counted.get(prefix, 0))
    return counted


def _split(name: str) -> tuple[str, str]:
    match = re.fullmatch(r"(.*?)(\d*)", name, re.DOTALL)
    return (match[1], match[2]) if match else (name, "")
