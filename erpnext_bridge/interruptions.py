"""
A form that was sent when the connection had ended: kept sealed in the session, and offered once the user is connected again.

Nothing is sent again by itself: the view may have done a part of its work, so the user decides.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest

from erpnext_bridge.tokens.crypto import SealedText, TokensUnreadable

SESSION_KEY = "erpnext_bridge_interrupted"
MAX_BYTES = 64 << 10
"""Sessions are small: many projects keep them in one row each."""

MAX_BYTES_IN_COOKIE = 1 << 10
"""Browsers drop a cookie of more than 4096 bytes, and with it all that the session holds."""

KEPT_SECONDS = 3600.0
NOT_SENT_AGAIN = "csrfmiddlewaretoken"

SECRETS = re.compile(
    r"passw|passphrase|passcode|pwd|secret|token|credential|cvv|cvc|(api|private)[_-]?key"
    r"|(?<![a-z])(pass|pin|otp|ssn|iban)(?![a-z])",
    re.IGNORECASE,
)
"""Names of fields for which a form is not kept at all: what they hold has no place in a session."""


@dataclass(frozen=True)
class Interruption:
    """What a user was sending."""

    path: str
    fields: tuple[tuple[str, str], ...] | None
    """Names and values in order; None when they could not be kept."""


def remember(request: HttpRequest) -> None:
    """Keep the form that a request was sent with; or that it could not be kept, so that nobody thinks it was."""
    session, user = getattr(request, "session", None), getattr(request, "user", None)
    if request.method != "POST" or session is None or user is None or user.pk is None:
        return
    session[SESSION_KEY] = {
        "path": request.get_full_path(),
        "fields": _sealed(request),
        "user_pk": str(user.pk),
        "at": time.time(),
    }


def recall(session: SessionBase, user: Any) -> Interruption | None:
    """Return what this user was sending in this session within the last hour."""
    kept = session.get(SESSION_KEY)
    if kept is None or kept["user_pk"] != str(user.pk) or time.time() - kept["at"] > KEPT_SECONDS:
        return None
    return Interruption(kept["path"], _opened(kept["fields"]))


def forget(session: SessionBase) -> None:
    session.pop(SESSION_KEY, None)


def _sealed(request: HttpRequest) -> str:
    # `sensitive_post_parameters` marks what no report may show; it is not for a session either.
    if hasattr(request, "sensitive_post_parameters") or request.FILES or not request.POST:
        return ""
    fields = [[name, value] for name, values in request.POST.lists() for value in values]
    fields = [field for field in fields if field[0] != NOT_SENT_AGAIN]
    text = json.dumps(fields)
    if len(text) > _limit() or any(SECRETS.search(name) for name, _ in fields):
        return ""
    try:
        return SealedText.seal(text).stored
    except ImproperlyConfigured:
        return ""


def _limit() -> int:
    in_cookie = settings.SESSION_ENGINE.endswith(".signed_cookies")
    return MAX_BYTES_IN_COOKIE if in_cookie else MAX_BYTES


def _opened(stored: str) -> tuple[tuple[str, str], ...] | None:
    try:
        text = SealedText(stored).open()
    except TokensUnreadable:
        return None
    return tuple((name, value) for name, value in json.loads(text)) if text else None
