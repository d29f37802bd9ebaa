"""Two workers on two hosts and one PostgreSQL: one is cut off from the database while it sends, and nothing is sent twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from urllib.parse import urlsplit

import pytest

from erpnext_bridge.sandbox import Sandbox
from tests import hosts
from tests.services import PostgreSQL, service
from tests.write_site import service_account, world

LEASE = 3.0

pytestmark = [
    pytest.mark.service,
    pytest.mark.xdist_group("hosts"),
    pytest.mark.skipif(bool(hosts.missing()), reason=hosts.missing() or "there are namespaces"),
    pytest.mark.skipif(not PostgreSQL.is_installed(), reason="PostgreSQL is not installed: make services"),
]


@pytest.fixture(scope="module")
def postgresql():
    with service(PostgreSQL) as running:
        yield running


@pytest.fixture
def site():
    with Sandbox(version=15, world=world()) as running:
        yield running


class Worker:
    """Starts processes with the way to the database and to the site that one host has."""

    def __init__(self, postgresql, site, host=None):
        self.host = host
        self.database_at = host.reach(3, postgresql.port) if host else "127.0.0.1"
        port = urlsplit(site.url).port
        site_at = host.reach(4, port) if host else "127.0.0.1"
        options = {"connect_timeout": 3, "tcp_user_timeout": 2000}
        database = {**postgresql.settings, "HOST": self.database_at, "OPTIONS": options}
        address = {"URL": f"http://{site_at}:{port}", "CREATE_KEY": "marker"}
        bridge = {
            "SITES": {"default": {**address, **service_account(site, "clerk@example.com")}},
            "WRITE_LEASE": LEASE,
            "WRITE_BACKOFF": [0.0, 0.0],
            "WRITE_ATTEMPTS": 100,
            "WRITE_BREAKER": [5, 0.0, 0.0],
            "TOKEN_KEYS": [],
        }
        given = {"DATABASES": {"default": database}, "ERPNEXT_BRIDGE": bridge}
        self.environment = {**os.environ, "HOST_WORKER": json.dumps(given)}

    def start(self, *command):
        popen = self.host.popen if self.host else lambda *parts, **options: subprocess.Popen(parts, **options)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return popen(sys.executable, "-m", "tests.host_worker", *command, env=self.environment, **pipes)

    def run(self, *command):
        process = self.start(*command)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        return out.strip()


@pytest.mark.parametrize("trouble", ["answered in time", "carried out late"])
def test_one_is_cut_off_from_the_database_while_it_sends(postgresql, site, trouble):
    here = Worker(postgresql, site)
    here.run("migrate")
    arrived = threading.Event()
    pk = here.run("queue", f"one of a kind, {trouble}")

    def posts(request):
        if request.method != "GET":
            arrived.set()
            return True
        return False

    # The request is at ERPNext while the route to the database breaks. In time: its answer comes before the lease is
    # over. Late: somebody else has sent it again by the time that ERPNext gets to it.
    site.trouble("latency", match=posts, seconds=1.0 if trouble == "answered in time" else LEASE + 4)
    with hosts.Host() as first, hosts.Host() as second:
        cut_off, other = Worker(postgresql, site, first), Worker(postgresql, site, second)
        sending = cut_off.start("deliver", pk)
        assert arrived.wait(60), sending.communicate(timeout=60)
        first.cut(cut_off.database_at)
        state, name, _ = json.loads(other.run("take_over", pk))
        assert state == "done"
        first.mend(cut_off.database_at)
        sending.communicate(timeout=120)
    assert json.loads(here.run("show", pk))[:2] == [state, name]
    assert [row["name"] for row in site.rows("Ticket")] == [name]
