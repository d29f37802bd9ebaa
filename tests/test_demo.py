"""The demo as one command: what it says, what its pages take, and that nothing of it stays."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from project.processes import Children
from project.walking import Walker
from tests.demo_process import ROOT, DemoProcess

demo_group = pytest.mark.xdist_group("demo")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    with DemoProcess(tmp_path_factory.mktemp("demo") / "state") as running:
        yield running
        assert_stops(running, signal.SIGTERM)


@pytest.fixture
def anybody(demo):
    with Walker(demo.url) as walker:
        yield walker


@pytest.fixture
def alice(demo, anybody):
    """The demo's user "demo", connected as Alice."""
    anybody.send(anybody.get("/sign-in/"), username="demo", password="demo").expect(path="/")
    anybody.log_in(demo.site_url, "alice@example.com", "alice-sandbox")
    consent = anybody.send(anybody.get("/"), "/erpnext/connect/")
    anybody.allow(consent, home=demo.url).expect(path="/customers/")
    yield anybody
    anybody.send(anybody.get("/erpnext/disconnect/"), "/erpnext/disconnect/")


def requests_of(page) -> int:
    found = re.search(r"(\d+) requests?</strong> to ERPNext", page.text)
    return int(found[1]) if found else 0


@demo_group
def test_it_says_where_to_click_and_who_to_sign_in_as(demo):
    for text in ("Open  ", "demo / demo", "alice@example.com / alice-sandbox", "Ctrl-C stops all of it."):
        assert demo.said(text)


@demo_group
def test_pages_name_no_address_but_their_own_and_the_sites(demo, anybody):
    for path in ("/", "/sign-in/", "/no-such-page/"):
        page = anybody.get(path)
        for address in re.findall(r"""(?:src|href|action)=["'](https?://[^"']+)""", page.text):
            assert address.startswith(demo.site_url), page.path
    assert anybody.get("/static/site.css").status == 200


@demo_group
def test_a_page_that_is_not_there_has_the_look_of_the_site(anybody):
    page = anybody.get("/no-such-page/").expect(status=404)
    assert page.heading == "There is no such page"


@demo_group
def test_documents_are_for_connected_users(anybody):
    assert anybody.get("/customers/").path == "/sign-in/"
    anybody.send(anybody.get("/sign-in/"), username="guest", password="guest")
    assert anybody.get("/customers/").path == "/erpnext/connect/"


@demo_group
def test_a_list_costs_two_requests_whatever_is_asked_for(alice):
    alice.get("/customers/")
    for query in ({}, {"order": "-modified", "page": "2"}, {"q": "a", "state": "active"}):
        assert requests_of(alice.get("/customers/", **query).expect()) == 2


@demo_group
def test_a_customer_with_all_orders_and_rows_costs_four_requests(alice):
    links = alice.get("/customers/").links(r"^/customers/[^?]+/$")
    pages = [alice.get(link.href).expect() for link in links[:8]]
    with_orders = [page for page in pages if "<article" in page.text]
    assert with_orders
    assert {requests_of(page) for page in with_orders} == {4}


@demo_group
def test_a_customer_that_is_not_there_is_a_404(alice):
    alice.get("/customers/No such customer/").expect(status=404)


@demo_group
def test_a_lead_without_a_first_name_is_not_queued(alice):
    page = alice.send(alice.get("/leads/new/"), first_name=" ", email_id="nonsense")
    assert page.expect(path="/leads/new/").text.count('class="problem"') == 2


@demo_group
def test_no_code_and_no_state_is_in_the_output(demo, alice):
    assert demo.said('"GET /erpnext/callback/ HTTP/1.1" 302')
    assert not re.search(r"[?&](code|state|code_challenge)=", demo.text)


@demo_group
def test_its_state_is_for_its_owner_alone(demo):
    assert demo.state.stat().st_mode & 0o777 == 0o700
    assert (demo.state / "keys.json").stat().st_mode & 0o777 == 0o600


def assert_stops(demo, number):
    family = demo.family()
    assert len(family) >= 4, "the demo, the web server, the worker and its clock"
    assert demo.stop(number) == 0
    assert_gone(family)


def assert_gone(pids):
    deadline = time.monotonic() + 60
    # Those whose parent is gone are zombies until the system's first process looks at them.
    while left := [pid for pid in pids if state_of(pid) not in ("", "Z")]:
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.05)


def state_of(pid) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def test_ctrl_c_stops_all_of_it(tmp_path):
    with DemoProcess(tmp_path / "state") as demo:
        assert_stops(demo, signal.SIGINT)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(demo.url.rpartition(":")[2])), timeout=1)


def test_one_that_dies_takes_the_others_along(tmp_path):
    with DemoProcess(tmp_path / "state") as demo:
        family = demo.family()
        os.kill(family[-1], signal.SIGKILL)
        assert demo.process.wait(60) == 1
        assert_gone(family)
        assert demo.said("ended by itself")


def run(module, **environment):
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ERPNEXT_", "DJANGO_"))}
    return subprocess.run(
        [sys.executable, "-m", module],
        cwd=ROOT,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_taken_port_is_told_with_another_to_take():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run("project.demo", PORT=str(port))
    assert done.returncode == 1
    assert f"Port {port} is taken" in done.stdout
    assert f"make demo PORT={port + 10}" in done.stdout


def test_a_real_site_needs_its_oauth_client():
    done = run("project.demo", ERPNEXT_URL="https://erp.example.com", PORT="8123")
    assert done.returncode == 1
    assert "ERPNEXT_CLIENT_ID" in done.stdout
    assert "http://localhost:8123/erpnext/callback/" in done.stdout


# On version 15 it is `make smoke`.
def test_the_main_job_is_done_on_version_16():
    done = run("project.smoke", SANDBOX_VERSION="16")
    assert done.stdout.splitlines()[-1:] == ["main job: ok"], done.stdout + done.stderr


def test_a_failed_main_job_says_so_and_fails():
    done = run("project.smoke", ERPNEXT_URL="http://127.0.0.1:9", ERPNEXT_CLIENT_ID="x", PORT="0")
    assert done.returncode == 1
    assert "main job: failed: ERPNEXT_URL is set, but ERPNEXT_USER is not" in done.stdout


STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), os.getppid(), sep="\\n", flush=True)
time.sleep(60)
"""
PARENT = (
    f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {STUBBORN!r}]); time.sleep(60)"
)


def test_a_child_ends_with_all_that_it_started():
    children = Children(dict(os.environ), ROOT, lambda label, line: None)
    try:
        child = children.start("web", sys.executable, "-c", PARENT)
        child.wait_for(lambda: len(child.lines) == 2, 60)
    finally:
        children.stop()
    assert_gone([int(pid) for pid in child.lines])
