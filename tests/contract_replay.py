"""Replay recorded exchanges with real Frappe servers against the sandbox, and count what comes out the same.

    python -m tests.contract_replay DIR [--report FILE] [--topic T] [--version v15] [--list PAGE]

DIR holds `fixtures.json` and `v15/`, `v16/` with one `<topic>.jsonl` each. Every exchange goes over a real socket,
in order of `seq`. Values that a server makes (names, times, tokens) are bound where they first appear; everything
else has to be equal. Which exchanges differ, and why, stands in a table of docs/sandbox.md. What differs without
standing there fails the command; what stands there and matches is told, as some exchanges match by chance.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import re
import socket
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from erpnext_bridge.sandbox import Sandbox, World

PASSWORD = "replay-Passw0rd"
# The recordings' pauses between attempts of a webhook are 1, 4 and 7 seconds.
WEBHOOK_PAUSES = (0.05, 0.1, 0.1)
PATIENCE = 5.0
SETTLING = 0.15

HEADERS = (
    "accept-ranges",
    "allow",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-range",
    "content-type",
    "etag",
    "last-modified",
    "location",
    "retry-after",
    "www-authenticate",
)
# Recorded only where the exchange is about them.
OPTIONAL_HEADERS = ("server", "connection", "content-length")


# -- placeholders and values that servers make ----------------------------------------------------------

ANYTHING = re.compile(r"<(?:exc_id|traceback|database|SQL [a-z ]+|JSON list of SQL texts and timings)>")
NAMED = re.compile(
    r"<(?:base_url_quoted|base_url|listener_url|administrator_session|password|csrf_token"
    r"|(?:api_key|api_secret|basic|access_token|refresh_token|id_token|code|sid|client_id|client_secret)_\w+)>"
)
REPEATED = re.compile(r"<(\d+) (bytes|.)>")
STAMP = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d{1,6})?")
CLOCK = re.compile(r"\b\d{1,2}:\d\d:\d{1,2}\.\d{1,6}\b")
HASH = re.compile(r"(?<![\w.-])(?=[a-z]*\d)(?=\d*[a-z])[a-z0-9]{10}(?![\w.-])")
SUBJECT = re.compile(r"\b[0-9a-f]{39}\b")
TOKENS = re.compile(
    "|".join(
        f"(?P<{name}>{pattern.pattern})"
        for name, pattern in (
            ("anything", ANYTHING),
            ("named", NAMED),
            ("repeated", REPEATED),
            ("stamp", STAMP),
            ("clock", CLOCK),
            ("subject", SUBJECT),
            ("hash", HASH),
        )
    )
)
SHAPES = {
    "named": r"[^\"\\<>&;\s]+?",
    "stamp": STAMP.pattern,
    "clock": CLOCK.pattern,
    "subject": r"[0-9a-z]+",
    "hash": r"[a-z0-9]{10}",
}
# What `<n bytes>` stands for: all bytes in their order, again and again.
BYTES = bytes(range(256)).decode("utf-8", "surrogateescape") * (1 << 17)
NAME_KEYS = frozenset({"name", "parent"})


def clock_value(text: str) -> tuple[int, int, int, int]:
    """A time of day whose seconds may lack padding and whose fraction may lack zeros."""
    hours, minutes, seconds = text.split(":")
    whole, _, fraction = seconds.partition(".")
    return int(hours), int(minutes), int(whole), int(fraction.ljust(6, "0"))


@dataclass
class Values:
    """What placeholders and recorded values stand for in this run."""

    bound: dict[str, str] = field(default_factory=dict)
    fixed: frozenset[str] = frozenset()
    """Values of the fixtures, which must come back as they are."""
    day: str = ""
    """The day of the recording: other times are data."""
    asked: str = ""
    """The request under way: what it says itself is not the server's making."""

    def fill(self, value: Any) -> Any:
        """The request with every placeholder and bound value replaced."""
        if isinstance(value, str):
            return self.bound[value] if value in self.bound else TOKENS.sub(self.replace, value)
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if isinstance(value, dict):
            return {self.fill(key): self.fill(item) for key, item in value.items()}
        return value

    def replace(self, token: re.Match[str]) -> str:
        if token["repeated"]:
            count, what = REPEATED.fullmatch(token[0]).groups()
            return BYTES[: int(count)] if what == "bytes" else what * int(count)
        return self.bound.get(self.known_clock(token[0]) or token[0], token[0])

    def known_clock(self, text: str) -> str | None:
        """The bound spelling of a time of day, which has two."""
        if not CLOCK.fullmatch(text):
            return None
        return next((bound for bound in self.bound if same_clock(bound, text)), None)

    def is_made(self, kind: str, text: str) -> bool:
        """Whether the recorded server made this value."""
        if text in self.bound or self.known_clock(text):
            return True
        if text in self.fixed or text in self.asked:
            return False
        if kind == "stamp":
            return text[:10] in self.days()
        return True

    def days(self) -> set[str]:
        day = datetime.fromisoformat(self.day)
        return {str((day + timedelta(days=shift)).date()) for shift in (0, 1)}

    def match(self, expected: str, actual: str, *, key: str = "") -> bool:
        """Compare a text, binding what appears for the first time."""
        if key in NAME_KEYS and re.fullmatch("[a-z0-9]{10}", expected) and self.is_made("hash", expected):
            return self.bind(expected, actual, re.fullmatch(SHAPES["hash"], actual) is not None)
        pattern, groups = self.pattern(expected)
        found = re.fullmatch(pattern, actual, re.DOTALL)
        if found is None:
            return False
        return all(
            self.settle(kind, token, part) for (kind, token), part in zip(groups, found.groups(), strict=True)
        )

    def pattern(self, expected: str) -> tuple[str, list[tuple[str, str]]]:
        out, groups, position = [], [], 0
        for token in TOKENS.finditer(expected):
            out.append(re.escape(expected[position : token.start()]))
            position = token.end()
            kind = token.lastgroup or ""
            if kind == "anything":
                out.append(".*?")
            elif kind == "repeated":
                out.append(re.escape(self.replace(token)))
            elif kind == "named" or self.is_made(kind, token[0]):
                out.append(f"({SHAPES[kind]})" if kind == "clock" else self.group(kind, token[0]))
                groups.append((kind, token[0]))
            else:
                out.append(re.escape(token[0]))
        out.append(re.escape(expected[position:]))
        return "".join(out), groups

    def group(self, kind: str, token: str) -> str:
        return f"({re.escape(self.bound[token])})" if token in self.bound else f"({SHAPES[kind]})"

    def settle(self, kind: str, token: str, part: str) -> bool:
        if kind != "clock":
            return self.bind(token, part, True)
        # What counts is the time.
        if known := self.known_clock(token):
            return clock_value(self.bound[known]) == clock_value(part)
        return self.bind(token, part, True)

    def bind(self, token: str, actual: str, fits: bool) -> bool:
        if token in self.bound:
            return self.bound[token] == actual
        if fits:
            self.bound[token] = actual
        return fits


