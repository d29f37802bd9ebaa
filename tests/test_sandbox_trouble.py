"""Faults on demand: each kind does what its name says, to the requests it is meant for."""

from __future__ import annotations

import pytest
import requests

from erpnext_bridge.sandbox import Sandbox, User, World

ALICE = "alice@example.com"
PING = "/api/method/ping"
WHO = "/api/method/frappe.auth.get_logged_user"


@pytest.fixture
def site():
    world = World()
    world.add_user(User(ALICE, roles=["System Manager"], password="a sandbox password"))
    with Sandbox(15, world) as sandbox:
        yield sandbox


def ping(site, **options):
    return requests.get(site.url + PING, timeout=10, **options)


def new_secret(site):
    """A request that changes something: the answer is the new API secret."""
    key, secret = site.api_key(ALICE)
    headers = {"Authorization": f"token {key}:{secret}"}
    path = "/api/method/frappe.core.doctype.user.user.generate_keys"
    return requests.post(site.url + path, json={"user": ALICE}, headers=headers, timeout=5)


def test_a_dropped_request_did_nothing(site):
    before = site.api_key(ALICE)
    site.trouble("drop_before")
    with pytest.raises(requests.ConnectionError):
        new_secret(site)
    assert site.api_key(ALICE) == before
    assert site.requests[-1].status is None


def test_a_dropped_answer_belongs_to_a_request_that_was_done(site):
    before = site.api_key(ALICE)
    site.trouble("drop_after")
    with pytest.raises(requests.ConnectionError):
        new_secret(site)
    assert site.api_key(ALICE) != before
    assert (site.requests[-1].status, site.requests[-1].user) == (None, ALICE)


def test_a_truncated_answer_ends_before_its_length(site):
    site.trouble("truncated")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        ping(site)
    assert ping(site).json() == {"message": "pong"}


def test_latency_delays_and_changes_nothing_else(site):
    site.trouble("latency", seconds=0.2)
    with pytest.raises(requests.ReadTimeout):
        requests.get(site.url + PING, timeout=0.05)
    site.trouble("latency", seconds=0.01)
    assert ping(site).json() == {"message": "pong"}


@pytest.mark.parametrize("seconds", [7, None])
def test_a_rate_limit_says_when_to_come_back_if_it_is_told_to(site, seconds):
    site.trouble("rate_limited", retry_after=seconds)
    answer = ping(site)
    assert (answer.status_code, answer.json()["exc_type"]) == (429, "TooManyRequestsError")
    assert answer.headers.get("Retry-After") == (str(seconds) if seconds else None)


@pytest.mark.parametrize(
    ("kind", "status", "exc_type"),
    [("unavailable", 503, "SessionStopped"), ("deadlock", 500, "QueryDeadlockError")],
)
def test_a_busy_site_answers_json(site, kind, status, exc_type):
    site.trouble(kind)
    answer = ping(site)
    assert (answer.status_code, answer.json()["exc_type"]) == (status, exc_type)


@pytest.mark.parametrize(
    ("kind", "status", "title"),
    [("maintenance", 503, "Updating"), ("html", 200, "Welcome"), ("bad_gateway", 502, "502 Bad Gateway")],
)
def test_some_answers_are_pages(site, kind, status, title):
    site.trouble(kind)
    answer = ping(site)
    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith("text/html")
    assert f"<title>{title}</title>" in answer.text


def test_an_error_page_can_be_huge(site):
    site.trouble("huge")
    with ping(site, stream=True) as answer:
        assert answer.status_code == 500
        assert int(answer.headers["Content-Length"]) >= 20 * 1024 * 1024
    site.trouble("huge", size=1000)
    assert 1000 <= len(ping(site).content) < 2000


def test_a_trouble_comes_as_often_as_it_is_told_to(site):
    site.trouble("unavailable", times=2)
    assert [ping(site).status_code for _ in range(3)] == [503, 503, 200]
    site.trouble("unavailable", times=None)
    assert [ping(site).status_code for _ in range(3)] == [503, 503, 503]
    site.trouble_clear()
    assert ping(site).status_code == 200


def test_a_trouble_chooses_its_requests(site):
    site.trouble("unavailable", match="/api/method/frappe.auth")
    assert ping(site).status_code == 200
    assert requests.get(site.url + WHO, timeout=5).status_code == 503
    site.trouble("unavailable", match=lambda incoming: incoming.method == "POST")
    assert ping(site).status_code == 200
    assert requests.post(site.url + PING, timeout=5).status_code == 503


def test_troubles_are_met_in_the_order_in_which_they_were_made(site):
    site.trouble("bad_gateway")
    site.trouble("unavailable")
    assert [ping(site).status_code for _ in range(3)] == [502, 503, 200]


def test_a_trouble_that_does_not_exist_is_refused_by_name(site):
    with pytest.raises(ValueError, match=r"There is no trouble 'flood'\. Choose one of bad_gateway, "):
        site.trouble("flood")
    with pytest.raises(TypeError, match="The trouble 'html' takes no option 'seconds'"):
        site.trouble("html", seconds=1)
