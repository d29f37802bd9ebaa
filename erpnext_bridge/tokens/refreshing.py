"""
Refreshing: one request for all threads, processes and hosts that want it, and no received pair is ever lost.

Whoever wants other tokens takes the connection's lease: one conditional UPDATE, committed before the request leaves.
All others read the row until the new tokens are there, or until the attempt has failed. The lease of a process that
died ends by the database's clock, and whoever comes next goes on from the tokens that are stored.

Nothing of this takes part in the caller's transaction: ERPNext does not roll back, so a view that fails must not take
new tokens with it. Inside of one, a thread with a connection of its own to the database does the work.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import copy_context
from datetime import timedelta
from functools import partial
from random import SystemRandom
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError, connections, router, transaction
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.utils import timezone

from erpnext_bridge import signals
from erpnext_bridge.backoff import wait_before
from erpnext_bridge.conf import Site, get_settings
from erpnext_bridge.errors import (
    AuthenticationRefused,
    ERPNextBridgeError,
    GrantRefused,
    NeedsReconnect,
    NotConnected,
    SiteUnreachable,
    TransientError,
)
from erpnext_bridge.models import Connection
from erpnext_bridge.models.connection import USABLE, DatabaseNow, Health
from erpnext_bridge.models.revocation import Cause
from erpnext_bridge.oauth import TokenPair
from erpnext_bridge.tokens import revoking
from erpnext_bridge.tokens.crypto import SealedText
from erpnext_bridge.tokens.endpoints import endpoints_of, oauth_timeouts

logger = logging.getLogger("erpnext_bridge")

T = TypeVar("T")

MOVED = "ERPNext has another address now than when you connected, and tokens are sent nowhere else."
GONE = "The user has disconnected meanwhile."
REFUSED = "ERPNext does not accept the stored tokens any more: they expired or were revoked there."

SPARE = 5.0
"""Seconds that a lease lasts longer than the longest request may: to store the pair, and to wake up the others."""

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.25
"""Seconds between two looks at the row."""

FIRST_REST, LONGEST_REST = 2.0, 60.0
"""Seconds for which a site is left alone that could not refresh twice in a row, and more often."""

PATIENCE = 60.0
"""Seconds for which storing a pair is tried while the database refuses: the pair may be the only one that lives."""

_spread = SystemRandom().uniform


def check_usable(connection: Connection, site: Site) -> None:
    """Raise NeedsReconnect, with the reason, for a connection whose tokens cannot be used."""
    if not connection.is_usable:
        raise NeedsReconnect(connection.reason, site=site.alias)
    if connection.site_url != site.url:
        raise NeedsReconnect(MOVED, site=site.alias)


def refresh(connection: Connection, site: Site, *, wait: bool = True) -> Connection:
    """
    Return the connection with other tokens than these: new ones, or those that somebody else got meanwhile.

    Without `wait`, it is returned as it is while somebody else gets them, or as long as the site is left alone after
    a failure. NeedsReconnect when ERPNext refuses the refresh token for good; any other error leaves the tokens alone.
    """
    return _durably(partial(_refresh, connection, site, wait))


def end(connection: Connection, reason: str, health: Health = Health.NEEDS_RECONNECT) -> None:
    """Note that the connection's tokens are over, unless they were replaced meanwhile."""
    _durably(partial(_end, connection, reason, health))


def refresh_idle(limit: int = 100) -> int:
    """
    Refresh connections that nobody has used for `REFRESH_IDLE` seconds; return how many.

    Frappe 16 deletes tokens 30 days after their expiry, refresh tokens included (frappe/hooks.py, default_log_clearing_doctypes).
    """
    idle = get_settings().refresh_idle
    if not idle:
        return 0
    now = timezone.now()
    sites = get_settings().sites
    long_ago = Connection.objects.using(router.db_for_write(Connection)).usable()
    long_ago = long_ago.filter(expires_at__lt=now - timedelta(seconds=idle))
    long_ago = long_ago.exclude(next_refresh_at__gt=now).order_by("expires_at")
    tried: list[int] = []
    down: set[str] = set()
    refreshed = 0
    for _ in range(limit):
        # One by one, so that those of a site that is down take no other site's turn.
        connection = long_ago.filter(site__in=sites.keys() - down).exclude(pk__in=tried).first()
        if connection is None:
            break
        tried.append(connection.pk)
        try:
            refresh(connection, sites[connection.site], wait=False)
            refreshed += 1
        except TransientError:
            down.add(connection.site)
        except ERPNextBridgeError as error:
            logger.info("%s was not kept alive: %s.", connection, type(error).__name__)
    return refreshed


