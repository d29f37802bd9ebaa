"""FrappeClient: Frappe's HTTP API as Python calls, for one site and one identity."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import PurePath
from typing import IO, Any, BinaryIO, Self, cast
from urllib.parse import quote, urlsplit
from uuid import UUID

from erpnext_bridge import answers
from erpnext_bridge.credentials import Anonymous, Credentials, Secret, SessionId
from erpnext_bridge.errors import (
    AuthenticationRefused,
    DocumentDoesNotExist,
    PermissionRefused,
    UnreadableAnswer,
)
from erpnext_bridge.transport import (
    Answer,
    Begun,
    Multipart,
    OnExchange,
    Request,
    Stream,
    Timeouts,
    Transport,
    origin_of,
    transport_for,
)

Payload = dict[str, Any]
"""A document as Frappe sends it."""
Rows = list[Any]
"""Rows of a list: dicts, or lists of values."""
Names = list[str]
Name = str | int
"""A document's name; autoincremented DocTypes have numbers."""

# gunicorn refuses request lines above 4,094 bytes, and proxies have limits of their own. Half of that
# leaves room for either, and a POST costs nothing.
MAX_TARGET = 2000
MAX_INSERT_MANY = 200
MAX_UPLOAD_IN_MEMORY = 1 << 20

# Any other key of the envelope would be run as a method or taken for the body (frappe/app.py, make_form_dict).
RESERVED = frozenset({"cmd", "run_method", "sid", "csrf_token"})

# Names that no path can carry: nginx and werkzeug cut, merge or redirect them, requests resolves dots.
UNADDRESSABLE = re.compile(r"^/|/$|//|^\.{1,2}$|\.html$|[\x00-\x1f\x7f]", re.IGNORECASE)

ENVELOPE = frozenset(
    {"_server_messages", "_debug_messages", "_error_message", "exc", "exc_type", "session_expired"}
)

CSRF_REFUSED = re.compile(rb'"exc_type": ?"CSRFTokenError"')
SESSION_EXPIRED = re.compile(rb'"session_expired": ?1')

# What a page tells its scripts (frappe/website/utils.py, `get_boot_data`).
ZONE = re.compile(r'"time_zone":\s*\{\s*"system":\s*"([^"]+)"')

OnUnauthorized = Callable[[], Credentials | None]


