"""What a user may do at ERPNext, as ERPNext itself says: asked of it, and believed for a short while."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from django.core.cache import cache
from django.dispatch import receiver

from erpnext_bridge.access import open_site
from erpnext_bridge.conf import get_settings
from erpnext_bridge.errors import DocumentDoesNotExist, PermissionRefused
from erpnext_bridge.identity import Identity
from erpnext_bridge.models import Connection
from erpnext_bridge.signals import connected, disconnected

ACTIONS = frozenset(
    {
        "select", "read", "write", "create", "delete", "submit", "cancel", "amend", "report", "export", "import", "share",
        "print", "email",
    }
)  # fmt: skip
"""The rights that Frappe's roles give (frappe/permissions.py)."""


def can(identity: Identity, action: str, doctype: str, name: str | None = None) -> bool:
    """
    Return whether an identity may do something to a DocType, or to one document of it.

    What does not exist, or is hidden from the user, nobody may do anything to. ValueError for an action that Frappe
    does not know: it would answer "no" to a slip of the pen.
    """
    if action not in ACTIONS:
        raise ValueError(f"Frappe knows no right {action!r}. Use one of {', '.join(sorted(ACTIONS))}.")
    if name == "":
        raise ValueError("The document has no name yet. Leave the name out to ask about its DocType.")
    ttl = get_settings().permission_ttl
    if ttl <= 0:
        return _ask(identity, action, doctype, name)
    key = _key(identity, cache.get(_key(identity)), action, doctype, name)
    known = cache.get(key)
    if known is None:
        known = _ask(identity, action, doctype, name)
        cache.set(key, known, ttl)
    return bool(known)


@receiver([connected, disconnected])
def forget(*, connection: Connection, **_: Any) -> None:
    """Believe no answer from before: another ERPNext user may be behind the same identity now."""
    # For as long as an older answer may lie there, also one that was under way.
    cache.set(_key(connection.identity), secrets.token_hex(8), 2 * get_settings().permission_ttl + 60)


def _ask(identity: Identity, action: str, doctype: str, name: str | None) -> bool:
    # An empty name asks about the DocType (frappe/permissions.py, has_permission).
    asked = {"doctype": doctype, "docname": name or "", "perm_type": action}
    try:
        told = open_site(identity).client.call("frappe.client.has_permission", http_method="GET", **asked)
    except (DocumentDoesNotExist, PermissionRefused):
        return False
    return bool(told["has_permission"])


def _key(identity: Identity, *asked: str | None) -> str:
    # Names hold blanks and any script, which memcached refuses in keys.
    parts = repr((identity.site, identity.user_pk, *asked))
    return f"erpnext_bridge:can:{hashlib.sha256(parts.encode()).hexdigest()}"
