"""
What is wrong between this project and its sites, step by step from the name of a host to a user's rights.

Each step says what it found and what to change. Steps that need ERPNext's own lists use the service account, or the
user that is named: an administrator of ERPNext sees most.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.urls import NoReverseMatch

from erpnext_bridge.access import SiteAccess, open_site
from erpnext_bridge.addresses import redirect_uri
from erpnext_bridge.checks import check_settings
from erpnext_bridge.conf import Site, get_settings
from erpnext_bridge.errors import ERPNextBridgeError, GrantRefused, NeedsReconnect
from erpnext_bridge.identity import Identity
from erpnext_bridge.models import Connection, PendingRevocation
from erpnext_bridge.models.connection import Health
from erpnext_bridge.outbox import markers
from erpnext_bridge.tokens.crypto import TokensUnreadable
from erpnext_bridge.tokens.endpoints import endpoints_of
from erpnext_bridge.transport import Answer, Request, Timeouts, transport_for

OK, NOTE, WARNING, PROBLEM = "ok", "note", "warning", "problem"

PATIENCE = Timeouts(connect=5.0, read=15.0, total=20.0)
MAX_SKEW = 30.0
CERTIFICATE_DAYS = 14
SUPPORTED = (15, 16)
NO_HOST = "<your host>"


@dataclass(frozen=True)
class Finding:
    """What one step found."""

    site: str
    """Alias, "" for what concerns all."""
    step: str
    level: str
    """`ok`, `note`, `warning` or `problem`."""
    text: str
    advice: str = ""


class Stop(Exception):
    """Nothing after this step can be looked at."""


Found = Iterator[tuple[str, str, str]]
"""(level, text, advice)"""


def examine(alias: str = "", username: str = "") -> Iterator[Finding]:
    """Yield what is found for one site, or for all of them."""
    yield from _settings()
    try:
        settings = get_settings()
        sites = [settings.site(alias)] if alias else list(settings.sites.values())
    except (ImproperlyConfigured, TypeError, ValueError, AttributeError) as wrong:
        yield Finding("", "settings", PROBLEM, str(wrong), "Mend ERPNEXT_BRIDGE first.")
        return
    for site in sites:
        yield from Examination(site, username).run()


def _settings() -> Iterator[Finding]:
    found = [message for message in check_settings(None) if message.id != "erpnext_bridge.I001"]
    for message in found:
        level = PROBLEM if message.is_serious() else WARNING
        yield Finding("", "settings", level, str(message.msg), str(message.hint or ""))
    if not found:
        yield Finding("", "settings", OK, "manage.py check has nothing to say about ERPNEXT_BRIDGE.")


class Examination:
    """One site."""

    def __init__(self, site: Site, username: str = "") -> None:
        self.site = site
        self.username = username
        self.answer: Answer | None = None
        self.access: SiteAccess | None = None
        self.client_document: dict[str, Any] | None = None

    def run(self) -> Iterator[Finding]:
        steps: list[tuple[str, Callable[[], Found]]] = [
            ("DNS", self.dns),
            ("TLS", self.tls),
            ("answer", self.answers),
            ("clock", self.clock),
            ("rate limit", self.rate_limit),
            ("OAuth client", self.oauth_client),
            ("identity", self.identity),
            ("version", self.version),
            ("redirect URI", self.redirect_uri),
            ("scopes", self.scopes),
            ("roles", self.roles),
            ("webhooks", self.webhooks),
            ("writes", self.writes),
            ("connections", self.connections),
        ]
        for name, step in steps:
            try:
                for level, text, advice in step():
                    yield Finding(self.site.alias, name, level, text, advice)
            except Stop:
                return
            except ERPNextBridgeError as error:
                yield Finding(self.site.alias, name, WARNING, str(error), "")

    # The way there

    @property
    def host(self) -> str:
        return urlsplit(self.site.url).hostname or ""

    def dns(self) -> Found:
        try:
            found = socket.getaddrinfo(self.host, None)
        except (OSError, UnicodeError) as error:
            advice = (
                f"Check the host in SITES[{self.site.alias!r}]['URL'], and the name server of this machine."
            )
            yield PROBLEM, f"{self.host or self.site.url!r} has no address: {error}", advice
            raise Stop from None
        addresses = sorted({str(entry[4][0]) for entry in found})
        yield OK, f"{self.host} is {', '.join(addresses)}", ""

    def tls(self) -> Found:
        parts = urlsplit(self.site.url)
        if parts.scheme != "https":
            yield (
                NOTE,
                "Plain http: tokens and documents travel readable.",
                "Use https outside of one machine.",
            )
            return
        address = (self.host, parts.port or 443)
        try:
            with (
                socket.create_connection(address, timeout=5) as plain,
                ssl.create_default_context().wrap_socket(plain, server_hostname=self.host) as secured,
            ):
                certificate: dict[str, Any] = secured.getpeercert() or {}
        except ssl.SSLError as error:
            advice = (
                "Renew or complete the certificate there, or put its authority into REQUESTS_CA_BUNDLE here."
            )
            yield PROBLEM, f"TLS fails: {getattr(error, 'verify_message', '') or error.reason}", advice
            raise Stop from None
        except OSError as error:
            yield (
                PROBLEM,
                f"No connection to {parts.netloc}: {error.strerror or error}",
                "Check the port and firewalls.",
            )
            raise Stop from None
        left = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC) - datetime.now(
            UTC
        )
        level = OK if left.days >= CERTIFICATE_DAYS else WARNING
        yield level, f"The certificate is good for {left.days} more days.", "" if level == OK else "Renew it."

    def answers(self) -> Found:
        request = Request("GET", "/api/method/ping")
        try:
            self.answer = transport_for(self.site.url).send(request, timeouts=PATIENCE)
        except ERPNextBridgeError as error:
            yield PROBLEM, str(error), "Check that ERPNext runs, and that this machine may reach it."
            raise Stop from None
        if self.answer.status != 200 or b"pong" not in self.answer.content:
            text = f"Something else than ERPNext answers: {self.answer.status} {self.answer.media_type}"
            yield (
                PROBLEM,
                text,
                "Check the URL: sign-on proxies, firewalls and a wrong site name answer like this.",
            )
            raise Stop
        yield OK, "ERPNext answers.", ""

    def clock(self) -> Found:
        told = self.answer.headers.get("Date") if self.answer else None
        if told is None:
            yield NOTE, "The site does not tell its time.", ""
            return
        try:
            # HTTP's dates are in GMT, which the parser leaves without an offset when it is written as -0000.
            theirs = parsedate_to_datetime(told).replace(tzinfo=UTC)
        except ValueError:
            yield NOTE, f"The site tells its time as {told!r}.", ""
            return
        skew = (theirs - datetime.now(UTC)).total_seconds()
        if abs(skew) > MAX_SKEW:
            way = "ahead of" if skew > 0 else "behind"
            yield WARNING, f"The site's clock is {abs(skew):.0f} s {way} ours.", "Let both run NTP."
        else:
            yield OK, "The clocks agree.", ""

    def rate_limit(self) -> Found:
        headers = self.answer.headers if self.answer else {}
        limit, left = headers.get("X-RateLimit-Limit"), headers.get("X-RateLimit-Remaining")
        if limit is None or left is None:
            yield OK, "The site has no rate limit.", ""
            return
        try:
            share = float(left) / float(limit) if float(limit) else 0.0
        except ValueError:
            yield NOTE, f"The site tells its rate limit as {left!r} of {limit!r}.", ""
            return
        level = OK if share > 0.1 else WARNING
        advice = (
            ""
            if level == OK
            else "Ask for a higher rate_limit in its site_config.json, or send less at once."
        )
        yield level, f"{share:.0%} of the site's rate limit are left.", advice

    # What it knows of us

    def oauth_client(self) -> Found:
        site = self.site
        if not site.can_connect:
            yield NOTE, "No CLIENT_ID: nobody can connect here.", ""
            return
        try:
            # No such token exists: what is refused tells how far it came.
            endpoints_of(site).refresh("erpnext_doctor")
        except GrantRefused as refusal:
            if refusal.error != "invalid_client":
                yield OK, f"ERPNext knows the OAuth Client {site.client_id}.", ""
                return
            advice = "Copy Client ID and Client Secret from the OAuth Client there; see also CLIENT_AUTH."
            yield PROBLEM, f"ERPNext does not accept the OAuth Client {site.client_id}.", advice
            return
        yield WARNING, "The site gave tokens for a refresh token that does not exist.", "Is this ERPNext?"

    def identity(self) -> Found:
        identity = self._identity()
        if identity is None:
            advice = (
                "Put API_KEY and API_SECRET of a service account into the settings, or name a user: --user"
            )
            yield NOTE, "Nobody to sign in as: the steps that need it are left out.", advice
            return
        access = open_site(identity)
        try:
            user = access.client.logged_user()
        except (ERPNextBridgeError, ImproperlyConfigured) as error:
            advice = (
                "Let the user connect again."
                if isinstance(error, NeedsReconnect)
                else "Check the credentials."
            )
            yield PROBLEM, f"{identity}: {error}", advice
            return
        self.access = access
        yield OK, f"Signed in as {user} ({identity}).", ""

    def _identity(self) -> Identity | None:
        if self.username:
            from django.contrib.auth import get_user_model

            user = get_user_model().objects.get_by_natural_key(self.username)
            return Identity.for_user(user, self.site.alias)
        return Identity.service(self.site.alias) if self.site.has_service_account else None

    def version(self) -> Found:
        if self.access is None:
            return
        told = self.access.client.versions().get("frappe", "")
        major = int(told.partition(".")[0]) if told.partition(".")[0].isdecimal() else None
        if major not in SUPPORTED:
            yield (
                WARNING,
                f"Frappe {told or '?'} is none of {SUPPORTED}.",
                "Expect refused queries and odd answers.",
            )
        elif self.site.version not in (None, major):
            yield (
                PROBLEM,
                f"Frappe {told}, but 'VERSION' says {self.site.version}.",
                "Change 'VERSION', or leave it out.",
            )
        else:
            yield OK, f"Frappe {told}", ""

    def redirect_uri(self) -> Found:
        if not self.site.can_connect:
            return
        ours = self._redirect_uri()
        document = self._client_document()
        if document is None or NO_HOST in ours:
            yield NOTE, f"Redirect URI to register, to the letter: {ours}", "It cannot be compared from here."
            return
        told = str(document.get("redirect_uris") or "")
        known = told.split(" ")
        if ours in known:
            yield OK, f"{ours} is registered.", ""
        elif ours in told.split():
            yield (
                PROBLEM,
                "The redirect URIs are separated by line breaks.",
                "Separate them by blanks in the OAuth Client.",
            )
        else:
            advice = f"Add it to 'Redirect URIs' of the OAuth Client, or set 'REDIRECT_URI' to one of: {' '.join(known)}"
            yield PROBLEM, f"{ours} is not registered.", advice

    def _redirect_uri(self) -> str:
        try:
            ours = redirect_uri(self.site)
        except NoReverseMatch:
            # The settings' step has told it.
            return ""
        return ours if urlsplit(ours).netloc else f"https://{NO_HOST}{ours}"

    def scopes(self) -> Found:
        document = self._client_document()
        if document is None:
            return
        missing = set(self.site.scope.split()) - set(str(document.get("scopes") or "").split())
        if missing:
            advice = "Add them to 'Scopes' of the OAuth Client, or take them out of 'SCOPE' here."
            yield PROBLEM, f"The OAuth Client does not have the scopes {' '.join(sorted(missing))}.", advice
        else:
            yield OK, f"The OAuth Client has the scopes {self.site.scope}.", ""

    def roles(self) -> Found:
        document = self._client_document()
        if document is None:
            return
        allowed = [str(row.get("role")) for row in document.get("allowed_roles") or []]
        if not allowed:
            yield (
                PROBLEM,
                "The OAuth Client allows no role, so nobody can connect.",
                "Add one to 'Allowed Roles' there.",
            )
        else:
            advice = "Users without one of them get 'invalid client_id' from ERPNext."
            yield OK, f"Users with one of these roles can connect: {', '.join(allowed)}.", advice

    def _client_document(self) -> dict[str, Any] | None:
        """Return the OAuth Client as ERPNext has it; None where nobody may look."""
        if self.access is None or not self.site.can_connect:
            return None
        if self.client_document is None:
            try:
                self.client_document = self.access.client.read("OAuth Client", self.site.client_id)
            except ERPNextBridgeError:
                return None
        return self.client_document

    # What comes back, and what is stored

    def webhooks(self) -> Found:
        if self.access is None:
            return
        ours = urlsplit(self._redirect_uri()).netloc
        fields = ["name", "request_url", "webhook_docevent", "enable_security"]
        try:
            rows = self.access.client.list(
                "Webhook", fields=fields, filters=[["enabled", "=", 1]], order_by="name"
            )
        except ERPNextBridgeError:
            yield NOTE, "Webhooks cannot be seen by this user.", "A System Manager could."
            return
        found = [row for row in rows if ours and urlsplit(str(row["request_url"])).netloc == ours]
        for row in found:
            if not row["enable_security"]:
                advice = "Switch on 'Enable Security' and set a secret."
                yield WARNING, f"Webhook {row['name']} sends to us without a signature.", advice
            if row["webhook_docevent"] == "on_update_after_submit":
                yield (
                    WARNING,
                    f"Webhook {row['name']} waits for an event that Frappe never fires.",
                    "Use on_change.",
                )
        yield OK, f"{len(found)} of {len(rows)} webhooks lead to {ours or 'us'}.", ""

    def writes(self) -> Found:
        """Whether a background create can be made exactly once; tries it with Tags, which are deleted where that is allowed."""
        if self.access is None or self.site.create_key == "none":
            return
        probe = markers.probe(self.access.client)
        if probe.works:
            yield OK, "Background creates are safe: this user can create Tags along with documents.", ""
        else:
            advice = "Let the role All create Tags, or install key fields: manage.py erpnext_install_keys <DocType>."
            yield (
                WARNING,
                f"ERPNext refuses the Tags that keep a document from being created twice: {probe.message}",
                advice,
            )
        if probe.works and not probe.can_delete:
            yield (
                NOTE,
                "The Tags stay at ERPNext, for this user may not delete them.",
                "A System Manager could.",
            )

    def connections(self) -> Found:
        mine = Connection.objects.filter(site=self.site.alias)
        unreadable = sum(not _opens(connection) for connection in mine.iterator(chunk_size=500))
        if unreadable:
            yield (
                PROBLEM,
                f"{unreadable} connections cannot be opened with TOKEN_KEYS.",
                TokensUnreadable.way_out,
            )
        moved = mine.exclude(site_url=self.site.url).count()
        if moved:
            yield (
                WARNING,
                f"{moved} connections are to another address.",
                "Their users have to connect again.",
            )
        for health, advice in ADVICE.items():
            if count := mine.filter(health=health).count():
                yield (NOTE if health != Health.DEGRADED else WARNING), f"{count}: {health.label}.", advice
        if waiting := PendingRevocation.objects.filter(site=self.site.alias).count():
            advice = "Celery beat or manage.py erpnext_sweep tries them again; the admin shows why they fail."
            yield WARNING, f"{waiting} pairs of tokens are still to be revoked.", advice
        yield OK, f"{mine.usable().count()} of {mine.count()} connections are usable.", ""


ADVICE = {
    Health.DEGRADED: "They are tried again by themselves; the admin shows why.",
    Health.NEEDS_RECONNECT: "Their users are asked to connect again; RECONNECT_EMAIL tells them.",
    Health.REVOKED: "Their users are asked to connect again; RECONNECT_EMAIL tells them.",
}


def _opens(connection: Connection) -> bool:
    try:
        return all(token.open() is not None for token in connection.tokens)
    except TokensUnreadable:
        return False
