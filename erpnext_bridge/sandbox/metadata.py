"""What the site says about its OAuth endpoints, and how clients register themselves (v16)."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from . import clients
from .methods import whitelist
from .oauth import MODULE, server_url
from .web import WebContext

RESPONSE_TYPES = ["code", "token", "code id_token", "code token id_token", "id_token", "id_token token"]
DOCUMENTATION = (
    "https://docs.frappe.io/framework/user/en/guides/integration/how_to_set_up_oauth#add-a-client-app"
)
REQUIRED = ("redirect_uris", "client_name")
# The address that pydantic adds to each of its complaints; Frappe passes them on.
COMPLAINTS = "https://errors.pydantic.dev/2.12/v"


def endpoints(ctx: WebContext) -> dict[str, str]:
    names = {
        "authorization_endpoint": "authorize",
        "token_endpoint": "get_token",
        "userinfo_endpoint": "openid_profile",
        "revocation_endpoint": "revoke_token",
        "introspection_endpoint": "introspect_token",
    }
    return {key: f"{server_url(ctx)}/api/method/{MODULE}.{name}" for key, name in names.items()}


def openid(ctx: WebContext) -> dict[str, Any]:
    return {
        "issuer": server_url(ctx),
        **endpoints(ctx),
        "response_types_supported": RESPONSE_TYPES,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["HS256"],
    }


@whitelist(f"{MODULE}.openid_configuration", guest=True, versions=(15,))
def openid_configuration(ctx: WebContext) -> None:
    ctx.response = openid(ctx)


# -- v16: /.well-known/ --------------------------------------------------------------------------------


def well_known(ctx: WebContext, path: str) -> Response:
    for prefix, document in DOCUMENTS.items():
        if path.startswith(f"/.well-known/{prefix}"):
            return as_json(document(ctx))
    raise NotFound


def as_json(value: dict[str, Any], status: int = 200) -> Response:
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
    return Response(text, status, content_type="application/json")


def authorization_server(ctx: WebContext) -> dict[str, Any]:
    """RFC 8414; the authentication methods it names are not those that work."""
    places = endpoints(ctx)
    return {
        "issuer": server_url(ctx),
        **places,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
        "service_documentation": DOCUMENTATION,
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic"],
        "code_challenge_methods_supported": ["S256"],
        "registration_endpoint": f"{server_url(ctx)}/api/method/{MODULE}.register_client",
    }


def protected_resource(ctx: WebContext) -> dict[str, Any]:
    """RFC 9728."""
    return {
        "resource": server_url(ctx),
        "authorization_servers": [server_url(ctx)],
        "bearer_methods_supported": ["header"],
        "resource_name": "Frappe Framework Application",
        "resource_documentation": "https://docs.frappe.io/framework",
    }


DOCUMENTS = {
    "openid-configuration": openid,
    "oauth-authorization-server": authorization_server,
    "oauth-protected-resource": protected_resource,
}


# -- v16: dynamic registration (RFC 7591) --------------------------------------------------------------


@whitelist(f"{MODULE}.register_client", guest=True, verbs=("POST",), versions=(16,))
def register_client(ctx: WebContext, **params: Any) -> Response:
    data = ctx.request.get_json(silent=True)
    if not isinstance(data, dict):
        return refused("Request body is empty")
    if complaint := missing_fields(data) or refused_values(data):
        return refused(complaint)
    document = create(ctx, data)
    secret = (
        {}
        if document["token_endpoint_auth_method"] == "None"
        else {"client_secret": document["client_secret"]}
    )
    return as_json(described(document) | secret, 201)


def refused(text: str) -> Response:
    return as_json({"error": "invalid_client_metadata", "error_description": text}, 400)


def missing_fields(data: dict[str, Any]) -> str:
    """In the words of the library that checks it."""
    absent = [field for field in REQUIRED if field not in data]
    if not absent:
        return ""
    count = f"{len(absent)} validation error{'s' if len(absent) > 1 else ''}"
    details = [
        f"{field}\n  Field required [type=missing, input_value={data!r}, input_type=dict]\n"
        f"    For further information visit {COMPLAINTS}/missing"
        for field in absent
    ]
    return f"{count} for OAuth2DynamicClientMetadata\n" + "\n".join(details)


def refused_values(data: dict[str, Any]) -> str:
    reasons = []
    if not data["redirect_uris"]:
        reasons.append("redirect_uris is required")
    if not set(data.get("grant_types") or ()) <= {"authorization_code", "refresh_token"}:
        reasons.append("only 'authorization_code' and 'refresh_token' grant types are supported")
    if any(kind != "code" for kind in data.get("response_types") or ()):
        reasons.append("only 'code' response_type is supported")
    if any(urlsplit(str(uri)).scheme != "https" for uri in data["redirect_uris"]):
        reasons.append("redirect_uris must be https")
    return ",\n".join(reasons)


METHODS = {"none": "None", "client_secret_post": "Client Secret Post"}
OPTIONAL = ("client_uri", "logo_uri", "tos_uri", "policy_uri", "software_id", "software_version")


def create(ctx: WebContext, data: dict[str, Any]) -> dict[str, Any]:
    method = str(data.get("token_endpoint_auth_method") or "")
    values = {
        "app_name": data["client_name"],
        "scopes": data.get("scope") or "all",
        # Joined by newlines, which the redirect check never matches when there are several.
        "redirect_uris": "\n".join(map(str, data["redirect_uris"])),
        "default_redirect_uri": str(data["redirect_uris"][0]),
        "response_type": "Code",
        "grant_type": "Authorization Code",
        "skip_authorization": 0,
        "contacts": "\n".join(data.get("contacts") or ()) or None,
        "token_endpoint_auth_method": METHODS.get(method, "Client Secret Basic"),
    } | {field: data[field] for field in OPTIONAL if data.get(field)}
    return clients.create(ctx.site, ctx.user, values)


def described(row: dict[str, Any]) -> dict[str, Any]:
    answer = {
        "client_id": row["client_id"],
        "client_id_issued_at": int(datetime.fromisoformat(f"{row['creation']}+00:00").timestamp()),
        "client_secret_expires_at": 0,
        "client_name": row["app_name"],
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
        "scope": row["scopes"],
        "redirect_uris": row["redirect_uris"].split("\n"),
        "contacts": row["contacts"].split("\n") if row.get("contacts") else None,
    } | {field: row.get(field) for field in OPTIONAL}
    return {key: value for key, value in answer.items() if value is not None}