def same_clock(one: str, other: str) -> bool:
    return bool(CLOCK.fullmatch(one)) and clock_value(one) == clock_value(other)


# -- comparing ----------------------------------------------------------------------------------------


@dataclass
class Comparison:
    """Finds the differences between a recorded answer and the one that came."""

    values: Values
    epoch: int
    """Seconds of the recording: integers near it are times."""
    unordered: bool = False
    problems: list[str] = field(default_factory=list)

    def compare(self, expected: Any, actual: Any, place: str = "", key: str = "") -> None:
        if isinstance(expected, str) and isinstance(actual, str):
            if not self.values.match(expected, actual, key=key):
                self.differ(place, expected, actual)
        elif isinstance(expected, dict) and isinstance(actual, dict):
            self.compare_dicts(expected, actual, place)
        elif isinstance(expected, list) and isinstance(actual, list):
            self.compare_lists(expected, actual, place)
        elif self.is_time(expected) and self.is_time(actual, days=4000):
            return
        elif type(expected) is not type(actual) or expected != actual:
            self.differ(place, expected, actual)

    def is_time(self, value: Any, days: int = 2) -> bool:
        return type(value) is int and abs(value - self.epoch) < days * 86400

    def compare_dicts(self, expected: dict[str, Any], actual: dict[str, Any], place: str) -> None:
        for key in expected.keys() - actual.keys():
            self.problems.append(f"{place}.{key}: missing")
        for key in actual.keys() - expected.keys():
            self.problems.append(f"{place}.{key}: not expected, is {actual[key]!r}")
        for key in expected:
            if key in actual:
                self.compare(expected[key], actual[key], f"{place}.{key}", key)

    def compare_lists(self, expected: list[Any], actual: list[Any], place: str) -> None:
        if len(expected) != len(actual):
            self.differ(place, f"{len(expected)} entries", f"{len(actual)} entries")
        elif self.unordered:
            self.compare_sets(expected, actual, place)
        else:
            for index, (one, other) in enumerate(zip(expected, actual, strict=True)):
                self.compare(one, other, f"{place}[{index}]")

    def compare_sets(self, expected: list[Any], actual: list[Any], place: str) -> None:
        left = list(actual)
        for index, one in enumerate(expected):
            fitting = next((other for other in left if self.fits(one, other)), None)
            if fitting is None:
                self.problems.append(f"{place}[{index}]: {one!r} is not among the rows")
            else:
                self.compare(one, fitting, place)
                left.remove(fitting)

    def fits(self, expected: Any, actual: Any) -> bool:
        trial = Comparison(deepcopy(self.values), self.epoch)
        trial.compare(expected, actual)
        return not trial.problems

    def differ(self, place: str, expected: Any, actual: Any) -> None:
        self.problems.append(f"{place or 'body'}: expected {shorten(expected)}, got {shorten(actual)}")


