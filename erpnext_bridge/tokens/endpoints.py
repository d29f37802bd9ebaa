"""Our OAuth client at a site, as the settings register it there."""

from __future__ import annotations

from typing import Any

from erpnext_bridge import signals
from erpnext_bridge.conf import Site, get_settings
from erpnext_bridge.identity import Identity
from erpnext_bridge.oauth import OAuthEndpoints
from erpnext_bridge.transport import Exchange, Timeouts


def endpoints_of(site: Site, redirect_uri: str = "", identity: Identity | None = None) -> OAuthEndpoints:
    """Return the OAuth endpoints of a site; ValueError when its URL is none."""
    return OAuthEndpoints(
        site.url,
        site.client_id,
        client_secret=site.client_secret,
        client_auth=site.client_auth,
        redirect_uri=redirect_uri,
        scope=site.scope,
        timeouts=oauth_timeouts(),
        on_exchange=reporter(identity),
        # Inside a private network it may be all there is; a system check warns of it.
        allow_http=True,
    )


def oauth_timeouts() -> Timeouts:
    """Return the limits of a request for tokens, whose answer is small: a lease has to outlast it."""
    connect, read = get_settings().timeout
    return Timeouts(connect, read, total=connect + read)


def reporter(identity: Identity | None) -> Any:
    """Return what tells the `request_sent` signal about each request of an identity."""

    def report(exchange: Exchange) -> None:
        signals.request_sent.send_robust(
            sender=Identity,
            method=exchange.method,
            path=exchange.path,
            status=exchange.status,
            seconds=exchange.seconds,
            received=exchange.received,
            error=exchange.error,
            arguments=exchange.asked,
            identity=identity,
        )

    return report
