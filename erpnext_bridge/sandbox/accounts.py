"""The site's users as the HTTP side needs them: look-up, passwords, API keys."""

from __future__ import annotations

import secrets
from typing import Any

from .context import Site

# Frappe installs these two rows; a world need not name them.
STANDARD: dict[str, dict[str, Any]] = {
    "Guest": {
        "name": "Guest",
        "enabled": 1,
        "user_type": "Website User",
        "first_name": "Guest",
        "language": "en",
    },
    "Administrator": {
        "name": "Administrator",
        "enabled": 1,
        "user_type": "System User",
        "first_name": "Administrator",
        "language": "en",
    },
}


def find(site: Site, login_name: str) -> str | None:
    """The user of that name, whatever the case: MariaDB compares the primary key under its collation."""
    name = site.store.exists("User", login_name)
    return str(name) if name is not None else None


def known(site: Site, user: str) -> bool:
    return user in STANDARD or site.store.exists("User", user) is not None


def row(site: Site, user: str) -> dict[str, Any]:
    return site.store.get("User", user) or STANDARD[user]


def full_name(info: dict[str, Any]) -> str:
    return " ".join(part for part in (info.get("first_name"), info.get("last_name")) if part)


def check_password(site: Site, user: str, password: str) -> bool:
    stored = site.store.secret("User", user, "password")
    return stored is not None and secrets.compare_digest(stored.encode(), password.encode())


def user_of_key(site: Site, key: str) -> str | None:
    found = site.store.rows("User", {"api_key": key}, limit=1) if key else []
    return str(found[0]["name"]) if found else None


def api_secret(site: Site, user: str) -> str | None:
    return site.store.secret("User", user, "api_secret")


def new_keys(site: Site, user: str) -> tuple[str, str]:
    """A fresh secret; the key stays when there is one (core/doctype/user, generate_keys)."""
    secret = secrets.token_hex(8)[:15]
    key = site.store.value("User", user, "api_key") or secrets.token_hex(8)[:15]
    # A save removes the secret of a row without this mask (model/base_document.py, _save_passwords).
    site.store.update("User", user, {"api_key": key, "api_secret": "*" * len(secret)})
    site.store.set_secret("User", user, "api_secret", secret)
    return str(key), secret
