"""Faults on demand: each kind does what its name says, to the requests it is meant for."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
import requests

from erpnext_bridge.sandbox import Sandbox, User, World, console

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
    return requests.get(site.url + PING, timeout=60, **options)


def new_secret(site):
    """A request that changes something: the answer is the new API secret."""
    key, secret = site.api_key(ALICE)
    headers = {"Authorization": f"token {key}:{secret}"}
    path = "/api/method/frappe.core.doctype.user.user.generate_keys"
    return requests.post(site.url + path, json={"user": ALICE}, headers=headers, timeout=60)


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
    site.trouble("latency", seconds=2)
    with pytest.raises(requests.ReadTimeout):
        requests.get(site.url + PING, timeout=(60, 0.05))
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
    assert requests.get(site.url + WHO, timeout=60).status_code == 503
    site.trouble("unavailable", match=lambda incoming: incoming.method == "POST")
    assert ping(site).status_code == 200
    assert requests.post(site.url + PING, timeout=60).status_code == 503


def test_troubles_are_met_in_the_order_in_which_they_were_made(site):
    site.trouble("bad_gateway")
    site.trouble("unavailable")
    assert [ping(site).status_code for _ in range(3)] == [502, 503, 200]


def test_a_trouble_that_does_not_exist_is_refused_by_name(site):
    with pytest.raises(ValueError, match=r"There is no trouble 'flood'\. Choose one of bad_gateway, "):
        site.trouble("flood")
    with pytest.raises(TypeError, match="The trouble 'html' takes no option 'seconds'"):
        site.trouble("html", seconds=1)


# Choosing requests


def test_a_pattern_is_of_the_whole_path(site):
    site.trouble("unavailable", times=None, match="/api/method/*.get_logged_user")
    assert ping(site).status_code == 200
    assert requests.get(site.url + WHO, timeout=60).status_code == 503


def test_http_methods_are_chosen_by_name(site):
    met = site.trouble("unavailable", times=None, method=("post", "PUT"))
    assert ping(site).status_code == 200
    assert requests.post(site.url + PING, timeout=60).status_code == 503
    assert requests.put(site.url + PING, timeout=60).status_code == 503
    assert met.met == 2


def faults(site, seed, count=200):
    """What each of some requests meets under three faults that leave most of them in peace."""
    site.trouble_clear()
    site.seed_troubles(seed)
    site.trouble("bad_gateway", times=None, chance=0.2)
    site.trouble("rate_limited", times=None, chance=0.1)
    site.trouble("unavailable", times=None, chance=0.05)
    with requests.Session() as session:
        return [session.get(site.url + PING, timeout=60).status_code for _ in range(count)]


def test_a_chance_meets_its_share_and_the_same_ones_again(site):
    first = faults(site, seed=7)
    assert 20 <= first.count(502) <= 60
    assert 8 <= first.count(429) <= 35
    assert 2 <= first.count(503) <= 25
    assert first == faults(site, seed=7)
    assert first != faults(site, seed=8)


def test_chances_add_up_and_certainty_takes_the_rest(site):
    site.trouble("bad_gateway", times=None, chance=0.5)
    site.trouble("unavailable", times=None, chance=0.5)
    assert {ping(site).status_code for _ in range(20)} == {502, 503}
    site.trouble_clear()
    site.trouble("bad_gateway", times=None, chance=0.5)
    site.trouble("unavailable", times=None)
    assert {ping(site).status_code for _ in range(20)} == {502, 503}


@pytest.mark.parametrize("chance", [0, -1, 1.5])
def test_a_chance_that_is_none_is_refused(site, chance):
    with pytest.raises(ValueError, match="A chance is above 0 and at most 1"):
        site.trouble("unavailable", chance=chance)


# The rate budget


@pytest.mark.parametrize("version", [15, 16])
def test_a_rate_budget_is_spent_and_says_when_it_is_full_again(version):
    with Sandbox(version, World()) as site:
        assert "X-RateLimit-Limit" not in ping(site).headers
        site.limit_rate(2, 3600)
        answers = [ping(site) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == [
            "2000000",
            "1000000",
            "0",
            "0",
        ]
        assert {answer.headers["X-RateLimit-Limit"] for answer in answers} == {"2000000"}
        assert answers[0].headers["X-RateLimit-Used"] == "1000000"
        assert "Retry-After" not in answers[2].headers
        assert 3500 < int(answers[3].headers["Retry-After"]) <= 3600
        assert answers[3].json()["exc_type"] == "TooManyRequestsError"
        page = requests.get(site.url + "/login", headers={"Accept": "text/html"}, timeout=60)
        assert (page.status_code, page.text) == (429, "Too Many Requests")
        site.limit_rate(None)
        assert ping(site).status_code == 200


def test_a_rate_budget_may_count_the_time_that_was_worked(site):
    site.limit_rate(3600, 3600, cost=None)
    assert 0 < int(ping(site).headers["X-RateLimit-Used"]) < 60_000_000


def test_the_budget_is_there_again_in_the_next_window(site):
    site.limit_rate(0, 3600)
    assert [ping(site).status_code for _ in range(2)] == [200, 429]
    site.gate.budget.began -= 3600
    assert ping(site).status_code == 200


# The clock


def test_a_clock_that_is_wrong_is_wrong_everywhere(site):
    def seconds_of(answer):
        return parsedate_to_datetime(answer.headers["Date"]).timestamp()

    def stored_at():
        name, _ = site.oauth_client(["http://localhost/"])
        return datetime.fromisoformat(site.document("OAuth Client", name)["creation"]).timestamp()

    true, before = seconds_of(ping(site)), stored_at()
    site.clock_skew = 7200
    assert 7200 <= stored_at() - before < 7300
    assert 7200 <= seconds_of(ping(site)) - true < 7300
    assert site.clock_skew == 7200


# The log


def test_a_long_run_forgets_its_oldest_requests():
    with Sandbox(15, World(), keep_requests=10) as site:
        for _ in range(25):
            ping(site)
        assert len(site.requests) <= 11
        assert site.forgotten + len(site.requests) == 25


# By what is typed


def test_the_console_does_what_the_methods_do(site):
    assert console.obey(site, "trouble unavailable times=1 method=GET,PUT retry_after=4") == (
        "trouble: unavailable times=1 method=GET,PUT retry_after=4"
    )
    answer = ping(site)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "4")
    assert ping(site).status_code == 200
    console.obey(site, "trouble bad_gateway match=/api/method/ping")
    assert [ping(site).status_code for _ in range(3)] == [502] * 3
    assert console.obey(site, "clear") == "no trouble"
    assert ping(site).status_code == 200
    assert console.obey(site, "rotate on") == "a refresh revokes the pair it replaces"
    assert site.rotate_refresh_tokens
    assert console.obey(site, "rotate off") == "a refresh leaves alive the pair it replaces"
    assert console.obey(site, "lifetime 30") == "new access tokens live 30 s"
    assert console.obey(site, "skew -300") == "the clock is -300 s off"
    assert site.clock_skew == -300
    assert console.obey(site, "expire") == "0 access tokens expired"
    assert console.obey(site, f"revoke {ALICE}") == "0 pairs of tokens revoked"
    assert console.obey(site, "rate 0/3600") == "0 requests in 3600 s"
    assert [ping(site).status_code for _ in range(2)] == [200, 429]
    assert console.obey(site, "rate off") == "no rate limit"
    assert console.obey(site, "") == ""
    assert "trouble KIND" in console.obey(site, "help")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("flood", "There is no 'flood'"),
        ("trouble", "There is no trouble ''. Choose one of"),
        ("trouble flood", "There is no trouble 'flood'"),
        ("trouble html chance=often", "could not convert"),
        ("trouble html now", "'now' is not of the form name=value"),
        ("trouble html seconds=1", "takes no option 'seconds'"),
        ("skew", "skew SECONDS"),
        ("rotate maybe", "rotate on|off"),
        ("revoke 'alice", "No closing quotation"),
    ],
)
def test_the_console_says_what_it_did_not_understand(site, line, said):
    answer = console.obey(site, line)
    assert answer.startswith("?")
    assert said in answer
    assert ping(site).status_code == 200


@contextmanager
def running(*arguments):
    """A sandbox in a process of its own: what it printed, where it is, and what to type."""
    command = [sys.executable, *arguments, "--port", "0"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    ) as process:
        said = []
        while not said or not said[-1].startswith("Stop it"):
            line = process.stdout.readline()
            assert line, said
            said.append(line)
        try:
            yield process, said, said[0].split()[-1]
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0


@pytest.mark.parametrize("runner", [["-m", "erpnext_bridge.sandbox"], ["manage.py", "erpnext_sandbox"]])
def test_the_command_line_makes_trouble(runner):
    options = ["--rotate-refresh-tokens", "--token-seconds", "60", "--clock-skew", "3600", "--seed", "3"]
    options += [
        "--rate-limit",
        "50/3600",
        "--trouble",
        "unavailable method=POST",
        "--trouble",
        "html times=1",
    ]
    with running(*runner, *options) as (process, said, url):
        assert any("a refresh revokes the pair it replaces" in line for line in said)
        assert any("new access tokens live 60 s" in line for line in said)
        assert any("the clock is +3600 s off" in line for line in said)
        assert requests.post(url + PING, timeout=60).status_code == 503
        assert "network" in requests.get(url + PING, timeout=60).text
        answer = requests.get(url + PING, timeout=60)
        assert (answer.json(), answer.headers["X-RateLimit-Limit"]) == ({"message": "pong"}, "50000000")
        process.stdin.write("trouble bad_gateway\n")
        process.stdin.flush()
        assert process.stdout.readline() == "trouble: bad_gateway\n"
        assert requests.get(url + PING, timeout=60).status_code == 502
        process.stdin.close()
        assert requests.get(url + PING, timeout=60).status_code == 502


def test_the_command_line_refuses_what_it_does_not_know():
    command = [sys.executable, "-m", "erpnext_bridge.sandbox", "--port", "0", "--trouble", "flood"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "There is no trouble 'flood'" in done.stderr
