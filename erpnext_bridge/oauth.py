"""
OAuth2 with an ERPNext site: authorize, exchange, refresh, revoke, introspect, profile.

Only GrantRefused is final. Any other error leaves the tokens as good as they were.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NoReturn
from urllib.parse import urlencode, urlsplit

import requests
from oauthlib.oauth2 import OAuth2Error, WebApplicationClient
from requests.adapters import BaseAdapter
from requests.auth import HTTPBasicAuth
from requests.structures import CaseInsensitiveDict
from requests_oauthlib.oauth2_session import OAuth2Session

from erpnext_bridge import answers
from erpnext_bridge.client import method_path
from erpnext_bridge.credentials import Anonymous, ApiKey, Bearer, Credentials
from erpnext_bridge.errors import ERPNextBridgeError, GrantRefused, SiteBusy, UnreadableAnswer
from erpnext_bridge.transport import (
    Answer,
    OnExchange,
    Request,
    Timeouts,
    Transport,
    origin_of,
    transport_for,
)

ENDPOINTS = "frappe.integrations.oauth2"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

# oauthlib's own default, which Frappe does not change (frappe/integrations/oauth2.py).
DEFAULT_LIFETIME = 3600

ClientAuth = Literal["post", "basic", "none"]
Hint = Literal["access_token", "refresh_token"]


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a code or a refresh token was exchanged for."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_at: datetime
    """When the access token expires, in UTC."""
    scope: str

    def __reduce__(self) -> NoReturn:
        raise TypeError("A token pair cannot be pickled: it is a secret.")


@dataclass(frozen=True, slots=True)
class OAuthEndpoints:
    """One OAuth client at one site."""

    site_url: str
    client_id: str
    _: KW_ONLY
    client_secret: str = field(default="", repr=False)
    client_auth: ClientAuth = "post"
    """Frappe reads the form only, and refuses Basic, up to 16.4; later versions hold a client to its setting."""
    redirect_uri: str = ""
    """Needed to authorize and to exchange; one of the client's, byte for byte."""
    scope: str = "all openid"
    transport: Transport | None = field(default=None, repr=False, compare=False)
    timeouts: Timeouts = field(default_factory=Timeouts, repr=False)
    on_exchange: OnExchange | None = field(default=None, repr=False, compare=False)
    allow_http: bool = False
    """Accept plain http for another host than this machine: tokens then travel readable."""

    def __post_init__(self) -> None:
        origin = origin_of(self.site_url)
        if origin.startswith("http://") and not (self.allow_http or _is_loopback(origin)):
            raise ValueError(f"{origin} is not https. OAuth tokens would travel readable.")
        object.__setattr__(self, "site_url", origin)

    def authorize_url(self, state: str, code_challenge: str) -> str:
        """Return the URL to send the user's browser to."""
        url, _ = self._session(self.scope).authorization_url(
            _secured(self.site_url) + _endpoint("authorize"),
            state=state,
            code_challenge=code_challenge,
            code_challenge_method="S256",
        )
        # Frappe hands the query on to oauthlib without decoding "+" (frappe/integrations/oauth2.py).
        return self.site_url + str(url)[len(_secured(self.site_url)) :].replace("+", "%20")

    def exchange(self, code: str, verifier: str) -> TokenPair:
        """Exchange an authorization code for tokens; GrantRefused when the code or its verifier is not good."""
        asked = _now()
        with _hiding(code, verifier, self.client_secret):
            return _token_pair(self._fetch(code, verifier), asked)

    def refresh(self, refresh_token: str) -> TokenPair:
        """Exchange a refresh token for a new pair; GrantRefused when it is dead."""
        asked = _now()
        # Frappe's message quotes the refresh token that it did not find (frappe/oauth.py).
        with _hiding(refresh_token, self.client_secret):
            answer = self._post("get_token", {"grant_type": "refresh_token", "refresh_token": refresh_token})
            return _token_pair(_granted(answer), asked)

    def revoke(self, token: str, hint: Hint = "access_token") -> None:
        """Revoke a token and its pair. Frappe answers 200 whatever it did: `introspect` tells the outcome."""
        with _hiding(token, self.client_secret):
            answer = self._post("revoke_token", {"token": token, "token_type_hint": hint}, idempotent=True)
            if answer.status != 200:
                raise answers.error_of(answer)

    def introspect(self, token: str, hint: Hint = "access_token") -> dict[str, Any]:
        """Return Frappe's view of a token: `active` turns false by revocation only, and `exp` is in site time."""
        with _hiding(token, self.client_secret):
            answer = self._post(
                "introspect_token", {"token": token, "token_type_hint": hint}, idempotent=True
            )
            return _content(answers.read(answer))

    def profile(self, access_token: str) -> dict[str, Any]:
        """Return the claims of the token's user: `email`, `name`, `roles`; `sub` is null for Administrator."""
        request = Request("GET", _endpoint("openid_profile"), credentials=Bearer(access_token))
        with _hiding(access_token):
            return _content(answers.read(self._send(request)))

    def _fetch(self, code: str, verifier: str) -> dict[str, Any]:
        basic = self.client_auth == "basic"
        try:
            token = self._session().fetch_token(
                _secured(self.site_url) + _endpoint("get_token"),
                code=code,
                code_verifier=verifier,
                include_client_id=not basic,
                client_secret=self.client_secret if self.client_auth == "post" else None,
                auth=HTTPBasicAuth(self.client_id, self.client_secret) if basic else None,
            )
        except OAuth2Error:
            # A refusal has been raised before; what oauthlib misses is the token.
            return {}
        return dict(token)

    def _post(self, endpoint: str, data: Mapping[str, str], *, idempotent: bool = False) -> Answer:
        form = dict(data)
        # A bearer token, a cookie, or Basic in a place that reads the form, each makes it "invalid_client".
        credentials: Credentials = Anonymous()
        if self.client_auth == "basic":
            credentials = ApiKey(self.client_id, self.client_secret, "basic")
        else:
            form["client_id"] = self.client_id
        if self.client_auth == "post":
            form["client_secret"] = self.client_secret
        body = urlencode(form).encode()
        request = Request(
            "POST",
            _endpoint(endpoint),
            headers=FORM,
            body=body,
            credentials=credentials,
            idempotent=idempotent,
        )
        return self._send(request)

    def _send(self, request: Request) -> Answer:
        transport = self.transport or transport_for(self.site_url)
        return transport.send(request, timeouts=self.timeouts, on_exchange=self.on_exchange)

    def _session(self, scope: str | None = None) -> Any:
        # Told the scope, oauthlib raises a warning when the user's tokens have another one.
        install()
        client = WebApplicationClient(self.client_id)
        # requests-oauthlib has no types.
        session: Any = OAuth2Session(client=client, redirect_uri=self.redirect_uri, scope=scope)  # type: ignore[no-untyped-call]
        session.trust_env = False
        session.adapters.clear()
        session.mount("https://", _TransportAdapter(self._send))
        return session


