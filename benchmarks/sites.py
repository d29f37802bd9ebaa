"""
The site that is measured, the package set up for it, and the same requests by hand.

It is the real site of ERPNEXT_URL, with an administrator's ERPNEXT_API_KEY and ERPNEXT_API_SECRET, or else a sandbox in
a process of its own. At a real site the rows stay for the next run; `python -m benchmarks.sites` removes them.
A sandbox answers faster than an ERPNext does, so what the package costs looks larger there than it is.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from tempfile import NamedTemporaryFile
from typing import Any

import django
import requests
from django.conf import settings

from benchmarks.timing import ROUNDS
from tests.own_doctypes import READER, OwnDocTypes, administrator, definition

SANDBOX = f"""
import json, sys
from erpnext_bridge.sandbox import Sandbox
from tests.own_doctypes import world_of
content = json.load(open(sys.argv[1]))
with Sandbox(world=world_of(content["doctypes"], content["documents"])) as site:
    print(site.url, *site.api_key({READER!r}), flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True)
class MeasuredSite:
    """A site with documents, and a key that may read them."""

    url: str
    key: str
    secret: str = field(repr=False)
    kind: str
    """"sandbox" or "real site", for the title of a figure."""

    def by_hand(self) -> ByHand:
        return ByHand(self)


class ByHand:
    """Plain requests, with one session as a careful author would have it."""

    def __init__(self, site: MeasuredSite) -> None:
        self.url = f"{site.url}/api/resource"
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"token {site.key}:{site.secret}"

    def get(self, path: str, **params: Any) -> Any:
        """Return the data of a GET; lists and dicts go as JSON."""
        sent = {
            key: json.dumps(value) if isinstance(value, list | dict) else value
            for key, value in params.items()
        }
        answer = self.session.get(f"{self.url}/{path}", params=sent, timeout=120)
        answer.raise_for_status()
        return answer.json()["data"]


@contextmanager
def measured_site(
    doctypes: Sequence[Mapping[str, Any]], documents: Sequence[Mapping[str, Any]]
) -> Iterator[MeasuredSite]:
    """Yield the site with these documents, and set the package up for its service account."""
    client = administrator()
    if client is None:
        with _sandbox(doctypes, documents) as site:
            _configure(site)
            yield site
        return
    own = OwnDocTypes(client, doctypes)
    own.make()
    own.fill(documents)
    credentials: Any = client.credentials
    site = MeasuredSite(client.url, credentials.key, credentials.secret, "real site")
    _configure(site)
    yield site


@contextmanager
def _sandbox(
    doctypes: Sequence[Mapping[str, Any]], documents: Sequence[Mapping[str, Any]]
) -> Iterator[MeasuredSite]:
    with NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as content:
        json.dump({"doctypes": list(map(definition, doctypes)), "documents": list(documents)}, content)
        content.flush()
        command = [sys.executable, "-c", SANDBOX, content.name]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                url, key, secret = process.stdout.readline().split()  # type: ignore[union-attr]
                yield MeasuredSite(url, key, secret, "sandbox")
            finally:
                process.stdin.close()  # type: ignore[union-attr]


def _configure(site: MeasuredSite) -> None:
    settings.configure(
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "erpnext_bridge",
            "benchmarks",
        ],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        ERPNEXT_BRIDGE={
            "SITES": {"default": {"URL": site.url, "API_KEY": site.key, "API_SECRET": site.secret}}
        },
        USE_TZ=True,
        TIME_ZONE="UTC",
    )
    django.setup()
    print(f"{site.kind} at {site.url}, median of {ROUNDS} rounds", flush=True)


def main() -> None:
    from benchmarks import bench_writes
    from benchmarks.documents import DOCTYPES

    client = administrator()
    if client is None:
        raise SystemExit("Set ERPNEXT_URL to the real site that has rows of the benchmarks.")
    OwnDocTypes(client, [*DOCTYPES, *bench_writes.DOCTYPES]).remove()


if __name__ == "__main__":
    main()
