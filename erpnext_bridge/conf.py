"""
The settings: `settings.ERPNEXT_BRIDGE` as frozen values, read each time they are used.

Nothing here is cached, so `override_settings` works in tests. A misspelled key is an error with the known
keys in it. Whether the values make sense together is what `checks.py` asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

DEFAULT_SITE = "default"

ClientAuth = Literal["auto", "post", "basic", "none"]
CreateKey = Literal["auto", "field", "marker", "none"]


@dataclass(frozen=True, kw_only=True)
class Site:
    """One ERPNext installation, as the settings name it."""

    alias: str
    """The key in `SITES`; stored with connections and writes."""
    url: str
    """Where the site answers, without a trailing slash: `https://erp.example.com`."""
    title: str = ""
    """What people read on pages; the host of `url` when empty."""
    client_id: str = ""
    """Client ID of the OAuth Client that an ERPNext administrator made for this project."""
    client_secret: str = field(default="", repr=False)
    """Its client secret; empty for a public client."""
    client_auth: ClientAuth = "auto"
    """
    How the client authenticates at the token endpoint. `auto` sends its secret in the form, by Basic where the site
    refuses the form and offers Basic, and is a public client without a secret.
    """
    scope: str = "openid all"
    """Scopes to ask for, separated by blanks."""
    redirect_uri: str = ""
    """The exact redirect URI registered at ERPNext; built from the request when empty."""
    api_key: str = field(default="", repr=False)
    """API key of the service account."""
    api_secret: str = field(default="", repr=False)
    """API secret of the service account."""
    username: str = ""
    """User name of a service account that logs in by password instead of an API key."""
    password: str = field(default="", repr=False)
    """Its password."""
    version: int | None = None
    """Major Frappe version (15 or 16); asked of the site when None."""
    time_zone: str | None = None
    """IANA name of the site's time zone; asked of the site when None."""
    create_key: CreateKey | Mapping[str, CreateKey] = "auto"
    """What keeps a background create from being carried out twice: one answer, or DocType → answer."""
    write_concurrency: int | None = 4
    """Background writes that are sent to the site at the same time, by all workers together; no limit when None."""
    write_rate: float | None = None
    """Documents that background writes send to the site in a second, by all workers together; no limit when None."""

    def create_key_for(self, doctype: str) -> CreateKey:
        """Return what `create_key` says about a DocType."""
        if isinstance(self.create_key, str):
            return self.create_key
        return self.create_key.get(doctype, "auto")

    @property
    def label(self) -> str:
        return self.title or urlsplit(self.url).netloc

    @property
    def can_connect(self) -> bool:
        """Whether users can connect accounts of their own here."""
        return bool(self.client_id)

    @property
    def has_service_account(self) -> bool:
        return bool(self.api_key and self.api_secret) or bool(self.username and self.password)


@dataclass(frozen=True, kw_only=True)
class BridgeSettings:
    """`ERPNEXT_BRIDGE`, with the defaults filled in; each field is the key in upper case."""

    sites: Mapping[str, Site]
    """`SITES`: alias → site; a mapping of `URL`, `CLIENT_ID`, `CLIENT_SECRET`… for each."""
    token_keys: tuple[str, ...] = field(default=(), repr=False)
    """`TOKEN_KEYS`: Fernet keys that encrypt tokens; the first one encrypts, all decrypt."""
    timeout: tuple[float, float] = (5.0, 30.0)
    """`TIMEOUT`: seconds to wait for a connection, and for an answer."""
    page_size: int = 500
    """`PAGE_SIZE`: rows asked for by the first list request of a walk; later ones may ask for four times as many."""
    max_branches: int = 8
    """`MAX_BRANCHES`: list requests that nested ORs may become; beyond it, one wider request is tested again."""
    max_members: int = 5000
    """`MAX_MEMBERS`: values that one `in` filter may list; more are asked for in pieces."""
    metadata_ttl: float = 300.0
    """`METADATA_TTL`: seconds for which `sites` believes what a DocType consists of."""
    refresh_margin: float = 60.0
    """`REFRESH_MARGIN`: seconds before its expiry at which an access token is refreshed."""
    refresh_idle: float | None = 7 * 86400.0
    """`REFRESH_IDLE`: seconds after which the sweep refreshes an unused connection; Frappe 16 deletes old tokens."""
    reconnect_email: bool = False
    """`RECONNECT_EMAIL`: whether users get an e-mail when their connection needs to be made again."""
    permission_ttl: float = 60.0
    """`PERMISSION_TTL`: seconds for which an answer of `Connection.can()` is believed."""
    state_ttl: float = 600.0
    """`STATE_TTL`: seconds in which a started connect must come back."""
    write_attempts: int = 10
    """`WRITE_ATTEMPTS`: deliveries of a background write before a person has to look."""
    write_lease: float = 300.0
    """`WRITE_LEASE`: seconds after which a delivery that was not heard of counts as crashed."""
    write_backoff: tuple[float, float] = (2.0, 600.0)
    """`WRITE_BACKOFF`: seconds before the first retry of a write, and the longest wait."""
    write_batch: int = 100
    """`WRITE_BATCH`: new documents that one request to ERPNext may carry, at most 198."""
    write_breaker: tuple[int, float, float] = (5, 5.0, 120.0)
    """`WRITE_BREAKER`: failures in a row before a site is left alone, and for how many seconds: first, at most."""
    write_conflict: Literal["refuse", "reapply", "overwrite"] = "refuse"
    """`WRITE_CONFLICT`: what becomes of an update whose document somebody else has saved since it was read."""
    write_file_limit: int = 10 * 1024 * 1024
    """`WRITE_FILE_LIMIT`: bytes of a file that a background write may carry."""
    write_queue: str | None = None
    """`WRITE_QUEUE`: Celery queue for writes; Celery's default queue when None."""
    write_retention: float | None = 90.0
    """`WRITE_RETENTION`: days for which done and cancelled writes are kept; for ever when None."""
    metrics_token: str = field(default="", repr=False)
    """`METRICS_TOKEN`: bearer token with which Prometheus may read the metrics; only people with the permission may when empty."""

    def site(self, alias: str = DEFAULT_SITE) -> Site:
        """Return the site called `alias`. ImproperlyConfigured, with the known ones, when there is none."""
        try:
            return self.sites[alias]
        except KeyError:
            known = ", ".join(map(repr, self.sites)) or "none"
            raise ImproperlyConfigured(
                f"ERPNEXT_BRIDGE['SITES'] has no site {alias!r} (known: {known}). Add it there."
            ) from None