def new_pkce() -> tuple[str, str]:
    """Return a fresh code verifier and its S256 challenge."""
    client = WebApplicationClient("")
    verifier = client.create_code_verifier(64)
    return verifier, client.create_code_challenge(verifier, "S256")


class _TransportAdapter(BaseAdapter):
    """
    Sends what requests-oauthlib prepared through our transport, and lets only granted tokens come back.

    requests-oauthlib insists on https, and would be talked out of it for the whole process only, by an
    environment variable. It is given https URLs; the transport has its own origin, checked above.
    """

    def __init__(self, send: Callable[[Request], Answer]) -> None:
        super().__init__()
        self._send = send

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        body = request.body.encode() if isinstance(request.body, str) else request.body
        kept = {
            key: str(request.headers[key])
            for key in ("Content-Type", "Authorization")
            if key in request.headers
        }
        answer = self._send(Request(str(request.method), request.path_url, headers=kept, body=body))
        _granted(answer)
        response = requests.Response()
        response.status_code = answer.status
        response.headers = CaseInsensitiveDict(answer.headers)
        response.request, response.url = request, str(request.url)
        response._content = answer.content  # noqa: SLF001 - requests offers no other way to make a response
        return response

    def close(self) -> None:
        pass


FRAPPE_REFUSALS = {401: "AuthenticationError", 403: "PermissionError", 404: "DoesNotExistError"}
"""How Frappe itself refuses, before or instead of oauthlib: Basic, and a client or refresh token that is unknown."""

