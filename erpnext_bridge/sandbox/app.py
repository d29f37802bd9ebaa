"""One request in Frappe's order: form, session, credentials, dispatch, transaction, cookies (frappe/app.py)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, cast

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request, Response

from . import (
    answers,
    credentials,
    customizing,
    errors,
    files,
    limits,
    methods,
    printing,
    resources,
    routes,
    sessions,
    webhooks,
)
from .context import Site
from .errors import DataError, SandboxError, ValidationError, throw
from .gate import Gate
from .server import Answer, Environ, error_page
from .web import UNSAFE_METHODS, WebContext

MAX_BODY = 25 * 1024 * 1024
NO_CACHE = "no-store,no-cache,must-revalidate,max-age=0"

# Importing them is what makes their methods and hooks known.
METHOD_MODULES = (credentials, customizing, files, limits, printing, routes, sessions)

logger = logging.getLogger(__name__)


class GunicornError(Exception):
    """An exception that Frappe's own handler fails on, so that gunicorn answers its bare page."""


class SiteRequest(Request):
    max_content_length = MAX_BODY
    max_form_memory_size = None
    max_form_parts = 100_000


class PythonError(SandboxError):
    """A plain Python exception, named as Frappe names it in its answer."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause

    @property
    def exc_type(self) -> str:
        return type(self.cause).__name__


class Application:
    """What the server calls for each request."""

    def __init__(
        self, site: Site, gate: Gate, notify: Callable[[list[webhooks.Delivery]], None] | None = None
    ) -> None:
        self.site = site
        self.gate = gate
        self.notify = notify or (lambda deliveries: None)

    def __call__(self, environ: Environ) -> Answer:
        request = SiteRequest(environ)
        ctx = WebContext(
            site=self.site,
            request=request,
            gate=self.gate,
            request_method=request.method,
            path=request.path,
            headers=cast("Mapping[str, str]", request.headers),
            api_version=2 if request.path.startswith("/api/v2") else 1,
        )
        environ["sandbox.context"] = ctx
        if ctx.path.startswith(files.PUBLIC):
            return files.static(self.site, environ)
        ctx.slip = self.gate.budget.open() if self.gate.budget else None
        try:
            with self.site.lock:
                response = self.respond(ctx)
                return answer_of(response, environ) if response is not None else error_page(500)
        finally:
            if ctx.slip is not None:
                ctx.slip.settle()
            # Uploaded files are temporary files of werkzeug's.
            request.close()

    def respond(self, ctx: WebContext) -> Response | None:
        """Frappe's answer; None where its own error handling fails and gunicorn answers."""
        response: Response | None = None
        try:
            response = self.handle(ctx)
            # A condition that fails takes the whole request down with it.
            fired = webhooks.deliveries(ctx)
        except HTTPException as error:
            response = Response.force_type(error.get_response(ctx.request.environ))
            self.site.store.rollback()
            # v15 returns the exception as it is, without cookies (app.py:134).
            if ctx.version < 16:
                return response
        except Exception as error:
            self.site.store.rollback()
            response = self.handle_exception(ctx, as_sandbox_error(error))
        else:
            self.finish(ctx, fired)
        if response is not None:
            complete(ctx, response)
        return response

    def handle(self, ctx: WebContext) -> Response:
        request = ctx.request
        make_form(ctx)
        if request.method != "OPTIONS":
            ctx.ip = (ctx.headers.get("X-Forwarded-For") or "127.0.0.1").split(",", 1)[0].strip()
            sessions.begin(ctx)
        if ctx.slip is not None and ctx.slip.rejected:
            raise errors.TooManyRequestsError
        credentials.apply(ctx)
        if request.method == "OPTIONS":
            return Response()
        return dispatch(ctx)

    def finish(self, ctx: WebContext, fired: list[webhooks.Delivery]) -> None:
        """Commit what a write did and drop what a read did; then webhooks and the like."""
        if ctx.request_method not in UNSAFE_METHODS:
            self.site.store.rollback()
            return
        self.site.store.commit()
        sessions.drop_sessions_of_disabled_users(ctx)
        for task in ctx.after_commit:
            task()
        self.notify(fired)

    def handle_exception(self, ctx: WebContext, error: SandboxError) -> Response | None:
        if isinstance(error, PythonError):
            logger.info("Frappe would answer 500 to %s", ctx.path, exc_info=error.cause)
        if isinstance(error, errors.AuthenticationError) and ctx.started:
            ctx.cookies.delete_all()
        if answers.wants_json(ctx):
            return answers.failure(ctx, error, traceback_allowed=shows_tracebacks(ctx))
        if error.status == 429:
            # rate_limiter.respond knows the site-wide limiter only.
            return Response("Too Many Requests", 429) if ctx.slip and ctx.slip.rejected else None
        # Without a session v15 cannot render its page.
        if ctx.version < 16 and not ctx.started:
            return None
        return answers.failure_page(ctx, error)


def as_sandbox_error(error: Exception) -> SandboxError:
    return error if isinstance(error, SandboxError) else PythonError(error)


