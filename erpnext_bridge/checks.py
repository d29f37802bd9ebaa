"""
System checks: each says what to put where, and one prints the redirect URIs to register at ERPNext.

`manage.py check` runs them, and so do runserver and migrate.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Sequence
from typing import Any, get_args
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, register
from django.core.checks import Warning as Caution
from django.core.exceptions import ImproperlyConfigured
from django.urls import NoReverseMatch

from erpnext_bridge.addresses import absolute, page, redirect_uri
from erpnext_bridge.conf import BridgeSettings, ClientAuth, CreateKey, Site, get_settings
from erpnext_bridge.tokens.crypto import fernet_key, is_fernet_key
from erpnext_bridge.transport import origin_of

MIDDLEWARE = "erpnext_bridge.middleware.ConnectionMiddleware"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"

ALIAS = re.compile(r"[\w-]{1,64}", re.ASCII)

NEW_KEY = (
    "Make one with: python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
)


def check_settings(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Return what is wrong with ERPNEXT_BRIDGE, and with what the project has to do besides."""
    try:
        bridge = get_settings()
    except (ImproperlyConfigured, TypeError, ValueError, AttributeError) as wrong:
        hint = (
            "In settings.py: ERPNEXT_BRIDGE = {'SITES': {'default': {'URL': 'https://erp.example.com', "
            "'CLIENT_ID': '…', 'CLIENT_SECRET': '…'}}, 'TOKEN_KEYS': ['…']}"
        )
        return [Error(f"ERPNEXT_BRIDGE cannot be read: {wrong}", hint=hint, id="erpnext_bridge.E001")]
    return [
        *_check_sites(bridge),
        *_check_keys(bridge),
        *_check_times(bridge),
        *_check_writes(bridge),
        *_check_project(bridge),
    ]


def _check_sites(bridge: BridgeSettings) -> Iterator[CheckMessage]:
    if not bridge.sites:
        yield Error(
            "ERPNEXT_BRIDGE['SITES'] names no site.",
            hint="Add {'default': {'URL': 'https://erp.example.com'}} there.",
            id="erpnext_bridge.E002",
        )
    for site in bridge.sites.values():
        yield from _check_names(site)
        yield from _check_url(site)
        yield from _check_credentials(site)


def _check_names(site: Site) -> Iterator[CheckMessage]:
    if not ALIAS.fullmatch(site.alias):
        yield Error(
            f"The site {site.alias!r} cannot be called so: its name is part of addresses and of rows.",
            hint="Use up to 64 letters, digits, '-' and '_' as a key in ERPNEXT_BRIDGE['SITES'].",
            id="erpnext_bridge.E012",
        )
    if site.client_auth not in get_args(ClientAuth):
        yield Error(
            f"ERPNEXT_BRIDGE['SITES'][{site.alias!r}]['CLIENT_AUTH'] is {site.client_auth!r}.",
            hint=f"Use one of {', '.join(map(repr, get_args(ClientAuth)))}; 'auto' finds out.",
            id="erpnext_bridge.E013",
        )
    if site.time_zone is not None and site.time_zone not in available_timezones():
        yield Error(
            f"ERPNEXT_BRIDGE['SITES'][{site.alias!r}]['TIME_ZONE'] is {site.time_zone!r}, which is not known here.",
            hint="Put the name there that ERPNext's System Settings show, such as 'Europe/Berlin', or leave it out.",
            id="erpnext_bridge.E014",
        )


def _check_writes(bridge: BridgeSettings) -> Iterator[CheckMessage]:
    known = get_args(CreateKey)
    for site in bridge.sites.values():
        keys = [site.create_key] if isinstance(site.create_key, str) else [*site.create_key.values()]
        for wrong in (key for key in keys if key not in known):
            yield Error(
                f"ERPNEXT_BRIDGE['SITES'][{site.alias!r}]['CREATE_KEY'] has {wrong!r}.",
                hint=f"Use one of {', '.join(map(repr, known))}, or a dict of DocType to one of them.",
                id="erpnext_bridge.E015",
            )
    if bridge.write_conflict not in ("refuse", "reapply", "overwrite"):
        yield Error(
            f"ERPNEXT_BRIDGE['WRITE_CONFLICT'] is {bridge.write_conflict!r}.",
            hint="Use 'refuse', 'reapply' or 'overwrite'.",
            id="erpnext_bridge.E016",
        )


def _check_url(site: Site) -> Iterator[CheckMessage]:
    where = f"ERPNEXT_BRIDGE['SITES'][{site.alias!r}]['URL']"
    try:
        origin_of(site.url)
    except ValueError as wrong:
        yield Error(
            f"{where}: {wrong if site.url else 'it is missing.'}",
            hint="Put the address of ERPNext there, without a path: 'https://erp.example.com'.",
            id="erpnext_bridge.E003",
        )
        return
    if urlsplit(site.url).scheme == "http" and not settings.DEBUG and not _is_local(site.url):
        yield Caution(
            f"{where} is plain http: tokens and documents travel readable.",
            hint=f"Put 'https://{urlsplit(site.url).netloc}' there.",
            id="erpnext_bridge.W001",
        )


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "::1" or host.startswith("127.") or host.rpartition(".")[2] == "localhost"


