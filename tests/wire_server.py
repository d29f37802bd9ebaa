"""A web server that misbehaves on purpose, on a real socket."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Seen:
    """A request as it arrived."""

    method: str
    target: str
    headers: dict
    body: bytes
    connection: int


@dataclass
class Reply:
    """What to answer: a plain status, headers and body, or a way to break."""

    status: int = 200
    headers: list = field(default_factory=lambda: [("Content-Type", "application/json")])
    body: bytes = b"{}"
    length: int | None = None
    """Announced Content-Length, when it is to differ from the body's."""
    drip: float = 0
    """Seconds between single bytes of the body."""
    drip_headers: bool = False
    hang: bool = False
    """Read the request, never answer."""
    drop: bool = False
    """Read the request, close the connection."""
    drop_reused: bool = False
    """Close instead of answering when the connection has served a request before."""
    close: bool = False


class WireServer:
    """Use as a context manager; set `.reply`, or `.replies[path]`; read `.seen`."""

    def __init__(self, tls: tuple | None = None):
        self.reply = Reply()
        self.replies = {}
        self.seen: list[Seen] = []
        self.stopped = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.wire = self
        scheme = "http"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        self.port = self._server.server_address[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}"

    def __enter__(self):
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def paths(self):
        return [f"{seen.method} {seen.target}" for seen in self.seen]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request, client_address):
        """Clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    served = 0

    def log_message(self, *args):
        pass

    def answer(self):
        wire = self.server.wire
        body = self._body()
        wire.seen.append(Seen(self.command, self.path, dict(self.headers), body, self.client_address[1]))
        self.served += 1
        reply = wire.replies.get(self.path.partition("?")[0], wire.reply)
        if callable(reply):
            reply = reply(wire.seen[-1])
        if reply.hang:
            wire.stopped.wait(30)
        if reply.hang or reply.drop or (reply.drop_reused and self.served > 1):
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._write(reply)

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def _body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _write(self, reply):
        length = len(reply.body) if reply.length is None else reply.length
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        if reply.close or length != len(reply.body):
            self.send_header("Connection", "close")
            self.close_connection = True
        if reply.drip_headers:
            self._drip(b"".join(self._headers_buffer) + b"\r\n", reply.drip)
            self._headers_buffer = []
            return
        self.end_headers()
        if reply.drip:
            self._drip(reply.body, reply.drip)
        else:
            self.wfile.write(reply.body)

    def _drip(self, content, pause):
        for index in range(len(content)):
            if self.server.wire.stopped.is_set():
                return
            self.wfile.write(content[index : index + 1])
            self.wfile.flush()
            self.server.wire.stopped.wait(pause)
