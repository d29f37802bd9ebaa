"""
The only module that speaks HTTP: one pool of connections to one site.

What holds for every request, whoever makes it:
no cookie is kept, no redirect is followed, no .netrc is read, proxies and CA bundles of the environment are used;
connecting, waiting and the whole exchange have limits in time, the answer has one in size;
every failure is one of `errors`, and tells nothing but the method, the path and the cause;
nothing is sent twice, except a read whose reused connection turned out to be dead.
"""

from __future__ import annotations

import http.client
import io
import os
import re
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from http.cookiejar import CookiePolicy
from typing import Any, BinaryIO, Self, cast
from urllib.parse import urlencode, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, ReadTimeoutError

from erpnext_bridge import __version__
from erpnext_bridge.credentials import Anonymous, Credentials
from erpnext_bridge.errors import ERPNextBridgeError, SiteUnreachable, UnreadableAnswer

CHUNK = 1 << 16
POOL_SIZE = 8
MAX_TRANSPORTS = 64

# nginx closes a connection after 15 idle seconds in Frappe's own templates (bench, nginx.conf). A write
# on such a connection would be lost with its outcome unknown, so the client lets go first.
KEEP_ALIVE = 10.0

HEADERS = {
    # Frappe answers errors as HTML when Accept begins with "text" (frappe/app.py), and messages in the
    # language that it guesses from this header (frappe/translate.py).
    "Accept": "application/json",
    "Accept-Language": "en",
    "User-Agent": f"erpnext-bridge/{__version__}",
}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait."""

    connect: float = 5.0
    """For the connection, TLS included."""
    read: float = 30.0
    """For the next part of the answer."""
    total: float = 120.0
    """For the whole answer: gunicorn and nginx give up after 120 s in Frappe's own templates."""

    @classmethod
    def of(cls, value: Timeouts | float | None) -> Timeouts:
        if isinstance(value, Timeouts):
            return value
        return cls() if value is None else cls(connect=min(5.0, value), read=value, total=4 * value)


@dataclass(frozen=True, slots=True)
class Request:
    """One request, relative to a site."""

    method: str
    path: str
    """Percent-encoded."""
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | Multipart | None = field(default=None, repr=False)
    credentials: Credentials = field(default_factory=Anonymous)
    idempotent: bool = False
    """Whether sending a POST twice does no more than once; a GET always is."""
    asked: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """
    What a list was asked for, or a method called with by GET, to be told to `on_exchange`; of every other request
    nothing is told.
    """

    @property
    def target(self) -> str:
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    @property
    def repeatable(self) -> bool:
        return self.idempotent or self.method == "GET"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, read to its end."""

    method: str
    path: str
    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)
    cut: bool = False
    """Whether an error page was too long to be read to its end."""

    @property
    def media_type(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def request(self) -> dict[str, Any]:
        """What an error tells about this exchange."""
        return {"method": self.method, "path": self.path, "status": self.status}


@dataclass(frozen=True, slots=True)
class Exchange:
    """What may be told to a log about one request."""

    method: str
    path: str
    status: int | None
    seconds: float
    received: int
    """Bytes of the answer, before decompression."""
    error: str
    """Class of the error that ended it, or ""."""
    asked: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What the request was asked with, as `Request.asked`: for a developer's eyes, not for a log."""


# requests lets a few of urllib3's errors through; its own are OSErrors.
FAILED = (OSError, HTTPError)

OnExchange = Callable[[Exchange], None]


@dataclass(slots=True)
class _Progress:
    """How far the exchange of the current thread has come."""

    timeouts: Timeouts
    keep_alive: float = KEEP_ALIVE
    deadline: float = 0.0
    sent: bool = False
    reused: bool = False
    received: int = 0
    status: int | None = None

    def __post_init__(self) -> None:
        self.deadline = time.monotonic() + self.timeouts.total

    @property
    def expired(self) -> bool:
        return time.monotonic() >= self.deadline


# Connections are made and kept deep inside urllib3, which offers no way to hand something down to one of them.
_current: ContextVar[_Progress | None] = ContextVar("erpnext_bridge_exchange", default=None)