def _check_credentials(site: Site) -> Iterator[CheckMessage]:
    where = f"ERPNEXT_BRIDGE['SITES'][{site.alias!r}]"
    pairs = {"API_KEY": "API_SECRET", "USERNAME": "PASSWORD"}
    for first, second in pairs.items():
        given = [name for name in (first, second) if getattr(site, name.lower())]
        if len(given) == 1:
            (missing,) = {first, second} - set(given)
            yield Error(
                f"{where} has {given[0]!r} but no {missing!r}, so the service account cannot sign in.",
                hint=f"Put {missing!r} there too, or remove {given[0]!r}.",
                id="erpnext_bridge.E004",
            )
    if site.client_secret and not site.client_id:
        yield Error(
            f"{where} has 'CLIENT_SECRET' but no 'CLIENT_ID', so nobody can connect.",
            hint="Put the Client ID that ERPNext shows on the same OAuth Client there.",
            id="erpnext_bridge.E005",
        )
    if site.client_id and not site.client_secret and site.client_auth != "none":
        yield Caution(
            f"{where} has 'CLIENT_ID' but no 'CLIENT_SECRET'.",
            hint="Put the client secret there; for a public client put 'CLIENT_AUTH': 'none' instead.",
            id="erpnext_bridge.W002",
        )


def _check_keys(bridge: BridgeSettings) -> Iterator[CheckMessage]:
    where = "ERPNEXT_BRIDGE['TOKEN_KEYS']"
    keys: object = bridge.token_keys
    if isinstance(keys, str):
        yield Error(f"{where} is a text.", hint="Make it a list of texts.", id="erpnext_bridge.E006")
        return
    if not bridge.token_keys and any(site.can_connect for site in bridge.sites.values()):
        yield Error(
            f"{where} is empty, and tokens are only stored encrypted: nobody can connect.",
            hint=f"Put a list with one key there. {NEW_KEY}",
            id="erpnext_bridge.E006",
        )
    for number, key in enumerate(bridge.token_keys, start=1):
        yield from _check_key(f"Key {number} in {where}", key)


def _check_key(which: str, key: str) -> Iterator[CheckMessage]:
    try:
        fernet_key(key)
    except ImproperlyConfigured:
        yield Error(f"{which} is too short.", hint=f"Replace it. {NEW_KEY}", id="erpnext_bridge.E007")
        return
    if _is_weak(key):
        yield Caution(f"{which} is easy to guess.", hint=f"Replace it. {NEW_KEY}", id="erpnext_bridge.W003")
    if key == settings.SECRET_KEY:
        yield Caution(
            f"{which} is SECRET_KEY: changing that would end every connection.",
            hint=f"Use a key of its own. {NEW_KEY}",
            id="erpnext_bridge.W004",
        )


PLACEHOLDERS = re.compile(
    r"change.?me|insecure|example|default|placeholder|your.?(token|secret|key)", re.IGNORECASE
)


def _is_weak(key: str) -> bool:
    """Tell whether a key is one of few characters, or stands in some page as an example."""
    if is_fernet_key(key):
        return len(set(urlsafe_b64decode(key))) < 10
    return len(set(key)) < 10 or PLACEHOLDERS.search(key) is not None


def _check_times(bridge: BridgeSettings) -> Iterator[CheckMessage]:
    for name in ("refresh_margin", "state_ttl", "metadata_ttl"):
        value = getattr(bridge, name)
        if not _are_seconds(value):
            yield Error(
                f"ERPNEXT_BRIDGE[{name.upper()!r}] is {value!r}, and not a number of seconds.",
                hint="Put a number above 0 there, or leave it out.",
                id="erpnext_bridge.E008",
            )
    retention: object = bridge.write_retention
    if retention is not None and not _are_seconds(retention):
        yield Error(
            f"ERPNEXT_BRIDGE['WRITE_RETENTION'] is {retention!r}, and not a number of days.",
            hint="Put a number above 0 there, or None to keep all writes.",
            id="erpnext_bridge.E008",
        )
    idle: object = bridge.refresh_idle
    ttl: object = bridge.permission_ttl
    if not (idle is None or _are_seconds(idle)):
        yield Error(
            f"ERPNEXT_BRIDGE['REFRESH_IDLE'] is {idle!r}, and not a number of seconds.",
            hint="Put a number above 0 there, or None to leave idle connections alone.",
            id="erpnext_bridge.E008",
        )
    if not (ttl == 0 or _are_seconds(ttl)):
        yield Error(
            f"ERPNEXT_BRIDGE['PERMISSION_TTL'] is {ttl!r}, and not a number of seconds.",
            hint="Put a number there; 0 asks ERPNext each time.",
            id="erpnext_bridge.E008",
        )
    timeout: object = bridge.timeout
    if not (isinstance(timeout, tuple) and len(timeout) == 2 and _are_seconds(*timeout)):
        yield Error(
            f"ERPNEXT_BRIDGE['TIMEOUT'] is {timeout!r}, and not two numbers of seconds.",
            hint="Put (seconds for a connection, seconds for an answer) there, such as (5, 30).",
            id="erpnext_bridge.E008",
        )


