"""
Refreshing under stress, on a database and a site of its own: `python -m tests.refreshes` runs all of it.

Many processes want new tokens at the same moment; or one of them is killed at each step on the way there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import requests

from erpnext_bridge.sandbox import Sandbox, User, World
from tests.services import MariaDB, PostgreSQL, ServiceMissing, service

ROOT = Path(__file__).resolve().parent.parent
PROCESSES, THREADS = 16, 8
DATABASES = ("sqlite", "postgresql", "mariadb")
OAUTH = "/api/method/frappe.integrations.oauth2"


@contextmanager
def database(kind: str) -> Iterator[dict[str, Any]]:
    """Yield Django's settings of a database that is new. ServiceMissing where it is not installed."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": f"{folder}/db.sqlite3",
                "OPTIONS": {"timeout": 30},
            }
        return
    with service({"postgresql": PostgreSQL, "mariadb": MariaDB}[kind]) as running:
        yield running.settings


class Project:
    """A project in processes of its own, and its ERPNext in this one."""

    def __init__(self, settings: dict[str, Any]) -> None:
        world = World()
        world.add_user(
            User("alice@example.com", roles=["System Manager", "Desk User"], password="alice-sandbox")
        )
        self.sandbox = Sandbox(version=15, world=world).start()
        self.client_id, secret = self.sandbox.oauth_client(redirect_uris=["http://testserver/"])
        site = {"URL": self.sandbox.url, "CLIENT_ID": self.client_id, "CLIENT_SECRET": secret}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.refresh_process"],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "tests.refresh_settings",
                "REFRESH_DATABASE": json.dumps(settings),
                "REFRESH_SITE": json.dumps(site),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        self.do("setup")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()  # type: ignore[union-attr]
        self.process.wait()
        self.process.stdout.close()  # type: ignore[union-attr]
        self.sandbox.stop()

    def do(self, command: str, **arguments: Any) -> Any:
        print(json.dumps([command, arguments]), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())  # type: ignore[union-attr]
        if isinstance(answer, dict) and "error" in answer:
            raise AssertionError(answer["error"])
        return answer

    def connect(self, *, rotates: bool) -> None:
        """Give the user new tokens, whose access token expired long ago."""
        self.sandbox.rotate_refresh_tokens = rotates
        self.sandbox.revoke_tokens()
        form = {"username": "alice@example.com", "password": "alice-sandbox", "client_id": self.client_id}
        form |= {"grant_type": "password", "scope": "all openid"}
        pair = requests.post(f"{self.sandbox.url}{OAUTH}.get_token", data=form, timeout=30).json()
        self.sandbox.expire_tokens()
        tokens = {key: pair[key] for key in ("access_token", "refresh_token")}
        self.do("connect", site_url=self.sandbox.url, **tokens)
        self.sandbox.requests.clear()

    def is_honoured(self, refresh_token: str) -> bool:
        """Whether the site would give new tokens for this one."""
        rows = self.sandbox.rows("OAuth Bearer Token")
        return any(row["refresh_token"] == refresh_token and row["status"] == "Active" for row in rows)

    def living(self) -> list[str]:
        """The access tokens that ERPNext has not revoked."""
        rows = self.sandbox.rows("OAuth Bearer Token")
        return [row["name"] for row in rows if row["status"] == "Active"]

    @property
    def refreshes(self) -> int:
        return sum(request.rpc.endswith("get_token") for request in self.sandbox.requests)


# Many at once


@dataclass
class Flight:
    """What came of many processes and threads that all found the token expired."""

    outcomes: Counter[str]
    refreshes: int
    stored_lives: bool
    living: int


def fly(project: Project, *, rotates: bool, processes: int = PROCESSES, threads: int = THREADS) -> Flight:
    project.connect(rotates=rotates)
    outcomes = project.do("together", processes=processes, threads=threads)
    stored = project.do("state")
    works = requests.get(
        f"{project.sandbox.url}/api/method/frappe.auth.get_logged_user",
        headers={"Authorization": f"Bearer {stored['access_token']}"},
        timeout=30,
    ).ok
    lives = works and project.is_honoured(stored["refresh_token"]) and stored["health"] == "healthy"
    return Flight(Counter(outcomes), project.refreshes, lives, len(project.living()))


# Killed at each step


@dataclass
class Kill:
    """What came of one refresh that was killed, and of the one after it."""

    step: str
    killed: bool
    honoured: bool
    """Whether ERPNext would still have given tokens for the refresh token that was stored then."""
    outcome: str
    ended: bool
    living: int
    pending: int

    @property
    def lost(self) -> bool:
        """Whether a connection is over which ERPNext would have kept up."""
        return self.honoured and (self.ended or self.outcome != "alice@example.com")


def kill(project: Project, kind: str, number: int, *, rotates: bool) -> Kill:
    project.connect(rotates=rotates)
    killed = project.do("die", kind=kind, number=number)["killed"]
    honoured = project.is_honoured(project.do("state")["refresh_token"])
    after = project.do("recover")
    return Kill(
        f"{kind} {number}",
        killed,
        honoured,
        after["outcome"],
        after["ended"],
        len(project.living()),
        after["pending"],
    )


def kills(project: Project, *, rotates: bool) -> Iterator[Kill]:
    """Kill at each step that there is."""
    for kind in ("before", "after", "answer"):
        number = 0
        while True:
            done = kill(project, kind, number, rotates=rotates)
            if not done.killed:
                break
            yield done
            number += 1


def main() -> int:
    bad = 0
    for kind in DATABASES:
        try:
            with database(kind) as settings, Project(settings) as project:
                bad += report_flights(kind, project) + report_kills(kind, project)
        except ServiceMissing as missing:
            print(f"{kind}: left out, {missing}")
    return 1 if bad else 0


def report_flights(kind: str, project: Project) -> int:
    bad = 0
    for rotates in (False, True):
        flight = fly(project, rotates=rotates)
        failed = flight.outcomes.total() - flight.outcomes["alice@example.com"]
        bad += failed + (flight.refreshes != 1) + (not flight.stored_lives)
        print(
            f"{kind}, {'rotating' if rotates else 'not rotating'}: {PROCESSES} processes with {THREADS} threads, "
            f"{flight.refreshes} refresh, {failed} failed calls, stored pair {'alive' if flight.stored_lives else 'DEAD'}"
        )
    return bad


def report_kills(kind: str, project: Project) -> int:
    """Kill a hundred times at least, at each step equally often."""
    bad = 0
    for rotates in (False, True):
        done: list[Kill] = []
        while len(done) < 100:
            done += kills(project, rotates=rotates)
        lost, ended = sum(one.lost for one in done), sum(one.ended for one in done)
        bad += lost + (0 if rotates else ended)
        print(
            f"{kind}, {'rotating' if rotates else 'not rotating'}: killed {len(done)} times at "
            f"{len({one.step for one in done})} steps, {lost} connections lost, {ended} to be made again"
        )
    return bad


if __name__ == "__main__":
    sys.exit(main())
