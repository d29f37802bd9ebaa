"""How an answer is written: JSON bodies of v1 and v2, failures as JSON or as pages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Response

from . import pages
from .errors import SandboxError

if TYPE_CHECKING:
    from .context import Context

TRACEBACK = 'Traceback (most recent call last):\n  File "sandbox", in application\n'

# v15 app.py, handle_exception: titles of the pages; 16.4 renders all of them with www/error.html.
PAGES = {
    401: ("Session Expired", "Your session has expired, please login again to continue."),
    403: ("Not Permitted", "You do not have enough permissions to complete the action"),
    404: ("Not Found", "The resource you are looking for is not available"),
}


def dumps(version: int, value: Any) -> str:
    """JSON text as each version writes it: ASCII from json on v15, UTF-8 from orjson on v16."""
    return json.dumps(value, ensure_ascii=version < 16, separators=(",", ":"), default=str)


def nested(version: int, value: Any) -> str:
    """JSON inside a JSON string: v15 leaves json's default blanks there."""
    if version >= 16:
        return dumps(version, value)
    return json.dumps(value, default=str)


def html(text: str, status: int = 200) -> Response:
    return Response(text, status, content_type="text/html; charset=utf-8")


def build(ctx: Context, status: int = 200) -> Response:
    """The JSON answer made of `ctx.response` and of what was said along the way."""
    body = dict(ctx.response)
    if ctx.api_version == 2:
        add_messages_v2(ctx, body)
    else:
        add_messages_v1(ctx, body)
    return Response(dumps(ctx.version, body), ctx.status or status, content_type="application/json")


def add_messages_v1(ctx: Context, body: dict[str, Any]) -> None:
    if ctx.messages:
        texts = [nested(ctx.version, message) for message in ctx.messages]
        body["_server_messages"] = nested(ctx.version, texts)
    if ctx.debug_messages:
        body["_debug_messages"] = nested(ctx.version, ctx.debug_messages)


def add_messages_v2(ctx: Context, body: dict[str, Any]) -> None:
    if ctx.messages:
        body["messages"] = ctx.messages
    if ctx.debug_messages:
        body["debug"] = [{"message": text} for text in ctx.debug_messages]


def wants_json(ctx: Context) -> bool:
    """v15 app.py:317: JSON when it is asked for, or under /api/ unless text is."""
    accept = ctx.headers.get("Accept") or ""
    ajax = ctx.headers.get("X-Requested-With") == "XMLHttpRequest"
    asked = bool(accept) and (ajax or "application/json" in accept)
    return asked or (ctx.path.startswith("/api/") and not accept.startswith("text"))


def failure(ctx: Context, error: SandboxError, *, traceback_allowed: bool) -> Response:
    """The JSON answer to an exception (utils/response.py, report_error)."""
    last_line = error.last_line(ctx.version)
    # The source shows a traceback on 404 only when conf.logging is on.
    shown = traceback_allowed and error.traceback and error.status != 404
    ctx.status = None
    if ctx.api_version == 2:
        ctx.response["errors"] = [error_of_v2(ctx, error, TRACEBACK + last_line if shown else None)]
        return build(ctx, error.status)
    if shown:
        ctx.response["exception"] = last_line
    ctx.response["exc_type"] = error.exc_type
    if shown:
        ctx.response["exc"] = nested(ctx.version, [TRACEBACK + last_line + "\n"])
    return build(ctx, error.status)


def error_of_v2(ctx: Context, error: SandboxError, traceback: str | None) -> dict[str, Any]:
    """v2 moves the message that belongs to the exception into the error."""
    entry: dict[str, Any] = {"type": error.exc_type}
    if traceback:
        entry["exception"] = traceback
    for message in ctx.messages:
        if message.get("__frappe_exc_id") == error.exc_id:
            ctx.messages.remove(message)
            entry |= {key: value for key, value in message.items() if key not in HIDDEN_IN_V2}
            break
    return entry


HIDDEN_IN_V2 = frozenset({"raise_exception", "__frappe_exc_id"})


def failure_page(ctx: Context, error: SandboxError) -> Response:
    title, text = PAGES.get(error.status, ("Server Error", ""))
    if ctx.version >= 16:
        title = "Error"
    return html(pages.message(title, text), error.status)