def columns_of(pair: TokenPair, former: SealedText | None = None) -> dict[str, Any]:
    """Return what a connection stores of a pair; whatever was noted about the pair before is over."""
    return {
        "access_token": SealedText.seal(pair.access_token),
        # A server that does not rotate may send no new refresh token: the former stays good.
        "refresh_token": SealedText.seal(pair.refresh_token)
        if pair.refresh_token
        else former or SealedText(),
        "expires_at": pair.expires_at,
        "scopes": pair.scope[:500],
        "health": Health.HEALTHY,
        "reason": "",
        "failures": 0,
        "next_refresh_at": None,
        "lease": "",
        "leased_until": None,
    }


# Taking turns


def _refresh(connection: Connection, site: Site, wait: bool) -> Connection:
    patience = time.monotonic() + _lease_seconds() + SPARE
    failures: int | None = None
    for pause in _pauses():
        current = _reread(connection, site)
        check_usable(current, site)
        if _has_other_tokens(current, connection):
            return current
        failures = current.failures if failures is None else failures
        if _rests(current, failures):
            if wait:
                raise _failed_before(current)
            return current
        if not current.is_leased and (lease := _take(current)):  # type: ignore[attr-defined]
            return _with_lease(current, lease, site)
        if not wait:
            return current
        if time.monotonic() > patience:
            raise SiteUnreachable("Somebody else is getting new tokens, and does not come to an end.")
        time.sleep(pause)
    raise AssertionError("There is always another pause.")


def _rests(current: Connection, failures: int) -> bool:
    """Tell whether an attempt that this call waited for has failed, or one that is not long ago."""
    resting = current.next_refresh_at is not None and current.next_refresh_at > timezone.now()
    return resting or current.failures > failures


def _failed_before(current: Connection) -> SiteUnreachable:
    left = None
    if current.next_refresh_at is not None:
        left = max(0.0, (current.next_refresh_at - timezone.now()).total_seconds())
    return SiteUnreachable(f"New tokens could not be got a moment ago: {current.reason}", retry_after=left)


def _take(current: Connection) -> str:
    """Return a lease on the connection, "" when somebody else was faster or the row cannot be written now."""
    lease, using = secrets.token_hex(16), router.db_for_write(Connection)
    rows = _rows(current)
    try:
        with transaction.atomic(using=using):
            if connections[using].features.has_select_for_update_nowait:
                # Whoever holds the row longer than an UPDATE takes may be the very transaction that waits for us.
                rows.select_for_update(nowait=True).first()
            free = rows.exclude(leased_until__gt=DatabaseNow()).filter(access_token=current.access_token)
            until = DatabaseNow() + timedelta(seconds=_lease_seconds())
            return lease if free.update(lease=lease, leased_until=until) else ""
    except OperationalError:
        if _apart.active:
            _apart.refused += 1
            if _apart.refused >= REFUSALS:
                raise _Locked from None
        return ""


def _lease_seconds() -> float:
    return oauth_timeouts().total + SPARE


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE
    while True:
        yield _spread(pause / 2, pause)
        pause = min(2 * pause, LONGEST_PAUSE)


# The one whose turn it is


def _with_lease(current: Connection, lease: str, site: Site) -> Connection:
    try:
        pair = _refreshed_pair(current, site)
    except GrantRefused as refusal:
        return _after_refusal(current, lease, site, refusal)
    except NeedsReconnect:
        _release(current, lease)
        raise
    except ERPNextBridgeError as error:
        _note_failure(current, lease, error)
        raise
    except BaseException:
        _release(current, lease)
        raise
    return _keep(current, site, pair)


def _refreshed_pair(connection: Connection, site: Site) -> TokenPair:
    if not connection.refresh_token:
        raise GrantRefused("ERPNext gave no refresh token.", error="invalid_grant")
    return endpoints_of(site, identity=connection.identity).refresh(connection.refresh_token.open())


