"""The socket half of the sandbox: HTTP/1.1 with keep-alive and gunicorn's limits, one thread a connection."""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes, urlsplit

# gunicorn/config.py: limit_request_line, limit_request_field_size, limit_request_fields.
REQUEST_LINE_LIMIT = 4094
HEADER_LIMIT = 8190
HEADER_COUNT_LIMIT = 100
BACKLOG = 128

logger = logging.getLogger(__name__)


@dataclass
class Answer:
    """What goes back over the socket."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    declared_length: int | None = None
    """A Content-Length other than the body's own: the connection is cut before the promised end."""
    close: bool = False
    silent: bool = False
    """Close the connection without a byte of answer."""


Environ = dict[str, Any]
Application = Callable[[Environ], Answer]


class BadRequest(Exception):
    """The request never reaches the application; gunicorn answers a small page and closes."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.answer = error_page(status, text)


def error_page(status: int, text: str = "") -> Answer:
    """Gunicorn's own error page (gunicorn/util.py, write_error)."""
    reason = HTTPStatus(status).phrase
    html = (
        f"<html>\n  <head>\n    <title>{reason}</title>\n  </head>\n"
        f"  <body>\n    <h1><p>{reason}</p></h1>\n    {text}\n  </body>\n</html>\n"
    )
    return Answer(status, [("Content-Type", "text/html")], html.encode(), close=True)


UNUSED_PORT_TRIES = 100
_used_ports: set[int] = set()


