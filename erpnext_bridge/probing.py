"""Asking ERPNext, not the table, whether something works: a connection, or a whole site."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.cache import cache

from erpnext_bridge.access import open_site
from erpnext_bridge.client import FrappeClient
from erpnext_bridge.conf import Site
from erpnext_bridge.errors import ERPNextBridgeError
from erpnext_bridge.models import Connection
from erpnext_bridge.tokens.endpoints import reporter
from erpnext_bridge.transport import Timeouts

PING_SECONDS = 30.0
"""Seconds for which the answer to a ping is believed: a health endpoint must not become a way to flood a site."""

PING_TIMEOUTS = Timeouts(connect=2.0, read=5.0, total=5.0)


@dataclass(frozen=True)
class Probe:
    """What came of asking."""

    works: bool
    text: str
    """Who ERPNext says that the user is, or what is wrong."""


def probe(connection: Connection) -> Probe:
    """Ask ERPNext whose tokens these are; they are refreshed first where they have to be."""
    try:
        erp_user = open_site(connection.identity).client.logged_user()
    except ERPNextBridgeError as error:
        return Probe(False, " ".join(error.messages) or error.way_out or type(error).__name__)
    if erp_user != connection.erp_user:
        return Probe(False, f"The tokens are {erp_user}'s, not {connection.erp_user}'s.")
    return Probe(True, erp_user)


def unreachable(site: Site) -> str:
    """Return why a site does not answer as ERPNext, "" when it does; asked at most twice a minute."""
    key = f"erpnext_bridge:ping:{site.url}"
    known = cache.get(key)
    if known is None:
        known = _ping(site)
        cache.set(key, known, PING_SECONDS)
    return str(known)


def _ping(site: Site) -> str:
    try:
        FrappeClient(site.url, timeout=PING_TIMEOUTS, on_exchange=reporter(None)).ping()
    except (ERPNextBridgeError, ValueError) as error:
        return str(error)
    return ""
