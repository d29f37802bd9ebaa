"""One request as it came over HTTP: Frappe's context plus the request, its session, its cookies and the gate."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from . import errors
from .context import Context

if TYPE_CHECKING:
    from werkzeug.wrappers import Request, Response

    from .budget import Slip
    from .gate import Gate

UNSAFE_METHODS = frozenset({"POST", "PUT", "DELETE", "PATCH"})


@dataclass
class Session:
    """What `sid` stands for; the one of a guest is never stored."""

    user: str = "Guest"
    sid: str = "Guest"
    csrf_token: str = field(default="", repr=False)
    last_used: float = 0.0
    is_lost: bool = False
    """With 16 a bearer token next to the cookie makes the session forget its user."""

    def ensure_csrf_token(self) -> str:
        self.csrf_token = self.csrf_token or secrets.token_hex(28)
        return self.csrf_token


@dataclass
class Cookies:
    """Cookies to set and to delete (v15 auth.py, CookieManager)."""

    version: int
    sent: dict[str, str]
    """What the caller sent along."""
    values: dict[str, tuple[str, int | None]] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)

    def set_sid(self, sid: str, max_age: int) -> None:
        if sid:
            self.values["sid"] = (sid, max_age)

    def set(self, key: str, value: str) -> None:
        # v16 leaves out what the caller already has (auth.py, deduplicate).
        if self.version >= 16 and unquote(self.sent.get(key, "")) == value:
            return
        self.values[key] = (value, None)

    def delete_all(self) -> None:
        language = ["user_lang"] if self.version >= 16 else []
        self.deleted = ["full_name", "user_id", "sid", "user_image", *language, "system_user"]

    def flush(self, response: Response) -> None:
        for key, (value, max_age) in self.values.items():
            response.set_cookie(key, quote(value), max_age=max_age, httponly=key == "sid", samesite="Lax")
        yesterday = datetime.now(UTC) - timedelta(days=1)
        for key in self.deleted:
            response.set_cookie(key, "", expires=yesterday)


@dataclass
class WebContext(Context):
    """Context of a request that has a socket behind it."""

    request: Request = field(default=None, repr=False)  # type: ignore[assignment]
    gate: Gate = field(default=None, repr=False)  # type: ignore[assignment]
    session: Session = field(default_factory=Session)
    session_user: str = "Guest"
    """LoginManager.user: the user of the cookie, which an API key does not replace."""
    cookies: Cookies = field(default_factory=lambda: Cookies(15, {}))
    """Empty until the session was looked at: answers before that set none."""
    ip: str = "127.0.0.1"
    started: bool = False
    """The session is known, so that error pages can be rendered."""
    traceback_disabled: bool = False
    slip: Slip | None = None
    """Where the site has a rate budget."""
    oauth_credentials: dict[str, Any] = field(default_factory=dict, repr=False)


def posts_only(ctx: Context) -> None:
    """For methods that became POST-only in 16: the verb table of the method knows no versions."""
    if ctx.version >= 16 and ctx.request_method != "POST":
        errors.throw(ctx, "Not permitted", errors.PermissionError)