class FrappeClient:
    """The methods speak Frappe's words and return what Frappe sent; they raise `errors`."""

    def __init__(
        self,
        url: str,
        credentials: Credentials | None = None,
        *,
        transport: Transport | None = None,
        timeout: Timeouts | float | None = None,
        parse_float: Callable[[str], Any] = float,
        on_unauthorized: OnUnauthorized | None = None,
        on_exchange: OnExchange | None = None,
    ) -> None:
        self.url = origin_of(url)
        self.credentials = credentials or Anonymous()
        self.transport = transport or transport_for(url)
        if self.transport.origin != self.url:
            raise ValueError(f"The transport leads to {self.transport.origin}, not to {self.url}.")
        self.timeouts = Timeouts.of(timeout)
        self.parse_float = parse_float
        self.on_unauthorized = on_unauthorized
        """Called once after a 401, which means that nothing was done; the request goes out again with its result."""
        self.on_exchange = on_exchange

    def __repr__(self) -> str:
        return f"<FrappeClient {self.url} as {self.credentials.kind}>"

    def using(self, credentials: Credentials) -> Self:
        """Return a client with other credentials on the same connections."""
        return type(self)(
            self.url,
            credentials,
            transport=self.transport,
            timeout=self.timeouts,
            parse_float=self.parse_float,
            on_exchange=self.on_exchange,
        )

    # The site and the identity

    def ping(self) -> bool:
        """Ask the site, as nobody, whether it lives; raise when it does not answer as one."""
        answer = self._send(Request("GET", method_path("ping")))
        if answers.read(answer).get("message") != "pong":
            raise answers.unreadable(answer, "a pong")
        return True

    def versions(self) -> dict[str, str]:
        """Return the installed apps and their versions; needs a signed-in user."""
        apps = self.call("frappe.utils.change_log.get_versions", http_method="GET")
        if not isinstance(apps, dict):
            raise UnreadableAnswer("The site tells no versions.", method="GET")
        return {app: str(about.get("version", "")) for app, about in apps.items()}

    def time_zone(self) -> str:
        """
        Return the name of the zone that all of the site's times are in.

        System Settings say so to who may read them, and each page of the site to everybody. Not
        `frappe.client.get_time_zone`: that is the zone that the user has chosen (frappe/client.py). UnreadableAnswer
        where neither does.
        """
        return self._zone_of_settings() or self._zone_of_pages()

    def _zone_of_settings(self) -> str:
        asked = {"doctype": "System Settings", "fieldname": "time_zone"}
        try:
            told = self.call("frappe.client.get_value", http_method="GET", **asked)
        except PermissionRefused:
            return ""
        return str(told.get("time_zone") or "") if isinstance(told, Mapping) else ""

    def _zone_of_pages(self) -> str:
        answer = self._send(Request("GET", "/login"))
        if answer.status == 429 or answer.status >= 500:
            raise answers.error_of(answer)
        found = ZONE.search(answer.content.decode("utf-8", "replace"))
        if found is None:
            raise UnreadableAnswer(
                f"{self.url}/login does not tell the site's time zone. Set 'TIME_ZONE' for the site.",
                **answer.request,
            )
        return found[1]

    def logged_user(self) -> str:
        """Return the user that the credentials stand for; Guest is refused."""
        return str(self.call("frappe.auth.get_logged_user", http_method="GET"))

    def login(self, usr: str, pwd: str | Secret) -> Self:
        """Return a client that is signed in as this user."""
        # Django's page about an error shows local variables.
        pwd = Secret.of(pwd)
        request = Request(
            "POST", "/api/method/login", headers=JSON_BODY, body=encode({"usr": usr, "pwd": pwd.reveal()})
        )
        answer = self._send(request)
        body = answers.read(answer)
        sid = Secret(answer.cookies.get("sid", "Guest"))
        if body.get("message") not in ("Logged In", "No App") or sid.reveal() == "Guest":
            raise AuthenticationRefused(_login_refusal(body), **answer.request)
        return self.using(SessionId(sid.reveal()))

    def logout(self) -> None:
        """End the session; Frappe accepts it by POST only since 16.4."""
        self.call("logout")

    def doctype(self, doctype: str) -> Payload:
        """
        Return what Desk reads of a DocType: in `docs` it and those of its tables, custom fields included.

        Any signed-in user may (frappe/desk/form/load.py, getdoctype).
        """
        return cast(
            "Payload", self.call("frappe.desk.form.load.getdoctype", http_method="GET", doctype=doctype)
        )

    # Documents

    def list(
        self,
        doctype: str,
        *,
        fields: Sequence[str | Mapping[str, Any]] | None = None,
        filters: Sequence[Any] | Mapping[str, Any] | None = None,
        or_filters: Sequence[Any] | Mapping[str, Any] | None = None,
        order_by: str | None = None,
        group_by: str | None = None,
        limit_start: int | None = None,
        limit_page_length: int = 0,
        parent: str | None = None,
        as_dict: bool = True,
    ) -> Rows:
        """Return rows: all of them, unless `limit_page_length` says how many; in no order, unless `order_by` says it."""
        return self._listed(
            self._list_request(
                doctype,
                fields=fields,
                filters=filters,
                or_filters=or_filters,
                order_by=order_by,
                group_by=group_by,
                limit_start=limit_start,
                limit_page_length=limit_page_length,
                parent=parent,
                as_dict=as_dict,
            )
        )

    def begin_list(self, doctype: str, **arguments: Any) -> Callable[[], Rows]:
        """
        Ask for what `list` returns with the same arguments, and do not wait: what is returned waits, once.

        The request runs in a thread of its own. Its error, a renewal after a 401 and `on_exchange` come when, and
        where, it is waited for.
        """
        request = self._list_request(doctype, **arguments)
        begun = self.transport.begin(request, timeouts=self.timeouts)
        return lambda: self._listed(request, begun)

    def count(
        self,
        doctype: str,
        *,
        filters: Sequence[Any] | Mapping[str, Any] | None = None,
        or_filters: Sequence[Any] | Mapping[str, Any] | None = None,
        distinct: bool = False,
        limit: int | None = None,
    ) -> int:
        """Return how many documents a list would show; `distinct` counts a parent of several child rows once."""
        # Not frappe.client.get_count, which on v15 ignores permissions and treats NULL in another way.
        # On v16 either loses backslashes in a filter's value: count such filters by listing.
        params = {
            "doctype": doctype,
            "filters": filters or [],
            "or_filters": or_filters,
            "distinct": "true" if distinct else None,
            "limit": limit,
        }
        given = {key: value for key, value in params.items() if value is not None}
        path = "frappe.desk.reportview.get_count"
        request = Request(
            "GET", method_path(path), as_query(given), credentials=self.credentials, asked=given
        )
        if len(request.target) > MAX_TARGET:
            return int(self._read_by_post(path, given) or 0)
        return int(self._exchange(request, "message") or 0)

    def create(self, doctype: str, document: Mapping[str, Any]) -> Payload:
        """Insert a document and return it, as Frappe echoes it: stored values may differ (a rounded Float)."""
        if "/" in doctype:
            return cast("Payload", self.call("frappe.client.insert", doc={**document, "doctype": doctype}))
        return self._write("POST", resource_path(doctype), document)

    def read(self, doctype: str, name: Name) -> Payload:
        """Return a document with its child rows."""
        if _addressable(doctype, name):
            request = Request("GET", resource_path(doctype, name), credentials=self.credentials)
            return cast("Payload", self._exchange(request, "data"))
        return cast("Payload", self._read_by_post("frappe.client.get", {"doctype": doctype, "name": name}))

    def update(self, doctype: str, name: Name, values: Mapping[str, Any]) -> Payload:
        """Change these fields and return the document; with the `modified` that was read, a Conflict is possible."""
        if _addressable(doctype, name):
            return self._write("PUT", resource_path(doctype, name), values)
        updated = self.call("frappe.client.set_value", doctype=doctype, name=name, fieldname=dict(values))
        return cast("Payload", updated)

    def delete(self, doctype: str, name: Name) -> None:
        if _addressable(doctype, name):
            self._exchange(Request("DELETE", resource_path(doctype, name), credentials=self.credentials))
        else:
            self.call("frappe.client.delete", doctype=doctype, name=name)

    def submit(self, doctype: str, name: Name, *, modified: str | None = None) -> Payload:
        """Submit a draft; with the `modified` that was read, a Conflict is possible."""
        return self._set_docstatus(doctype, name, 1, modified)

    def cancel(self, doctype: str, name: Name, *, modified: str | None = None) -> Payload:
        """Cancel a submitted document."""
        return self._set_docstatus(doctype, name, 2, modified)

    def rename(self, doctype: str, name: Name, new_name: Name, *, merge: bool = False) -> str:
        """Rename a document and all links to it; return the name that it got."""
        return str(
            self.call(
                "frappe.client.rename_doc",
                doctype=doctype,
                old_name=name,
                new_name=new_name,
                merge=int(merge),
            )
        )

    def insert_many(self, documents: Sequence[Mapping[str, Any]]) -> Names:
        """Insert up to 200 documents of any DocTypes, all of them or none; return their names in order."""
        if len(documents) > MAX_INSERT_MANY:
            raise ValueError(
                f"Frappe inserts at most {MAX_INSERT_MANY} documents at once, not {len(documents)}."
            )
        if not documents:
            return []
        return [str(name) for name in self.call("frappe.client.insert_many", docs=list(documents))]

    # Methods

    def call(self, method: str, /, *, http_method: str = "POST", **params: Any) -> Any:
        """Call a whitelisted function by its dotted path; return its result, None when there is none."""
        _refuse_reserved(params)
        request = self._method_request(http_method.upper(), method_path(method), params)
        return _result(self._exchange(request))

    def call_document(
        self, doctype: str, name: Name, method: str, /, *, http_method: str = "POST", **params: Any
    ) -> Any:
        """Call a whitelisted method of a document. By GET, Frappe rolls back whatever the method does."""
        _refuse_reserved(params)
        if not _addressable(doctype, name):
            return self.call("run_doc_method", dt=doctype, dn=name, method=method, args=params)
        request = self._method_request(
            http_method.upper(), resource_path(doctype, name), {"run_method": method, **params}
        )
        return self._exchange(request).get("data")

    # Files

    def upload(
        self,
        file: BinaryIO | bytes,
        *,
        filename: str | None = None,
        doctype: str | None = None,
        name: Name | None = None,
        fieldname: str | None = None,
        folder: str | None = None,
        is_private: bool = True,
    ) -> Payload:
        """Upload a file, attached to a document if one is named; return its File document."""
        params = {"doctype": doctype, "docname": name, "fieldname": fieldname, "folder": folder}
        fields = {"is_private": str(int(is_private))} | {
            key: str(value) for key, value in params.items() if value
        }
        with _seekable(file) as content:
            body = Multipart(fields, content, filename or _name_of(file))
            request = Request(
                "POST",
                method_path("upload_file"),
                headers={"Content-Type": body.content_type},
                body=body,
                credentials=self.credentials,
            )
            return cast("Payload", self._exchange(request, "message"))

    @contextmanager
    def download(self, file_url: str) -> Iterator[Stream]:
        """Open a File's URL: `with client.download(url) as file: for chunk in file: …`, or `file.read()`."""
        request = Request("GET", self._file_path(file_url), credentials=self.credentials)
        with self._stream(request) as stream:
            yield stream

    def print_pdf(
        self,
        doctype: str,
        name: Name,
        *,
        print_format: str | None = None,
        letterhead: str | None = None,
        no_letterhead: bool = False,
        language: str | None = None,
    ) -> bytes:
        """Return a document's print as PDF, with the default print format and letterhead unless told otherwise."""
        params = {
            "doctype": doctype,
            "name": name,
            "format": print_format,
            "letterhead": letterhead,
            "no_letterhead": 1 if no_letterhead else None,
            "language": language,
        }
        given = {key: value for key, value in params.items() if value is not None}
        path = method_path("frappe.utils.print_format.download_pdf")
        answer = self._authorized(Request("GET", path, as_query(given), credentials=self.credentials))
        if answer.status != 200:
            raise answers.error_of(answer)
        if not answer.content.startswith(b"%PDF-"):
            raise answers.unreadable(answer, "a PDF")
        return answer.content

    # How requests are made

    def _list_request(
        self,
        doctype: str,
        *,
        limit_start: int | None = None,
        limit_page_length: int = 0,
        as_dict: bool = True,
        **options: Any,
    ) -> Request:
        if limit_start and not limit_page_length:
            raise ValueError(
                "limit_start needs a limit_page_length: v15 ignores it otherwise, and v16 fails."
            )
        params = {
            **options,
            "limit_start": limit_start,
            "limit_page_length": limit_page_length or 0,
            "as_dict": None if as_dict else 0,
        }
        given = {key: value for key, value in params.items() if value is not None}
        request = Request(
            "GET", resource_path(doctype), as_query(given), credentials=self.credentials, asked=given
        )
        if "/" in doctype or len(request.target) > MAX_TARGET:
            return self._read_request("frappe.client.get_list", {"doctype": doctype, **given})
        return request

    def _listed(self, request: Request, begun: Begun | None = None) -> Rows:
        if request.method == "POST":
            return cast("Rows", _result(self._exchange(request, begun=begun)) or [])
        return cast("Rows", self._exchange(request, "data", begun=begun))

    def _send(self, request: Request) -> Answer:
        return self.transport.send(request, timeouts=self.timeouts, on_exchange=self.on_exchange)

    def _authorized(self, request: Request, begun: Begun | None = None) -> Answer:
        answer = self._send(request) if begun is None else begun.finish(self.on_exchange)
        if not _unauthorized(answer, request):
            return answer
        renewed = self._renewed()
        return answer if renewed is None else self._send(replace(request, credentials=renewed))

    @contextmanager
    def _stream(self, request: Request) -> Iterator[Stream]:
        with self._open(request) as stream:
            renewed = self._renewed() if stream.status == 401 else None
            if renewed is None:
                yield _succeeded(stream)
                return
        with self._open(replace(request, credentials=renewed)) as stream:
            yield _succeeded(stream)

    def _open(self, request: Request) -> Any:
        return self.transport.stream(request, timeouts=self.timeouts, on_exchange=self.on_exchange)

    def _renewed(self) -> Credentials | None:
        if self.on_unauthorized is None:
            return None
        credentials = self.on_unauthorized()
        if credentials is not None:
            self.credentials = credentials
        return credentials

    def _exchange(self, request: Request, key: str | None = None, *, begun: Begun | None = None) -> Any:
        """Return the answer's JSON, or what it has under a key that every site's answer has."""
        answer = self._authorized(request, begun)
        body = answers.read(answer, parse_float=self.parse_float)
        if key is None:
            return body
        if key not in body:
            raise answers.unreadable(answer, f"JSON with {key!r}")
        return body[key]

    def _write(self, http_method: str, path: str, document: Mapping[str, Any]) -> Payload:
        # Unwrapped, fields that are called "data", "cmd" or "sid" would be taken for the envelope's.
        request = Request(
            http_method,
            path,
            headers=JSON_BODY,
            body=encode({"data": document}),
            credentials=self.credentials,
        )
        return cast("Payload", self._exchange(request, "data"))

    def _set_docstatus(self, doctype: str, name: Name, docstatus: int, modified: str | None) -> Payload:
        # Not run_method: controllers that override submit(), such as Journal Entry's, need not whitelist it.
        return self.update(
            doctype, name, {"docstatus": docstatus} | ({"modified": modified} if modified else {})
        )

    def _method_request(self, http_method: str, path: str, params: Mapping[str, Any]) -> Request:
        given = {key: value for key, value in params.items() if value is not None}
        if http_method == "GET":
            return Request("GET", path, as_query(given), credentials=self.credentials, asked=given)
        return Request(http_method, path, headers=JSON_BODY, body=encode(given), credentials=self.credentials)

    def _read_by_post(self, method: str, params: Mapping[str, Any]) -> Any:
        return _result(self._exchange(self._read_request(method, params)))

    def _read_request(self, method: str, params: Mapping[str, Any]) -> Request:
        return Request(
            "POST",
            method_path(method),
            headers=JSON_BODY,
            body=encode(params),
            credentials=self.credentials,
            idempotent=True,
            asked=params,
        )

    def _file_path(self, file_url: str) -> str:
        """Return the path of a file's URL, which must be on this site: credentials go nowhere else."""
        parts = urlsplit(file_url)
        if parts.scheme or parts.netloc:
            if f"{parts.scheme}://{parts.netloc}".lower() != self.url.lower():
                raise ValueError(
                    f"{parts.netloc or parts.scheme} is not {self.url}: download it without credentials."
                )
            file_url = file_url.split(parts.netloc, 1)[1]
        if not file_url.startswith("/") or re.search(r"(^|/)\.{1,2}(/|$)|\\", file_url):
            raise ValueError(
                f"{file_url!r} is not a file's URL: it starts with a slash and has no dots as folders."
            )
        # File names are not encoded in a File's URL; only `?fid=` after them is not part of the name.
        path, mark, fid = file_url.partition("?fid=")
        return quote(path, safe="/") + mark + quote(fid, safe="")


