"""
Connecting, from the first click to revocation: what views, tasks and commands all call.

Tokens change hands at four places: `finish` stores the first pair, `refresh` replaces a pair, `end` notes
that a pair is over, and a deleted connection's pair is revoked, whoever deleted it.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from django.contrib.sessions.backends.base import SessionBase
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router, transaction
from django.db.models import QuerySet
from django.utils import timezone

from erpnext_bridge import pending, signals
from erpnext_bridge.client import FrappeClient
from erpnext_bridge.conf import Site, get_settings, get_site
from erpnext_bridge.credentials import Bearer
from erpnext_bridge.crypto import SealedText, TokensUnreadable, token_cipher
from erpnext_bridge.errors import (
    ERPNextBridgeError,
    GrantRefused,
    NeedsReconnect,
    NotConnected,
    RefusedError,
    UnreadableAnswer,
)
from erpnext_bridge.identity import Identity
from erpnext_bridge.models import Connection
from erpnext_bridge.models.connection import Health
from erpnext_bridge.oauth import Hint, OAuthEndpoints, TokenPair, new_pkce
from erpnext_bridge.pending import PendingConnect, StateRefused
from erpnext_bridge.transport import Exchange, Timeouts

SIGNED_OUT = "You are not signed in any more. Sign in, and start again."
NO_CODE = "The answer from ERPNext holds no code."
MOVED = "ERPNext has another address now than when you connected, and tokens are sent nowhere else."


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


def finish(session: SessionBase, user: Any, site: Site, *, state: str, code: str) -> Finished:
    """
    Exchange the code that ERPNext sent the user back with, and store the connection.

    Whatever is raised, nothing is stored: StateRefused for an answer that this user did not ask for here,
    GrantRefused for a code that ERPNext does not know, and the transport's errors. The session's key is
    kept: connecting signs nobody in, and other tabs may be on their way back.
    """
    if user.pk is None:
        raise StateRefused(SIGNED_OUT)
    started = pending.take(
        session, state, user_pk=str(user.pk), site=site.alias, ttl=get_settings().state_ttl, now=time.time()
    )
    if not code:
        raise StateRefused(NO_CODE)
    identity = Identity.for_user(user, site.alias)
    endpoints = endpoints_of(site, started.redirect_uri, identity)
    pair = endpoints.exchange(code, started.verifier)
    try:
        erp_user, full_name = _owner_of(pair, site, endpoints)
        connection, before = _store(user, site, pair, erp_user, full_name)
    except BaseException:
        _revoke_quietly(endpoints, pair.access_token, pair.refresh_token or "")
        raise
    replaced = before.erp_user if before is not None and before.erp_user != erp_user else ""
    signals.connected.send_robust(sender=Connection, connection=connection, replaced=replaced)
    return Finished(connection, started.next_url, replaced)


def endpoints_of(site: Site, redirect_uri: str = "", identity: Identity | None = None) -> OAuthEndpoints:
    """Return the OAuth endpoints of a site, as the settings register us there."""
    return OAuthEndpoints(
        site.url,
        site.client_id,
        client_secret=site.client_secret,
        client_auth=site.client_auth,
        redirect_uri=redirect_uri,
        scope=site.scope,
        timeouts=Timeouts(*get_settings().timeout),
        on_exchange=reporter(identity),
        # Inside a private network it may be all there is; a system check warns of it.
        allow_http=True,
    )


def reporter(identity: Identity | None) -> Any:
    """Return what tells the `request_sent` signal about each request of an identity."""

    def report(exchange: Exchange) -> None:
        signals.request_sent.send_robust(
            sender=Identity,
            method=exchange.method,
            path=exchange.path,
            status=exchange.status,
            seconds=exchange.seconds,
            identity=identity,
        )

    return report


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
                **_columns(pair),
                "health": Health.HEALTHY,
                "reason": "",
                "connected_at": timezone.now(),
                "refreshed_at": None,
            },
        )
        if before is not None:
            _revoke_after_commit(before)
    return connection, before


def _columns(pair: TokenPair, former: SealedText | None = None) -> dict[str, Any]:
    return {
        "access_token": SealedText.seal(pair.access_token),
        # A server that does not rotate may send no new refresh token: the former stays good.
        "refresh_token": SealedText.seal(pair.refresh_token)
        if pair.refresh_token
        else former or SealedText(),
        "expires_at": pair.expires_at,
        "scopes": pair.scope[:500],
    }


# Keeping tokens fresh


def check_usable(connection: Connection, site: Site) -> None:
    """Raise NeedsReconnect, with the reason, for a connection whose tokens cannot be used."""
    if not connection.is_healthy:
        raise NeedsReconnect(connection.reason, site=site.alias)
    if connection.site_url != site.url:
        raise NeedsReconnect(MOVED, site=site.alias)


def problem_of(connection: Connection, site: Site) -> str:
    """Return why the user has to connect again, "" while all is well."""
    try:
        check_usable(connection, site)
        connection.access_token.open()
    except NeedsReconnect as problem:
        return " ".join(problem.messages) or problem.way_out
    return ""


def refresh(connection: Connection, site: Site) -> Connection:
    """
    Return the connection with other tokens than these: new ones, or those that somebody else got meanwhile.

    NeedsReconnect when ERPNext refuses the refresh token for good; any other error leaves all as it was.
    """
    with _alone(connection) as current:
        if _has_other_tokens(current, connection):
            check_usable(current, site)
            return current
        check_usable(current, site)
        try:
            pair = _refreshed_pair(current, site)
        except GrantRefused:
            pass
        else:
            return _replace(current, site, pair)
    return _after_refusal(current, site)


def _refreshed_pair(connection: Connection, site: Site) -> TokenPair:
    token = connection.refresh_token.open()
    if not token:
        raise GrantRefused("ERPNext gave no refresh token.", error="invalid_grant")
    return endpoints_of(site, identity=connection.identity).refresh(token)


def _replace(current: Connection, site: Site, pair: TokenPair) -> Connection:
    """Store a new pair in place of the one it was made from, which is revoked then."""
    rows = _rows(current)
    values = {**_columns(pair, current.refresh_token), "refreshed_at": timezone.now()}
    if not rows.filter(access_token=current.access_token).update(**values):
        _revoke_quietly(endpoints_of(site), pair.access_token, pair.refresh_token or "")
        return _reread(current, site)
    if pair.refresh_token:
        # Frappe up to 16.4 leaves the former pair alive. Whoever still sends it gets a 401, and comes here.
        _revoke_after_commit(current)
    connection = rows.get()
    signals.refreshed.send_robust(sender=Connection, connection=connection)
    return connection


def _after_refusal(current: Connection, site: Site) -> Connection:
    # Where the database has no row locks, another process may have been faster, and a server that
    # rotates tokens has refused ours because of it.
    now = _reread(current, site)
    if _has_other_tokens(now, current):
        check_usable(now, site)
        return now
    reason = "ERPNext does not accept the stored tokens any more: they expired or were revoked there."
    end(now, reason)
    raise NeedsReconnect(reason, site=site.alias)


def _has_other_tokens(one: Connection, other: Connection) -> bool:
    # By the clear text: with another key, the same token is stored as another text.
    return bool(one.access_token.open() != other.access_token.open())


def _rows(connection: Connection) -> QuerySet[Connection]:
    # Of the primary database: a replica may not have heard of the latest tokens.
    return Connection.objects.using(router.db_for_write(Connection)).filter(pk=connection.pk)


def _reread(connection: Connection, site: Site) -> Connection:
    found = _rows(connection).first()
    if found is None:
        raise NotConnected("The user has disconnected meanwhile.", site=site.alias)
    return found


_refreshing = [threading.Lock() for _ in range(64)]


@contextmanager
def _alone(connection: Connection) -> Iterator[Connection]:
    """
    Yield the connection as it is stored now, while nobody else refreshes it.

    A row lock holds off every other process. SQLite has none, and a transaction that is held open for a
    request would end there as "database is locked", so only this process's other threads wait.
    """
    using = router.db_for_write(Connection)
    site = get_site(connection.site)
    if connections[using].features.has_select_for_update:
        with transaction.atomic(using=using):
            if (locked := _rows(connection).select_for_update().first()) is None:
                raise NotConnected("The user has disconnected meanwhile.", site=site.alias)
            yield locked
    else:
        with _refreshing[hash(connection.pk) % len(_refreshing)]:
            yield _reread(connection, site)


def end(connection: Connection, reason: str) -> None:
    """Note that the connection's tokens are over, unless they were replaced meanwhile."""
    same = _rows(connection).filter(access_token=connection.access_token, health=Health.HEALTHY)
    if same.update(health=Health.NEEDS_RECONNECT, reason=reason[:500]):
        signals.needs_reconnect.send_robust(sender=Connection, connection=connection, reason=reason)


