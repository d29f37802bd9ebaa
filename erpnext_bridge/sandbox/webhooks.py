"""Webhooks: which ones an event fires, what they send, and their three attempts."""

from __future__ import annotations

import base64
import hashlib
import heapq
import hmac
import http.client
import itertools
import json
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from . import documents, templating
from .context import Context, Site
from .controllers import hook
from .documents import Document
from .errors import throw
from .store import Row

# Webhook.enqueue_webhook: the pauses after a failure; a read timeout is followed by none.
PAUSES = (1.0, 4.0, 7.0)
DEFAULT_TIMEOUT = 5
MAX_REDIRECTS = 30
SIGNATURE = "X-Frappe-Webhook-Signature"
# What the requests library sends along, which is what Frappe sends with.
COMMON_HEADERS = {
    "User-Agent": "python-requests/2.32.5",
    "Accept-Encoding": "gzip, deflate, br",
    "Accept": "*/*",
    "Connection": "keep-alive",
}


@dataclass
class Delivery:
    """One webhook on its way to its receiver."""

    webhook: str
    doctype: str
    name: str
    document: Mapping[str, Any] = field(repr=False)
    user: str
    attempt: int = 1


@dataclass
class Prepared:
    """The request of a delivery."""

    method: str
    url: str
    headers: dict[str, Any]
    data: Any
    timeout: float

    @property
    def body(self) -> bytes:
        return json.dumps(self.data, default=str).encode()


# -- the document --------------------------------------------------------------------------------------


@hook("Webhook", "validate")
def validate(ctx: Context, doc: Document) -> None:
    """integrations/doctype/webhook/webhook.py, validate."""
    meta = ctx.store.meta(str(doc.get("webhook_doctype")))
    if meta is not None and not meta.is_submittable and doc.get("webhook_docevent") in SUBMISSIONS:
        throw(ctx, "DocType must be Submittable for the selected Doc Event")
    check_condition(ctx, doc)
    if not urlsplit(str(doc.get("request_url") or "")).netloc:
        throw(ctx, "Check Request URL")
    if doc.get("request_structure") == "Form URL-Encoded":
        doc.values["webhook_json"] = None
    elif doc.get("request_structure") == "JSON":
        doc.set("webhook_data", [])
    fields = [row.get("fieldname") for row in doc.rows("webhook_data")]
    if len(fields) != len(set(fields)):
        throw(ctx, "Same Field is entered more than once")
    if doc.get("enable_security") and not has_secret(ctx, doc):
        throw(ctx, "Invalid Webhook Secret")


SUBMISSIONS = frozenset({"on_submit", "on_cancel", "on_update_after_submit"})


def check_condition(ctx: Context, doc: Document) -> None:
    """It is tried on an empty new document, whose numbers are None."""
    condition, doctype = doc.get("condition"), str(doc.get("webhook_doctype"))
    meta = ctx.store.meta(doctype)
    if not condition or meta is None:
        return
    empty = dict.fromkeys(meta.columns) | documents.new_values(ctx, meta)
    try:
        templating.evaluate(str(condition), names(empty, lenient=False))
    except Exception as problem:
        throw(ctx, f"Invalid Condition: {problem}")


def has_secret(ctx: Context, doc: Document) -> bool:
    return bool(doc.get("webhook_secret") or ctx.store.secret("Webhook", str(doc.name), "webhook_secret"))


def add_previews(ctx: Context, answer: Any) -> None:
    """v15 computes two fields whenever a Webhook is shown; they need a document to preview, which nobody keeps."""
    if ctx.version < 16 and isinstance(answer, dict) and answer.get("doctype") == "Webhook":
        chosen = "Select a document to check if it meets conditions."
        answer["meets_condition"] = chosen if answer.get("condition") else "Yes"
        answer["preview_request_body"] = "Select a document to preview request data"


# -- which webhooks fire -------------------------------------------------------------------------------


def deliveries(ctx: Context) -> list[Delivery]:
    """What the events of this transaction fire, the last state of each document once a webhook."""
    last: dict[tuple[str, str], Delivery] = {}
    for event, doctype, name, document in ctx.events:
        for webhook in listening(ctx, doctype, event):
            if meets_condition(webhook, document):
                # Its place among the others is that of its last occurrence.
                last.pop((webhook["name"], name), None)
                seen = snapshot(document)
                last[webhook["name"], name] = Delivery(webhook["name"], doctype, name, seen, ctx.user)
    return list(last.values())


# Where Document.as_dict puts the link of a child row to its parent.
LAST = ("parent", "parentfield", "parenttype", "doctype", "__unsaved")


