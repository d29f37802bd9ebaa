"""What an answer of ERPNext says: the JSON of a success, or the error that a failure is."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

from erpnext_bridge.errors import (
    AuthenticationRefused,
    Conflict,
    DocumentDoesNotExist,
    DuplicateDocument,
    ERPNextBridgeError,
    PermissionRefused,
    RefusedError,
    SiteBusy,
    SiteUnreachable,
    TransientError,
    UnreadableAnswer,
    ValidationRefused,
)
from erpnext_bridge.transport import Answer

MAX_MESSAGE = 2000
MAX_MESSAGES = 20
MAX_PAGE_TEXT = 200

STATUSES: dict[int, type[ERPNextBridgeError]] = {
    401: AuthenticationRefused,
    403: PermissionRefused,
    404: DocumentDoesNotExist,
    408: SiteBusy,
    409: DuplicateDocument,
    417: ValidationRefused,
    425: SiteBusy,
    429: SiteBusy,
    502: SiteBusy,
    503: SiteBusy,
    504: SiteBusy,
    508: SiteBusy,
}
"""Where the status alone decides. Any other refusal is a plain RefusedError."""

EXC_TYPES: dict[str, type[ERPNextBridgeError]] = {
    "TimestampMismatchError": Conflict,
    "DuplicateEntryError": DuplicateDocument,
    # A taken value of a unique field is 417, and only the key's is 409 (frappe/exceptions.py).
    "UniqueValidationError": DuplicateDocument,
    # The other 409: a name with "<", or one that equals its DocType's (frappe/model/naming.py).
    "NameError": ValidationRefused,
    "AuthenticationError": AuthenticationRefused,
    "SessionExpired": AuthenticationRefused,
    "CSRFTokenError": AuthenticationRefused,
    "InvalidAuthorizationToken": AuthenticationRefused,
    # Too many wrong passwords: a 500, as the class has no status of its own (frappe/auth.py).
    "SecurityException": AuthenticationRefused,
    "ExpiredLoginException": AuthenticationRefused,
    # Rolled back as a whole, and free to be sent again (frappe/database/mariadb/database.py).
    "QueryDeadlockError": SiteBusy,
    "QueryTimeoutError": SiteBusy,
    "DocumentLockedError": SiteBusy,
    "TooManyRequestsError": SiteBusy,
    "RateLimitExceededError": SiteBusy,
    "SessionStopped": SiteBusy,
    "InReadOnlyMode": SiteBusy,
    "QueueOverloaded": SiteBusy,
}
"""Where Frappe's class says more than the status."""

DATABASE_CODES: dict[int, type[ERPNextBridgeError]] = {
    1040: SiteBusy,
    1205: SiteBusy,
    1213: SiteBusy,
    2002: SiteBusy,
    2003: SiteBusy,
    2006: SiteBusy,
    2013: SiteBusy,
    1062: DuplicateDocument,
    1264: ValidationRefused,
    1265: ValidationRefused,
    1292: ValidationRefused,
    1366: ValidationRefused,
    1406: ValidationRefused,
}
"""MariaDB's errors that Frappe passes on as a 500: overload and lost connections, duplicates, values out of range."""

DATABASE_ERROR = re.compile(r"\((\d{4}), (['\"])(.*)\2\)", re.DOTALL)

FIELDS = (
    re.compile(r"MandatoryError: \[.*\]: ([\w, ]+)$"),
    re.compile(r"for key '(?:\w+\.)?(?!PRIMARY\b)(\w+)'"),
    re.compile(r"for column (?:'|(?:`[^`]*`\.)*`)(\w+)"),
)
"""Where Frappe's exception texts hold fieldnames; its messages hold labels only."""

EXCEPTION_CLASS = re.compile(r"^(?:\w+\.)*(\w+)(?::[ \n]|:?$)", re.MULTILINE)

WAYS_OUT = {
    "CSRFTokenError": "This session was used in a browser: give its CSRF token along, or log in anew.",
}

# Frappe rolls back on every error that it answers itself (frappe/app.py). Only where a proxy lost sight
# of it is the outcome of a write unknown.
OUTCOME_UNKNOWN = frozenset({500, 502, 504, 520, 521, 522, 523, 524})