# Ending


def disconnect(connection: Connection) -> bool:
    """Delete the connection here and revoke its tokens at ERPNext; return whether ERPNext confirmed that."""
    connection.delete()
    return bool(connection.revoked)


def revoke_deleted(*, instance: Connection, using: str, **_: Any) -> None:
    """Receive `post_delete`: however a connection was deleted, its tokens must not live on at ERPNext."""

    def tell() -> None:
        instance.revoked = revoke(instance)
        signals.disconnected.send_robust(sender=Connection, connection=instance, revoked=instance.revoked)

    transaction.on_commit(tell, using=using, robust=True)


def revoke(connection: Connection) -> bool:
    """Revoke a connection's tokens where they were issued; return whether ERPNext confirmed it."""
    try:
        site = replace(get_site(connection.site), url=connection.site_url)
        access_token, refresh_token = (token.open() for token in connection.tokens)
    except (ImproperlyConfigured, TokensUnreadable):
        return False
    return _revoke_quietly(endpoints_of(site, identity=connection.identity), access_token, refresh_token)


def _revoke_after_commit(connection: Connection) -> None:
    transaction.on_commit(partial(revoke, connection), using=router.db_for_write(Connection), robust=True)


def _revoke_quietly(endpoints: OAuthEndpoints, access_token: str, refresh_token: str) -> bool:
    """Revoke a pair; return whether the token that lives longest is dead. Raise nothing that a site can cause."""
    hint: Hint = "refresh_token" if refresh_token else "access_token"
    try:
        # Either token ends the pair. The answer is 200 in any case, and a refresh token without its hint is
        # ignored (frappe/integrations/oauth2.py), so the outcome is asked for.
        endpoints.revoke(access_token)
        if _is_dead(endpoints, refresh_token or access_token, hint):
            return True
        endpoints.revoke(refresh_token or access_token, hint)
        return _is_dead(endpoints, refresh_token or access_token, hint)
    except ERPNextBridgeError:
        return False


def _is_dead(endpoints: OAuthEndpoints, token: str, hint: Hint) -> bool:
    return endpoints.introspect(token, hint).get("active") is False