JSON_BODY = {"Content-Type": "application/json"}


def encode(value: Any) -> bytes:
    """Return the JSON that a request carries; dates are written as Frappe reads them."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_json_value).encode()


def _json_value(value: Any) -> str:
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            # Frappe drops the offset without converting (frappe/utils/data.py).
            raise TypeError("Frappe takes naive datetimes, in the site's time zone.")
        return value.isoformat(" ")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal | UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be sent to Frappe.")


def as_query(params: Mapping[str, Any]) -> dict[str, str]:
    return {key: value if isinstance(value, str) else encode(value).decode() for key, value in params.items()}


def method_path(method: str) -> str:
    return f"/api/method/{quote(method, safe='')}"


def resource_path(doctype: str, name: Name | None = None) -> str:
    path = f"/api/resource/{quote(doctype, safe='')}"
    return path if name is None else f"{path}/{quote(str(name), safe='')}"


def _addressable(doctype: str, name: Name) -> bool:
    name = str(name)
    if not name:
        # With an empty name, the path is the one of the list.
        raise DocumentDoesNotExist(f"No {doctype} has an empty name.")
    return "/" not in doctype and not UNADDRESSABLE.search(name)


def _refuse_reserved(params: Mapping[str, Any]) -> None:
    if taken := RESERVED & params.keys():
        raise ValueError(f"Frappe takes {', '.join(sorted(taken))} for itself: it cannot be an argument.")


def _result(body: Payload) -> Any:
    """Return a method's result: its message, or the keys that it set beside it, such as `docs`."""
    if "message" in body:
        return body["message"]
    return {key: value for key, value in body.items() if key not in ENVELOPE} or None