class Server:
    """Listen on an address and hand every request to an application."""

    def __init__(
        self,
        application: Application,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.application = application
        self.clock = clock
        self.host = host
        self.port = port
        self.listener: socket.socket | None = None
        self.connections: set[Connection] = set()
        self.guard = threading.Lock()
        self.thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def _listener(self) -> socket.socket:
        """
        Listen; where any free port will do, on one that this process has not had yet.

        Clients remember of a URL which version of Frappe is there, and which tokens it gave.
        """
        for _ in range(UNUSED_PORT_TRIES):
            listener = socket.create_server((self.host, self.port), backlog=BACKLOG)
            port = listener.getsockname()[1]
            if self.port or port not in _used_ports:
                _used_ports.add(port)
                return listener
            listener.close()
        return socket.create_server((self.host, self.port), backlog=BACKLOG)

    def start(self) -> None:
        listener = self._listener()
        self.port = listener.getsockname()[1]
        self.listener = listener
        self.thread = threading.Thread(
            target=self.accept, args=(listener,), name=f"sandbox:{self.port}", daemon=True
        )
        self.thread.start()

    def accept(self, listener: socket.socket) -> None:
        while True:
            try:
                peer, address = listener.accept()
            except OSError:
                return
            connection = Connection(self, peer, address[0])
            with self.guard:
                self.connections.add(connection)
            connection.thread.start()

    def stop(self) -> None:
        """Refuse new connections, cut the live ones and wait for their threads."""
        listener, self.listener = self.listener, None
        if listener is None:
            return
        # A shutdown wakes the thread in accept(); a close alone would not.
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        with self.guard:
            live = list(self.connections)
        for connection in live:
            connection.cut()
        for thread in (self.thread, *(connection.thread for connection in live)):
            if thread is not None and thread is not threading.current_thread():
                thread.join(timeout=5)

    def forget(self, connection: Connection) -> None:
        with self.guard:
            self.connections.discard(connection)


class Connection:
    """One accepted socket: requests in, answers out, until one side has had enough."""

    def __init__(self, server: Server, peer: socket.socket, address: str) -> None:
        self.server = server
        self.peer = peer
        self.address = address
        self.thread = threading.Thread(target=self.run, name=f"sandbox:{server.port}:{address}", daemon=True)

    def cut(self) -> None:
        with contextlib.suppress(OSError):
            self.peer.shutdown(socket.SHUT_RDWR)

    def run(self) -> None:
        # Small answers must not wait for the acknowledgement of the one before.
        self.peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with self.peer, self.peer.makefile("rb") as stream:
                while self.serve(stream):
                    pass
        except OSError:
            pass
        finally:
            self.server.forget(self)

    def serve(self, stream: BinaryIO) -> bool:
        """Answer one request; True when the connection stays open."""
        try:
            environ = read_request(stream)
        except BadRequest as refusal:
            self.send(refusal.answer, head_only=False)
            self.drain(stream)
            return False
        if environ is None:
            return False
        environ |= self.surroundings()
        body: Body = environ["wsgi.input"]
        keep = wants_keep_alive(environ)
        if environ.get("HTTP_EXPECT", "").lower() == "100-continue":
            self.peer.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        answer = self.answer(environ)
        if answer.silent:
            return False
        # A body that the application refused to read would be taken for the next request.
        answer.close |= not keep or body.remaining > 0
        self.send(answer, head_only=environ["REQUEST_METHOD"] == "HEAD")
        if body.remaining:
            self.drain(stream)
        return not answer.close

    def answer(self, environ: Environ) -> Answer:
        try:
            return self.server.application(environ)
        except Exception:
            logger.exception("The sandbox failed to answer %s", environ["PATH_INFO"])
            return error_page(500)

    def surroundings(self) -> Environ:
        return {
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "REMOTE_ADDR": self.address,
            "SERVER_NAME": self.server.host,
            "SERVER_PORT": str(self.server.port),
            "SCRIPT_NAME": "",
        }

    def send(self, answer: Answer, *, head_only: bool) -> None:
        self.peer.sendall(head(answer, self.server.clock()) + (b"" if head_only else answer.body))

    def drain(self, stream: BinaryIO) -> None:
        """Read on for a moment, so that closing does not reset what the caller is still to read."""
        with contextlib.suppress(OSError):
            self.peer.shutdown(socket.SHUT_WR)
            self.peer.settimeout(1)
            while stream.read1(1 << 20):  # type: ignore[attr-defined]
                pass


def head(answer: Answer, now: float) -> bytes:
    length = len(answer.body) if answer.declared_length is None else answer.declared_length
    lines = [
        f"HTTP/1.1 {answer.status} {phrase(answer.status)}",
        "Server: gunicorn",
        f"Date: {formatdate(now, usegmt=True)}",
        f"Connection: {'close' if answer.close else 'keep-alive'}",
    ]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    if not any(name.lower() == "content-length" for name, _ in answer.headers):
        lines.append(f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def wants_keep_alive(environ: Environ) -> bool:
    wish = environ.get("HTTP_CONNECTION", "").lower()
    if environ["SERVER_PROTOCOL"] == "HTTP/1.0":
        return bool(wish == "keep-alive")
    return "close" not in wish


# -- reading a request ---------------------------------------------------------------------------------


def read_request(stream: BinaryIO) -> Environ | None:
    """The WSGI environment of the next request, or None when the caller has gone."""
    line = stream.readline(65537)
    while line in (b"\r\n", b"\n"):
        line = stream.readline(65537)
    if not line:
        return None
    text = line.rstrip(b"\r\n").decode("latin-1")
    if len(text) > REQUEST_LINE_LIMIT:
        raise BadRequest(400, f"Request Line is too large ({len(text)} &gt; {REQUEST_LINE_LIMIT})")
    environ = parse_line(text)
    environ |= read_headers(stream)
    environ["wsgi.input"] = body_of(stream, environ)
    return environ


def parse_line(text: str) -> Environ:
    parts = text.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/"):
        raise BadRequest(400, f"Invalid Request Line '{text[:80]}'")
    method, target, protocol = parts
    # A path of two slashes would read as a host (gunicorn/util.py, split_request_uri).
    split = urlsplit("." + target if target.startswith("//") else target)
    path = split.path[1:] if target.startswith("//") else split.path
    return {
        "REQUEST_METHOD": method,
        "RAW_URI": target,
        "REQUEST_URI": target,
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": split.query,
        "SERVER_PROTOCOL": protocol,
    }


def read_headers(stream: BinaryIO) -> Environ:
    found: Environ = {}
    for count in range(HEADER_COUNT_LIMIT + 2):
        line = stream.readline(65537)
        if line in (b"\r\n", b"\n", b""):
            return found
        if len(line) > HEADER_LIMIT + 2:
            raise BadRequest(431, "Error parsing headers: 'limit request headers fields size'")
        if count >= HEADER_COUNT_LIMIT:
            break
        name, _, value = line.decode("latin-1").partition(":")
        add_header(found, name.strip(), value.strip())
    raise BadRequest(431, "Error parsing headers: 'limit request headers fields'")


def add_header(found: Environ, name: str, value: str) -> None:
    key = name.upper().replace("-", "_")
    if key not in {"CONTENT_TYPE", "CONTENT_LENGTH"}:
        key = f"HTTP_{key}"
    if key in found and key.startswith("HTTP_"):
        value = found[key] + ("; " if key == "HTTP_COOKIE" else ",") + value
    found[key] = value


class Body(io.RawIOBase):
    """The body of one request, as long as its Content-Length says."""

    def __init__(self, stream: BinaryIO, length: int) -> None:
        self.stream = stream
        self.remaining = length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), self.remaining)
        if not size:
            return 0
        data = self.stream.read(size)
        self.remaining = self.remaining - len(data) if data else 0
        buffer[: len(data)] = data
        return len(data)


def body_of(stream: BinaryIO, environ: Environ) -> Body:
    if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        data = read_chunks(stream)
        environ["CONTENT_LENGTH"] = str(len(data))
        return Body(io.BytesIO(data), len(data))
    length = environ.get("CONTENT_LENGTH", "")
    if length and not length.isdigit():
        raise BadRequest(400, f"Invalid HTTP Header: 'CONTENT-LENGTH: {length[:40]}'")
    return Body(stream, int(length or 0))


def read_chunks(stream: BinaryIO) -> bytes:
    chunks = []
    while size := int(stream.readline(64).split(b";")[0].strip() or b"0", 16):
        chunks.append(stream.read(size))
        stream.readline(64)
    while stream.readline(65537) not in (b"\r\n", b"\n", b""):
        pass
    return b"".join(chunks)
