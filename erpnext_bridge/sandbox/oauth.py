"""Frappe's OAuth 2 provider: oauthlib's server endpoints over the site's OAuth documents."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.cookies import BaseCookie
from typing import Any
from urllib.parse import quote, unquote, urlencode, urljoin, urlsplit

from oauthlib.oauth2 import FatalClientError, OAuth2Error
from oauthlib.openid import RequestValidator
from oauthlib.openid.connect.core.endpoints.pre_configured import Server
from werkzeug.utils import redirect
from werkzeug.wrappers import Response

from . import accounts, answers, clients, errors, pages, permissions, sessions
from .errors import DoesNotExistError, tied
from .methods import whitelist
from .store import Row
from .web import WebContext

MODULE = "frappe.integrations.oauth2"
APPROVE_PATH = f"/api/method/{MODULE}.approve"
TIME_FORMAT = "%Y-%m-%d %H:%M:%S.%f"
GRANTS = ("authorization_code", "refresh_token", "password")
OPENID_RESPONSE_TYPES = ("id_token", "id_token token", "code id_token", "code token id_token")
# How long another exchange of the same code may overtake the one under way: Frappe spends the code only
# after the tokens are saved, and its workers share no lock (oauth.py, invalidate_authorization_code).
SPENDING_SECONDS = 0.005


@dataclass(frozen=True)
class Client:
    """An OAuth Client as oauthlib wants it: attributes."""

    client_id: str
    client_secret: str
    response_type: str
    app_name: str


# -- documents -----------------------------------------------------------------------------------------


def get_client(ctx: WebContext, name: Any) -> Client:
    found = ctx.store.get("OAuth Client", name) if name else None
    if found is None:
        raise permissions.not_found(ctx, "OAuth Client", name)
    return Client(
        str(found["name"]),
        found["client_secret"] or "",
        found["response_type"] or "Code",
        found["app_name"] or "",
    )


def client_value(ctx: WebContext, name: Any, field: str) -> str:
    return str(ctx.store.value("OAuth Client", name, field) or "")


def client_scopes(ctx: WebContext, name: Any) -> list[str]:
    return client_value(ctx, name, "scopes").split()


def get_token(ctx: WebContext, name: Any) -> Row:
    found = ctx.store.get("OAuth Bearer Token", name) if name else None
    if found is None:
        raise permissions.not_found(ctx, "OAuth Bearer Token", name)
    return found


def find_token(ctx: WebContext, filters: dict[str, Any]) -> Row:
    found = ctx.store.rows("OAuth Bearer Token", filters, limit=1)
    if not found:
        raise permissions.not_found(ctx, "OAuth Bearer Token", filters)
    return found[0]


def save(ctx: WebContext, doctype: str, name: str, values: Row) -> None:
    ctx.store.insert(doctype, {**clients.standard(ctx.site, ctx.user), "name": name, **values})
    # Frappe commits here itself, so that a GET of `approve` keeps its code.
    ctx.store.commit()


def set_status(ctx: WebContext, name: Any, status: str) -> None:
    change = {"status": status, "modified": ctx.site.now_text(), "modified_by": ctx.user}
    ctx.store.update("OAuth Bearer Token", name, change)
    ctx.store.commit()


def is_live(ctx: WebContext, token: Row, scopes: Iterable[str]) -> bool:
    """Neither expired nor revoked, and its scopes are still among the client's."""
    expiry = str(token["expiration_time"] or "")
    allowed = client_scopes(ctx, token["client"])
    return (
        ctx.site.now_text() < expiry
        and token["status"] != "Revoked"
        and all(scope in allowed for scope in scopes)
    )


def user_of_token(ctx: WebContext, access_token: str) -> str | None:
    """Who a bearer token stands for; None when it is unknown, expired or revoked."""
    token = ctx.store.get("OAuth Bearer Token", access_token) if access_token else None
    if token is None or not is_live(ctx, token, (token["scopes"] or "").split(" ")):
        return None
    return str(token["user"])


# -- what oauthlib asks --------------------------------------------------------------------------------


