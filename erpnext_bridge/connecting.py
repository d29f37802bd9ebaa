"""
Connecting, from the first click to the last: what views, commands and tests call.

Tokens change hands in three files: here the first pair is stored, `refreshing` replaces a pair or notes that it is
over, and `revoking` sees to it that ERPNext revokes what went out of use.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any

from django.contrib.sessions.backends.base import SessionBase
from django.db import router, transaction
from django.utils import timezone

from erpnext_bridge import signals
from erpnext_bridge.client import FrappeClient
from erpnext_bridge.conf import Site, get_settings
from erpnext_bridge.credentials import Bearer, Secret
from erpnext_bridge.errors import NeedsReconnect, RefusedError, UnreadableAnswer
from erpnext_bridge.identity import Identity
from erpnext_bridge.models import Connection
from erpnext_bridge.models.revocation import Cause
from erpnext_bridge.oauth import OAuthEndpoints, TokenPair, new_pkce
from erpnext_bridge.tokens import pending, revoking
from erpnext_bridge.tokens.crypto import SealedText, token_cipher
from erpnext_bridge.tokens.endpoints import endpoints_of
from erpnext_bridge.tokens.pending import PendingConnect, StateRefused
from erpnext_bridge.tokens.refreshing import check_usable, columns_of

SIGNED_OUT = "You are not signed in any more. Sign in, and start again."
NO_CODE = "The answer from ERPNext holds no code."


@dataclass(frozen=True)
class Finished:
    """A connect that worked."""

    connection: Connection
    next_url: str
    replaced: str
    """The other ERPNext user that the connection was for before, or ""."""


# The way to ERPNext and back


def start(session: SessionBase, user: Any, site: Site, *, redirect_uri: str, next_url: str = "") -> str:
    """
    Return the URL at ERPNext to send the user to, and remember in the session what comes back.

    ImproperlyConfigured when the tokens could not be stored afterwards.
    """
    token_cipher()
    verifier, challenge = new_pkce()
    state = secrets.token_urlsafe(32)
    pending.remember(
        session,
        PendingConnect(
            state=state,
            verifier=verifier,
            site=site.alias,
            user_pk=str(user.pk),
            redirect_uri=redirect_uri,
            next_url=next_url,
            started_at=time.time(),
        ),
    )
    return endpoints_of(site, redirect_uri).authorize_url(state, challenge)


def finish(session: SessionBase, user: Any, site: Site, *, state: str, code: str | Secret) -> Finished:
    """
    Exchange the code that ERPNext sent the user back with, and store the connection.

    Whatever is raised, nothing is stored: StateRefused for an answer that this user did not ask for here,
    GrantRefused for a code that ERPNext does not know, and the transport's errors. The session's key is
    kept: connecting signs nobody in, and other tabs may be on their way back.
    """
    # Django's page about an error shows local variables, to developers at least.
    code = Secret.of(code)
    if user.pk is None:
        raise StateRefused(SIGNED_OUT)
    started = pending.take(
        session, state, user_pk=str(user.pk), site=site.alias, ttl=get_settings().state_ttl, now=time.time()
    )
    if not code:
        raise StateRefused(NO_CODE)
    identity = Identity.for_user(user, site.alias)
    endpoints = endpoints_of(site, started.redirect_uri, identity)
    pair = endpoints.exchange(code, Secret(started.verifier))
    try:
        erp_user, full_name = _owner_of(pair, site, endpoints)
        connection, before = _store(user, site, pair, erp_user, full_name)
    except BaseException:
        _give_back(pair, site)
        raise
    replaced = before.erp_user if before is not None and before.erp_user != erp_user else ""
    signals.connected.send_robust(sender=Connection, connection=connection, replaced=replaced)
    return Finished(connection, started.next_url, replaced)


def _owner_of(pair: TokenPair, site: Site, endpoints: OAuthEndpoints) -> tuple[str, str]:
    """Return whose tokens these are: the ERPNext user, and the full name where ERPNext tells it."""
    client = FrappeClient(
        site.url, Bearer(pair.access_token), timeout=endpoints.timeouts, on_exchange=endpoints.on_exchange
    )
    erp_user = client.logged_user()
    try:
        name = endpoints.profile(pair.access_token).get("name")
    except (RefusedError, UnreadableAnswer):
        name = None
    return erp_user, str(name or "")


def _store(
    user: Any, site: Site, pair: TokenPair, erp_user: str, full_name: str
) -> tuple[Connection, Connection | None]:
    """Create or replace the user's connection; return it, and what it was before."""
    using = router.db_for_write(Connection)
    with transaction.atomic(using=using):
        mine = Connection.objects.using(using).select_for_update()
        before = mine.filter(user=user, site=site.alias).first()
        connection, _ = mine.update_or_create(
            user=user,
            site=site.alias,
            defaults={
                "site_url": site.url,
                "erp_user": erp_user,
                "full_name": full_name,
                **columns_of(pair),
                "connected_at": timezone.now(),
                "refreshed_at": None,
            },
        )
        if before is not None:
            revoking.enqueue_connection(before, Cause.SUPERSEDED, using)
    return connection, before


def _give_back(pair: TokenPair, site: Site) -> None:
    """Have a pair revoked that could not be stored as a connection."""
    tokens = SealedText.seal(pair.access_token), SealedText.seal(pair.refresh_token or "")
    revoking.enqueue(site=site.alias, site_url=site.url, erp_user="", tokens=tokens, cause=Cause.UNUSED)


def problem_of(connection: Connection, site: Site) -> str:
    """Return why the user has to connect again, "" while all is well."""
    try:
        check_usable(connection, site)
        connection.access_token.open()
    except NeedsReconnect as problem:
        return " ".join(problem.messages) or problem.way_out
    return ""


def disconnect(connection: Connection) -> bool:
    """Delete the connection here and revoke its tokens at ERPNext; return whether ERPNext confirmed that already."""
    connection.delete()
    return bool(connection.revoked)