class _DeadlineReader(io.RawIOBase):
    """Reads a socket until the deadline, however slowly its bytes drip in."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, progress: _Progress) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock
        self._progress = progress

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._progress.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(min(left, self._progress.timeouts.read))
        count = self._raw.readinto(buffer)
        self._progress.received += count or 0
        return int(count or 0)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        progress = _current.get()
        if progress is not None:
            self.fp = io.BufferedReader(_DeadlineReader(self.fp.detach(), sock, progress))


class _Watched:
    """Notes when a connection is used, and whether a request may have left on it."""

    sock: socket.socket | None
    response_class: Any = _Response
    _exchanges = 0
    _used_at = 0.0

    def connect(self) -> None:
        self._exchanges = 0
        super().connect()  # type: ignore[misc]

    def endheaders(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()
        self._exchanges += 1
        self._used_at = time.monotonic()
        progress = _current.get()
        if progress is not None:
            progress.sent, progress.reused = True, self._exchanges > 1
            self.sock.settimeout(progress.timeouts.read)  # type: ignore[union-attr]
        super().endheaders(*args, **kwargs)  # type: ignore[misc]

    @property
    def is_connected(self) -> bool:
        progress = _current.get()
        keep_alive = KEEP_ALIVE if progress is None else progress.keep_alive
        fresh = time.monotonic() - self._used_at < keep_alive
        return fresh and bool(super().is_connected)  # type: ignore[misc]


class _Plain(_Watched, HTTPConnection):
    pass


class _Tls(_Watched, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _Tls


_POOLS = {"http": _PlainPool, "https": _TlsPool}


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager


class _NoCookies(CookiePolicy):
    """Frappe sets `sid=Guest` even on token requests, and a live cookie beats a token (frappe/auth.py)."""

    netscape = True
    rfc2965 = hide_cookie2 = False

    def set_ok(self, *args: Any) -> bool:
        return False

    def return_ok(self, *args: Any) -> bool:
        return False


class Multipart:
    """A multipart/form-data body that reads its file while it is being sent."""

    def __init__(self, fields: Mapping[str, str], file: BinaryIO, filename: str) -> None:
        self.boundary = f"erpnext-bridge-{os.urandom(16).hex()}"
        self._file = file
        self._start = file.tell()
        self._size = file.seek(0, io.SEEK_END) - self._start
        self._head = "".join(
            [
                *(
                    f"--{self.boundary}\r\n{_disposition(name)}\r\n\r\n{value}\r\n"
                    for name, value in fields.items()
                ),
                f"--{self.boundary}\r\n{_disposition('file', filename)}\r\n",
                "Content-Type: application/octet-stream\r\n\r\n",
            ]
        ).encode()
        self._tail = f"\r\n--{self.boundary}--\r\n".encode()
        self.rewind()

    @property
    def content_type(self) -> str:
        return f"multipart/form-data; boundary={self.boundary}"

    def __len__(self) -> int:
        return len(self._head) + self._size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.read(CHUNK), b"")

    def rewind(self) -> Self:
        """Go back to the start, for a second attempt."""
        self._file.seek(self._start)
        self._parts: list[BinaryIO] = [io.BytesIO(self._head), self._file, io.BytesIO(self._tail)]
        return self

    def read(self, size: int = -1) -> bytes:
        while self._parts:
            if chunk := self._parts[0].read(size):
                return chunk
            self._parts.pop(0)
        return b""


def _disposition(name: str, filename: str | None = None) -> str:
    pairs = {"name": name} | ({"filename": filename} if filename is not None else {})
    escaped = {
        key: re.sub(r'["\r\n]', lambda char: f"%{ord(char[0]):02X}", value) for key, value in pairs.items()
    }
    return "; ".join(
        ["Content-Disposition: form-data", *(f'{key}="{value}"' for key, value in escaped.items())]
    )


def origin_of(url: str) -> str:
    """Return `scheme://host[:port]` of a site's URL; raise ValueError for anything else."""
    parts = urlsplit(url.strip())
    if parts.username or parts.password:
        raise ValueError("A site's URL must not contain a user or a password.")
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"[\s\\]", parts.netloc):
        raise ValueError(f"{url!r} is not a site's URL. Write it as https://erp.example.com")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"{url!r} has more than a host. Frappe answers at the root: https://{parts.netloc}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default_port = {"http": 80, "https": 443}[parts.scheme]
    port = "" if parts.port in (None, default_port) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