def _release(current: Connection, lease: str, **noted: Any) -> None:
    """Let others have a turn, and note why; should the database refuse, the lease ends by itself."""
    try:
        with transaction.atomic(using=router.db_for_write(Connection)):
            _rows(current).filter(lease=lease).update(lease="", leased_until=None, **noted)
    except (OperationalError, InterfaceError) as error:
        logger.warning("A lease could not be given back (%s); it ends by itself.", type(error).__name__)


def _note_failure(current: Connection, lease: str, error: ERPNextBridgeError) -> None:
    """Keep the tokens, and say what is wrong; from the second failure on, leave the site alone for a while."""
    asked = getattr(error, "retry_after", None)
    rest = None
    if asked or current.failures:
        seconds = wait_before(
            max(current.failures, 1), first=FIRST_REST, longest=LONGEST_REST, retry_after=asked
        )
        rest = timezone.now() + timedelta(seconds=seconds)
    text = " ".join(error.messages) or error.way_out or type(error).__name__
    _release(
        current,
        lease,
        health=Health.DEGRADED,
        reason=text[:500],
        failures=current.failures + 1,
        next_refresh_at=rest,
    )


def _after_refusal(current: Connection, lease: str, site: Site, refusal: GrantRefused) -> Connection:
    # Whoever outlived its own lease may have been faster, and a server that rotates tokens has refused ours for it.
    now = _reread(current, site)
    if _has_other_tokens(now, current):
        _release(now, lease)
        check_usable(now, site)
        return now
    if not refusal.is_final:
        error = AuthenticationRefused(
            f"ERPNext refuses the OAuth Client that this project is set up with ({refusal.error}). "
            "The tokens are kept; an administrator has to check CLIENT_ID, CLIENT_SECRET and CLIENT_AUTH."
        )
        _note_failure(current, lease, error)
        raise error
    revoked = refusal.status is not None and _is_revoked(current, site)
    health = Health.REVOKED if revoked else Health.NEEDS_RECONNECT
    _end(now, REFUSED, health)
    raise NeedsReconnect(REFUSED, site=site.alias)


def _is_revoked(current: Connection, site: Site) -> bool:
    try:
        told = endpoints_of(site, identity=current.identity).introspect(current.access_token.open())
    except ERPNextBridgeError:
        return False
    return told.get("active") is False


def _end(connection: Connection, reason: str, health: Health) -> None:
    ended = {"health": health, "reason": reason[:500], "lease": "", "leased_until": None}
    if _insist(partial(_swap, connection, ended)):
        signals.needs_reconnect.send_robust(sender=Connection, connection=connection, reason=reason)


def _swap(connection: Connection, values: dict[str, Any]) -> bool:
    """Change the row of a usable connection while it has these tokens; return whether it had."""
    while True:
        now = _rows(connection).first()
        if now is None and _apart.active:
            raise _NotSeen
        if now is None or not now.is_usable or _has_other_tokens(now, connection):
            return False
        # By the stored text, which a rotation of keys may have changed since.
        if _rows(now).filter(access_token=now.access_token, health__in=USABLE).update(**values):
            return True


# Storing a pair


def _keep(current: Connection, site: Site, pair: TokenPair) -> Connection:
    """Store a new pair in place of the one it was made from, which is to be revoked then."""
    values = {**columns_of(pair, current.refresh_token), "refreshed_at": timezone.now()}
    connection = _insist(partial(_replace, current, values))
    if connection is None:
        raise NotConnected(GONE, site=site.alias)
    if connection.access_token.open() != pair.access_token:
        check_usable(connection, site)
        return connection
    _keep_beyond_rollback(current, values)
    signals.refreshed.send_robust(sender=Connection, connection=connection)
    return connection


def _replace(current: Connection, values: dict[str, Any]) -> Connection | None:
    """Store the pair unless others were stored meanwhile; return the row as it is then, None when it is gone."""
    using = router.db_for_write(Connection)
    ours = {"access_token": values["access_token"], "refresh_token": values["refresh_token"]}
    while True:
        with transaction.atomic(using=using):
            now = _rows(current).first()
            if now is None or _has_other_tokens(now, current):
                if now is None or now.access_token.open() != ours["access_token"].open():
                    spare = Connection(
                        site=current.site, site_url=current.site_url, erp_user=current.erp_user, **ours
                    )
                    revoking.enqueue_connection(spare, Cause.UNUSED, using)
                return now
            # By the stored text, which a rotation of keys may have changed since.
            if _rows(now).filter(access_token=now.access_token).update(**values):
                if values["refresh_token"] != current.refresh_token:
                    # Frappe up to 16.4 leaves the former pair alive. Whoever still sends it gets a 401, and comes here.
                    revoking.enqueue_connection(current, Cause.SUPERSEDED, using)
                return _rows(now).get()


