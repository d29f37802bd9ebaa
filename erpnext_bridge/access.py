"""
From an identity to a client that carries its rights: the only way from a query or a write to ERPNext.

A user's requests carry the tokens of that user's connection, and those of the service account what the
settings name. There is no way from the one to the other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from random import SystemRandom
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured

from erpnext_bridge.client import FrappeClient
from erpnext_bridge.conf import Site, get_settings
from erpnext_bridge.credentials import ApiKey, Bearer, Credentials, Secret
from erpnext_bridge.errors import (
    AuthenticationRefused,
    NeedsReconnect,
    NotConnected,
    TransientError,
    UnreadableAnswer,
)
from erpnext_bridge.identity import Identity
from erpnext_bridge.models import Connection
from erpnext_bridge.tokens import refreshing
from erpnext_bridge.tokens.endpoints import reporter
from erpnext_bridge.transport import Timeouts

LAST_SECONDS = 5.0
"""With less than this left, a token is not worth a try: it may expire under way."""

_spread = SystemRandom().uniform

FACTS_TTL = 3600
"""Seconds for which a site's version and time zone are believed, so that an upgrade needs no restart."""


@dataclass(frozen=True)
class SiteFacts:
    """What has to be known of a site before anything can be asked of it."""

    version: int
    """Major version of Frappe: 15."""
    time_zone: ZoneInfo
    """The zone that all of its times are in."""


def open_site(identity: Identity) -> SiteAccess:
    """
    Return the access of an identity to its site; nothing is loaded or sent before it is used.

    Using it raises NotConnected without a connection, NeedsReconnect when its tokens are over, and
    ImproperlyConfigured for a site or a service account that the settings do not name.
    """
    return SiteAccess(identity)


class SiteAccess:
    """One identity at one site."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.site: Site = get_settings().site(identity.site)

    def __repr__(self) -> str:
        return f"<SiteAccess of {self.identity}>"

    @cached_property
    def client(self) -> FrappeClient:
        if self.identity.is_service:
            return _service_client(self)
        return _user_client(self)

    @cached_property
    def facts(self) -> SiteFacts:
        site = self.site
        version = site.version or _remembered(self, "version", _version_of)
        zone = site.time_zone or _remembered(self, "time_zone", FrappeClient.time_zone)
        return SiteFacts(version, _zone(zone))

    def make_client(self, credentials: Credentials | None, **options: Any) -> FrappeClient:
        """Return a client of this site whose requests are reported as this identity's."""
        return FrappeClient(
            self.site.url,
            credentials,
            timeout=Timeouts(*get_settings().timeout),
            parse_float=Decimal,
            on_exchange=reporter(self.identity),
            **options,
        )


# Users


def _user_client(access: SiteAccess) -> FrappeClient:
    connection = Connection.objects.for_identity(access.identity).first()
    if connection is None:
        raise NotConnected(
            f"{access.identity} is not connected. Send the user to the connect page.", site=access.site.alias
        )
    return _TokenBearer(access, connection).client


class _TokenBearer:
    """A connection's tokens in use: refreshed before they expire, and once after a 401."""

    def __init__(self, access: SiteAccess, connection: Connection) -> None:
        refreshing.check_usable(connection, access.site)
        self.access = access
        self.connection = connection
        # Spread, so that what was connected together is not refreshed together ever after.
        if connection.expires_within(get_settings().refresh_margin * _spread(1.0, 1.5)):
            self.refresh_early()
        self.client = access.make_client(self.bearer(), on_unauthorized=self.renew)

    def bearer(self) -> Bearer:
        return Bearer(self.connection.access_token.open())

    def refresh_early(self) -> None:
        """Get other tokens; those that are still good for some seconds do while ERPNext gives no others."""
        is_over = self.connection.expires_within(LAST_SECONDS)
        try:
            self.connection = refreshing.refresh(self.connection, self.access.site, wait=is_over)
        except (AuthenticationRefused, TransientError):
            if self.connection.expires_within(0):
                raise

    def renew(self) -> Bearer:
        """Return other credentials than those that got a 401. NeedsReconnect when these get one too."""
        self.connection = refreshing.refresh(self.connection, self.access.site)
        try:
            self.access.make_client(self.bearer()).logged_user()
        except AuthenticationRefused:
            # Frappe refuses tokens that it issued a moment ago when the OAuth Client has lost a scope
            # since the user connected (frappe/oauth.py, validate_bearer_token).
            reason = "ERPNext refuses the tokens that it renews: the OAuth Client there was changed."
            refreshing.end(self.connection, reason)
            raise NeedsReconnect(reason, site=self.access.site.alias) from None
        return self.bearer()


# The service account


def _service_client(access: SiteAccess) -> FrappeClient:
    site = access.site
    if site.api_key and site.api_secret:
        return access.make_client(ApiKey(site.api_key, site.api_secret))
    if site.username and site.password:
        return _logged_in(access)
    raise ImproperlyConfigured(
        f"ERPNEXT_BRIDGE['SITES'][{site.alias!r}] names no service account. Put 'API_KEY' and 'API_SECRET' there."
    )


_sessions: dict[tuple[str, str, Secret], Credentials] = {}
"""(URL of a site, user name, password) → its session."""
_sessions_lock = threading.Lock()


def _logged_in(access: SiteAccess) -> FrappeClient:
    """Return a client of the process's one session: a log-in takes ERPNext a quarter of a second."""
    site = access.site
    key = site.url, site.username, Secret(site.password)

    def log_in(over: Credentials | None) -> Credentials:
        with _sessions_lock:
            if _sessions.get(key) is over:
                anonymous = access.make_client(None)
                _sessions[key] = anonymous.login(site.username, Secret(site.password)).credentials
            return _sessions[key]

    client = access.make_client(_sessions.get(key) or log_in(None))
    client.on_unauthorized = lambda: log_in(client.credentials)
    return client


# Facts

_facts: dict[tuple[str, str], tuple[float, Any]] = {}


def _remembered(access: SiteAccess, what: str, ask: Callable[[FrappeClient], Any]) -> Any:
    """Return a fact about a site: as this process knows it, else as the cache does, else as the site tells it."""
    url = access.site.url
    until, fact = _facts.get((url, what), (0.0, None))
    if fact is None or time.monotonic() >= until:
        key = f"erpnext_bridge:{what}:{url}"
        fact = cache.get(key)
        if fact is None:
            fact = ask(access.client)
            cache.set(key, fact, FACTS_TTL)
        _facts[url, what] = (time.monotonic() + FACTS_TTL, fact)
    return fact


def _version_of(client: FrappeClient) -> int:
    version = client.versions().get("frappe", "")
    major = version.partition(".")[0]
    if not major.isdecimal():
        raise UnreadableAnswer(f"The site tells no version of Frappe, but {version!r}. Set 'VERSION' for it.")
    return int(major)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ImproperlyConfigured(
            f"The site's time zone {name!r} is not known here. Install tzdata, or set 'TIME_ZONE' for the site."
        ) from None