class Stream:
    """An answer that is read piece by piece."""

    def __init__(self, response: requests.Response, request: Request, progress: _Progress) -> None:
        self._response = response
        self._request = request
        self._progress = progress
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body; each part may take as long as the read timeout."""
        for chunk in self._chunks():
            self._progress.deadline = time.monotonic() + self._progress.timeouts.total
            yield chunk

    def read(self) -> bytes:
        return b"".join(self)

    def answer(self, limit: int) -> Answer:
        """Read the answer as a whole, up to `limit` bytes."""
        chunks, size = [], 0
        for chunk in self._chunks():
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                break
        return Answer(
            self._request.method,
            self._request.path,
            self.status,
            self.headers,
            b"".join(chunks)[:limit],
            self._response.cookies.get_dict(),
            cut=size > limit,
        )

    def _chunks(self) -> Iterator[bytes]:
        try:
            yield from self._response.iter_content(CHUNK)
        except FAILED as exc:
            # "from None": the text, the locals and the request of the original hold URLs and headers.
            raise _unreachable(exc, self._request, self._progress) from None


class Transport:
    """A pool of connections to one site, for any number of threads and identities."""

    def __init__(
        self,
        url: str,
        *,
        verify: bool | str = True,
        keep_alive: float = KEEP_ALIVE,
        max_bytes: int = 64 << 20,
        max_error_bytes: int = 1 << 20,
    ) -> None:
        self.origin = origin_of(url)
        self.verify = verify
        self.keep_alive = keep_alive
        self.max_bytes = max_bytes
        self.max_error_bytes = max_error_bytes
        self._lock = threading.Lock()
        self._pid = 0
        self._session = requests.Session()

    def __repr__(self) -> str:
        return f"<Transport {self.origin}>"

    def send(
        self, request: Request, *, timeouts: Timeouts | None = None, on_exchange: OnExchange | None = None
    ) -> Answer:
        """Send the request and return the whole answer, whatever its status."""
        with self.stream(request, timeouts=timeouts, on_exchange=on_exchange) as stream:
            failed = stream.status >= 400
            answer = stream.answer(self.max_error_bytes if failed else self.max_bytes)
            if answer.cut and not failed:
                raise UnreadableAnswer(
                    f"The answer is larger than {self.max_bytes >> 20} MB. Ask for fewer rows or fields.",
                    **answer.request,
                )
            return answer

    def begin(self, request: Request, *, timeouts: Timeouts | None = None) -> Begun:
        """Send the request from a thread of its own, and return at once."""
        return Begun(self, request, timeouts)

    @contextmanager
    def stream(
        self, request: Request, *, timeouts: Timeouts | None = None, on_exchange: OnExchange | None = None
    ) -> Iterator[Stream]:
        """Send the request and hand out the answer as soon as its headers are there."""
        progress = _Progress(timeouts or Timeouts(), self.keep_alive)
        started, error = time.monotonic(), ""
        try:
            response = self._open(request, progress)
            with response:
                yield Stream(response, request, progress)
        except ERPNextBridgeError as exc:
            error = type(exc).__name__
            raise
        finally:
            if on_exchange is not None:
                seconds = time.monotonic() - started
                on_exchange(
                    Exchange(
                        request.method,
                        request.path,
                        progress.status,
                        seconds,
                        progress.received,
                        error,
                        request.asked,
                    )
                )

    def close(self) -> None:
        self._session.close()

    def _open(self, request: Request, progress: _Progress) -> requests.Response:
        try:
            try:
                response = self._attempt(request, progress)
            except requests.ConnectionError as exc:
                if not self._died_of_old_age(request, progress, exc):
                    raise
                response = self._attempt(request, progress)
        except FAILED as exc:
            raise _unreachable(exc, request, progress) from None
        progress.status = response.status_code
        return response

    def _died_of_old_age(self, request: Request, progress: _Progress, exc: Exception) -> bool:
        silent = progress.reused and not progress.received and not isinstance(exc, requests.Timeout)
        return silent and request.repeatable and not progress.expired

    def _attempt(self, request: Request, progress: _Progress) -> requests.Response:
        progress.sent = progress.reused = False
        token = _current.set(progress)
        try:
            return self._pooled().request(
                request.method,
                self.origin + request.target,
                headers=dict(request.headers),
                data=request.body.rewind() if isinstance(request.body, Multipart) else request.body,
                # requests looks into .netrc wherever no authentication is given (Session.prepare_request):
                # Anonymous is one, too.
                auth=request.credentials,
                timeout=(progress.timeouts.connect, progress.timeouts.read),
                verify=None if self.verify is True else self.verify,
                allow_redirects=False,
                stream=True,
            )
        finally:
            _current.reset(token)

    def _pooled(self) -> requests.Session:
        # A forked worker must not go on using its parent's sockets: answers would reach the wrong process.
        with self._lock:
            if self._pid != os.getpid():
                self._session = self._new_session()
                self._pid = os.getpid()
            return self._session

    def _new_session(self) -> requests.Session:
        session = requests.Session()
        session.headers.update(HEADERS)
        session.cookies.set_policy(_NoCookies())
        for scheme in _POOLS:
            session.mount(f"{scheme}://", _Adapter(pool_connections=1, pool_maxsize=POOL_SIZE))
        return session


class Begun:
    """
    A request that is on its way while its sender does something else.

    The thread does nothing but HTTP: no database, no Django, no callback. A request that nobody waits for any more
    ends by itself, within its timeouts.
    """

    def __init__(self, transport: Transport, request: Request, timeouts: Timeouts | None) -> None:
        self.request = request
        self._answer: Answer | None = None
        self._error: Exception | None = None
        self._exchanges: list[Exchange] = []
        self._thread = threading.Thread(
            target=self._send, args=(transport, timeouts), name="erpnext-bridge-begun", daemon=True
        )
        self._thread.start()

    def _send(self, transport: Transport, timeouts: Timeouts | None) -> None:
        try:
            self._answer = transport.send(self.request, timeouts=timeouts, on_exchange=self._exchanges.append)
        except Exception as exc:
            self._error = exc

    def finish(self, on_exchange: OnExchange | None = None) -> Answer:
        """Wait for the whole answer and return it, or raise what the request ended with; call it once."""
        self._thread.join()
        if on_exchange is not None:
            for exchange in self._exchanges:
                on_exchange(exchange)
        if self._error is not None:
            raise self._error
        # Nothing of a page is kept once its rows are made.
        answer, self._answer = self._answer, None
        return cast("Answer", answer)


_shared: OrderedDict[tuple[str, bool | str], Transport] = OrderedDict()
_shared_lock = threading.Lock()


def transport_for(url: str, *, verify: bool | str = True) -> Transport:
    """Return this process's transport to a site, so that all its clients share one pool."""
    key = (origin_of(url), verify)
    with _shared_lock:
        transport = _shared.pop(key, None) or Transport(url, verify=verify)
        _shared[key] = transport
        if len(_shared) > MAX_TRANSPORTS:
            _shared.popitem(last=False)
        return transport