class Validator(RequestValidator):
    """oauthlib's questions, answered as frappe/oauth.py does, oddities included."""

    def __init__(self, ctx: WebContext) -> None:
        super().__init__()
        self.ctx = ctx

    # Authorization

    def validate_client_id(self, client_id: str, request: Any, *args: Any, **kwargs: Any) -> bool:
        if not self.ctx.store.exists("OAuth Client", client_id):
            return False
        allowed = {row["role"] for row in self.ctx.store.rows("OAuth Client Role", {"parent": client_id})}
        if not allowed.intersection(permissions.roles_of(self.ctx, self.ctx.user)):
            return False
        request.client = get_client(self.ctx, client_id)
        return True

    def validate_redirect_uri(
        self, client_id: str, redirect_uri: str, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        return redirect_uri in client_value(self.ctx, client_id, "redirect_uris").strip().split(" ")

    def get_default_redirect_uri(self, client_id: str, request: Any, *args: Any, **kwargs: Any) -> str:
        return client_value(self.ctx, client_id, "default_redirect_uri")

    def validate_scopes(
        self, client_id: str, scopes: list[str], client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        allowed = client_scopes(self.ctx, client_id)
        return all(scope in allowed for scope in scopes)

    def get_default_scopes(self, client_id: str, request: Any, *args: Any, **kwargs: Any) -> list[str]:
        request.scopes = client_scopes(self.ctx, client_id)
        return list(request.scopes)

    def validate_response_type(
        self, client_id: str, response_type: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        return response_type in (client.response_type.lower(), *OPENID_RESPONSE_TYPES)

    def save_authorization_code(
        self, client_id: str, code: Any, request: Any, *args: Any, **kwargs: Any
    ) -> None:
        cookies = cookies_of(request)
        # The code belongs to the user named by the cookie, not to the session's (oauth.py:77).
        if "user_id" not in cookies:
            raise errors.KeyError("'user_id'")
        pkce = bool(request.code_challenge and request.code_challenge_method)
        save(
            self.ctx,
            "OAuth Authorization Code",
            code["code"],
            {
                "scopes": " ".join(request.scopes),
                "redirect_uri_bound_to_authorization_code": request.redirect_uri,
                "client": client_id,
                "user": unquote(cookies["user_id"].value),
                "authorization_code": code["code"],
                "validity": "Valid",
                "nonce": request.nonce or None,
                "code_challenge": request.code_challenge if pkce else None,
                "code_challenge_method": request.code_challenge_method.lower() if pkce else "",
            },
        )

    # Tokens

    def authenticate_client(self, request: Any, *args: Any, **kwargs: Any) -> bool:
        """The secret is not looked at; session and `user_id` cookie have to agree."""
        client = get_client(self.ctx, request.client_id or self.client_of_token())
        request.client = request.client or client
        cookies = cookies_of(request)
        user = unquote(cookies["user_id"].value) if "user_id" in cookies else "Guest"
        return self.ctx.user == user

    def client_of_token(self) -> Any:
        form = self.ctx.form
        if "refresh_token" in form:
            found = self.ctx.store.rows(
                "OAuth Bearer Token", {"refresh_token": form["refresh_token"]}, limit=1
            )
            return found[0]["client"] if found else None
        name = form["token"] if "token" in form else self.token_of_header()
        found = self.ctx.store.rows("OAuth Bearer Token", {"name": name}, limit=1)
        return found[0]["client"] if found else None

    def token_of_header(self) -> str:
        header = self.ctx.headers.get("Authorization")
        if header is None:
            raise errors.AttributeError("'NoneType' object has no attribute 'split'")
        return header.split(" ")[1]

    def authenticate_client_id(self, client_id: str, request: Any, *args: Any, **kwargs: Any) -> bool:
        if not self.ctx.store.exists("OAuth Client", client_id):
            return False
        request.client = get_client(self.ctx, client_id)
        return True

    def validate_code(
        self, client_id: str, code: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        found = self.ctx.store.get("OAuth Authorization Code", code)
        if found is None or found["client"] != client_id or found["validity"] != "Valid":
            return False
        request.scopes = (found["scopes"] or "").split(" ")
        request.user = found["user"]
        if found["code_challenge"] and not request.code_verifier:
            self.ctx.store.delete("OAuth Authorization Code", {"name": code})
            self.ctx.store.commit()
            return False
        return verifies(found["code_challenge_method"], found["code_challenge"], request.code_verifier)

    def confirm_redirect_uri(
        self, client_id: str, code: str, redirect_uri: str, client: Any, *args: Any, **kwargs: Any
    ) -> bool:
        registered = client_value(self.ctx, client_id, "redirect_uris")
        if registered:
            return redirect_uri in registered.split(" ")
        return redirect_uri == client_value(self.ctx, client_id, "default_redirect_uri")

    def validate_grant_type(
        self, client_id: str, grant_type: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        return grant_type in GRANTS

    def save_bearer_token(self, token: Any, request: Any, *args: Any, **kwargs: Any) -> str:
        old = self.refreshed(request)
        created = self.ctx.site.clock().replace(tzinfo=None)
        expires = created + timedelta(seconds=token["expires_in"])
        save(
            self.ctx,
            "OAuth Bearer Token",
            token["access_token"],
            {
                "creation": created.strftime(TIME_FORMAT),
                "modified": created.strftime(TIME_FORMAT),
                "client": request.client.client_id,
                "user": request.user or (old["user"] if old else self.ctx.user),
                "scopes": " ".join(request.scopes),
                "access_token": token["access_token"],
                "refresh_token": token.get("refresh_token"),
                "expires_in": token["expires_in"],
                "expiration_time": expires.strftime(TIME_FORMAT),
                "status": "Active",
            },
        )
        if old and self.ctx.gate.rotate_refresh_tokens:
            set_status(self.ctx, old["name"], "Revoked")
        return client_value(self.ctx, request.client.client_id, "default_redirect_uri")

    def refreshed(self, request: Any) -> Row | None:
        if request.grant_type != "refresh_token":
            return None
        found = self.ctx.store.rows("OAuth Bearer Token", {"refresh_token": request.refresh_token}, limit=1)
        return found[0] if found else None

    def invalidate_authorization_code(
        self, client_id: str, code: str, request: Any, *args: Any, **kwargs: Any
    ) -> None:
        lock = self.ctx.site.lock
        lock.release()
        time.sleep(SPENDING_SECONDS)
        lock.acquire()
        self.ctx.store.update("OAuth Authorization Code", code, {"validity": "Invalid"})
        self.ctx.store.commit()

    # Refresh and revocation

    def get_original_scopes(self, refresh_token: str, request: Any, *args: Any, **kwargs: Any) -> Any:
        return str(find_token(self.ctx, {"refresh_token": refresh_token})["scopes"] or "")

    def validate_refresh_token(
        self, refresh_token: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        return bool(find_token(self.ctx, {"refresh_token": refresh_token, "status": "Active"}))

    def refresh_id_token(self, request: Any) -> bool:
        return False

    def revoke_token(self, token: str, token_type_hint: str, request: Any, *args: Any, **kwargs: Any) -> None:
        field = "refresh_token" if token_type_hint == "refresh_token" else "name"
        for found in self.ctx.store.rows("OAuth Bearer Token", {field: token}):
            set_status(self.ctx, found["name"], "Revoked")

    # Use

    def validate_bearer_token(self, token: str, scopes: list[str], request: Any) -> bool:
        return is_live(self.ctx, get_token(self.ctx, token), scopes)

    def validate_user(
        self, username: str, password: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        request.user = sessions.authenticate(self.ctx, username, password)
        return True

    # OpenID Connect

    def get_authorization_code_scopes(
        self, client_id: str, code: str, redirect_uri: str, request: Any
    ) -> list[str]:
        return client_scopes(self.ctx, client_id)

    def get_authorization_code_nonce(self, client_id: str, code: str, redirect_uri: str, request: Any) -> Any:
        found = self.ctx.store.get("OAuth Authorization Code", code)
        return found["nonce"] if found and found["validity"] == "Valid" else None

    def finalize_id_token(
        self, id_token: dict[str, Any], token: dict[str, Any], token_handler: Any, request: Any
    ) -> str:
        if request.nonce:
            id_token["nonce"] = request.nonce
        info = userinfo(self.ctx, request.user)
        # oauthlib took the machine's time.
        id_token["iat"] += round(self.ctx.site.skew.total_seconds())
        id_token["exp"] = id_token["iat"] + token["expires_in"]
        id_token["iss"] = info["iss"]
        if "openid" in request.scopes:
            id_token.update(info)
        return signed(id_token, request.client.client_secret)

    def get_userinfo_claims(self, request: Any) -> dict[str, Any]:
        return userinfo(self.ctx, self.ctx.user)

    def validate_silent_authorization(self, request: Any) -> bool:
        return bool(request.prompt != "login")

    def validate_silent_login(self, request: Any) -> bool:
        return self.ctx.user != "Guest" and request.prompt.lower() != "login"

    def validate_user_match(self, id_token_hint: str, scopes: Any, claims: Any, request: Any) -> bool:
        if not id_token_hint:
            return self.ctx.user != "Guest"
        claims_of_hint = claims_of(id_token_hint)
        client = self.ctx.store.get("OAuth Client", claims_of_hint.get("aud"))
        genuine = client is not None and signed(claims_of_hint, client["client_secret"]) == id_token_hint
        return genuine and claims_of_hint.get("sub") == subject(self.ctx, self.ctx.user)


def cookies_of(request: Any) -> BaseCookie[str]:
    cookies: BaseCookie[str] = BaseCookie()
    if header := request.headers.get("Cookie"):
        cookies.load(header)
    return cookies


def verifies(method: str | None, challenge: str | None, verifier: str | None) -> bool:
    if method == "s256":
        digest = hashlib.sha256((verifier or "").encode()).digest()
        return challenge == base64.urlsafe_b64encode(digest).decode().rstrip("=")
    return method != "plain" or challenge == verifier


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def signed(claims: dict[str, Any], secret: str) -> str:
    """A JSON Web Token under HS256."""
    parts = [b64(json.dumps(part, separators=(",", ":")).encode()) for part in (JWT_HEADER, claims)]
    signature = hmac.new(secret.encode(), ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join((*parts, b64(signature)))


JWT_HEADER = {"alg": "HS256", "typ": "jwt"}


def claims_of(token: str) -> dict[str, Any]:
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def subject(ctx: WebContext, user: str) -> Any:
    """Frappe makes the id of a user at its creation (User Social Login, provider frappe)."""
    if user in accounts.STANDARD:
        return None
    found = ctx.store.rows("User Social Login", {"parent": user, "provider": "frappe"}, limit=1)
    if found:
        return str(found[0]["userid"])
    return hashlib.sha256(f"{ctx.site.world.time_zone}:{user}".encode()).hexdigest()[:39]


def userinfo(ctx: WebContext, user: str) -> dict[str, Any]:
    info = accounts.row(ctx.site, user)
    image = info.get("user_image")
    return {
        "sub": subject(ctx, user),
        "name": accounts.full_name(info),
        "given_name": info.get("first_name"),
        "family_name": info.get("last_name"),
        "email": info.get("email"),
        "picture": urljoin(server_url(ctx), image) if image else None,
        "roles": sorted(permissions.roles_of(ctx, user)),
        "iss": server_url(ctx),
    }


def server_url(ctx: WebContext) -> str:
    parts = urlsplit(ctx.request.url)
    return f"{parts.scheme}://{parts.netloc}"


# -- endpoints -----------------------------------------------------------------------------------------


def server(ctx: WebContext) -> Any:
    """Untyped: its stubs want bodies as text, and take methods for literals."""
    return Server(Validator(ctx), token_expires_in=ctx.gate.token_seconds)


def uri(ctx: WebContext) -> str:
    """The sandbox speaks plain http, which oauthlib refuses unless the environment says otherwise."""
    return "https" + ctx.request.url.removeprefix("http")


def encode(params: dict[str, Any]) -> str:
    return urlencode(params, quote_via=quote)


def refusal(ctx: WebContext, error: OAuth2Error) -> None:
    """oauth.py, generate_json_error_response: the caller's own site never hears of it."""
    status = getattr(error, "status_code", 500)
    ctx.response = {"description": error.description, "status_code": status, "error": error.error}
    ctx.status = status


def validate_authorization(ctx: WebContext) -> tuple[list[str], dict[str, Any]]:
    request = ctx.request
    scopes, credentials = server(ctx).validate_authorization_request(
        uri(ctx), request.method, request.get_data(), dict(request.headers)
    )
    return list(scopes), credentials


@whitelist(f"{MODULE}.authorize", guest=True)
def authorize(ctx: WebContext, **params: Any) -> Response | None:
    query = {key: value for key, value in ctx.form.items() if key not in ("data", "cmd")}
    if ctx.version < 16 and "redirect_uri" not in ctx.form:
        raise errors.KeyError("'redirect_uri'")
    if ctx.user == "Guest":
        return redirect("/login?" + encode({"redirect-to": ctx.request.url}))
    try:
        scopes, credentials = validate_authorization(ctx)
    except (FatalClientError, OAuth2Error) as error:
        refusal(ctx, error)
        return None
    allow = f"{APPROVE_PATH}?{encode(query)}"
    if skips_consent(ctx, credentials["client_id"]):
        return redirect(allow)
    return answers.html(consent_page(ctx, scopes, credentials["client_id"], allow))


def skips_consent(ctx: WebContext, client_id: str) -> bool:
    if int(ctx.store.value("OAuth Client", client_id, "skip_authorization") or 0):
        return True
    # v15 asks for anybody's live token, v16 for one of this user.
    mine = {"status": "Active"} | ({"user": ctx.user} if ctx.version >= 16 else {})
    return consent_is_automatic(ctx) and bool(ctx.store.rows("OAuth Bearer Token", mine, limit=1))


def consent_is_automatic(ctx: WebContext) -> bool:
    if ctx.version >= 16 and ctx.store.single("OAuth Settings").get("skip_authorization") == "1":
        return True
    return ctx.store.single("OAuth Provider Settings").get("skip_authorization") == "Auto"


def consent_page(ctx: WebContext, scopes: list[str], client_id: str, allow: str) -> str:
    shown = [scope for scope in scopes if scope != "openid"]
    if "openid" in scopes:
        shown += ["Full Name", "Email", "User Image", "Roles"]
    deny = str(ctx.form.get("redirect_uri") or "") + "?error=access_denied"
    app = client_value(ctx, client_id, "app_name")
    return pages.consent(ctx.version, app, [scope.title() for scope in shown], allow, deny)


@whitelist(f"{MODULE}.approve")
def approve(ctx: WebContext, **params: Any) -> Response | None:
    request = ctx.request
    try:
        scopes, credentials = validate_authorization(ctx)
        headers, _, _ = server(ctx).create_authorization_response(
            uri=credentials["redirect_uri"],
            body=request.get_data(),
            headers=dict(request.headers),
            scopes=scopes,
            credentials=credentials,
        )
    except (FatalClientError, OAuth2Error) as error:
        refusal(ctx, error)
        return None
    return redirect(headers["Location"])


@whitelist(f"{MODULE}.get_token", guest=True)
def get_token_method(ctx: WebContext, **params: Any) -> None:
    request = ctx.request
    try:
        _, body, _ = server(ctx).create_token_response(
            uri(ctx), request.method, request.form.to_dict(), dict(request.headers), ctx.oauth_credentials
        )
    except (FatalClientError, OAuth2Error) as error:
        refusal(ctx, error)
        return
    ctx.response = json.loads(body)
    # oauthlib says 401 for a client it does not know; Frappe makes 400 of everything.
    if ctx.response.get("error"):
        ctx.status = 400


@whitelist(f"{MODULE}.revoke_token", guest=True)
def revoke_token(ctx: WebContext, **params: Any) -> None:
    request = ctx.request
    _, _, status = server(ctx).create_revocation_response(
        uri(ctx), headers=dict(request.headers), body=request.form.to_dict(), http_method=request.method
    )
    ctx.response = {}
    ctx.status = status or 200


@whitelist(f"{MODULE}.openid_profile")
def openid_profile(ctx: WebContext, **params: Any) -> None:
    request = ctx.request
    try:
        _, body, _ = server(ctx).create_userinfo_response(
            uri(ctx), headers=dict(request.headers), body=request.form.to_dict()
        )
    except (FatalClientError, OAuth2Error) as error:
        refusal(ctx, error)
        return
    ctx.response = json.loads(body)


@whitelist(f"{MODULE}.introspect_token", guest=True)
def introspect_token(ctx: WebContext, **params: Any) -> None:
    if ctx.version >= 16 and "token" not in params:
        raise errors.TypeError("introspect_token() missing 1 required positional argument: 'token'")
    hint = params.get("token_type_hint")
    field = hint if hint in ("access_token", "refresh_token") else "access_token"
    filters = {field: params.get("token")}
    found = ctx.store.rows("OAuth Bearer Token", filters, limit=1)
    client = ctx.store.get("OAuth Client", found[0]["client"]) if found else None
    if client is None:
        # The exception is swallowed, what it said is not (oauth2.py:246).
        text = f"OAuth Bearer Token {filters} not found"
        tied(ctx, DoesNotExistError(text), text)
        ctx.response = {"active": False}
        return
    token = found[0]
    ctx.response = {
        "client_id": client["client_id"],
        "trusted_client": client["skip_authorization"],
        "active": token["status"] == "Active",
        "exp": expiry_seconds(token),
        "scope": token["scopes"],
    }
    if "openid" in (token["scopes"] or "") and subject(ctx, token["user"]):
        ctx.response |= userinfo(ctx, token["user"])


def expiry_seconds(token: Row) -> int:
    """The site's local time read as if it were UTC, which is off by the site's offset (oauth2.py:223)."""
    text = str(token["expiration_time"])
    moment = datetime.fromisoformat(text + "+00:00")
    return round(moment.timestamp())
