"""
The key field: a hidden unique field of a DocType that holds which write a document came from.

It is a Custom Field, made by `manage.py erpnext_install_keys`. A document that comes a second time is refused by the
database (417 UniqueValidationError, frappe/model/base_document.py), and the first one is found by its key.
"""

from __future__ import annotations

from collections.abc import Iterable

from erpnext_bridge.client import FrappeClient, Payload
from erpnext_bridge.errors import (
    AuthenticationRefused,
    DocumentDoesNotExist,
    DuplicateDocument,
    RefusedError,
)

FIELDNAME = "erpnext_bridge_key"
LABEL = "Key of erpnext_bridge"


def field_of(doctype: str) -> Payload:
    """Return the Custom Field as Frappe takes it."""
    return {
        "dt": doctype,
        "fieldname": FIELDNAME,
        "fieldtype": "Data",
        "label": LABEL,
        "description": "Keeps a document from being created twice.",
        "unique": 1,
        "hidden": 1,
        "read_only": 1,
        "print_hide": 1,
        "report_hide": 1,
        # A copy or an amendment is another document.
        "no_copy": 1,
        "ignore_xss_filter": 1,
        "length": 32,
    }


def install(client: FrappeClient, doctype: str) -> bool:
    """Add the field to a DocType; False when it is there. PermissionRefused for all but System Managers."""
    if _find(client, doctype) is not None:
        return False
    client.create("Custom Field", field_of(doctype))
    return True


def uninstall(client: FrappeClient, doctype: str) -> bool:
    """Take the field and its column's values away; False when it is not there."""
    name = _find(client, doctype)
    if name is None:
        return False
    client.delete("Custom Field", name)
    return True


def _find(client: FrappeClient, doctype: str) -> str | None:
    name = f"{doctype}-{FIELDNAME}"
    try:
        return str(client.read("Custom Field", name)["name"])
    except DocumentDoesNotExist:
        return None


def is_installed(client: FrappeClient, doctype: str) -> bool:
    """Tell whether documents of a DocType can be asked for by their key; False too when this user may not list them."""
    try:
        client.list(doctype, fields=["name"], filters=[[FIELDNAME, "=", "none"]], limit_page_length=1)
    except AuthenticationRefused:
        raise
    except RefusedError:
        # 417 DataError: "Field not permitted in query" (frappe/model/db_query.py), or no right to list.
        return False
    return True


def is_about_key(refusal: RefusedError) -> bool:
    """Tell whether ERPNext refused a document because one with its key is there."""
    return isinstance(refusal, DuplicateDocument) and any(LABEL in text for text in refusal.messages)


def names_by_key(client: FrappeClient, doctype: str, keys: Iterable[str]) -> dict[str, str]:
    """Return key → name of the documents that are there."""
    rows = client.list(doctype, fields=["name", FIELDNAME], filters=[[FIELDNAME, "in", list(keys)]])
    return {str(row[FIELDNAME]): str(row["name"]) for row in rows}
