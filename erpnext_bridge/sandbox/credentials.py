"""The Authorization header: API keys as `token` or `Basic`, OAuth tokens as `Bearer`."""

from __future__ import annotations

import base64
import binascii
import secrets
from typing import Any

from . import accounts, errors, oauth, permissions
from .errors import (
    AuthenticationError,
    InvalidAuthorizationToken,
    SQLOperationalError,
    throw,
)
from .methods import TEXT, whitelist
from .web import WebContext


def apply(ctx: WebContext) -> None:
    """Frappe's validate_auth: credentials that do not fit end the request, malformed ones are not seen."""
    parts = ctx.headers.get("Authorization", "").split(" ")
    if len(parts) != 2:
        return
    if ctx.version >= 16 and ctx.request_method == "OPTIONS":
        # Without a session 16 signs nobody in.
        raise AuthenticationError
    scheme, value = parts[0].lower(), parts[1]
    if scheme == "bearer":
        user = oauth.user_of_token(ctx, value)
        if user is not None:
            ctx.user = user
            ctx.session.is_lost = ctx.version >= 16 and ctx.session.user != "Guest"
    elif scheme in READERS:
        apply_key(ctx, scheme, value)
    if ctx.user in ("", "Guest"):
        raise AuthenticationError


def apply_key(ctx: WebContext, scheme: str, value: str) -> None:
    try:
        key, secret = READERS[scheme](value)
    except binascii.Error:
        throw(
            ctx,
            "Failed to decode token, please provide a valid base64-encoded token.",
            InvalidAuthorizationToken,
        )
    except ValueError:
        # Not of the form key:secret: nobody is signed in by it (v15 auth.py:680).
        return
    user = user_of_key(ctx, key, secret)
    # A live cookie keeps its user (v15 auth.py:698).
    if ctx.session_user in ("", "Guest"):
        ctx.user = user


def read_token(value: str) -> tuple[str, str]:
    key, secret = value.split(":")
    return key, secret


def read_basic(value: str) -> tuple[str, str]:
    return read_token(base64.b64decode(value).decode())


READERS = {"token": read_token, "basic": read_basic}


def user_of_key(ctx: WebContext, key: str, secret: str) -> str:
    source = ctx.headers.get("Frappe-Authorization-Source") or "User"
    if source != "User":
        raise SQLOperationalError("(1054, \"Unknown column 'api_key' in 'WHERE'\")")
    user = accounts.user_of_key(ctx.site, key)
    # Only v16 asks whether the user is enabled (auth.py, validate_api_key_secret).
    closed = user and ctx.version >= 16 and not accounts.row(ctx.site, user)["enabled"]
    if user is None or closed or not same(secret, accounts.api_secret(ctx.site, user)):
        raise AuthenticationError
    return user


def same(given: str, stored: str | None) -> bool:
    return bool(stored) and secrets.compare_digest(given.encode(), (stored or "").encode())


@whitelist("frappe.core.doctype.user.user.generate_keys", verbs=("POST",), types={"user": TEXT})
def generate_keys(ctx: WebContext, user: str) -> dict[str, Any]:
    """A new API secret, and a key for a user who has none."""
    if "System Manager" not in permissions.roles_of(ctx, ctx.user):
        raise errors.PermissionError
    key, secret = accounts.new_keys(ctx.site, user)
    return {"api_key": key, "api_secret": secret} if ctx.version >= 16 else {"api_secret": secret}
