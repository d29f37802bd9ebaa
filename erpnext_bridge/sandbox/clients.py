"""OAuth Client documents: what saving one adds, and those that the site makes itself."""

from __future__ import annotations

import secrets
from typing import Any

from .context import Context, Site
from .controllers import hook
from .documents import Document
from .errors import throw
from .store import Row
from .world import defaults_of

# integrations/doctype/oauth_client: who may use a client that names no roles.
DEFAULT_ROLE = "Desk User"


def random_name() -> str:
    return secrets.token_hex(5)


# The grant types that allow one response type only.
RESPONSES = {"Authorization Code": "Code", "Implicit": "Token"}


@hook("OAuth Client", "validate")
def validate(ctx: Context, doc: Document) -> None:
    """integrations/doctype/oauth_client: the name is the client id, and no roles means all desk users."""
    doc.values["client_id"] = doc.name
    if not doc.get("client_secret"):
        doc.values["client_secret"] = random_name()
    grant, response = doc.get("grant_type"), doc.get("response_type")
    if RESPONSES.get(str(grant), response) != response:
        throw(
            ctx,
            f"Combination of Grant Type (<code>{grant}</code>) and Response Type (<code>{response}</code>) "
            "not allowed",
        )
    if not doc.rows("allowed_roles"):
        row = doc.append("allowed_roles", {"role": DEFAULT_ROLE})
        row.values |= {**standard(ctx.site, ctx.user), "idx": 1, "name": random_name()}


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