def shorten(value: Any, limit: int = 600) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def shape(value: Any) -> Any:
    """What is left of an answer of which any of several is right."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return type(value).__name__


# -- describing HTML ----------------------------------------------------------------------------------


class Text(HTMLParser):
    """Title of a page, and the text outside its head."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.title, self.words, self.inside, self.head = "", [], "", False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag
        self.head = self.head or tag == "head"

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""
        self.head = self.head and tag != "head"

    def handle_data(self, data: str) -> None:
        if self.inside == "title":
            self.title += data
        if not self.head and self.inside not in ("style", "script"):
            self.words += data.split()


# Long texts were cut at this length, before anything in them was replaced by a placeholder.
TEXT_LIMIT = 300


def describe_html(expected: str, page: str, longer: int) -> str:
    """A page in the words of the recordings: its title, and the text where they have it."""
    text = Text(page)
    title = text.title.strip()
    if " text=" not in expected:
        return f"<html title='{title}'>"
    return f"<html title='{title}' text={' '.join(text.words)[: TEXT_LIMIT + longer]!r}>"


CSRF_TOKEN = re.compile(r"csrf_token[\"' :=]+([0-9a-f]{20,})")
CONSENT = re.compile(r"<button id=\"(?:deny|allow)\".*?</script>", re.DOTALL)


def consent_part(page: str) -> str:
    found = CONSENT.search(page)
    lines = found[0].splitlines() if found else []
    return "[html, Allow and Deny buttons with their script]\n" + "\n".join(
        line.strip() for line in lines if line.strip()
    )


def decoded_consent(page: str) -> dict[str, Any]:
    links = re.findall(r"window\.location\.replace\(\"(.*?)\"\)", page)
    scopes = re.findall(r"<li>(.*?)</li>", page)
    return {"allow_url": links[0], "deny_url": links[1], "scopes_shown": scopes}


# -- the wire -----------------------------------------------------------------------------------------


@dataclass
class Got:
    status: int
    headers: http.client.HTTPMessage
    raw: bytes

    @property
    def text(self) -> str:
        return self.raw.decode("utf-8", "replace")

    def json(self) -> Any:
        try:
            return json.loads(self.raw)
        except ValueError:
            return None


