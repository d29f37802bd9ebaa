"""Started connects: kept in the session that started them, taken out once, and only in time."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field

from django.contrib.sessions.backends.base import SessionBase
from django.core.cache import cache
from django.core.exceptions import SuspiciousOperation

SESSION_KEY = "erpnext_bridge_pending"
MAX_PENDING = 5
"""Connects that one session may have open at once, for a person with several tabs; the oldest go first."""


class StateRefused(SuspiciousOperation):
    """The answer belongs to no connect that this user started here; `str()` is text for the user."""


UNKNOWN = "This answer belongs to no connect that was started in this browser, or it was used already."
EXPIRED = "The connect took too long."
OTHER_USER = "The connect was started by somebody else."
OTHER_SITE = "The answer came back for another ERPNext site than the one that was asked."


@dataclass(frozen=True, kw_only=True)
class PendingConnect:
    """What has to be remembered between leaving for ERPNext and coming back."""

    state: str = field(repr=False)
    verifier: str = field(repr=False)
    """PKCE code verifier; its S256 challenge went to ERPNext."""
    site: str
    user_pk: str
    redirect_uri: str
    next_url: str
    started_at: float


def remember(session: SessionBase, pending: PendingConnect) -> None:
    """Add a started connect to the session."""
    session[SESSION_KEY] = [*session.get(SESSION_KEY, []), asdict(pending)][-MAX_PENDING:]


def take(
    session: SessionBase, state: str, *, user_pk: str, site: str, ttl: float, now: float
) -> PendingConnect:
    """Return the connect with this state, which is used up by that. StateRefused when it is not to be used."""
    pending = _pop(session, state)
    if pending is None or not _first_use(state, ttl):
        raise StateRefused(UNKNOWN)
    if pending.user_pk != user_pk:
        raise StateRefused(OTHER_USER)
    if pending.site != site:
        raise StateRefused(OTHER_SITE)
    if now - pending.started_at > ttl:
        raise StateRefused(EXPIRED)
    return pending


def _pop(session: SessionBase, state: str) -> PendingConnect | None:
    found = [entry for entry in session.get(SESSION_KEY, []) if entry["state"] == state]
    if not found:
        return None
    session[SESSION_KEY] = [entry for entry in session[SESSION_KEY] if entry["state"] != state]
    # At once: Django does not save the session when the page that follows is an error.
    session.save()
    return PendingConnect(**found[0])


def _first_use(state: str, ttl: float) -> bool:
    # Two requests at once each read a session that still holds the state, and a session kept in a signed
    # cookie can be sent again as it was. The cache, where processes share one, lets only the first pass.
    used = hashlib.sha256(state.encode()).hexdigest()
    return cache.add(f"erpnext_bridge:state:{used}", 1, timeout=2 * ttl)