FAILURES: tuple[tuple[type[Exception], str], ...] = (
    (requests.exceptions.SSLError, "TLS failure"),
    (requests.exceptions.ProxyError, "the proxy failed"),
    (requests.exceptions.ConnectTimeout, "no connection within {connect:g} s"),
    (requests.exceptions.ReadTimeout, "no answer within {read:g} s"),
    (ReadTimeoutError, "the answer stopped for {read:g} s"),
    (requests.exceptions.ChunkedEncodingError, "the answer broke off"),
    (requests.exceptions.ContentDecodingError, "the answer's compression is damaged"),
    (requests.exceptions.ConnectionError, "the connection failed"),
    (Exception, "the request failed"),
)


def _unreachable(exc: Exception, request: Request, progress: _Progress) -> SiteUnreachable:
    chain = list(_causes(exc))
    what = next(text for kind, text in FAILURES if any(isinstance(link, kind) for link in chain))
    if progress.expired:
        what = "the answer took longer than {total:g} s"
    cause = _plain_cause(chain[-1])
    text = what.format(
        connect=progress.timeouts.connect, read=progress.timeouts.read, total=progress.timeouts.total
    )
    return SiteUnreachable(
        f"{text} ({cause})" if cause else text,
        sent=progress.sent,
        method=request.method,
        path=request.path,
        status=progress.status,
    )


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """Yield the exception and what it wraps, the origin last; requests and urllib3 keep that in three ways."""
    seen: BaseException | None = exc
    while seen is not None:
        yield seen
        inner = [getattr(seen, "reason", None), *reversed(seen.args), seen.__cause__]
        seen = next((one for one in inner if isinstance(one, BaseException)), None)


def _plain_cause(exc: BaseException) -> str:
    """Return the operating system's or OpenSSL's words: the rest may quote URLs with their parameters."""
    if isinstance(exc, OSError) and exc.strerror:
        text = getattr(exc, "verify_message", "") or exc.strerror
        return re.sub(r"\s*\(_ssl\.c:\d+\)", "", str(text))
    return ""