_SITE_KEYS = {f.name.upper(): f.name for f in fields(Site) if f.name != "alias"}
_KEYS = {f.name.upper(): f.name for f in fields(BridgeSettings)}


def get_settings() -> BridgeSettings:
    """Return the settings as they are now. ImproperlyConfigured when a key is unknown."""
    raw = getattr(django_settings, "ERPNEXT_BRIDGE", None)
    if not isinstance(raw, Mapping):
        raise ImproperlyConfigured(
            "The setting ERPNEXT_BRIDGE is missing. Set it to a dict with 'SITES' and 'TOKEN_KEYS'."
        )
    values = _known(raw, _KEYS, "ERPNEXT_BRIDGE")
    sites = values.get("sites") or {}
    values["sites"] = {alias: _site(alias, value) for alias, value in sites.items()}
    for name in ("token_keys", "timeout", "write_backoff", "write_breaker"):
        if isinstance(values.get(name), list):
            values[name] = tuple(values[name])
    return BridgeSettings(**values)


def get_site(alias: str = DEFAULT_SITE) -> Site:
    """Return the site called `alias` as the settings name it now."""
    return get_settings().site(alias)


def site_from_url(value: str) -> dict[str, Any]:
    """
    Return a `SITES` entry for one environment value.

    The value is `https://CLIENT_ID:CLIENT_SECRET@erp.example.com?scope=openid+all&version=15`: the
    credentials of the OAuth Client as user and password, anything else of `Site` in the query string.
    """
    parts = urlsplit(value)
    host = parts.netloc.rpartition("@")[2]
    entry: dict[str, Any] = {"URL": urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))}
    if parts.username:
        entry["CLIENT_ID"] = unquote(parts.username)
    if parts.password:
        entry["CLIENT_SECRET"] = unquote(parts.password)
    for key, values in parse_qs(parts.query).items():
        entry[key.upper()] = int(values[-1]) if key == "version" else values[-1]
    return entry


def _site(alias: str, raw: Any) -> Site:
    where = f"ERPNEXT_BRIDGE['SITES'][{alias!r}]"
    if isinstance(raw, str):
        raw = site_from_url(raw)
    if not isinstance(raw, Mapping):
        raise ImproperlyConfigured(f"{where} must be a dict with 'URL', or a URL.")
    values = _known(raw, _SITE_KEYS, where)
    values["url"] = str(values.get("url") or "").rstrip("/")
    return Site(alias=alias, **values)


def _known(raw: Mapping[str, Any], keys: Mapping[str, str], where: str) -> dict[str, Any]:
    unknown = [key for key in raw if key not in keys]
    if unknown:
        raise ImproperlyConfigured(
            f"{where} has no key {unknown[0]!r}. Known keys: {', '.join(sorted(keys))}."
        )
    return {keys[key]: value for key, value in raw.items()}