def read(answer: Answer, *, parse_float: Callable[[str], Any] = float) -> dict[str, Any]:
    """Return the JSON object of a success; raise what the answer means otherwise."""
    if not 200 <= answer.status < 300:
        raise error_of(answer)
    body = _parsed(answer, parse_float)
    check_session(answer, body)
    return body


def check_session(answer: Answer, body: Mapping[str, Any]) -> None:
    """Raise when a dead session id made Frappe go on as Guest, which it does with any status."""
    if body.get("session_expired"):
        raise AuthenticationRefused("The session has expired. Log in again.", **answer.request)


def error_of(answer: Answer) -> ERPNextBridgeError:
    """Return the error that an answer without success is."""
    if answer.status < 400:
        return _redirect(answer)
    body = _object_or_none(answer)
    return _page_error(answer) if body is None else _body_error(answer, body)


def unreadable(answer: Answer, expected: str = "JSON") -> UnreadableAnswer:
    """Return the error for a success that is not what an ERPNext site sends."""
    what = _page_text(answer) or answer.media_type or "nothing"
    return UnreadableAnswer(
        f"Expected {expected}, got {what!r}. Check the site's URL, and what stands before it.",
        **answer.request,
    )


def retry_after(answer: Answer) -> float | None:
    """Return the seconds that a Retry-After header asks for."""
    value = answer.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _parsed(answer: Answer, parse_float: Callable[[str], Any]) -> dict[str, Any]:
    if "json" not in answer.media_type:
        raise unreadable(answer)
    try:
        body = json.loads(answer.content, parse_float=parse_float)
    except ValueError:
        raise SiteUnreachable(
            "The answer is damaged or cut: its JSON does not end.", sent=True, **answer.request
        ) from None
    except RecursionError:
        raise unreadable(answer) from None
    if not isinstance(body, dict):
        raise unreadable(answer, "a JSON object")
    return body


def _object_or_none(answer: Answer) -> dict[str, Any] | None:
    if "json" not in answer.media_type:
        return None
    try:
        body = json.loads(answer.content)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _redirect(answer: Answer) -> UnreadableAnswer:
    target = urlsplit(answer.headers.get("Location", ""))
    to = (
        f"{target.scheme}://{target.netloc.rpartition('@')[2]}" if target.netloc else target.path or "nowhere"
    )
    return UnreadableAnswer(
        f"The site redirects to {to}, which is not followed. Configure the URL that ERPNext itself answers at.",
        sent=False,
        **answer.request,
    )


def _page_error(answer: Answer) -> ERPNextBridgeError:
    """A page instead of JSON comes from a proxy, from gunicorn or werkzeug, never from a document."""
    text = _page_text(answer) or f"HTTP status {answer.status}"
    if answer.status >= 500 or issubclass(STATUSES.get(answer.status, RefusedError), TransientError):
        return _busy(answer, SiteBusy, (text,))
    if answer.status == 404:
        return RefusedError(text, "Check the site's URL and the method's name.", **answer.request)
    return STATUSES.get(answer.status, RefusedError)(text, **answer.request)


def _body_error(answer: Answer, body: Mapping[str, Any]) -> ERPNextBridgeError:
    exc_type, exception = _exception(body)
    database = DATABASE_ERROR.search(exception)
    messages = tuple(_messages(body, database[3] if database else exception))
    if way_out := WAYS_OUT.get(exc_type):
        messages = (*messages, way_out)
    if body.get("session_expired"):
        return AuthenticationRefused(
            "The session has expired. Log in again.", exc_type=exc_type, **answer.request
        )
    cls = EXC_TYPES.get(exc_type)
    if cls is None and database:
        cls = DATABASE_CODES.get(int(database[1]))
    if cls is None:
        cls = STATUSES.get(answer.status, RefusedError)
    if issubclass(cls, TransientError):
        return _busy(answer, cls, messages, exc_type, rolled_back=bool(exc_type))
    return cls(*messages, exc_type=exc_type, **_fields(cls, exception), **answer.request)


def _busy(
    answer: Answer,
    cls: type[TransientError],
    messages: Iterable[str],
    exc_type: str = "",
    *,
    rolled_back: bool = False,
) -> ERPNextBridgeError:
    return cls(
        *messages,
        exc_type=exc_type,
        retry_after=retry_after(answer),
        sent=answer.status in OUTCOME_UNKNOWN and not rolled_back,
        **answer.request,
    )