def _login_refusal(body: Mapping[str, Any]) -> str:
    verification = body.get("verification")
    if isinstance(verification, dict) or "tmp_id" in body:
        how = verification.get("method") if isinstance(verification, dict) else None
        return (
            f"This user signs in with a second factor ({how or 'a code'}). Use OAuth or an API key instead."
        )
    if body.get("message") == "Password Reset":
        return "The password has expired. Sign in to ERPNext in a browser to set a new one."
    return "ERPNext answered the log-in without a session."


def _unauthorized(answer: Answer, request: Request) -> bool:
    """Tell whether the credentials were refused, so that nothing was done that a second attempt would repeat."""
    if answer.status == 401:
        return True
    if isinstance(request.credentials, SessionId) and answer.status == 400:
        # A session that has shown a page in a browser wants its CSRF token; a new one does not.
        return CSRF_REFUSED.search(answer.content) is not None
    # Frappe goes on as Guest when it does not know a sid (any more), and says so beside the answer.
    guest = isinstance(request.credentials, SessionId) and SESSION_EXPIRED.search(answer.content) is not None
    return guest and (answer.status >= 400 or request.repeatable)


def _succeeded(stream: Stream) -> Stream:
    if stream.status != 200:
        raise answers.error_of(stream.answer(1 << 20))
    return stream


@contextmanager
def _seekable(file: BinaryIO | bytes) -> Iterator[BinaryIO]:
    """Yield the file as one whose size is known, and which can be sent again."""
    if not isinstance(file, bytes) and file.seekable():
        yield file
        return
    with tempfile.SpooledTemporaryFile(MAX_UPLOAD_IN_MEMORY) as spooled:
        for chunk in [file] if isinstance(file, bytes) else iter(lambda: file.read(1 << 16), b""):
            spooled.write(chunk)
        spooled.seek(0)
        yield cast("BinaryIO", cast("IO[bytes]", spooled))


def _name_of(file: BinaryIO | bytes) -> str:
    name = getattr(file, "name", None)
    return PurePath(name).name if isinstance(name, str) else "file"
