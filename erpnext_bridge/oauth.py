"""
OAuth2 with an ERPNext site: authorize, exchange, refresh, revoke, introspect, profile.

Only a GrantRefused that `is_final` ends a grant. Any other error leaves the tokens as good as they were.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, Literal, NoReturn, TypeVar
from urllib.parse import urlencode, urlsplit

import requests
from oauthlib.oauth2 import OAuth2Error, WebApplicationClient
from requests.adapters import BaseAdapter
from requests.auth import HTTPBasicAuth
from requests.structures import CaseInsensitiveDict
from requests_oauthlib.oauth2_session import OAuth2Session

from erpnext_bridge import answers
from erpnext_bridge.client import method_path
from erpnext_bridge.credentials import PLAIN, Anonymous, ApiKey, Bearer, Credentials, Secret
from erpnext_bridge.errors import (
    AuthenticationRefused,
    ERPNextBridgeError,
    GrantRefused,
    SiteBusy,
    UnreadableAnswer,
)
from erpnext_bridge.transport import (
    Answer,
    OnExchange,
    Request,
    Timeouts,
    Transport,
    origin_of,
    transport_for,
)

T = TypeVar("T")

ENDPOINTS = "frappe.integrations.oauth2"
METADATA = "/.well-known/oauth-authorization-server"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

# oauthlib's own default, which Frappe does not change (frappe/integrations/oauth2.py).
DEFAULT_LIFETIME = 3600
LONGEST_LIFETIME = 10 * 366 * 86400

ClientAuth = Literal["auto", "post", "basic", "none"]
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


def _discreet(method: Callable[..., T]) -> Callable[..., T]:
    """
    Let a method's errors tell no secret that it was called with, neither in words nor by local variables.

    Frappe's messages quote a refresh token that it does not find (frappe/oauth.py). And the frames below hold forms and
    headers, in requests-oauthlib as well, which Django's page about an error and error trackers show.
    """

    @wraps(method)
    def discreet(self: OAuthEndpoints, *given: Any) -> T:
        sealed = [value if value in HINTS else Secret.of(value) for value in given]
        given = ()
        try:
            return method(self, *sealed)
        except ERPNextBridgeError as error:
            told = error
        _scrub(told, [*sealed, Secret(self.client_secret)])
        raise told.with_traceback(None) from None

    return discreet


def _scrub(error: ERPNextBridgeError, secrets: Iterable[Any]) -> None:
    """Take the secrets that were sent out of what the site says about them."""
    for secret in secrets:
        if isinstance(secret, Secret) and secret:
            error.args = tuple(message.replace(secret.reveal(), "[secret]") for message in error.messages)


HINTS = ("access_token", "refresh_token")

_learnt: dict[tuple[str, str], ClientAuth] = {}
"""(site, client id) → how this client proves itself there, where it was found out."""


@dataclass(frozen=True, slots=True)
class OAuthEndpoints:
    """One OAuth client at one site."""

    site_url: str
    client_id: str
    _: KW_ONLY
    client_secret: str = field(default="", repr=False)
    client_auth: ClientAuth = "auto"
    """
    Frappe reads the form only, and refuses Basic, up to 16.4; later versions hold a client to its setting. `auto` sends
    the secret in the form, and by Basic where that is refused and the site's metadata offer it.
    """
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

    @_discreet
    def exchange(self, code: Secret, verifier: Secret) -> TokenPair:
        """Exchange an authorization code for tokens; GrantRefused when the code or its verifier is not good."""
        asked = _now()
        return _token_pair(self._authenticated(lambda way: self._fetch(code, verifier, way)), asked)

    @_discreet
    def refresh(self, refresh_token: Secret) -> TokenPair:
        """Exchange a refresh token for a new pair; GrantRefused when it is dead."""
        asked = _now()

        def ask(way: ClientAuth) -> dict[str, Any]:
            form: dict[str, str | Secret] = {"grant_type": "refresh_token", "refresh_token": refresh_token}
            return _granted(self._post("get_token", form, way))

        return _token_pair(self._authenticated(ask), asked)

    @_discreet
    def revoke(self, token: Secret, hint: Hint = "access_token") -> None:
        """Revoke a token and its pair. Frappe answers 200 whatever it did: `introspect` tells the outcome."""

        def ask(way: ClientAuth) -> None:
            form: dict[str, str | Secret] = {"token": token, "token_type_hint": hint}
            answer = self._post("revoke_token", form, way, idempotent=True)
            if answer.status != 200:
                raise answers.error_of(answer)

        self._authenticated(ask)

    @_discreet
    def introspect(self, token: Secret, hint: Hint = "access_token") -> dict[str, Any]:
        """Return Frappe's view of a token: `active` turns false by revocation only, and `exp` is in site time."""

        def ask(way: ClientAuth) -> dict[str, Any]:
            form: dict[str, str | Secret] = {"token": token, "token_type_hint": hint}
            return _content(answers.read(self._post("introspect_token", form, way, idempotent=True)))

        return self._authenticated(ask)

    @_discreet
    def profile(self, access_token: Secret) -> dict[str, Any]:
        """Return the claims of the token's user: `email`, `name`, `roles`; `sub` is null for Administrator."""
        request = Request("GET", _endpoint("openid_profile"), credentials=Bearer(access_token.reveal()))
        return _content(answers.read(self._send(request)))

    def metadata(self) -> dict[str, Any]:
        """Return what the site tells about its OAuth (RFC 8414, Frappe 16); nothing where it tells nothing."""
        answer = self._send(Request("GET", METADATA))
        return {} if answer.status in (403, 404) else answers.read(answer)

    # How the client proves itself

    def _authenticated(self, ask: Callable[[ClientAuth], T]) -> T:
        """Ask in the way that this client proves itself, and find that way out where it is not set."""
        key = (self.site_url, self.client_id)
        way = self.client_auth
        if way == "auto":
            way = _learnt.get(key, "post") if self.client_secret else "none"
        try:
            return ask(way)
        except AuthenticationRefused as refusal:
            if not (self.client_auth == "auto" and way == "post" and self._may_be_basic(refusal)):
                raise
            refused = refusal
        try:
            answer = ask("basic")
        except AuthenticationRefused:
            # Frappe up to 16.4 offers it and takes it for an API key (frappe/auth.py).
            raise refused from None
        _learnt[key] = "basic"
        return answer

    def _may_be_basic(self, refusal: AuthenticationRefused) -> bool:
        if isinstance(refusal, GrantRefused) and refusal.error != "invalid_client":
            return False
        try:
            offered = self.metadata().get("token_endpoint_auth_methods_supported")
        except ERPNextBridgeError:
            return False
        return isinstance(offered, list) and "client_secret_basic" in offered

    def _fetch(self, code: Secret, verifier: Secret, way: ClientAuth) -> dict[str, Any]:
        basic = way == "basic"
        try:
            token = self._session().fetch_token(
                _secured(self.site_url) + _endpoint("get_token"),
                code=code.reveal(),
                code_verifier=verifier.reveal(),
                include_client_id=not basic,
                client_secret=self.client_secret if way == "post" else None,
                auth=HTTPBasicAuth(self.client_id, self.client_secret) if basic else None,
            )
        except (OAuth2Error, ValueError, TypeError, OverflowError):
            # A refusal has been raised before; what oauthlib misses is the token, or a lifetime that is a number.
            return {}
        return dict(token)

    def _post(
        self, endpoint: str, form: Mapping[str, str | Secret], way: ClientAuth, *, idempotent: bool = False
    ) -> Answer:
        # A bearer token, a cookie, or Basic in a place that reads the form, each makes it "invalid_client".
        credentials: Credentials = Anonymous()
        client: dict[str, str | Secret] = {}
        if way == "basic":
            credentials = ApiKey(self.client_id, self.client_secret, "basic")
        else:
            client["client_id"] = self.client_id
        if way == "post":
            client["client_secret"] = Secret(self.client_secret)
        request = Request(
            "POST",
            _endpoint(endpoint),
            headers=FORM,
            body=_encoded({**form, **client}),
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
    # One that no header can carry would be refused where it is used, again and again.
    if not isinstance(access_token, str) or not PLAIN.fullmatch(access_token):
        raise UnreadableAnswer("The answer has no access token.", method="POST", path=_endpoint("get_token"))
    refresh_token, scope = token.get("refresh_token"), token.get("scope") or ""
    return TokenPair(
        access_token=access_token,
        refresh_token=refresh_token if refresh_token and isinstance(refresh_token, str) else None,
        expires_at=asked + timedelta(seconds=_lifetime(token.get("expires_in"))),
        scope=" ".join(map(str, scope)) if isinstance(scope, list) else str(scope),
    )


def _lifetime(told: Any) -> float:
    # The tokens are good whatever is said of their time, and may be the only ones that live: nothing here is an error.
    try:
        seconds = float(told or DEFAULT_LIFETIME)
    except (TypeError, ValueError, OverflowError):
        return DEFAULT_LIFETIME
    return seconds if 0 <= seconds <= LONGEST_LIFETIME else DEFAULT_LIFETIME


def _encoded(form: Mapping[str, str | Secret]) -> bytes:
    return urlencode({key: Secret.of(value).reveal() for key, value in form.items()}).encode()


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
