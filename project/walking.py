"""A browser without JavaScript, as far as the demo's pages and ERPNext's login and Allow pages need one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

TIMEOUT = 30
MAX_REDIRECTS = 10


class WalkError(Exception):
    """A page is not what the next step needs; the message says which one, and never its query string."""


@dataclass
class Form:
    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


@dataclass
class Link:
    href: str
    text: str = ""


class _Reader(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[Link] = []
        self._open: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._open.add(tag)
        if tag == "form":
            self.forms.append(Form(given.get("action", ""), given.get("method", "get").lower()))
        elif tag == "a":
            self.links.append(Link(given.get("href", "")))
        elif tag == "input" and "form" in self._open and given.get("name"):
            self.forms[-1].fields[given["name"]] = given.get("value", "")

    def handle_data(self, data: str) -> None:
        if "a" in self._open:
            self.links[-1].text += data

    def handle_endtag(self, tag: str) -> None:
        self._open.discard(tag)


@dataclass(frozen=True)
class Page:
    """An answer, with what can be done on it."""

    url: str
    status: int
    text: str

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def heading(self) -> str:
        found = re.search(r"<h1[^>]*>(.*?)</h1>", self.text, re.DOTALL)
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", found[1])).split()) if found else ""

    def form(self, action: str) -> Form:
        """Return the form that is sent to an address with this text in it; "" for the page's own address."""
        for form in _Reader(self.text).forms:
            if form.method == "post" and (action in form.action if action else not form.action):
                return form
        raise WalkError(f"{self} has no form to {action or 'itself'}.")

    def links(self, pattern: str) -> list[Link]:
        """Return the links to addresses that match a pattern."""
        return [link for link in _Reader(self.text).links if re.search(pattern, link.href)]

    def expect(self, *, status: int = 200, path: str | None = None) -> Page:
        if self.status != status or (path is not None and self.path != path):
            raise WalkError(f"{self} was to be {status} {path or ''}".rstrip() + ".")
        return self

    def __str__(self) -> str:
        return f"{self.path} ({self.status}, {self.heading!r})"


class Walker:
    """Follows links and redirects with a cookie jar for each host."""

    def __init__(self, home: str) -> None:
        self.home = home
        self._session = requests.Session()
        self._session.trust_env = False

    def __enter__(self) -> Walker:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def get(self, path: str, **query: str) -> Page:
        return self._walk("GET", urljoin(self.home, path), params=query)

    def json(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.get(path).expect().text)
        return found

    def send(self, page: Page, action: str = "", **fields: str) -> Page:
        """Send a form of a page with these fields filled in."""
        form = page.form(action)
        url = urljoin(page.url, form.action or page.url)
        return self._walk("POST", url, data=form.fields | fields, headers={"Referer": page.url})

    def log_in(self, site: str, user: str, password: str) -> None:
        """Log in at ERPNext by the request that its login page makes."""
        answer = self._session.post(
            f"{site}/api/method/login", data={"usr": user, "pwd": password}, timeout=TIMEOUT
        )
        if answer.status_code != 200:
            raise WalkError(f"ERPNext did not let {user} in ({answer.status_code}).")

    def allow(self, page: Page, *, home: str) -> Page:
        """Click Allow on ERPNext's page; what it comes back to is looked for at our own `home`."""
        if page.url.startswith(home):
            return page
        found = re.search(r"""["']([^"'\s]*oauth2\.approve\?[^"'\s]*)["']""", page.text)
        if found is None:
            raise WalkError(f"{page} has no Allow button.")
        return self._walk("GET", urljoin(page.url, unescape(found[1])), home=home)

    def log_out(self, site: str) -> None:
        self._session.post(f"{site}/api/method/logout", timeout=TIMEOUT)

    def _walk(self, method: str, url: str, *, home: str = "", **request: Any) -> Page:
        for _ in range(MAX_REDIRECTS):
            answer = self._session.request(method, url, allow_redirects=False, timeout=TIMEOUT, **request)
            if not answer.is_redirect:
                return Page(answer.url, answer.status_code, answer.text)
            url = urljoin(url, answer.headers["Location"])
            if home and "/erpnext/callback/" in url:
                parts = urlsplit(url)
                url = f"{home}{parts.path}?{parts.query}"
            method, request = "GET", {}
        raise WalkError(f"{urlsplit(url).path} redirects without an end.")