def shows_tracebacks(ctx: WebContext) -> bool:
    if not ctx.site.traceback_allowed or ctx.traceback_disabled:
        return False
    # 16.4 shows them to System Users only (utils/response.py, is_traceback_allowed).
    return ctx.version < 16 or sessions.is_system_user(ctx)


# -- the form ------------------------------------------------------------------------------------------


def make_form(ctx: WebContext) -> None:
    """Query and form, or the JSON body instead of both (app.py, make_form_dict)."""
    request = ctx.request
    # What is read here is there for oauthlib, too; files are better left in their temporary files.
    body = request.get_data(as_text=True, parse_form_data=request.mimetype == "multipart/form-data")
    if body and request.is_json:
        args = parse_body(ctx, body)
    else:
        args = request.args.to_dict() | request.form.to_dict()
        ctx.files = request.files.to_dict()
    if isinstance(args, dict):
        args.pop("_", None)
        ctx.form = args
    elif isinstance(args, list):
        ctx.form = {"data": args}
    else:
        throw(ctx, "Invalid request arguments", ValidationError)


def parse_body(ctx: WebContext, body: str) -> Any:
    try:
        return json.loads(body)
    except json.JSONDecodeError as problem:
        if ctx.version >= 16:
            throw(ctx, "Invalid request body", DataError)
        raise errors.JSONDecodeError(str(problem)) from None


# -- dispatch ------------------------------------------------------------------------------------------


def dispatch(ctx: WebContext) -> Response:
    if ctx.form.get("cmd"):
        return call_method(ctx, str(ctx.form["cmd"]))
    if ctx.path.startswith("/api/"):
        return dispatch_api(ctx)
    return routes.website(ctx)


def dispatch_api(ctx: WebContext) -> Response:
    endpoint, arguments = routes.match_api(ctx)
    if ctx.api_version == 2:
        return dispatch_v2(ctx, endpoint, arguments)
    if endpoint == "method":
        return call_method(ctx, arguments["method"].split("/")[0])
    status, body = resources.handle_v1(ctx, arguments["doctype"], arguments.get("name"))
    return reply(ctx, body, status)


# handler.py: names that need no module, under v1 only.
SHORT = {
    "download_file": "frappe.handler.download_file",
    "logout": "frappe.handler.logout",
    "ping": "frappe.ping",
    "run_doc_method": "frappe.handler.run_doc_method",
    "runserverobj": "frappe.handler.run_doc_method",
    "upload_file": "frappe.handler.upload_file",
    "web_logout": "frappe.handler.web_logout",
}
# api/v2.py: names that have a route of their own; since 16 two of them are for POST only.
ROUTED = {15: ("ping", "logout", "upload_file"), 16: ("ping",)}
POSTED = ("logout", "upload_file")


def dispatch_v2(ctx: WebContext, endpoint: str, arguments: dict[str, Any]) -> Response:
    if endpoint == "doctype method":
        path = resources.method_path(ctx, arguments["doctype"], arguments["method"])
        return run_method(ctx, path, "data")
    if endpoint != "method":
        status, body = resources.handle_v2(ctx, routes.segments(endpoint, arguments))
        return reply(ctx, body, status)
    path = arguments["method"]
    if path in ROUTED[ctx.version] or (path in POSTED and ctx.request_method == "POST"):
        path = SHORT[path]
    return run_method(ctx, path, "data")


def call_method(ctx: WebContext, path: str) -> Response:
    ctx.form["cmd"] = path
    return run_method(ctx, SHORT.get(path, path), "message")


def run_method(ctx: WebContext, path: str, key: str) -> Response:
    """What a method returns is an entry of the answer, or the whole response (handler.py)."""
    # Whoever calls `login` was signed in before anything was dispatched.
    result = None if path == "login" else methods.call(ctx, path, dict(ctx.form))
    if isinstance(result, Response):
        return result
    if result is not None:
        webhooks.add_previews(ctx, result)
        ctx.response[key] = result
    return answers.build(ctx)


def reply(ctx: WebContext, body: Any, status: int) -> Response:
    if isinstance(body, Response):
        return body
    webhooks.add_previews(ctx, body.get("data"))
    ctx.response = {**ctx.response, **body}
    return answers.build(ctx, status)


# -- headers -------------------------------------------------------------------------------------------


def complete(ctx: WebContext, response: Response) -> None:
    """Cookies and headers that every answer of the version carries (app.py, process_response)."""
    if ctx.version >= 16:
        response.headers.setdefault("Cache-Control", NO_CACHE)
        if response.status_code in (401, 403):
            resource = f"{ctx.request.scheme}://{ctx.request.host}/.well-known/oauth-protected-resource"
            response.headers["WWW-Authenticate"] = f'Bearer resource_metadata="{resource}"'
    response.headers.update(ctx.response_headers)
    if ctx.slip is not None:
        response.headers.update(ctx.slip.headers())
    public = "public" in response.headers.get("Cache-Control", "")
    if not (ctx.version >= 16 and public):
        ctx.cookies.flush(response)


def answer_of(response: Response, environ: Environ) -> Answer:
    headers = [
        (name, value) for name, value in response.get_wsgi_headers(environ) if name != "Content-Length"
    ]
    return Answer(response.status_code, headers, response.get_data())
