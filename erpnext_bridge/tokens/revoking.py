"""
Revoking tokens at ERPNext: at once where it can be, and until ERPNext has confirmed it in any case.

Tokens that go out of use are written down in the same transaction (`PendingRevocation`), tried right after it, and
tried again by the sweep for as long as the site is down.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from enum import Enum
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import router, transaction
from django.db.models import F
from django.utils import timezone

from erpnext_bridge import signals
from erpnext_bridge.backoff import wait_before
from erpnext_bridge.conf import get_site
from erpnext_bridge.errors import ERPNextBridgeError, TransientError
from erpnext_bridge.models import Connection, PendingRevocation
from erpnext_bridge.models.revocation import Cause
from erpnext_bridge.oauth import Hint, OAuthEndpoints
from erpnext_bridge.tokens.crypto import SealedText, TokensUnreadable
from erpnext_bridge.tokens.endpoints import endpoints_of

logger = logging.getLogger("erpnext_bridge")

FIRST_WAIT, LONGEST_WAIT = 30.0, 3600.0
"""Seconds before the second attempt, and between attempts at a site that stays down."""

CLAIM = timedelta(minutes=5)
"""How long one attempt has before another one may begin."""

UNCONFIRMED = "ERPNext still takes the tokens for good."


def enqueue(
    *,
    site: str,
    site_url: str,
    erp_user: str,
    tokens: tuple[SealedText, SealedText],
    cause: Cause,
    using: str | None = None,
    told: Callable[[bool], None] = lambda _: None,
) -> None:
    """
    Write down that these tokens are to be revoked; they are tried once the transaction is committed.

    `told` is called after that, with whether ERPNext has confirmed it.
    """
    using = using or router.db_for_write(PendingRevocation)
    sealed: dict[str, Any] = {"access_token": tokens[0], "refresh_token": tokens[1]}
    row = PendingRevocation.objects.using(using).create(
        site=site, site_url=site_url, erp_user=erp_user, cause=cause, **sealed
    )
    transaction.on_commit(lambda: told(attempt(row.pk, using)), using=using, robust=True)


def enqueue_connection(
    connection: Connection, cause: Cause, using: str | None = None, **options: Any
) -> None:
    """Write down that a connection's tokens, as this instance holds them, are to be revoked."""
    enqueue(
        site=connection.site,
        site_url=connection.site_url,
        erp_user=connection.erp_user,
        tokens=connection.tokens,
        cause=cause,
        using=using,
        **options,
    )


def attempt(pk: Any, using: str | None = None) -> bool:
    """
    Try to revoke what a row names, if nobody else is at it; return whether ERPNext has confirmed it.

    Confirmed, the row is gone. Tokens that no key opens are given up: nobody can ever send them.
    """
    return _attempt(pk, using or router.db_for_write(PendingRevocation)) is Outcome.CONFIRMED


def sweep(limit: int = 100) -> int:
    """Try what is due, one at each site that is down; return how many were confirmed."""
    using = router.db_for_write(PendingRevocation)
    due = PendingRevocation.objects.using(using).due().order_by("next_attempt_at")
    down: set[str] = set()
    confirmed = 0
    for _ in range(limit):
        # One by one, so that what waits for a site that is down takes no other site's turn.
        found = due.exclude(site_url__in=down).values_list("pk", "site_url").first()
        if found is None:
            break
        outcome = _attempt(found[0], using)
        confirmed += outcome is Outcome.CONFIRMED
        if outcome is Outcome.DOWN:
            down.add(found[1])
    return confirmed


class Outcome(Enum):
    CONFIRMED = "confirmed"
    FAILED = "failed"
    DOWN = "down"
    """The site did not answer, so it need not be asked more now."""


def _attempt(pk: Any, using: str) -> Outcome:
    rows = PendingRevocation.objects.using(using).filter(pk=pk)
    now = timezone.now()
    claim = {"next_attempt_at": now + CLAIM, "attempts": F("attempts") + 1}
    if not rows.filter(next_attempt_at__lte=now).update(**claim):
        return Outcome.FAILED
    row = rows.get()
    try:
        revoked, error = _revoke(row), None
    except TokensUnreadable:
        logger.warning("Not revoked, and never will be: %s. No key opens them.", row)
        rows.delete()
        return Outcome.FAILED
    except (ERPNextBridgeError, ImproperlyConfigured) as failure:
        revoked, error = False, failure
    if revoked:
        rows.delete()
        return Outcome.CONFIRMED
    wait = wait_before(row.attempts, first=FIRST_WAIT, longest=LONGEST_WAIT)
    why = str(error) if error is not None else UNCONFIRMED
    rows.update(next_attempt_at=timezone.now() + timedelta(seconds=wait), last_error=why[:500])
    return Outcome.DOWN if isinstance(error, TransientError) else Outcome.FAILED


def revoke_deleted(*, instance: Connection, using: str, **_: Any) -> None:
    """Receive `post_delete`: however a connection was deleted, its tokens must not live on at ERPNext."""

    def tell(confirmed: bool) -> None:
        instance.revoked = confirmed
        signals.disconnected.send_robust(sender=Connection, connection=instance, revoked=confirmed)

    enqueue_connection(instance, Cause.DISCONNECTED, using, told=tell)


def _revoke(row: PendingRevocation) -> bool:
    endpoints = endpoints_of(replace(get_site(row.site), url=row.site_url))
    return revoke_pair(endpoints, *row.tokens)


def revoke_pair(endpoints: OAuthEndpoints, access_token: SealedText, refresh_token: SealedText) -> bool:
    """Revoke a pair; return whether both tokens are dead. Raises what any request raises."""
    # Either token ends the pair. The answer is 200 in any case, and a refresh token without its hint is
    # ignored (frappe/integrations/oauth2.py), so the outcome is asked for.
    pair: list[tuple[SealedText, Hint]] = [(access_token, "access_token"), (refresh_token, "refresh_token")]
    given = [(token, hint) for token, hint in pair if token]
    endpoints.revoke(access_token.open())
    if _are_dead(endpoints, given):
        return True
    for token, hint in given:
        endpoints.revoke(token.open(), hint)
    return _are_dead(endpoints, given)


def _are_dead(endpoints: OAuthEndpoints, tokens: Iterable[tuple[SealedText, Hint]]) -> bool:
    return all(endpoints.introspect(token.open(), hint).get("active") is False for token, hint in tokens)
