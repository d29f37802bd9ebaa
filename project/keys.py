"""The keys of a demo that nobody configured: made once, and kept in a file that only its owner reads."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet


def kept_keys(path: Path) -> dict[str, str]:
    """Return the keys in the file, which is made when it is not there."""
    try:
        found: dict[str, str] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return _make(path)
    return found


def _make(path: Path) -> dict[str, str]:
    made = {"SECRET_KEY": secrets.token_urlsafe(50), "TOKEN_KEY": Fernet.generate_key().decode()}
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(made, file)
    try:
        # Of several processes that start at once, one makes the keys of all.
        os.link(draft, path)
    except FileExistsError:
        return kept_keys(path)
    finally:
        draft.unlink()
    return made
