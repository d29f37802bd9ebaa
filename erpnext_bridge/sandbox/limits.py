"""Methods that may be called only so often from one address (frappe/rate_limiter.py, the decorator)."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from . import accounts
from .errors import RateLimitExceededError, msgprint, throw
from .methods import TEXT, whitelist
from .web import WebContext

HOUR = 3600.0
# System Settings "Password Reset Link Generation Limit".
PASSWORD_RESETS = 3

Function = Callable[..., Any]


def rate_limit(limit: int, seconds: float) -> Callable[[Function], Function]:
    """Refuse further calls from an address; neither Retry-After nor any other header tells how long."""

    def decorate(function: Function) -> Function:
        @wraps(function)
        def limited(ctx: WebContext, **params: Any) -> Any:
            # v2 leaves `cmd` out of the form, so that its calls are counted apart.
            if ctx.gate.exceeds(f"{ctx.form.get('cmd')}:{ctx.ip}", limit, seconds):
                text = "You hit the rate limit because of too many requests. Please try after sometime."
                throw(ctx, text, RateLimitExceededError)
            return function(ctx, **params)

        return limited

    return decorate


@whitelist("frappe.core.doctype.user.user.reset_password", guest=True, verbs=("POST",), types={"user": TEXT})
@rate_limit(PASSWORD_RESETS, HOUR)
def reset_password(ctx: WebContext, user: str) -> str | None:
    """No mail leaves the sandbox; what the caller is told is Frappe's."""
    name = accounts.find(ctx.site, user)
    if name is None:
        ctx.status = 404
        return "not found"
    if name == "Administrator":
        return "not allowed"
    info = accounts.row(ctx.site, name)
    if not info["enabled"]:
        return "disabled"
    whose = f"{info['full_name']}'s" if ctx.version >= 16 else "your"
    msgprint(ctx, f"Password reset instructions have been sent to {whose} email", title="Password Email Sent")
    return None