def _insist(store: Callable[[], T]) -> T:
    """Store, and try again while the database refuses."""
    patience = time.monotonic() + PATIENCE
    for pause in _pauses():
        try:
            return store()
        except (OperationalError, InterfaceError):
            if time.monotonic() > patience:
                raise
        # A connection that the database has closed serves no attempt; outside of a transaction Django opens another.
        connections[router.db_for_write(Connection)].close_if_unusable_or_obsolete()
        time.sleep(pause)
    raise AssertionError("There is always another pause.")


def _keep_beyond_rollback(current: Connection, values: dict[str, Any]) -> None:
    """Store the pair again should the caller's transaction, which holds the row locked, be rolled back."""
    if _apart.keeps:
        run = partial(_insist, partial(_replace, current, values))
        threading.Thread(target=_closing(run), name="erpnext_bridge-keep").start()


def _has_other_tokens(one: Connection, other: Connection) -> bool:
    if one.access_token == other.access_token:
        return False
    # By the clear text: with another key, the same token is stored as another text.
    return bool(one.access_token.open() != other.access_token.open())


def _rows(connection: Connection) -> QuerySet[Connection]:
    # Of the primary database: a replica may not have heard of the latest tokens.
    return Connection.objects.using(router.db_for_write(Connection)).filter(pk=connection.pk)


def _reread(connection: Connection, site: Site) -> Connection:
    is_leased = ExpressionWrapper(Q(leased_until__gt=DatabaseNow()), output_field=BooleanField())
    try:
        found = _rows(connection).annotate(is_leased=is_leased).first()
    except OperationalError:
        if _apart.active:
            raise _NotSeen from None
        raise
    if found is not None:
        return found
    if _apart.active:
        raise _NotSeen
    raise NotConnected(GONE, site=site.alias)


# Apart from the caller's transaction


class _NotSeen(Exception):
    """The row is of the caller's own transaction, and ends with that."""


class _Locked(Exception):
    """The caller's own transaction holds the row locked, or with SQLite the whole database."""


class _Apart(threading.local):
    """How this thread stands to the transaction of a caller."""

    active = False
    """Whether it works beside one, in place of the thread that waits for it."""
    refused = 0
    """How often it could not write there."""
    keeps = False
    """Whether it works inside of one, whose end may undo what is stored."""


_apart = _Apart()

REFUSALS = 5
"""Attempts to write after which the row counts as locked by the transaction that waits."""

LOCK_MILLISECONDS = 200


def _durably(run: Callable[[], T]) -> T:
    """Run something so that no rollback of the caller's transaction undoes it."""
    database = connections[router.db_for_write(Connection)]
    if database.get_autocommit() and not database.in_atomic_block:
        return run()
    try:
        return _in_thread(run)
    except _NotSeen:
        return run()
    except _Locked:
        _apart.keeps = True
        try:
            return run()
        finally:
            _apart.keeps = False


def _in_thread(run: Callable[[], T]) -> T:
    outcome: list[T] = []
    failure: list[BaseException] = []

    def work() -> None:
        _apart.active = True
        try:
            _hurry()
            outcome.append(run())
        except BaseException as error:  # it is the caller's
            failure.append(error)

    thread = threading.Thread(target=partial(copy_context().run, _closing(work)), name="erpnext_bridge-apart")
    thread.start()
    thread.join()
    if failure:
        raise failure.pop()
    return outcome.pop()


def _hurry() -> None:
    """Let SQLite refuse at once: it may be the caller who holds the lock, and waits."""
    database = connections[router.db_for_write(Connection)]
    if database.vendor == "sqlite":
        with database.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {LOCK_MILLISECONDS}")


def _closing(run: Callable[[], Any]) -> Callable[[], None]:
    def closed() -> None:
        try:
            run()
        finally:
            for database in connections.all(initialized_only=True):
                # Django keeps a database in memory open when it is told to close it.
                if database.connection is not None and database.vendor == "sqlite":
                    database.connection.close()
                database.close()

    return closed