def snapshot(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document as webhooks see it, in Frappe's order of keys."""
    shown = {key: value for key, value in document.items() if key not in ("__unsaved", "__islocal")}
    for key, value in shown.items():
        if isinstance(value, list):
            shown[key] = [ordered(row) if isinstance(row, dict) else row for row in value]
    return shown


def ordered(row: Mapping[str, Any]) -> dict[str, Any]:
    first = {key: value for key, value in row.items() if key not in LAST}
    return first | {key: row[key] for key in LAST if key in row}


def listening(ctx: Context, doctype: str, event: str) -> list[Row]:
    wanted = {"enabled": 1, "webhook_doctype": doctype, "webhook_docevent": event}
    return ctx.store.rows("Webhook", wanted) if "Webhook" in ctx.store.doctypes else []


def meets_condition(webhook: Row, document: Mapping[str, Any]) -> bool:
    condition = webhook.get("condition")
    return not condition or bool(templating.evaluate(condition, names(document, lenient=False)))


def names(document: Mapping[str, Any], *, lenient: bool) -> dict[str, Any]:
    return {"doc": templating.Document(document, lenient=lenient), "utils": templating.UTILS}


# -- what they send ------------------------------------------------------------------------------------


def prepare(site: Site, delivery: Delivery) -> Prepared:
    webhook = site.store.get("Webhook", delivery.webhook)
    if webhook is None:
        raise LookupError(f"Webhook {delivery.webhook} not found")
    url = webhook["request_url"]
    if webhook["is_dynamic_url"]:
        url = templating.render(url, names(delivery.document, lenient=False))
    data = payload(site, webhook, delivery.document)
    headers: dict[str, Any] = {}
    if webhook["enable_security"]:
        headers[SIGNATURE] = sign(site.store.secret("Webhook", webhook["name"], "webhook_secret") or "", data)
    for row in children(site, webhook, "Webhook Header"):
        if row["key"] and row["value"]:
            headers[row["key"]] = row["value"]
    timeout = float(webhook["timeout"] or DEFAULT_TIMEOUT)
    return Prepared(webhook["request_method"] or "POST", url, headers, data, timeout)


def payload(site: Site, webhook: Row, document: Mapping[str, Any]) -> Any:
    mapping = children(site, webhook, "Webhook Data")
    if mapping:
        return {row["key"]: document.get(row["fieldname"]) for row in mapping}
    if webhook["webhook_json"]:
        return json.loads(templating.render(webhook["webhook_json"], names(document, lenient=True)))
    return {}


def children(site: Site, webhook: Row, doctype: str) -> list[Row]:
    return site.store.rows(doctype, {"parent": webhook["name"]}, order="idx")


def sign(secret: str, data: Any) -> str:
    """Base64 of the HMAC, over the body without the `default=str` that the body itself is written with."""
    digest = hmac.new(secret.encode(), json.dumps(data).encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


# -- sending -------------------------------------------------------------------------------------------


class SendError(Exception):
    """A failed attempt, described as the requests library would; `answer` is what came back, if anything."""

    def __init__(self, text: str, *, answer: str | None = None, timed_out: bool = False) -> None:
        super().__init__(text)
        self.answer = answer
        self.timed_out = timed_out


def transmit(prepared: Prepared) -> str:
    """Send it and follow redirects; answers the receiver's text."""
    method, url, body = prepared.method, prepared.url, prepared.body
    for _ in range(MAX_REDIRECTS):
        status, reason, location, text = exchange(method, url, body, prepared)
        if location is None or status not in (301, 302, 303, 307, 308):
            break
        url = urljoin(url, location)
        # requests turns a redirected POST into a GET, as browsers do.
        if status in (301, 302, 303):
            method, body = "GET", b""
    if status >= 400:
        kind = "Client" if status < 500 else "Server"
        problem = f"requests.exceptions.HTTPError: {status} {kind} Error: {reason} for url: {url}"
        raise SendError(problem, answer=text)
    return text


def exchange(method: str, url: str, body: bytes, prepared: Prepared) -> tuple[int, str, str | None, str]:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    connection = connect(host, port, timeout=prepared.timeout)
    pool = f"HTTP{'S' if secure else ''}ConnectionPool(host='{host}', port={port})"
    try:
        connection.connect()
    except OSError as problem:
        connection.close()
        raise SendError(unreachable(pool, host, port, parts.path, problem)) from problem
    try:
        send(connection, method, parts._replace(scheme="", netloc="", fragment="").geturl(), body, prepared)
        response = connection.getresponse()
        text = response.read().decode(errors="replace")
    except TimeoutError as problem:
        wait = f"{prepared.timeout:g}"
        said = f"requests.exceptions.ReadTimeout: {pool}: Read timed out. (read timeout={wait})"
        raise SendError(said, timed_out=True) from problem
    except (OSError, http.client.HTTPException) as problem:
        raise SendError(f"requests.exceptions.ConnectionError: {problem!r}") from problem
    finally:
        connection.close()
    return response.status, response.reason, response.getheader("Location"), text


def send(
    connection: http.client.HTTPConnection, method: str, target: str, body: bytes, prepared: Prepared
) -> None:
    connection.putrequest(method, quote(target or "/", safe="/?&=%:;,+$!*'()@~"), skip_accept_encoding=True)
    headers = {**COMMON_HEADERS, **prepared.headers}
    if body:
        headers["Content-Length"] = str(len(body))
    for key, value in headers.items():
        connection.putheader(key, value)
    connection.endheaders(body or None)


def unreachable(pool: str, host: str, port: int, path: str, problem: OSError) -> str:
    cause = f"HTTPConnection(host='{host}', port={port}): Failed to establish a new connection: {problem}"
    return (
        f"requests.exceptions.ConnectionError: {pool}: Max retries exceeded with url: {path} "
        f'(Caused by NewConnectionError("{cause}"))'
    )


# -- the worker ----------------------------------------------------------------------------------------


class Sender:
    """The background worker: a thread that begins with the first delivery and ends with the sandbox."""

    def __init__(self, site: Site, pauses: tuple[float, ...] = PAUSES) -> None:
        self.site = site
        self.pauses = pauses
        self.waiting: list[tuple[float, int, Delivery]] = []
        self.counter = itertools.count()
        self.wake = threading.Condition()
        self.thread: threading.Thread | None = None
        self.stopped = False

    def send(self, jobs: list[Delivery]) -> None:
        for job in jobs:
            self.schedule(job, 0)

    def schedule(self, job: Delivery, pause: float) -> None:
        with self.wake:
            if self.stopped:
                return
            heapq.heappush(self.waiting, (time.monotonic() + pause, next(self.counter), job))
            if self.thread is None:
                self.thread = threading.Thread(target=self.run, name="sandbox:webhooks", daemon=True)
                self.thread.start()
            self.wake.notify()

    def stop(self) -> None:
        with self.wake:
            self.stopped = True
            self.waiting.clear()
            self.wake.notify()
        if self.thread is not None:
            self.thread.join(timeout=5)

    def run(self) -> None:
        while (job := self.next()) is not None:
            self.attempt(job)

    def next(self) -> Delivery | None:
        """Wait for the delivery that is due first."""
        with self.wake:
            while not self.stopped:
                pause = self.waiting[0][0] - time.monotonic() if self.waiting else None
                if pause is not None and pause <= 0:
                    return heapq.heappop(self.waiting)[2]
                self.wake.wait(pause)
        return None

    def attempt(self, job: Delivery) -> None:
        try:
            with self.site.lock:
                prepared = prepare(self.site, job)
        except Exception as problem:
            # It is not tried again; the log keeps the reason (webhook.py, enqueue_webhook).
            self.log(job, None, None, f"{described(problem)}: {problem}")
            return
        try:
            answer = transmit(prepared)
        except SendError as problem:
            self.log(job, prepared, problem.answer, str(problem))
            self.again(job, timed_out=problem.timed_out)
        else:
            self.log(job, prepared, answer, "")

    def again(self, job: Delivery, *, timed_out: bool) -> None:
        if job.attempt >= len(PAUSES):
            return
        pause = 0.0 if timed_out else self.pauses[job.attempt - 1]
        job.attempt += 1
        self.schedule(job, pause)

    def log(self, job: Delivery, prepared: Prepared | None, answer: str | None, problem: str) -> None:
        if self.stopped:
            return
        traceback = f'Traceback (most recent call last):\n  File "sandbox", in enqueue_webhook\n{problem}'
        now = self.site.now_text()
        row = {
            "name": secrets.token_hex(5),
            "owner": job.user,
            "modified_by": job.user,
            "creation": now,
            "modified": now,
            "docstatus": 0,
            "idx": 0,
            "webhook": job.webhook,
            "reference_doctype": job.doctype,
            "reference_document": job.name,
            "user": job.user,
            "url": prepared.url if prepared else None,
            "headers": logged_headers(prepared.headers) if prepared and prepared.headers else None,
            "data": templating.as_json(prepared.data) if prepared and prepared.data else None,
            "response": answer,
            "error": traceback if problem else "",
        }
        with self.site.lock:
            self.site.store.insert("Webhook Request Log", row)
            self.site.store.commit()


def logged_headers(headers: Mapping[str, Any]) -> str:
    """Frappe logs the signature, which it holds as bytes, as a list of numbers."""
    shown = {key: list(value.encode()) if key == SIGNATURE else value for key, value in headers.items()}
    return templating.as_json(shown)


def described(problem: Exception) -> str:
    module = type(problem).__module__
    prefix = "" if module in ("builtins", "json.decoder") else f"{module}."
    return (
        "json.decoder.JSONDecodeError"
        if isinstance(problem, json.JSONDecodeError)
        else f"{prefix}{type(problem).__name__}"
    )
