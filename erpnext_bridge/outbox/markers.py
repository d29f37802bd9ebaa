"""
Markers: Tags that are created along with documents, so that the same request creates nothing when it is repeated.

`frappe.client.insert_many` runs in one transaction, and a Tag has the name that its creator chooses
(frappe/desk/doctype/tag/tag.json, autoname Prompt), which anybody may. So the Tags and the documents come into
being together or not at all, and a request that comes twice is answered 409. One Tag goes first and one last:
documents whose names got lost with an answer are those that their owner made between the two.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any
from uuid import UUID, uuid4

from erpnext_bridge.client import MAX_INSERT_MANY, FrappeClient, Payload
from erpnext_bridge.errors import DocumentDoesNotExist, DuplicateDocument, PermissionRefused, RefusedError

DOCTYPE = "Tag"
PREFIX = "erpnext-bridge"
MAX_DOCUMENTS = MAX_INSERT_MANY - 2
DESCRIPTION = "Made by a program, so that no document is created twice. It may be deleted after a day."
MORE = 100
"""How many documents of others may lie between two markers before nobody looks through them."""


class Standing(Enum):
    """What a look at the markers says about the requests that carry them."""

    OPEN = "none was carried out, and one may still be"
    DONE = "one was carried out, and no other will be"
    FENCED = "none was carried out, and none will be"


@dataclass(frozen=True, slots=True)
class Window:
    """Who created the documents of a request, and between which moments of the site's clock."""

    owner: str
    start: str
    end: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether markers work for an identity at a site."""

    works: bool
    can_delete: bool
    message: str = ""
    """Why not, in ERPNext's words."""


def names_of(batch: UUID) -> tuple[str, str]:
    """Return the names of the first and the last marker."""
    return f"{PREFIX} {batch.hex} 1", f"{PREFIX} {batch.hex} 2"


def insert(client: FrappeClient, batch: UUID, documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Create documents and return their names in order; a RefusedError when one of them or a marker is refused."""
    first, last = map(_tag, names_of(batch))
    return client.insert_many([first, *documents, last])[1:-1]


def fence(client: FrappeClient, batch: UUID) -> bool:
    """Use up the first marker, and return whether it was free: then no request of this batch comes through any more."""
    try:
        client.insert_many([_tag(names_of(batch)[0])])
    except DuplicateDocument:
        return False
    return True


def look(client: FrappeClient, batch: UUID) -> tuple[Standing, Window | None]:
    """Return what has become of the requests of a batch, and where to find the documents if one was carried out."""
    first, last = names_of(batch)
    rows = client.list(DOCTYPE, fields=["name", "owner", "creation"], filters=[["name", "in", [first, last]]])
    found = {str(row["name"]): row for row in rows}
    if first not in found:
        return Standing.OPEN, None
    if last not in found:
        return Standing.FENCED, None
    begin, end = found[first], found[last]
    return Standing.DONE, Window(str(begin["owner"]), str(begin["creation"]), str(end["creation"]))


def documents_in(client: FrappeClient, doctype: str, window: Window, expected: int) -> list[str]:
    """Return the names of the documents that the owner created in the window, in that order."""
    table = f"`tab{doctype}`"
    rows = client.list(
        doctype,
        fields=["name"],
        filters=[
            ["owner", "=", window.owner],
            ["creation", ">=", window.start],
            ["creation", "<=", window.end],
        ],
        order_by=f"{table}.`creation` asc, {table}.`name` asc",
        limit_page_length=expected + MORE,
    )
    return [str(row["name"]) for row in rows]


def is_about_marker(refusal: RefusedError, batch: UUID) -> bool:
    """Tell whether ERPNext refused a marker, and not a document."""
    text = " ".join(refusal.messages)
    if any(name in text for name in names_of(batch)):
        return True
    # Frappe 16 names the DocType alone that a user may not create.
    return isinstance(refusal, PermissionRefused) and re.search(rf"\b{DOCTYPE}\b(?! [A-Z])", text) is not None


def remove(client: FrappeClient, batch: UUID) -> None:
    """
    Delete the markers of a batch. PermissionRefused for those who may not, which most users may not.

    A request of the batch that is still on its way would then come through: only for batches that were answered, or
    long after.
    """
    for name in names_of(batch):
        try:
            client.delete(DOCTYPE, name)
        except DocumentDoesNotExist:
            continue


def probe(client: FrappeClient) -> Probe:
    """Try out whether this identity can use markers; leaves two Tags behind where it may not delete them."""
    batch = uuid4()
    try:
        insert(client, batch, [])
        if fence(client, batch):
            return Probe(False, False, "ERPNext let two Tags of one name be created.")
    except RefusedError as refusal:
        return Probe(False, False, " ".join(refusal.messages))
    try:
        remove(client, batch)
    except RefusedError as refusal:
        return Probe(True, False, " ".join(refusal.messages))
    return Probe(True, True)


def _tag(name: str) -> Payload:
    return {"doctype": DOCTYPE, "name": name, "description": DESCRIPTION}