def _fields(cls: type[ERPNextBridgeError], exception: str) -> dict[str, Any]:
    if not issubclass(cls, RefusedError):
        return {}
    found = next((match[1] for match in (rule.search(exception) for rule in FIELDS) if match), "")
    return {"fields": tuple(dict.fromkeys(name.strip() for name in found.split(",") if name.strip()))}


def _exception(body: Mapping[str, Any]) -> tuple[str, str]:
    """Return the class and the last line of Frappe's exception: v2, v1, or v13 and v14 without exc_type."""
    errors = body.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    text = first.get("exception") or body.get("exception") or ""
    # v2 puts the traceback before the exception's own text, v1 does not.
    matches = [*EXCEPTION_CLASS.finditer(str(text))]
    named = matches[-1 if first else 0] if matches else None
    line = str(text)[named.start() if named else 0 :].strip()
    exc_type = first.get("type") or body.get("exc_type") or (named[1] if named else "")
    return str(exc_type), line


def _messages(body: Mapping[str, Any], exception: str) -> Iterator[str]:
    """Yield each message once: what was raised, what was noted, and the exception's text if there is nothing else."""
    noted = [*_server_messages(body), *_v2_messages(body)]
    raised = [text for text, cause in noted if cause]
    others = [text for text, cause in noted if not cause]
    explained = [body.get(key) for key in ("_error_message", "message", "error_description", "description")]
    texts = [plain_text(text) for text in [*raised, *others, *explained] if isinstance(text, str)]
    unique = list(dict.fromkeys(text for text in texts if text))
    if not unique:
        unique = [plain_text(EXCEPTION_CLASS.sub("", exception)) or str(body.get("error") or "")]
    yield from (text for text in unique[:MAX_MESSAGES] if text)


def _server_messages(body: Mapping[str, Any]) -> Iterator[tuple[Any, bool]]:
    """Yield (HTML, is it the cause) from JSON that holds a list of JSON texts (frappe/utils/response.py)."""
    listed = _loads(body.get("_server_messages"))
    for entry in listed if isinstance(listed, list) else []:
        message = _loads(entry)
        if isinstance(message, dict):
            yield message.get("message"), bool(message.get("raise_exception"))
        else:
            yield (message if isinstance(message, str) else entry), False


def _v2_messages(body: Mapping[str, Any]) -> Iterator[tuple[Any, bool]]:
    for key, cause in (("errors", True), ("messages", False)):
        listed = body.get(key)
        for entry in listed if isinstance(listed, list) else []:
            if isinstance(entry, dict):
                yield entry.get("message"), cause


def _loads(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return None


def _page_text(answer: Answer) -> str:
    """Return the words of a short page, the title of a long one."""
    if not answer.media_type.startswith("text/"):
        return ""
    page = answer.content[: 1 << 16].decode("utf-8", "replace")
    title = re.search(r"<title[^>]*>(.*?)</title>", page, re.IGNORECASE | re.DOTALL)
    lines = [
        re.sub(r"^\d{3} ", "", plain_text(title[1])) if title else "",
        *plain_text(re.sub(r"(?is)<title.*?</title>", "", page)).splitlines(),
    ]
    words = " ".join(dict.fromkeys(line for line in lines if line))
    return words if len(words) <= MAX_PAGE_TEXT else (lines[0] or words)[:MAX_PAGE_TEXT]


class _TextOnly(HTMLParser):
    BREAKS = frozenset({
        "article", "blockquote", "br", "details", "div", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr",
        "ol", "p", "pre", "section", "summary", "table", "tr", "ul",
    })  # fmt: skip
    HIDDEN = frozenset({"script", "style", "head"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._hidden += tag in self.HIDDEN
        self._break(tag)
        if tag == "li":
            self.parts.append("\n- ")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in self.HIDDEN and self._hidden > 0
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)

    def _break(self, tag: str) -> None:
        if tag in self.BREAKS:
            self.parts.append("\n")
        elif tag in ("td", "th"):
            self.parts.append(" ")


def plain_text(html: str) -> str:
    """Return what a reader of the HTML sees, one line for each of its blocks."""
    parser = _TextOnly()
    parser.feed(html[: 20 * MAX_MESSAGE])
    parser.close()
    lines = (" ".join(line.split()) for line in "".join(parser.parts).splitlines())
    text = "\n".join(line for line in lines if line and line != "-")
    return text if len(text) <= MAX_MESSAGE else f"{text[: MAX_MESSAGE - 1]}…"
