"""The sandbox as its users hold it: start and stop, credentials, rows, the request log, faults on demand."""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl

from . import accounts, clients, documents, files, webhooks
from .app import Application
from .budget import Budget
from .context import Context, Site
from .gate import Gate
from .server import Answer, Environ, Server
from .trouble import Incoming, Match, Trouble, Troubles
from .world import World

ADMINISTRATOR = "Administrator"
KEPT_REQUESTS = 50_000
LONG_AGO = "2000-01-01 00:00:00.000000"
HIDDEN_PARAMETERS = frozenset(
    {
        "access_token",
        "api_key",
        "api_secret",
        "client_secret",
        "code",
        "code_verifier",
        "csrf_token",
        "password",
        "pwd",
        "refresh_token",
        "sid",
        "token",
    }
)


@dataclass(frozen=True)
class Request:
    """One request that the sandbox saw. Credentials, cookies and bodies are not kept."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    status: int | None = None
    """None when the connection was closed without an answer."""
    user: str | None = None
    doctype: str | None = None

    @property
    def rpc(self) -> str:
        """The dotted path of a method call, or an empty text."""
        _, found, name = self.path.partition("/method/")
        return name if found else ""


class Sandbox:
    """An ERPNext in this process, listening on a local port between `with` and its end."""

    def __init__(
        self,
        version: int = 15,
        world: World | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        webhook_pauses: tuple[float, ...] = webhooks.PAUSES,
        keep_requests: int = KEPT_REQUESTS,
    ) -> None:
        if version not in (15, 16):
            raise ValueError(f"The sandbox knows Frappe 15 and 16, not {version!r}.")
        self.version = version
        self.world = world if world is not None else World.demo()
        self.requests: list[Request] = []
        """The latest `keep_requests` requests at least, oldest first: a sandbox that runs for weeks forgets the others."""
        self.forgotten = 0
        """How many have gone from the front of `requests`."""
        self.keep_requests = keep_requests
        self.site = Site.open(self.world, version)
        files.install(self.site)
        self.gate = Gate()
        self.sender = webhooks.Sender(self.site, webhook_pauses)
        self.troubles = Troubles()
        self._log_guard = threading.Lock()
        self._application = Application(self.site, self.gate, self.sender.send)
        self._server = Server(self._answer, host, port, self.site.time)

    def __repr__(self) -> str:
        return f"<Sandbox v{self.version} at {self.url}>"

    @property
    def url(self) -> str:
        return self._server.url

    # -- life

    def start(self) -> Self:
        self._server.start()
        self.site.base_url = self.url
        return self

    def stop(self) -> None:
        self._server.stop()
        self.sender.stop()
        with self.site.lock:
            self.site.store.connection.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- credentials

    def api_key(self, user: str) -> tuple[str, str]:
        """Key and secret of a user, made when there are none."""
        with self.site.lock:
            key = self.site.store.value("User", user, "api_key")
            secret = accounts.api_secret(self.site, user)
            if not (key and secret):
                key, secret = accounts.new_keys(self.site, user)
                self.site.store.commit()
        return str(key), secret

    def set_password(self, user: str, password: str) -> None:
        with self.site.lock:
            self.site.store.set_secret("User", user, "password", password)
            self.site.store.commit()

    def oauth_client(
        self,
        redirect_uris: list[str],
        scopes: str = "all openid",
        *,
        app_name: str = "Sandbox client",
        skip_authorization: bool = False,
    ) -> tuple[str, str]:
        """Register an OAuth client; answers its id and secret."""
        values = {
            "app_name": app_name,
            "scopes": scopes,
            "redirect_uris": " ".join(redirect_uris),
            "default_redirect_uri": redirect_uris[0],
            "grant_type": "Authorization Code",
            "response_type": "Code",
            "skip_authorization": int(skip_authorization),
        }
        with self.site.lock:
            row = clients.create(self.site, ADMINISTRATOR, values)
        return str(row["client_id"]), str(row["client_secret"])

    @property
    def rotate_refresh_tokens(self) -> bool:
        """Whether a refresh revokes the pair it replaces: newer servers do, 15.55 and 16.4 do not."""
        return self.gate.rotate_refresh_tokens

    @rotate_refresh_tokens.setter
    def rotate_refresh_tokens(self, value: bool) -> None:
        self.gate.rotate_refresh_tokens = value

    @property
    def token_seconds(self) -> int:
        """How long the access tokens live that are issued from now on."""
        return self.gate.token_seconds

    @token_seconds.setter
    def token_seconds(self, value: int) -> None:
        self.gate.token_seconds = value

    def expire_tokens(self, user: str | None = None) -> int:
        """Let access tokens expire, of one user or of all; answers how many."""
        return self._change_tokens(user, {"expiration_time": LONG_AGO})

    def revoke_tokens(self, user: str | None = None) -> int:
        return self._change_tokens(user, {"status": "Revoked"})

    def _change_tokens(self, user: str | None, change: dict[str, Any]) -> int:
        where = {"user": user} if user else {}
        with self.site.lock:
            found = self.site.store.rows("OAuth Bearer Token", where)
            for token in found:
                self.site.store.update("OAuth Bearer Token", token["name"], change)
            self.site.store.commit()
        return len(found)

    # -- data

    def rows(self, doctype: str) -> list[dict[str, Any]]:
        with self.site.lock:
            return self.site.store.rows(doctype)

    def document(self, doctype: str, name: str) -> dict[str, Any] | None:
        """A document with its child rows, or None."""
        store = self.site.store
        with self.site.lock:
            found = store.get(doctype, name)
            meta = store.meta(doctype)
            if found is None or meta is None:
                return None
            for field in meta.tables:
                place = {"parent": found["name"], "parenttype": doctype, "parentfield": field.fieldname}
                found[field.fieldname] = store.rows(field.options, place, order="idx")
        return found

    def insert(self, doctype: str, **values: Any) -> dict[str, Any]:
        """Create a document as Administrator, with everything that Frappe does on insert; answers it."""
        ctx = Context(site=self.site, user=ADMINISTRATOR, request_method="POST")
        store = self.site.store
        with self.site.lock:
            try:
                document = documents.insert(ctx, documents.new(ctx, doctype, values))
                fired = webhooks.deliveries(ctx)
            except Exception:
                store.rollback()
                raise
            store.commit()
            self.sender.send(fired)
            return document.as_dict()

    # -- faults

    def trouble(
        self,
        kind: str,
        times: int | None = 1,
        match: Match | str | None = None,
        *,
        method: str | Collection[str] | None = None,
        chance: float = 1.0,
        **options: Any,
    ) -> Trouble:
        """
        Let the next requests meet a fault: `times` of them (None: all), chosen by path, function or HTTP method.

        `match` is what the path begins with, a pattern of the whole path where it has a `*`, or a function of an
        `Incoming`. With a `chance` that share of them meets it; see `seed_troubles`. `met` of what is returned counts them.
        """
        return self.troubles.add(kind, times, match, method, chance, options)

    def seed_troubles(self, seed: int) -> None:
        """Start the dice behind `chance` anew: the same seed and the same requests meet the same faults."""
        self.troubles.seed(seed)

    @property
    def clock_skew(self) -> float:
        """Seconds that the site's clock is ahead: in `Date`, in what it stores, in when tokens end."""
        return self.site.skew.total_seconds()

    @clock_skew.setter
    def clock_skew(self, seconds: float) -> None:
        self.site.skew = timedelta(seconds=seconds)

    def limit_rate(self, limit: float | None, window: int = 60, *, cost: float | None = 1.0) -> None:
        """
        Give the site a rate budget, as `rate_limit` in site_config.json does; None takes it away.

        Frappe counts seconds of work: here each request counts `cost` of them, or, with None, as long as it took. As
        with Frappe, the request that uses the budget up is served, and so is one that finds nothing left but no debt.
        """
        self.gate.budget = None if limit is None else Budget(limit, window, cost)

    def trouble_clear(self) -> None:
        self.troubles.clear()

    # -- requests

    def _answer(self, environ: Environ) -> Answer:
        incoming = describe(environ)
        trouble = self.troubles.take(incoming)
        if trouble is None:
            answer = self._application(environ)
        else:
            answer = trouble.apply(lambda: self._application(environ))
        self._remember(record(incoming, environ, answer))
        return answer

    def _remember(self, request: Request) -> None:
        with self._log_guard:
            self.requests.append(request)
            surplus = len(self.requests) - self.keep_requests
            if surplus > self.keep_requests // 10:
                del self.requests[:surplus]
                self.forgotten += surplus


def describe(environ: Environ) -> Incoming:
    path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
    query = tuple(parse_qsl(environ["QUERY_STRING"], keep_blank_values=True))
    shown = tuple((key, "***" if key in HIDDEN_PARAMETERS else value) for key, value in query)
    return Incoming(environ["REQUEST_METHOD"], path, shown, doctype_of(path))


def doctype_of(path: str) -> str | None:
    parts = path.strip("/").split("/")
    for marker in ("resource", "document", "doctype"):
        if marker in parts[:3] and len(parts) > parts.index(marker) + 1:
            return parts[parts.index(marker) + 1]
    return None


def record(incoming: Incoming, environ: Environ, answer: Answer) -> Request:
    ctx = environ.get("sandbox.context")
    named = ctx.form.get("doctype") if ctx is not None else None
    doctype = incoming.doctype or (named if isinstance(named, str) else None)
    user = ctx.user if ctx is not None else None
    status = None if answer.silent else answer.status
    return Request(incoming.method, incoming.path, incoming.query, status, user, doctype)