# Without these words, it may be a firewall that answered, or a Frappe that refuses to refresh at all, as
# 15.94 did (frappe#36132). From 15.82 on, Guest gets a 403 for what does not exist (frappe/permissions.py).
UNKNOWN = re.compile(r"\bOAuth (Bearer Token|Client)\b")


def _granted(answer: Answer) -> dict[str, Any]:
    """Return the token endpoint's JSON; raise GrantRefused for a final refusal, and other errors for the rest."""
    if answer.status == 200:
        body = answers.read(answer)
        if "error" not in body:
            return body
        raise GrantRefused(str(body.get("error_description", "")), error=str(body["error"]), **answer.request)
    error = answers.error_of(answer)
    code = _oauth_error(answer) if answer.status == 400 else _frappe_refusal(answer.status, error)
    if code:
        raise GrantRefused(*error.messages, error=code, exc_type=error.exc_type, **answer.request)
    if answer.status in FRAPPE_REFUSALS:
        raise SiteBusy(*error.messages, exc_type=error.exc_type, **answer.request)
    raise error


def _frappe_refusal(status: int, error: ERPNextBridgeError) -> str:
    """Return OAuth's code for a refusal in Frappe's own words, "" for any other."""
    if error.exc_type != FRAPPE_REFUSALS.get(status, "none"):
        return ""
    if status == 401:
        return "invalid_client"
    unknown = UNKNOWN.search(str(error))
    return {"Client": "invalid_client", "Bearer Token": "invalid_grant"}[unknown[1]] if unknown else ""


def _oauth_error(answer: Answer) -> str:
    try:
        body = answers.read(replace(answer, status=200))
    except ERPNextBridgeError:
        return ""
    return str(body.get("error") or "")


def _token_pair(token: Mapping[str, Any], asked: datetime) -> TokenPair:
    access_token = token.get("access_token")
    if not isinstance(access_token, str) or not access_token:
        raise UnreadableAnswer("The answer has no access token.", method="POST", path=_endpoint("get_token"))
    scope = token.get("scope") or ""
    return TokenPair(
        access_token=access_token,
        refresh_token=token.get("refresh_token") or None,
        expires_at=asked + timedelta(seconds=float(token.get("expires_in") or DEFAULT_LIFETIME)),
        scope=scope if isinstance(scope, str) else " ".join(scope),
    )


@contextmanager
def _hiding(*secrets: str) -> Iterator[None]:
    """Take the secrets that were sent out of what the site says about them."""
    try:
        yield
    except ERPNextBridgeError as error:
        for secret in filter(None, secrets):
            error.args = tuple(message.replace(secret, "[secret]") for message in error.messages)
        raise


def _content(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if not key.startswith("_")}


def _endpoint(name: str) -> str:
    return method_path(f"{ENDPOINTS}.{name}")


def _secured(origin: str) -> str:
    return "https://" + origin.partition("://")[2]


def _is_loopback(origin: str) -> bool:
    host = urlsplit(origin).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _now() -> datetime:
    return datetime.now(UTC)


LOGGERS = ("requests_oauthlib.oauth2_session", "requests_oauthlib.oauth2_auth", "oauthlib.oauth2.rfc6749")


class RedactTokens(logging.Filter):
    """Blanks what requests-oauthlib logs at DEBUG: URLs, headers, bodies and tokens as they are."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(arg if isinstance(arg, int) else "[redacted]" for arg in record.args)
        elif record.args:
            record.args = dict.fromkeys(record.args, "[redacted]")
        return True


_redact = RedactTokens()


def install() -> None:
    """Put the filter on the loggers; any number of times."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_redact)