class Wire:
    """One connection to the sandbox, opened again whenever the server has closed it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.socket: socket.socket | None = None
        self.reused = False

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def exchange(self, method: str, data: bytes) -> Got:
        self.reused = self.socket is not None
        if self.socket is None:
            self.socket = socket.create_connection(self.address, timeout=30)
        # The server may refuse a body that is too large before it has read all of it.
        with contextlib.suppress(OSError):
            self.socket.sendall(data)
        response = http.client.HTTPResponse(self.socket, method=method)
        try:
            response.begin()
            got = Got(response.status, response.headers, response.read())
            closing = response.will_close
        finally:
            response.close()
        if closing:
            self.close()
        return got


def request_bytes(request: dict[str, Any], host: str) -> bytes:
    """A filled-in request as it goes over the wire."""
    target = request["path"]
    if request.get("query"):
        target += "?" + urlencode(request["query"], doseq=True, quote_via=quote)
    content_type, body = encoded_body(request)
    headers = {"Host": host, "Accept": "*/*", "User-Agent": "replay", "Connection": "keep-alive"}
    if content_type:
        headers["Content-Type"] = content_type
    for name, value in (request.get("headers") or {}).items():
        headers[name] = value
    if not headers.get("Content-Type"):
        headers.pop("Content-Type", None)
    if body or request["method"] in ("POST", "PUT", "PATCH"):
        headers["Content-Length"] = str(len(body))
    lines = [
        f"{request['method']} {target} HTTP/1.1",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def encoded_body(request: dict[str, Any]) -> tuple[str, bytes]:
    body, encoding = request.get("body"), request.get("body_encoding")
    if "body" not in request or encoding is None:
        return "", b""
    if encoding == "json":
        return "application/json", json.dumps(body).encode()
    if encoding == "form":
        return "application/x-www-form-urlencoded", urlencode(body, doseq=True).encode()
    if encoding == "multipart":
        return multipart(body)
    return "", body.encode("utf-8", "surrogateescape")


def multipart(body: dict[str, Any]) -> tuple[str, bytes]:
    boundary = hashlib.sha256(repr(sorted(body)).encode()).hexdigest()[:32]
    parts = []
    for name, value in body.items():
        extra, kind, content = "", "", value
        if isinstance(value, dict):
            extra = f'; filename="{value["filename"]}"'
            kind = f"\r\nContent-Type: {value['content_type']}"
            content = value["content"]
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{extra}{kind}\r\n\r\n'
        parts.append(f"{head}{content}\r\n".encode("utf-8", "surrogateescape"))
    parts.append(f"--{boundary}--\r\n".encode())
    return f"multipart/form-data; boundary={boundary}", b"".join(parts)


# -- the listener that webhooks are sent to -----------------------------------------------------------


@dataclass
class Heard:
    method: str
    path: str
    headers: dict[str, str]
    body: str
    used: bool = False


class Listener:
    """Receives webhooks and answers as the recorded listener did."""

    CLOSED = "<sender had closed the connection>"

    def __init__(self, exchanges: Iterable[dict[str, Any]]) -> None:
        self.heard: list[Heard] = []
        self.seen = 0
        self.answers: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.recorded_host = ""
        self.script([exchange for exchange in exchanges if exchange.get("direction") and exchange["request"]])
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def script(self, exchanges: list[dict[str, Any]]) -> None:
        for exchange, following in zip(exchanges, [*exchanges[1:], None], strict=False):
            self.recorded_host = exchange["request"]["headers"].get("Host", self.recorded_host)
            answer = dict(exchange["response"])
            if answer["status"] in (301, 302, 307, 308) and following:
                answer["location"] = following["request"]["path"]
            self.answers[exchange["request"]["path"]].append(answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def handler(self) -> type[BaseHTTPRequestHandler]:
        listener = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                """Nothing: the replay reports what it needs."""

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                listener.heard.append(Heard(self.command, self.path, dict(self.headers), body))
                listener.respond(self)

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - names that http.server looks up

        return Handler

    def respond(self, handler: BaseHTTPRequestHandler) -> None:
        script = self.answers.get(handler.path, [])
        answer = script.pop(0) if script else {"status": 200, "body": '{"ok": true}'}
        if answer["body"] == self.CLOSED:
            time.sleep(1.5)
            handler.close_connection = True
            return
        body = answer["body"].encode()
        handler.send_response(answer["status"])
        handler.send_header("Content-Length", str(len(body)))
        if "location" in answer:
            handler.send_header("Location", answer["location"])
        handler.end_headers()
        handler.wfile.write(body)

    # What the exchanges ask for.

    def wait_for(self, path: str) -> Heard | None:
        """The next request to a path that nobody has looked at."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for heard in self.heard:
                if heard.path == path and not heard.used:
                    heard.used = True
                    self.seen = max(self.seen, self.heard.index(heard) + 1)
                    return heard
            time.sleep(0.01)
        return None

    def news(self, expected: int) -> list[Heard]:
        """Everything that arrived since the last look, once as much as expected is there and a moment passed."""
        deadline = time.monotonic() + PATIENCE
        while len(self.heard) - self.seen < expected and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(SETTLING)
        fresh = self.heard[self.seen :]
        self.seen = len(self.heard)
        return fresh