def _are_seconds(*values: object) -> bool:
    return all(isinstance(value, (int, float)) and value > 0 for value in values)


def _check_project(bridge: BridgeSettings) -> Iterator[CheckMessage]:
    sites = [site for site in bridge.sites.values() if site.can_connect]
    if not sites:
        return
    yield from _check_middleware()
    if settings.SESSION_COOKIE_SAMESITE == "Strict":
        yield Error(
            "SESSION_COOKIE_SAMESITE is 'Strict': a browser that returns from ERPNext seems to be signed out.",
            hint="Set it to 'Lax', which is Django's default.",
            id="erpnext_bridge.E009",
        )
    try:
        page("status")
    except NoReverseMatch:
        yield Error(
            "The pages to connect are in no URLconf.",
            hint="Add path('erpnext/', include('erpnext_bridge.urls')) to urlpatterns.",
            id="erpnext_bridge.E010",
        )
        return
    yield from _check_states()
    for site in sites:
        yield from _check_redirect_uri(site)
        yield from _check_email(bridge, site)


def _check_states() -> Iterator[CheckMessage]:
    """A session that is a cookie can be sent again as it was: only a shared cache knows that its state was used."""
    in_cookie = settings.SESSION_ENGINE.endswith("signed_cookies")
    backend = str(settings.CACHES.get("default", {}).get("BACKEND", ""))
    if in_cookie and backend.rpartition(".")[2] in ("LocMemCache", "DummyCache"):
        yield Caution(
            "Sessions are cookies, and the default cache is not shared: an answer of ERPNext could be used twice.",
            hint="Use another SESSION_ENGINE, or a cache that all processes share (Redis, Memcached, database).",
            id="erpnext_bridge.W007",
        )


def _check_email(bridge: BridgeSettings, site: Site) -> Iterator[CheckMessage]:
    if bridge.reconnect_email and not urlsplit(absolute(site, "/")).netloc:
        yield Caution(
            f"RECONNECT_EMAIL is on, but no address of this project is known to send the users of {site.alias!r} to.",
            hint="Name a host in ALLOWED_HOSTS, or set 'REDIRECT_URI' of the site.",
            id="erpnext_bridge.W008",
        )


def _check_middleware() -> Iterator[CheckMessage]:
    order = list(settings.MIDDLEWARE)
    if MIDDLEWARE not in order:
        yield Caution(
            "ConnectionMiddleware is not in MIDDLEWARE: queries do not act as the signed-in user by themselves, "
            "and errors of ERPNext become tracebacks.",
            hint=f"Add {MIDDLEWARE!r} behind {AUTHENTICATION!r}.",
            id="erpnext_bridge.W005",
        )
    elif AUTHENTICATION in order and order.index(MIDDLEWARE) < order.index(AUTHENTICATION):
        yield Caution(
            "ConnectionMiddleware stands before AuthenticationMiddleware, so it knows no user.",
            hint=f"Move {MIDDLEWARE!r} behind {AUTHENTICATION!r}.",
            id="erpnext_bridge.W006",
        )


GUESSED = (
    "Its host and port are a guess: where yours are others, the connect page tells it under 'For administrators', and "
    "REDIRECT_URI settles it. "
)


def _check_redirect_uri(site: Site) -> Iterator[CheckMessage]:
    uri = redirect_uri(site)
    parts = urlsplit(site.redirect_uri)
    if site.redirect_uri and (
        parts.scheme not in ("http", "https") or parts.path != page("callback", site.alias)
    ):
        yield Error(
            f"ERPNEXT_BRIDGE['SITES'][{site.alias!r}]['REDIRECT_URI'] does not lead to the page that finishes a connect.",
            hint=f"Let it end with {page('callback', site.alias)!r}: 'https://<your host>{page('callback', site.alias)}'.",
            id="erpnext_bridge.E011",
        )
        return
    exact = uri if urlsplit(uri).netloc else f"https://<your host>{uri}"
    yield Info(
        f"Redirect URI to register at {site.url}: {exact}",
        hint=(
            f"Put it into 'Redirect URIs' of the OAuth Client {site.client_id} there, to the letter, several separated "
            f"by blanks. {'' if site.redirect_uri else GUESSED}"
            "Once it is, this line can go: SILENCED_SYSTEM_CHECKS = ['erpnext_bridge.I001']."
        ),
        id="erpnext_bridge.I001",
    )


def register_checks() -> None:
    register(check_settings, "erpnext_bridge")
