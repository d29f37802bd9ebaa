"""Which path leads where: Frappe's API rules, and the website around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

from werkzeug.exceptions import NotFound
from werkzeug.routing import Map, Rule, Submount
from werkzeug.utils import redirect
from werkzeug.wrappers import Response

from . import accounts, answers, files, metadata, oauth, pages, sessions
from .errors import AuthenticationError, DoesNotExistError, SecurityException
from .web import WebContext

READ, WRITE = ["GET"], ["POST"]

# api/v1.py and api/v2.py of both versions.
V1 = [
    Rule("/method/<path:method>", endpoint="method"),
    Rule("/resource/<doctype>", methods=READ, endpoint="resource"),
    Rule("/resource/<doctype>", methods=WRITE, endpoint="resource"),
    *(
        Rule("/resource/<doctype>/<path:name>/", methods=[verb], endpoint="resource")
        for verb in ("GET", "PUT", "DELETE", "POST")
    ),
]
DOCUMENT = "/document/<doctype>/<path:name>/"
V2 = [
    Rule("/method/<method>", endpoint="method"),
    Rule("/method/<doctype>/<method>", endpoint="doctype method"),
    Rule("/document/<doctype>", methods=[*READ, *WRITE], endpoint="document"),
    Rule(DOCUMENT, methods=["GET", "PATCH", "PUT", "DELETE"], endpoint="document"),
    Rule(f"{DOCUMENT}method/<method>/", methods=[*READ, *WRITE], endpoint="document method"),
    Rule("/doctype/<doctype>/meta", methods=READ, endpoint="meta"),
    Rule("/doctype/<doctype>/count", methods=READ, endpoint="count"),
]
COPY = [Rule(f"{DOCUMENT}copy", methods=READ, endpoint="copy")]


def rules(version: int) -> Map:
    second = [*V2, *(COPY if version >= 16 else ())]
    mounts = [
        Submount("/api", [rule.empty() for rule in V1]),
        Submount("/api/v1", [rule.empty() for rule in V1]),
        Submount("/api/v2", [rule.empty() for rule in second]),
    ]
    return Map(mounts, strict_slashes=False, merge_slashes=False)


RULES = {version: rules(version) for version in (15, 16)}


def match_api(ctx: WebContext) -> tuple[str, dict[str, Any]]:
    try:
        endpoint, arguments = RULES[ctx.version].bind_to_environ(ctx.request.environ).match()
    except NotFound:
        raise DoesNotExistError from None
    return str(endpoint), dict(arguments)


def segments(endpoint: str, arguments: dict[str, Any]) -> list[str]:
    """The path of a v2 document or DocType as `resources` takes it."""
    doctype = arguments["doctype"]
    if endpoint in ("meta", "count"):
        return ["doctype", doctype, endpoint]
    tail = {"document method": ["method", arguments.get("method", "")], "copy": ["copy"]}
    name = [arguments["name"]] if "name" in arguments else []
    return ["document", doctype, *name, *tail.get(endpoint, [])]


# -- the website ---------------------------------------------------------------------------------------


def website(ctx: WebContext) -> Response:
    path = ctx.path.rstrip("/") or "/"
    if path.startswith("/private/files/"):
        return files.download_private(ctx)
    if ctx.version >= 16 and path.startswith("/.well-known/") and ctx.request_method == "GET":
        return metadata.well_known(ctx, path)
    if ctx.request_method not in ("GET", "HEAD", "POST"):
        raise NotFound
    page = PAGES.get("/" + path.split("/")[1])
    return page(ctx, path) if page else not_found(ctx)


def not_found(ctx: WebContext) -> Response:
    response = answers.html(pages.message("Not Found", "The page you are looking for has gone missing."), 404)
    if ctx.version >= 16:
        response.headers["Cache-Control"] = "private,max-age=300,stale-while-revalidate=10800"
    return response


def moved(ctx: WebContext, location: str) -> Response:
    """Frappe's website redirects carry no body; v15 says by itself that they must not be remembered."""
    headers = {"Location": location}
    if ctx.version < 16:
        headers["Cache-Control"] = "no-store, no-cache, must-revalidate"
    return Response("", 301, headers, content_type="text/html; charset=utf-8")


def home(ctx: WebContext, path: str) -> Response:
    if path != "/":
        return not_found(ctx)
    if ctx.user == "Guest":
        return answers.html(pages.home(ctx.version))
    return redirect(desk_path(ctx))


def desk_path(ctx: WebContext) -> str:
    return "/app" if ctx.version < 16 else "/desk"


def desk(ctx: WebContext, path: str) -> Response:
    if ctx.version >= 16 and path.startswith("/app"):
        return moved(ctx, "/desk" + path.removeprefix("/app"))
    if ctx.version < 16 and path.startswith("/desk"):
        return not_found(ctx)
    if not sessions.is_system_user(ctx):
        link = f'<a href="/login?redirect-to={quote(path, safe="")}">Login</a>'
        return answers.html(pages.message("Not Permitted", f"You need to log in. {link}"), 403)
    name = accounts.full_name(accounts.row(ctx.site, ctx.user))
    return answers.html(pages.desk(ctx.version, ctx.user, name, ctx.session.ensure_csrf_token()))


def me(ctx: WebContext, path: str) -> Response:
    if ctx.user == "Guest":
        return redirect("/login?redirect-to=%2Fme")
    name = accounts.full_name(accounts.row(ctx.site, ctx.user))
    return answers.html(pages.desk(ctx.version, ctx.user, name, ctx.session.ensure_csrf_token()))


def login(ctx: WebContext, path: str) -> Response:
    target = own_path(ctx, str(ctx.form.get("redirect-to") or ""))
    if ctx.request_method == "POST" and ctx.form.get("usr"):
        return sign_in(ctx, target)
    if ctx.user != "Guest":
        return redirect(target or sessions.home_page(ctx, ctx.user, accounts.row(ctx.site, ctx.user)))
    return answers.html(pages.login(target, _zone(ctx)))


def _zone(ctx: WebContext) -> str:
    return str(ctx.store.single("System Settings").get("time_zone") or "")


def sign_in(ctx: WebContext, target: str) -> Response:
    user = str(ctx.form["usr"])
    try:
        sessions.login(ctx)
    except (AuthenticationError, SecurityException) as error:
        said = str(ctx.response.get("message") or error.text)
        return answers.html(pages.login(target, _zone(ctx), error=said, user=user), 401)
    return redirect(target or str(ctx.response["home_page"]), 303)


def own_path(ctx: WebContext, target: str) -> str:
    """Only places on this site (www/login.py, sanitize_redirect)."""
    parts = urlsplit(target)
    if parts.netloc not in ("", ctx.request.host) or parts.scheme not in ("", "http", "https"):
        return ""
    return target if parts.netloc or target.startswith("/") else ""


def openid_configuration(ctx: WebContext, path: str) -> Response:
    # hooks.py of v15: the only well-known address it has.
    if ctx.version < 16 and path == "/.well-known/openid-configuration":
        return moved(ctx, f"/api/method/{oauth.MODULE}.openid_configuration")
    return not_found(ctx)


PAGES: dict[str, Callable[[WebContext, str], Response]] = {
    "/": home,
    "/app": desk,
    "/desk": desk,
    "/me": me,
    "/login": login,
    "/.well-known": openid_configuration,
}
