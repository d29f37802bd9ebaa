"""OAuth Client documents made by the site itself, for `Sandbox.oauth_client` and for dynamic registration."""

from __future__ import annotations

import secrets
from typing import Any

from .context import Site
from .store import Row
from .world import defaults_of

# integrations/doctype/oauth_client: who may use a client that names no roles.
DEFAULT_ROLE = "Desk User"


def random_name() -> str:
    return secrets.token_hex(5)


def create(site: Site, owner: str, values: dict[str, Any]) -> Row:
    name = random_name()
    stamp = standard(site, owner)
    meta = site.store.doctypes["OAuth Client"]
    row = {
        **defaults_of(meta),
        **stamp,
        **values,
        "name": name,
        "client_id": name,
        "client_secret": random_name(),
    }
    site.store.insert("OAuth Client", row)
    place = {"parent": name, "parenttype": "OAuth Client", "parentfield": "allowed_roles"}
    role = {**stamp, **place, "name": random_name(), "idx": 1, "role": DEFAULT_ROLE}
    site.store.insert("OAuth Client Role", role)
    site.store.commit()
    return site.store.get("OAuth Client", name) or {}


def standard(site: Site, owner: str) -> dict[str, Any]:
    now = site.now_text()
    return {
        "owner": owner,
        "modified_by": owner,
        "creation": now,
        "modified": now,
        "docstatus": 0,
        "idx": 0,
    }
