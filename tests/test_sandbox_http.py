"""The sandbox as a server: connections, sessions, credentials, pages, limits."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from urllib.parse import urlsplit

import pytest
import requests

from erpnext_bridge.sandbox import Sandbox, User, World, server
from erpnext_bridge.sandbox.server import REQUEST_LINE_LIMIT

ALICE, WENDY, PASSWORD = "alice@example.com", "wendy@example.com", "a sandbox password"
WHO = "/api/method/frappe.auth.get_logged_user"
PING = "/api/method/ping"


def small_world():
    world = World()
    world.add_user(User(ALICE, full_name="Alice Doe", roles=["System Manager"], password=PASSWORD))
    world.add_user(User(WENDY, full_name="Wendy Web", user_type="Website User", password=PASSWORD))
    return world


@pytest.fixture(params=[15, 16], ids=["v15", "v16"])
def site(request):
    with Sandbox(request.param, small_world()) as sandbox:
        yield sandbox


@pytest.fixture
def browser(site):
    """A session that keeps cookies; call it with a method and a path."""
    with requests.Session() as session:
        yield lambda method, path, **options: session.request(method, site.url + path, **options)


def get(site, path, **options):
    return requests.get(site.url + path, timeout=60, **options)


def token(site, user=ALICE):
    return {"Authorization": "token {}:{}".format(*site.api_key(user))}


def login(browser, user=ALICE, password=PASSWORD, **options):
    return browser("POST", "/api/method/login", data={"usr": user, "pwd": password}, **options)


def talk(site, data):
    """Send raw bytes and return all that comes back until the server closes."""
    address = ("127.0.0.1", int(site.url.rsplit(":", 1)[1]))
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(data)
        received = b""
        with contextlib.suppress(TimeoutError):
            while chunk := connection.recv(65536):
                received += chunk
    return received


# Connections


def test_a_connection_serves_several_requests(site):
    request = f"GET {PING} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    closing = request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    received = talk(site, request * 2 + closing)
    assert received.count(b"HTTP/1.1 200 OK") == 3
    assert received.count(b"Connection: keep-alive") == 2
    assert received.count(b"Connection: close") == 1


def test_a_request_line_above_gunicorns_limit_is_a_page_and_ends_the_connection(site):
    long = get(site, f"{PING}?x={'a' * REQUEST_LINE_LIMIT}")
    assert long.status_code == 400
    assert long.headers["Content-Type"] == "text/html"
    assert long.headers["Connection"] == "close"
    assert get(site, f"{PING}?x={'a' * (REQUEST_LINE_LIMIT - 100)}").status_code == 200


@pytest.mark.parametrize("headers", [{"X-Big": "a" * 9000}, {f"X-{n}": "1" for n in range(120)}])
def test_headers_above_gunicorns_limits_are_refused(site, headers):
    assert get(site, PING, headers=headers).status_code == 431


def test_a_body_above_25_megabytes_is_refused_before_it_is_read(site):
    head = f"POST {PING} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 26500000\r\n\r\n"
    assert talk(site, head.encode()).startswith(b"HTTP/1.1 413 ")


def test_a_body_in_chunks_is_understood(site):
    def chunks():
        yield b'{"csrf'
        yield b'_token": 1}'

    answer = requests.post(
        site.url + PING, data=chunks(), headers={"Content-Type": "application/json"}, timeout=60
    )
    assert answer.json() == {"message": "pong"}


def test_nonsense_is_refused_and_does_no_harm(site):
    assert talk(site, b"\x16\x03\x01 hello\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert get(site, PING).json() == {"message": "pong"}


def test_head_answers_without_a_body(site):
    answer = requests.head(site.url + "/login", timeout=60)
    assert (answer.status_code, answer.content) == (200, b"")


def test_sandboxes_live_side_by_side_without_sharing_anything():
    with Sandbox(15, small_world()) as one, Sandbox(16, small_world()) as other:
        assert one.url != other.url
        key = token(one)
        assert get(one, WHO, headers=key).status_code == 200
        assert get(other, WHO, headers=key).status_code == 401
        assert len(one.requests) == len(other.requests) == 1


def test_requests_at_once_are_all_answered(site):
    with requests.Session() as session:
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=16))
        statuses = []
        threads = [
            threading.Thread(target=lambda: statuses.append(session.get(site.url + PING).status_code))
            for _ in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert statuses == [200] * 16


def test_stopping_leaves_no_thread_and_no_port_behind():
    before = set(threading.enumerate())
    sandbox = Sandbox(15, small_world()).start()
    with requests.Session() as session:
        session.get(sandbox.url + PING, timeout=60)
        sandbox.stop()
        with pytest.raises(requests.ConnectionError):
            session.get(sandbox.url + PING, timeout=60)
    assert set(threading.enumerate()) <= before


def test_a_version_it_does_not_know_is_refused():
    with pytest.raises(ValueError, match="15 and 16, not 14"):
        Sandbox(14, small_world())


# The request log


def test_the_log_says_what_was_asked_and_never_how_one_signed_in(site):
    get(site, f"{WHO}?sid=secret-sid&x=1", headers=token(site))
    site_record = site.requests[-1]
    assert (site_record.method, site_record.path, site_record.status) == ("GET", WHO, 200)
    assert site_record.query == (("sid", "***"), ("x", "1"))
    assert site_record.user == ALICE
    assert site_record.rpc == "frappe.auth.get_logged_user"
    assert "secret-sid" not in repr(site.requests)
    site.requests.clear()
    assert site.requests == []


def test_the_log_names_the_doctype_of_a_resource(site):
    get(site, "/api/resource/User/x", headers=token(site))
    requests.post(site.url + PING, json={"doctype": "Note"}, timeout=60)
    assert [record.doctype for record in site.requests] == ["User", "Note"]


# Sessions


def test_a_login_sets_the_cookies_of_its_version(site, browser):
    answer = login(browser)
    assert answer.json()["message"] == "Logged In"
    assert answer.json()["full_name"] == "Alice Doe"
    assert answer.cookies["system_user"] == "yes"
    assert answer.cookies["user_id"] == "alice%40example.com"
    assert ("user_lang" in answer.cookies) is (site.version == 16)
    assert browser("GET", WHO).json() == {"message": ALICE}


def test_a_website_user_has_no_desk(site, browser):
    answer = login(browser, WENDY)
    assert (answer.json()["message"], answer.json()["home_page"]) == ("No App", "/me")
    assert browser("GET", "/app" if site.version == 15 else "/desk").status_code == 403


@pytest.mark.parametrize(
    ("user", "password", "said"),
    [
        (ALICE, "wrong", "Invalid login credentials"),
        ("nobody@example.com", PASSWORD, "Invalid login credentials"),
        (ALICE, "", "Incomplete login details"),
        (ALICE, "x" * 513, "Password size exceeded the maximum allowed size"),
    ],
)
def test_a_failed_login_is_401_and_sets_no_cookie(browser, user, password, said):
    answer = login(browser, user, password)
    assert (answer.status_code, answer.json()["message"]) == (401, said)
    assert not answer.cookies


def test_eleven_failures_lock_the_user_out(browser):
    for _ in range(11):
        assert login(browser, password="wrong").status_code == 401
    locked = login(browser)
    assert (locked.status_code, locked.json()["exc_type"]) == (500, "SecurityException")


def test_a_user_name_has_no_case(browser):
    login(browser, ALICE.upper())
    assert browser("GET", WHO).json() == {"message": ALICE}


def test_an_unknown_sid_is_a_guest_whose_session_has_expired(site):
    answer = get(site, PING, cookies={"sid": "0" * 32})
    assert answer.json() == {"session_expired": 1, "message": "pong"}
    assert get(site, WHO, cookies={"sid": "0" * 32}).status_code == 403


def test_a_logout_ends_the_session_on_the_server(browser):
    sid = login(browser).cookies["sid"]
    assert browser("POST", "/api/method/logout").json()["message"] == "No App"
    assert browser("GET", WHO, cookies={"sid": sid}).status_code == 403


def test_writes_need_a_csrf_token_once_the_desk_was_loaded(site, browser):
    login(browser)
    assert browser("POST", WHO).status_code == 200
    page = browser("GET", "/app").text
    refused = browser("POST", WHO)
    assert (refused.status_code, refused.json()["exc_type"]) == (400, "CSRFTokenError")
    found = re.search(r'csrf_token": "(\w+)"', page).group(1)
    assert browser("POST", WHO, headers={"X-Frappe-CSRF-Token": found}).status_code == 200
    assert browser("GET", WHO).status_code == 200


# Credentials


@pytest.mark.parametrize("scheme", ["token", "TOKEN", "Basic", "basic"])
def test_an_api_key_signs_in(site, scheme):
    pair = ":".join(site.api_key(ALICE))
    value = base64.b64encode(pair.encode()).decode() if scheme.lower() == "basic" else pair
    answer = get(site, WHO, headers={"Authorization": f"{scheme} {value}"})
    assert answer.json() == {"message": ALICE}
    assert answer.cookies["sid"] == "Guest"


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("token unknown:secret", 401),
        ("token nocolon", 401),
        ("Bearer unknown", 401),
        ("Negotiate abc", 401),
        ("Basic abc", 400),
        ("token", 403),
        ("token  two:blanks", 403),
        ("token three parts here", 403),
    ],
)
def test_bad_credentials_end_the_request_and_malformed_ones_are_not_seen(site, header, status):
    assert get(site, WHO, headers={"Authorization": header}).status_code == status


def test_a_live_cookie_beats_the_api_key_of_somebody_else(site, browser):
    login(browser, WENDY)
    assert browser("GET", WHO, headers=token(site)).json() == {"message": WENDY}


def test_saving_a_user_keeps_the_api_secret():
    with Sandbox(15, small_world()) as site:
        wendy = token(site, WENDY)
        where = f"{site.url}/api/resource/User/{WENDY}"
        assert requests.put(where, json={"bio": "x"}, headers=token(site), timeout=60).status_code == 200
        assert get(site, WHO, headers=wendy).json() == {"message": WENDY}


def test_only_v16_asks_whether_the_owner_of_a_key_is_enabled(site):
    headers = token(site)
    with site.site.lock:
        site.site.store.update("User", ALICE, {"enabled": 0})
        site.site.store.commit()
    assert get(site, WHO, headers=headers).status_code == (200 if site.version == 15 else 401)


def test_v16_says_where_to_authenticate(site):
    answer = get(site, WHO)
    assert answer.status_code == 403
    assert ("resource_metadata" in answer.headers.get("WWW-Authenticate", "")) is (site.version == 16)
    assert ("no-store" in answer.headers.get("Cache-Control", "")) is (site.version == 16)


# Bodies and errors


def test_text_is_escaped_on_v15_and_utf8_on_v16(site, browser):
    login(browser)
    with site.site.lock:
        site.site.store.update("User", ALICE, {"first_name": "Ålice"})
        site.site.store.commit()
    raw = login(browser).content
    assert (b"\\u00c5lice" in raw) is (site.version == 15)
    assert ("Ålice".encode() in raw) is (site.version == 16)


def test_a_json_body_hides_the_query(site):
    answer = requests.post(f"{site.url}{PING}?cmd=frappe.auth.get_logged_user", json={"a": 1}, timeout=60)
    assert answer.json() == {"message": "pong"}
    assert get(site, f"/?cmd={'ping'}").json() == {"message": "pong"}


def test_broken_json_is_500_on_v15_and_417_on_v16(site):
    headers = {"Content-Type": "application/json"}
    answer = requests.post(site.url + PING, data="{bad", headers=headers, timeout=60)
    expected = (500, "JSONDecodeError") if site.version == 15 else (417, "DataError")
    assert (answer.status_code, answer.json()["exc_type"]) == expected


def test_an_error_is_a_page_for_those_who_ask_for_text(site):
    answer = get(site, WHO, headers={"Accept": "text/html"})
    assert answer.status_code == 403
    assert f"<title>{'Not Permitted' if site.version == 15 else 'Error'}</title>" in answer.text


def test_a_method_that_does_not_fit_the_path_is_405(site):
    answer = requests.put(site.url + "/api/resource/User", json={}, headers=token(site), timeout=60)
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "POST"}


@pytest.mark.parametrize("path", ["/nope", "/API/method/ping", "/api", "/.well-known/nothing"])
def test_unknown_pages_are_404_html(site, path):
    answer = get(site, path)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("text/html")


def test_reset_password_is_limited_by_address(site):
    def ask(address):
        form = {"user": "nobody@example.com"}
        path = f"{site.url}/api/method/frappe.core.doctype.user.user.reset_password"
        return requests.post(path, data=form, headers={"X-Forwarded-For": address}, timeout=60).status_code

    assert [ask("10.0.0.1") for _ in range(4)] == [404, 404, 404, 429]
    assert ask("10.0.0.2") == 404


# Pages


def test_the_login_page_is_a_plain_form_that_comes_back(site, browser):
    page = browser("GET", "/login?redirect-to=/me").text
    assert 'name="usr"' in page
    assert 'name="pwd"' in page
    form = {"usr": ALICE, "pwd": PASSWORD, "redirect-to": "/me"}
    answer = browser("POST", "/login", data=form, allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/me")
    assert browser("GET", WHO).json() == {"message": ALICE}


def test_the_login_page_says_what_was_wrong_and_keeps_the_target(browser):
    form = {"usr": ALICE, "pwd": "wrong", "redirect-to": "/me"}
    answer = browser("POST", "/login", data=form)
    assert answer.status_code == 401
    assert "Invalid login credentials" in answer.text
    assert 'value="/me"' in answer.text


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_the_login_page_leads_nowhere_else(browser, target):
    form = {"usr": ALICE, "pwd": PASSWORD, "redirect-to": target}
    answer = browser("POST", "/login", data=form, allow_redirects=False)
    assert "evil" not in answer.headers["Location"]
    assert answer.headers["Location"].startswith("/")


def test_pages_escape_what_they_are_given(browser):
    assert "<script>" not in browser("GET", "/login?redirect-to=/<script>").text.partition("<form")[2]


# The runner


def test_the_runner_serves_until_it_is_told_to_stop(tmp_path):
    world = tmp_path / "world.json"
    users = {"a": {"user": ALICE, "roles": [], "password": PASSWORD}}
    world.write_text(json.dumps({"doctypes": {}, "users": users}))
    command = [
        sys.executable,
        "-m",
        "erpnext_bridge.sandbox",
        "--port",
        "0",
        "--version",
        "16",
        "--world",
        str(world),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        lines = [process.stdout.readline() for _ in range(4)]
        url = re.search(r"http://\S+", lines[0]).group()
        assert requests.get(url + PING, timeout=60).json() == {"message": "pong"}
        assert any(ALICE in line for line in lines)
        assert "OAuth client" in lines[-2]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


def test_no_url_is_given_to_a_second_sandbox_of_the_process():
    """What a client has learnt of one, its version above all, would be untrue of the other."""
    had = set(range(0, 1 << 16, 2)) - server._used_ports
    server._used_ports |= had
    try:
        for _ in range(12):
            with Sandbox() as sandbox:
                assert urlsplit(sandbox.url).port % 2
    finally:
        server._used_ports -= had