# -- one version --------------------------------------------------------------------------------------


@dataclass
class Outcome:
    id: str
    topic: str
    problems: list[str]
    expected: Any = None
    got: Any = None


class Replay:
    """All exchanges of one version against one sandbox."""

    def __init__(self, directory: Path, version: str, exchanges: list[dict[str, Any]]) -> None:
        fixtures = json.loads((directory / "fixtures.json").read_text("utf-8"))[version]
        manifest = directory / version / "manifest.json"
        facts = json.loads(manifest.read_text("utf-8")) if manifest.exists() else {}
        recorded = facts.get("recorded_at_utc", f"{fixtures['today']}T12:00:00+00:00")
        self.version = version
        self.exchanges = exchanges
        self.listener = Listener(exchanges)
        self.sandbox = Sandbox(int(version[1:]), World.load(fixtures), webhook_pauses=WEBHOOK_PAUSES).start()
        host = urlsplit(self.sandbox.url)
        self.address = (host.hostname or "", host.port or 0)
        self.wire = Wire(self.address)
        self.values = Values(fixed=frozenset(strings(fixtures)), day=fixtures["today"])
        self.epoch = int(datetime.fromisoformat(recorded).timestamp())
        self.recorded_url = facts.get("base_url", "")
        self.secrets: dict[str, str] = {}
        self.know(fixtures)

    def stop(self) -> None:
        self.wire.close()
        self.sandbox.stop()
        self.listener.stop()

    def know(self, fixtures: dict[str, Any]) -> None:
        """Bind what the client side knows."""
        bound = self.values.bound
        bound["<password>"] = PASSWORD
        bound["<base_url>"] = self.sandbox.url
        bound["<base_url_quoted>"] = quote(self.sandbox.url, safe="")
        bound["<listener_url>"] = self.listener.url
        for name, data in fixtures["users"].items():
            user = data["user"]
            self.sandbox.set_password(user, PASSWORD)
            key, secret = self.sandbox.api_key(user)
            bound[f"<api_key_{name}>"], bound[f"<api_secret_{name}>"] = key, secret
            bound[f"<basic_{name}>"] = basic(key, secret)
            if name == "full":
                bound["<basic_user_password>"] = basic(user, PASSWORD)
        self.sandbox.set_password("Administrator", PASSWORD)
        bound["<administrator_session>"] = self.administrator_cookies()
        bound["<sid_1>"] = re.search(r"sid=(\w+)", bound["<administrator_session>"])[1]

    def administrator_cookies(self) -> str:
        form = {"usr": "Administrator", "pwd": PASSWORD}
        request = {"method": "POST", "path": "/api/method/login", "body": form, "body_encoding": "form"}
        got = self.send(request)
        return "; ".join(header.split("; ")[0] for header in got.headers.get_all("Set-Cookie"))

    def send(self, request: dict[str, Any], wire: Wire | None = None) -> Got:
        host = f"{self.address[0]}:{self.address[1]}"
        return (wire or self.wire).exchange(request["method"], request_bytes(request, host))

    def run(self) -> Iterator[Outcome]:
        for exchange in self.exchanges:
            try:
                outcome = self.replay(exchange)
            except (OSError, http.client.HTTPException) as problem:
                self.wire.close()
                outcome = self.outcome(exchange, [f"no answer: {problem!r}"])
            yield outcome

    def replay(self, exchange: dict[str, Any]) -> Outcome:
        if exchange.get("direction"):
            return self.replay_listener(exchange)
        request = self.values.fill(exchange["request"])
        self.values.asked = json.dumps(exchange["request"], ensure_ascii=False)
        if exchange.get("concurrent"):
            return self.replay_race(exchange, request)
        got = self.send(request)
        return self.judge(exchange, got)

    def outcome(self, exchange: dict[str, Any], problems: list[str], got: Any = None) -> Outcome:
        return Outcome(exchange["id"], exchange["topic"], problems, exchange.get("response"), got)

    # An answer.

    def comparison(self, exchange: dict[str, Any]) -> Comparison:
        return Comparison(self.values, self.epoch, bool(exchange.get("unordered")))

    def judge(self, exchange: dict[str, Any], got: Got) -> Outcome:
        expected = exchange["response"]
        found = self.comparison(exchange)
        if expected["status"] != got.status:
            found.differ("status", expected["status"], got.status)
        self.judge_body(exchange, got, found)
        self.judge_headers(expected["headers"] or {}, got, found)
        if "decoded" in exchange and not found.problems:
            self.judge_decoded(exchange["decoded"], got, found)
        if "socket_reused" in exchange and exchange["socket_reused"] != self.wire.reused:
            found.differ("socket_reused", exchange["socket_reused"], self.wire.reused)
        self.remember_secrets(expected["body"])
        shown = {"status": got.status, "headers": got.headers.items(), "body": got.text[:20000]}
        return self.outcome(exchange, found.problems, shown)

    def judge_body(self, exchange: dict[str, Any], got: Got, found: Comparison) -> None:
        expected = exchange["response"]["body"]
        if isinstance(expected, dict | list):
            self.judge_json(exchange, expected, got, found)
        elif expected is None:
            if got.raw:
                found.differ("body", None, got.text)
        else:
            found.compare(expected, self.described(expected, got), "body")

    def judge_json(self, exchange: dict[str, Any], expected: Any, got: Got, found: Comparison) -> None:
        actual = got.json()
        if found.unordered and not any(isinstance(value, list) for value in listed(expected)):
            # One of several answers is right: only its shape can be compared.
            expected, actual = shape(expected), shape(actual)
        found.compare(expected, actual)

    def described(self, expected: str, got: Got) -> str:
        """What came, in the words that the recordings have for bodies of its kind."""
        if expected.startswith("<html "):
            return describe_html(expected, got.text, len(self.sandbox.url) - len(self.recorded_url))
        if expected.startswith("[html, Allow"):
            return consent_part(got.text)
        if found := re.match(r"\[html \d+ chars\] csrf_token in page: ", expected):
            token = CSRF_TOKEN.search(got.text)
            if token:
                self.values.bind("<csrf_token>", token[1], True)
            return f"{found[0]}{token is not None}"
        if re.fullmatch(r"<list of \d+ rows>", expected):
            return f"<list of {len((got.json() or {}).get('data', ()))} rows>"
        return got.text

    def judge_headers(self, expected: dict[str, Any], got: Got, found: Comparison) -> None:
        for name in HEADERS:
            self.judge_header(name, expected.get(name), got.headers.get(name), found)
        for name in OPTIONAL_HEADERS:
            if name in expected and name != "content-length":
                self.judge_header(name, expected[name], got.headers.get(name), found)
        self.judge_cookies(expected.get("set-cookie") or [], got, found)

    def judge_header(self, name: str, expected: str | None, actual: str | None, found: Comparison) -> None:
        if name in ("etag", "last-modified") and expected and actual:
            self.values.bound.setdefault(expected, actual)
            self.values.bound.setdefault(expected.strip('"'), actual.strip('"'))
        elif name == "allow" and expected and actual:
            found.compare(sorted(expected.split(", ")), sorted(actual.split(", ")), name)
        else:
            found.compare(expected, actual, f"header {name}")

    def judge_cookies(self, expected: list[dict[str, Any]], got: Got, found: Comparison) -> None:
        actual = [cookie(header) for header in got.headers.get_all("Set-Cookie") or []]
        without = [{**one, "attributes": fixed_attributes(one["attributes"])} for one in expected]
        trial = Comparison(self.values, self.epoch, unordered=True)
        trial.compare(without, actual, "cookies")
        found.problems += trial.problems

    def judge_decoded(self, expected: dict[str, Any], got: Got, found: Comparison) -> None:
        if "allow_url" in expected:
            found.compare(expected, decoded_consent(got.text), "decoded")
        if "id_token_claims" in expected:
            self.judge_id_token(expected, got.json()["id_token"], found)
        if "exp_minus_now_seconds" in expected:
            distance = got.json()["exp"] - self.sandbox.site.clock().timestamp()
            if abs(distance - expected["exp_minus_now_seconds"]) > 30:
                found.differ("exp", expected["exp_minus_now_seconds"], distance)

    def judge_id_token(self, expected: dict[str, Any], token: str, found: Comparison) -> None:
        header, claims, signature = token.split(".")
        found.compare(expected["id_token_header"], unpacked(header), "id_token header")
        roles = Comparison(self.values, self.epoch, unordered=True)
        roles.compare(
            {**expected["id_token_claims"], "at_hash": ""}, {**unpacked(claims), "at_hash": ""}, "claims"
        )
        found.problems += roles.problems
        secrets = [value for name, value in self.values.bound.items() if name.startswith("<client_secret_")]
        signed = f"{header}.{claims}".encode()
        proven = any(
            packed(hmac.new(secret.encode(), signed, hashlib.sha256).digest()) == signature
            for secret in secrets
        )
        if proven != expected["signature_is_HS256_with_client_secret"]:
            found.differ("signature", "HS256 with the client's secret", "something else")

    def remember_secrets(self, body: Any) -> None:
        """`<basic_client_X>` is made of an id and the secret that came with it."""
        data = body.get("data") if isinstance(body, dict) else None
        if not isinstance(data, dict) or "client_secret" not in data:
            return
        bound = self.values.bound
        name, secret = str(data.get("client_id")), str(data["client_secret"])
        if name in bound and secret in bound:
            bound[name.replace("<client_id_", "<basic_client_")] = basic(bound[name], bound[secret])

    # Requests at the same time.

    def replay_race(self, exchange: dict[str, Any], request: dict[str, Any]) -> Outcome:
        count = exchange["concurrent"]
        start = threading.Barrier(count)
        wires = [Wire(self.address) for _ in range(count)]
        got: list[Got] = []

        def one(wire: Wire) -> None:
            wire.socket = socket.create_connection(self.address, timeout=30)
            start.wait()
            got.append(self.send(request, wire))

        threads = [threading.Thread(target=one, args=(wire,)) for wire in wires]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for wire in wires:
            wire.close()
        expected = Counter((outcome["status"], outcome["error"]) for outcome in exchange["outcomes"])
        actual = Counter((answer.status, (answer.json() or {}).get("exc_type", "")) for answer in got)
        problems = [] if expected == actual else [f"outcomes: expected {expected}, got {actual}"]
        return self.outcome(exchange, problems, [answer.text for answer in got])

    # What the sandbox sends.

    def replay_listener(self, exchange: dict[str, Any]) -> Outcome:
        if "fired" in exchange:
            fresh = self.listener.news(len(exchange["fired"]))
            fired = sorted(heard.path.removeprefix("/ev-") for heard in fresh)
            problems = (
                []
                if fired == sorted(exchange["fired"])
                else [f"fired: expected {exchange['fired']}, got {fired}"]
            )
            return self.outcome(exchange, problems, fired)
        if exchange["attempt"] == 0:
            fresh = self.listener.news(0)
            return self.outcome(exchange, [f"sent: {heard.path}" for heard in fresh])
        return self.judge_heard(exchange)

    def judge_heard(self, exchange: dict[str, Any]) -> Outcome:
        expected = exchange["request"]
        heard = self.listener.wait_for(expected["path"])
        if heard is None:
            return self.outcome(exchange, [f"nothing was sent to {expected['path']}"])
        found = self.comparison(exchange)
        found.compare(expected["method"], heard.method, "method")
        found.compare(expected["body"], heard.body, "body")
        recorded = {
            name: value.replace(self.listener.recorded_host, urlsplit(self.listener.url).netloc)
            for name, value in expected["headers"].items()
        }
        signature = exchange.get("signature")
        if signature:
            digest = hmac.new(signature["secret"].encode(), heard.body.encode(), hashlib.sha256).digest()
            recorded[signature["header"]] = base64.b64encode(digest).decode()
        if "Content-Length" in recorded:
            recorded["Content-Length"] = str(len(heard.body.encode()))
        found.compare(recorded, heard.headers, "headers")
        return self.outcome(exchange, found.problems, vars(heard))


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def listed(body: Any) -> list[Any]:
    return list(body.values()) if isinstance(body, dict) else [body]


def basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def unpacked(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def cookie(header: str) -> dict[str, Any]:
    """A Set-Cookie header in the recordings' form."""
    first, *rest = header.split("; ")
    name, _, value = first.partition("=")
    attributes: dict[str, Any] = {}
    for part in rest:
        key, found, text = part.partition("=")
        attributes[key.lower()] = text if found else True
    return {"name": name, "value": value, "attributes": fixed_attributes(attributes)}


def fixed_attributes(attributes: dict[str, Any]) -> dict[str, Any]:
    """`expires` follows the clock: that it is there is what counts."""
    return {key: "" if key == "expires" else value for key, value in attributes.items()}


# -- all of it ----------------------------------------------------------------------------------------


def load(directory: Path, version: str, topic: str | None = None) -> list[dict[str, Any]]:
    """The exchanges of a version in the order in which they were recorded."""
    exchanges = []
    for path in sorted((directory / version).glob("*.jsonl")):
        if topic in (None, path.stem):
            exchanges += [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return sorted(exchanges, key=lambda exchange: exchange["seq"])


def replay(directory: Path, version: str, topic: str | None = None) -> list[Outcome]:
    run = Replay(directory, version, load(directory, version, topic))
    try:
        return list(run.run())
    finally:
        run.stop()


def tally(outcomes: Iterable[Outcome]) -> dict[str, tuple[int, int]]:
    """Per topic: how many matched, of how many."""
    counts: dict[str, tuple[int, int]] = {}
    for outcome in outcomes:
        matched, total = counts.get(outcome.topic, (0, 0))
        counts[outcome.topic] = (matched + (not outcome.problems), total + 1)
    return counts


def report_lines(version: str, outcomes: Iterable[Outcome]) -> Iterator[str]:
    for outcome in outcomes:
        if outcome.problems:
            entry = {"version": version, **vars(outcome)}
            yield json.dumps(entry, ensure_ascii=False, default=str)


def summary(version: str, outcomes: list[Outcome]) -> str:
    matched = sum(not outcome.problems for outcome in outcomes)
    percent = 100 * matched / len(outcomes) if outcomes else 0.0
    return f"{version} {matched}/{len(outcomes)} ({percent:.1f}%)"


# -- the page that lists what differs -------------------------------------------------------------------

PAGE = Path(__file__).resolve().parent.parent / "docs" / "sandbox.md"


def listed_mismatches(page: str) -> set[tuple[str, str]]:
    """Version and id of the exchanges in the page's table."""
    rows = re.findall(r"^\| (`[^|]+`) \| ([\d, ]+) \| [^|\s]", page, re.MULTILINE)
    return {
        (f"v{version}", name)
        for names, versions in rows
        for name in re.findall(r"`([^`]+)`", names)
        for version in re.findall(r"\d+", versions)
    }


def against_page(outcomes: Iterable[tuple[str, Outcome]], page: str) -> tuple[list[str], list[str]]:
    """Mismatches that the page does not list, and exchanges that it lists although they match."""
    listed, differ, same = listed_mismatches(page), set(), set()
    for version, outcome in outcomes:
        (differ if outcome.problems else same).add((version, outcome.id))
    return [" ".join(one) for one in sorted(differ - listed)], [
        " ".join(one) for one in sorted(listed & same)
    ]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.contract_replay", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--report", type=Path, help="file for every mismatch, one JSON object a line")
    parser.add_argument("--topic")
    parser.add_argument("--version", choices=("v15", "v16"))
    parser.add_argument("--list", type=Path, default=PAGE, help="page whose table lists what differs")
    options = parser.parse_args(argv)
    lines, totals, seen = [], [], []
    for version in [options.version] if options.version else ["v15", "v16"]:
        outcomes = replay(options.directory, version, options.topic)
        for topic, (matched, total) in tally(outcomes).items():
            sys.stdout.write(f"{version} {topic}: {matched}/{total}\n")
        lines += report_lines(version, outcomes)
        seen += [(version, outcome) for outcome in outcomes]
        totals.append(summary(version, outcomes))
    if options.report:
        options.report.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    unlisted, mended = against_page(seen, options.list.read_text("utf-8"))
    for told, found in (("differ and are not listed", unlisted), ("are listed and match", mended)):
        if found:
            sys.stdout.write(f"{len(found)} {told} in {options.list.name}: {', '.join(found)}\n")
    sys.stdout.write(
        f"contract: {', '.join(totals)}; {len(unlisted)} mismatches not listed in {options.list.name}\n"
    )
    return 1 if unlisted else 0


if __name__ == "__main__":
    sys.exit(main())
