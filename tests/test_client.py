"""FrappeClient says what Frappe expects, and understands what it answers."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, time
from decimal import Decimal
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import UUID

import pytest

from erpnext_bridge import errors
from erpnext_bridge.client import FrappeClient
from erpnext_bridge.credentials import Anonymous, ApiKey, Bearer, SessionId
from erpnext_bridge.sandbox import Sandbox
from erpnext_bridge.transport import Timeouts, Transport, transport_for
from tests.services import wait_until
from tests.wire_server import Reply, WireServer

KEY = ApiKey("key", "s3cr3ts3cr3t")

ODD_NAMES = [
    "plain",
    "with space",
    "a/b",
    "a%2Fb",
    "100%",
    "question?mark=1",
    "#hash",
    'O\'Brien "quoted"',
    "東京 ñ é 🚀",
    "plus+plus&and=so;on",
    "back\\slash",
    "~t*()!$,@:[]{}|^`",
    "dot.",
    "x/copy",
]
UNADDRESSABLE_NAMES = [
    "/lead",
    "trail/",
    "x//y",
    ".",
    "..",
    "page.html",
    "index.HTML",
    "tab\tin",
    "line\nbreak",
]


def reply(body, status=200, *headers):
    return Reply(status, [("Content-Type", "application/json"), *headers], json.dumps(body).encode())


@pytest.fixture
def server():
    with WireServer() as wire:
        wire.reply = reply({"data": {"name": "X"}, "message": {"name": "X"}})
        yield wire


@pytest.fixture
def client(server):
    return FrappeClient(server.url, KEY, timeout=Timeouts(60, 60, 60))


def sent(server, index=-1):
    """Return the last request as (verb and path, query, body)."""
    seen = server.seen[index]
    parts = urlsplit(seen.target)
    body = json.loads(seen.body) if seen.body else None
    return f"{seen.method} {parts.path}", dict(parse_qsl(parts.query)), body


# Lists


def test_a_list_is_a_get_with_json_parameters(server, client):
    server.reply = reply({"data": [{"name": "A"}]})
    rows = client.list(
        "Sales Order",
        fields=["name", "customer"],
        filters=[["status", "=", "Open"]],
        or_filters={"customer": ["like", "%é%"]},
        order_by="name asc",
        group_by="customer",
        limit_start=40,
        limit_page_length=20,
        parent="X",
    )
    assert rows == [{"name": "A"}]
    assert sent(server) == (
        "GET /api/resource/Sales%20Order",
        {
            "fields": '["name","customer"]',
            "filters": '[["status","=","Open"]]',
            "or_filters": '{"customer":["like","%é%"]}',
            "order_by": "name asc",
            "group_by": "customer",
            "limit_start": "40",
            "limit_page_length": "20",
            "parent": "X",
        },
        None,
    )


def test_a_list_is_never_cut_at_twenty(server, client):
    server.reply = reply({"data": []})
    client.list("Task")
    assert sent(server)[1] == {"limit_page_length": "0"}


def test_a_missing_limit_is_not_twenty_either(server, client):
    server.reply = reply({"data": []})
    client.list("Task", limit_page_length=None)
    assert sent(server)[1] == {"limit_page_length": "0"}


def test_json_of_something_else_is_unreadable(server, client):
    server.reply = reply({"hello": "world"})
    for call in (lambda: client.list("Task"), lambda: client.read("Task", "T"), lambda: client.count("Task")):
        with pytest.raises(errors.UnreadableAnswer, match="Expected JSON with"):
            call()


def test_rows_can_come_as_lists(server, client):
    server.reply = reply({"data": [["A", 1]]})
    assert client.list("Task", as_dict=False) == [["A", 1]]
    assert sent(server)[1]["as_dict"] == "0"


def test_a_list_that_is_begun_asks_the_same_and_is_told_of_where_it_is_waited_for(server):
    server.reply = reply({"data": [["A", 1]]})
    told = []
    client = FrappeClient(
        server.url, on_exchange=lambda exchange: told.append((exchange.status, threading.current_thread()))
    )
    asked = {
        "fields": ["name", "idx"],
        "filters": [["idx", ">", 0]],
        "limit_page_length": 5,
        "as_dict": False,
    }
    waiting = client.begin_list("Task", **asked)
    assert client.list("Task", **asked) == waiting() == [["A", 1]]
    assert server.seen[0].target == server.seen[1].target
    assert told == [(200, threading.current_thread())] * 2


def test_a_begun_list_is_on_its_way_before_anybody_waits(server, client):
    server.reply = reply({"data": []})
    waiting = client.begin_list("Task")
    wait_until(lambda: server.seen, "the request arrives")
    assert waiting() == []


def test_a_begun_list_fails_where_it_is_waited_for(server, client):
    server.reply = reply({"exc_type": "PermissionError"}, 403)
    waiting = client.begin_list("Task")
    with pytest.raises(errors.PermissionRefused):
        waiting()
    server.reply = Reply(drop=True)
    waiting = client.begin_list("Task")
    with pytest.raises(errors.SiteUnreachable):
        waiting()


def test_a_begun_list_that_is_long_goes_by_post(server, client):
    server.reply = reply({"message": [{"name": "A"}]})
    names = [f"Task {number}" for number in range(300)]
    assert client.begin_list("Task", filters=[["name", "in", names]])() == [{"name": "A"}]
    assert sent(server)[0] == "POST /api/method/frappe.client.get_list"


def test_a_long_list_goes_by_post(server, client):
    server.reply = reply({"message": [{"name": "A"}]})
    names = [f"Task {number}" for number in range(300)]
    assert client.list("Task", filters=[["name", "in", names]], order_by="name asc") == [{"name": "A"}]
    assert sent(server) == (
        "POST /api/method/frappe.client.get_list",
        {},
        {
            "doctype": "Task",
            "filters": [["name", "in", names]],
            "order_by": "name asc",
            "limit_page_length": 0,
        },
    )


@pytest.mark.parametrize("length", [1700, *range(1840, 1900, 10), 2000])
def test_no_request_line_exceeds_two_thousand_bytes(server, client, length):
    server.reply = reply({"data": [], "message": []})
    client.list("Task", filters=[["subject", "=", "x" * length]])
    assert len(server.seen[0].target) <= 2000
    assert server.seen[0].method == {1700: "GET", 2000: "POST"}.get(length, server.seen[0].method)


def test_an_offset_needs_a_length(client):
    with pytest.raises(ValueError, match="limit_page_length"):
        client.list("Task", limit_start=20)


def test_a_count_is_the_lists_count(server, client):
    server.reply = reply({"message": 7})
    assert client.count("Task", filters=[["Task Row", "x", "=", 1]], distinct=True) == 7
    assert sent(server) == (
        "GET /api/method/frappe.desk.reportview.get_count",
        {"doctype": "Task", "filters": '[["Task Row","x","=",1]]', "distinct": "true"},
        None,
    )


def test_a_long_count_goes_by_post(server, client):
    server.reply = reply({"message": 7})
    assert client.count("Task", filters=[["name", "in", ["x" * 100] * 30]]) == 7
    assert sent(server)[0] == "POST /api/method/frappe.desk.reportview.get_count"


# Documents


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_is_one_part_of_the_path(server, client, name):
    client.read("Task", name)
    client.update("Task", name, {"a": 1})
    client.delete("Task", name)
    for seen in server.seen:
        prefix, _, last = seen.target.rpartition("/")
        assert prefix == "/api/resource/Task"
        assert unquote(last) == name
        assert "?" not in last


@pytest.mark.parametrize("name", UNADDRESSABLE_NAMES)
def test_a_name_that_no_path_can_carry_goes_in_the_body(server, client, name):
    client.read("Task", name)
    assert sent(server) == ("POST /api/method/frappe.client.get", {}, {"doctype": "Task", "name": name})
    client.update("Task", name, {"a": 1, "modified": "m"})
    assert sent(server) == (
        "POST /api/method/frappe.client.set_value",
        {},
        {"doctype": "Task", "name": name, "fieldname": {"a": 1, "modified": "m"}},
    )
    client.delete("Task", name)
    assert sent(server) == ("POST /api/method/frappe.client.delete", {}, {"doctype": "Task", "name": name})
    client.call_document("Task", name, "close", why="x")
    assert sent(server) == (
        "POST /api/method/run_doc_method",
        {},
        {"dt": "Task", "dn": name, "method": "close", "args": {"why": "x"}},
    )


def test_a_doctype_with_a_slash_goes_in_the_body(server, client):
    client.create("A/B", {"x": 1})
    assert sent(server) == ("POST /api/method/frappe.client.insert", {}, {"doc": {"x": 1, "doctype": "A/B"}})
    server.reply = reply({"message": []})
    client.list("A/B")
    assert sent(server)[0] == "POST /api/method/frappe.client.get_list"


def test_an_empty_name_is_no_document_and_no_request(server, client):
    for call in (client.read, client.delete, client.submit, client.cancel):
        with pytest.raises(errors.DocumentDoesNotExist, match="empty name"):
            call("Task", "")
    assert server.seen == []


def test_a_number_is_a_name(server, client):
    client.read("Auto", 31)
    assert server.paths() == ["GET /api/resource/Auto/31"]


def test_documents_are_wrapped(server, client):
    client.create("Task", {"cmd": "ping", "data": 1})
    assert sent(server) == ("POST /api/resource/Task", {}, {"data": {"cmd": "ping", "data": 1}})
    client.update("Task", "T", {"sid": "x"})
    assert sent(server) == ("PUT /api/resource/Task/T", {}, {"data": {"sid": "x"}})


@pytest.mark.parametrize(("verb", "docstatus"), [("submit", 1), ("cancel", 2)])
def test_submitting_and_cancelling_keep_the_lock(server, client, verb, docstatus):
    getattr(client, verb)("Task", "T", modified="2026-01-01 00:00:00.000001")
    assert sent(server) == (
        "PUT /api/resource/Task/T",
        {},
        {"data": {"docstatus": docstatus, "modified": "2026-01-01 00:00:00.000001"}},
    )
    getattr(client, verb)("Task", "T")
    assert sent(server)[2] == {"data": {"docstatus": docstatus}}


def test_insert_many_stops_at_two_hundred_before_asking(server, client):
    server.reply = reply({"message": ["A", "B"]})
    assert client.insert_many([{"doctype": "Task"}] * 200) == ["A", "B"]
    with pytest.raises(ValueError, match="at most 200"):
        client.insert_many([{"doctype": "Task"}] * 201)
    assert client.insert_many([]) == []
    assert len(server.seen) == 1


def test_values_are_written_as_frappe_reads_them(server, client):
    client.create(
        "Task",
        {
            "day": date(2026, 1, 2),
            "at": datetime(2026, 1, 2, 3, 4, 5, 6),
            "clock": time(7, 5),
            "amount": Decimal("0.10"),
            "key": UUID(int=1),
            "text": "東京\n",
        },
    )
    assert sent(server)[2]["data"] == {
        "day": "2026-01-02",
        "at": "2026-01-02 03:04:05.000006",
        "clock": "07:05:00",
        "amount": "0.10",
        "key": "00000000-0000-0000-0000-000000000001",
        "text": "東京\n",
    }


@pytest.mark.parametrize(
    "value", [datetime(2026, 1, 1, tzinfo=UTC), object(), {1, 2}], ids=["aware", "object", "set"]
)
def test_a_value_that_frappe_would_misread_is_refused(server, client, value):
    with pytest.raises(TypeError):
        client.create("Task", {"field": value})
    assert server.seen == []


def test_numbers_come_as_asked(server):
    server.reply = Reply(body=b'{"data": {"rate": 0.1, "qty": 3}}')
    client = FrappeClient(server.url, KEY, parse_float=Decimal)
    assert client.read("Task", "T") == {"rate": Decimal("0.1"), "qty": 3}


# Methods


def test_a_method_is_called_with_json(server, client):
    server.reply = reply({"message": 3})
    assert client.call("app.module.add", a=1, b=[2], c=None) == 3
    assert sent(server) == ("POST /api/method/app.module.add", {}, {"a": 1, "b": [2]})


def test_a_method_is_called_by_get_with_a_query(server, client):
    server.reply = reply({"docs": [1], "_server_messages": "[]"})
    assert client.call("app.module.show", http_method="GET", names=["é"], one="x") == {"docs": [1]}
    assert sent(server) == ("GET /api/method/app.module.show", {"names": '["é"]', "one": "x"}, None)


def test_a_method_without_a_result_is_none(server, client):
    server.reply = reply({})
    assert client.call("app.module.do") is None


@pytest.mark.parametrize("reserved", ["cmd", "run_method", "sid", "csrf_token"])
def test_what_the_envelope_needs_cannot_be_an_argument(server, client, reserved):
    with pytest.raises(ValueError, match=reserved):
        client.call("app.module.do", **{reserved: "x"})
    with pytest.raises(ValueError, match=reserved):
        client.call_document("Task", "T", "do", **{reserved: "x"})
    assert server.seen == []


def test_a_documents_method_runs_at_its_path(server, client):
    server.reply = reply({"data": "done"})
    assert client.call_document("Task", "a/b", "close", why="x") == "done"
    assert sent(server) == ("POST /api/resource/Task/a%2Fb", {}, {"run_method": "close", "why": "x"})
    client.call_document("Task", "T", "show", http_method="get")
    assert sent(server) == ("GET /api/resource/Task/T", {"run_method": "show"}, None)


# Renewing credentials


@pytest.mark.parametrize("call", ["create", "list", "begun list", "download", "upload"])
def test_after_a_401_the_request_goes_out_once_more_with_new_credentials(server, call):
    def answer(seen):
        if seen.headers.get("Authorization") == "Bearer fresh":
            return reply({"data": {"name": "X"}, "message": {"name": "X"}})
        return reply({"exc_type": "AuthenticationError"}, 401)

    server.reply = answer
    asked = []
    client = FrappeClient(
        server.url, Bearer("stale"), on_unauthorized=lambda: asked.append(1) or Bearer("fresh")
    )
    calls = {
        "create": lambda: client.create("Task", {"a": 1}),
        "list": lambda: client.list("Task"),
        "begun list": lambda: client.begin_list("Task")(),
        "download": lambda: read(client, "/files/x"),
        "upload": lambda: client.upload(io.BytesIO(b"content"), filename="f"),
    }
    calls[call]()
    assert len(asked) == 1
    assert [seen.headers["Authorization"] for seen in server.seen] == ["Bearer stale", "Bearer fresh"]
    assert server.seen[0].body == server.seen[1].body
    calls[call]()
    assert server.seen[2].headers["Authorization"] == "Bearer fresh"


def test_credentials_that_fail_again_are_an_error(server):
    server.reply = reply({"exc_type": "AuthenticationError"}, 401)
    asked = []
    client = FrappeClient(server.url, Bearer("a"), on_unauthorized=lambda: asked.append(1) or Bearer("b"))
    with pytest.raises(errors.AuthenticationRefused):
        client.read("Task", "T")
    assert (len(asked), len(server.seen)) == (1, 2)


@pytest.mark.parametrize("renewed", [None, lambda: None], ids=["no hook", "nothing new"])
def test_without_new_credentials_nothing_is_sent_again(server, renewed):
    server.reply = reply({"exc_type": "AuthenticationError"}, 401)
    client = FrappeClient(server.url, Bearer("a"), on_unauthorized=renewed)
    with pytest.raises(errors.AuthenticationRefused):
        client.create("Task", {})
    assert len(server.seen) == 1


def test_a_403_asks_for_no_new_credentials(server):
    server.reply = reply({"exc_type": "PermissionError"}, 403)
    client = FrappeClient(server.url, Bearer("a"), on_unauthorized=lambda: pytest.fail("asked"))
    with pytest.raises(errors.PermissionRefused):
        client.create("Task", {})


def test_an_expired_session_is_renewed_although_it_is_a_403(server):
    def answer(seen):
        if seen.headers["Cookie"] == "sid=new":
            return reply({"data": {"name": "X"}})
        return reply({"session_expired": 1, "exc_type": "PermissionError"}, 403)

    server.reply = answer
    client = FrappeClient(server.url, SessionId("old"), on_unauthorized=lambda: SessionId("new"))
    assert client.create("Task", {}) == {"name": "X"}


def test_a_write_that_ran_as_guest_is_not_repeated(server):
    server.reply = reply({"session_expired": 1, "data": {"name": "X"}})
    client = FrappeClient(server.url, SessionId("old"), on_unauthorized=lambda: pytest.fail("asked"))
    with pytest.raises(errors.AuthenticationRefused, match="expired"):
        client.create("Task", {})
    assert len(server.seen) == 1


# Signing in

COOKIE = ("Set-Cookie", "sid=s1ds1d; HttpOnly; Path=/")


@pytest.mark.parametrize("message", ["Logged In", "No App"])
def test_a_login_gives_a_client_with_its_session(server, message):
    server.reply = reply({"message": message}, 200, COOKIE)
    anonymous = FrappeClient(server.url)
    signed_in = anonymous.login("alice@example.com", "p4ssw0rd")
    assert sent(server) == (
        "POST /api/method/login",
        {},
        {"usr": "alice@example.com", "pwd": "p4ssw0rd"},
    )
    signed_in.call("logout")
    assert server.seen[1].headers["Cookie"] == "sid=s1ds1d"
    assert signed_in.transport is anonymous.transport


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"message": "Password Reset", "redirect_to": "/update-password?key=k3yk3y"}, "password has expired"),
        ({"verification": {"method": "OTP App"}, "tmp_id": "x"}, "second factor (OTP App)"),
        ({"tmp_id": "x"}, "second factor (a code)"),
        ({"message": "hello"}, "without a session"),
    ],
)
def test_a_login_that_needs_more_is_a_clear_error(server, body, told):
    server.reply = reply(body, 200, COOKIE)
    with pytest.raises(errors.AuthenticationRefused) as caught:
        FrappeClient(server.url).login("alice@example.com", "p4ssw0rd")
    assert told in str(caught.value)
    assert not [secret for secret in ("p4ssw0rd", "k3yk3y", "s1ds1d") if secret in str(caught.value)]


def test_a_login_as_guest_is_no_login(server):
    server.reply = reply({"message": "Logged In"}, 200, ("Set-Cookie", "sid=Guest; Path=/"))
    with pytest.raises(errors.AuthenticationRefused):
        FrappeClient(server.url).login("alice@example.com", "p4ssw0rd")


# Files


def read(client, url):
    with client.download(url) as file:
        return file.read()


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/files/a.txt", "/files/a.txt"),
        ("/private/files/a b #1 100%?.txt", "/private/files/a%20b%20%231%20100%25%3F.txt"),
        ("/private/files/a.txt?fid=c78aa942f1", "/private/files/a.txt?fid=c78aa942f1"),
        ("{site}/files/東.txt", "/files/%E6%9D%B1.txt"),
    ],
)
def test_a_files_url_is_encoded(server, client, url, path):
    server.reply = Reply(headers=[("Content-Type", "text/plain")], body=b"\x00\xff")
    assert read(client, url.format(site=server.url)) == b"\x00\xff"
    assert server.paths() == [f"GET {path}"]


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/files/a.txt",
        "//evil.example/files/a.txt",
        "{site}.evil.example/files/a.txt",
        "{site}@evil.example/files/a.txt",
        "files/a.txt",
        "",
        "/files/../private/a.txt",
        "/files/..",
        "/\\evil.example/a.txt",
    ],
)
def test_credentials_are_sent_to_the_site_only(server, client, url):
    with pytest.raises(ValueError, match="is not"):
        read(client, url.format(site=server.url))
    assert server.seen == []


def test_a_download_that_redirects_elsewhere_is_an_error(server, client):
    with WireServer() as elsewhere:
        server.reply = Reply(302, [("Location", f"{elsewhere.url}/files/a.txt")], b"")
        with pytest.raises(errors.UnreadableAnswer, match="redirects"):
            read(client, "/files/a.txt")
        assert elsewhere.seen == []


def test_a_missing_file_is_refused(server, client):
    server.reply = Reply(403, [("Content-Type", "text/html")], b"<title>403 Forbidden</title>")
    with pytest.raises(errors.PermissionRefused, match="Forbidden"):
        read(client, "/private/files/a.txt")


class Pipe(io.RawIOBase):
    """A file without a size."""

    def __init__(self, content):
        super().__init__()
        self.content = io.BytesIO(content)

    def readable(self):
        return True

    def read(self, size=-1):
        return self.content.read(size)


@pytest.mark.parametrize(
    "file", [b"content", io.BytesIO(b"content"), Pipe(b"content")], ids=["bytes", "file", "pipe"]
)
def test_an_upload_is_private_and_attached(server, client, file):
    client.upload(file, filename="f.txt", doctype="Task", name=7, fieldname="image", folder="Home")
    body = server.seen[0].body
    fields = [
        b'"is_private"\r\n\r\n1',
        b'"doctype"\r\n\r\nTask',
        b'"docname"\r\n\r\n7',
        b'"fieldname"\r\n\r\nimage',
    ]
    assert [field for field in fields if field not in body] == []
    assert b'filename="f.txt"\r\n' in body
    assert b"\r\n\r\ncontent\r\n--" in body


def test_an_upload_is_public_only_when_asked(server, client, tmp_path):
    (tmp_path / "named.txt").write_bytes(b"x")
    with (tmp_path / "named.txt").open("rb") as file:
        client.upload(file, is_private=False)
    assert b'"is_private"\r\n\r\n0' in server.seen[0].body
    assert b'filename="named.txt"' in server.seen[0].body


def test_a_print_is_pdf_or_an_error(server, client):
    server.reply = Reply(headers=[("Content-Type", "application/pdf")], body=b"%PDF-1.4 ...")
    assert (
        client.print_pdf("Task", "T/1", print_format="Plain", letterhead="Blue", language="de")
        == b"%PDF-1.4 ..."
    )
    assert sent(server)[1] == {
        "doctype": "Task",
        "name": "T/1",
        "format": "Plain",
        "letterhead": "Blue",
        "language": "de",
    }
    client.print_pdf("Task", "T", no_letterhead=True)
    assert sent(server)[1] == {"doctype": "Task", "name": "T", "no_letterhead": "1"}
    server.reply = Reply(headers=[("Content-Type", "text/html")], body=b"<title>Log in</title>")
    with pytest.raises(errors.UnreadableAnswer, match="Expected a PDF"):
        client.print_pdf("Task", "T")
    server.reply = reply({"exc_type": "DoesNotExistError"}, 404)
    with pytest.raises(errors.DocumentDoesNotExist):
        client.print_pdf("Task", "T")


# Itself


def test_a_client_shows_its_site_and_the_kind_of_its_credentials(server):
    shown = [repr(FrappeClient("https://erp.example.com/", one)) for one in (KEY, Bearer("b34r3r"), None)]
    assert shown == [
        "<FrappeClient https://erp.example.com as API key>",
        "<FrappeClient https://erp.example.com as bearer token>",
        "<FrappeClient https://erp.example.com as Guest>",
    ]


def test_a_transport_to_another_site_is_refused():
    with pytest.raises(ValueError, match="leads to"):
        FrappeClient("https://erp.example.com", transport=Transport("https://other.example.com"))


def test_clients_of_one_site_share_its_connections(server):
    first, second = FrappeClient(server.url, KEY), FrappeClient(server.url + "/", Bearer("x"))
    assert first.transport is second.transport is transport_for(server.url)
    first.read("Task", "A")
    second.read("Task", "B")
    assert len({seen.connection for seen in server.seen}) == 1


def test_every_exchange_is_reported(server):
    told = []
    client = FrappeClient(server.url, KEY, on_exchange=told.append)
    client.read("Task", "A")
    client.using(Anonymous()).read("Task", "B")
    assert [one.path for one in told] == ["/api/resource/Task/A", "/api/resource/Task/B"]


def test_a_site_that_is_something_else_does_not_answer_a_ping(server):
    server.reply = reply({"message": "pong"})
    assert FrappeClient(server.url, KEY).ping()
    assert "Authorization" not in server.seen[0].headers
    server.reply = reply({"message": "hello"})
    with pytest.raises(errors.UnreadableAnswer):
        FrappeClient(server.url, KEY).ping()


def test_the_wire_needs_no_django_settings(server):
    server.reply = reply({"message": "alice@example.com"})
    script = (
        "import sys; from erpnext_bridge import oauth; from erpnext_bridge.client import FrappeClient;"
        "from django.conf import settings; print(FrappeClient(sys.argv[1]).logged_user(), settings.configured)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, server.url],
        capture_output=True,
        check=True,
        env=environment,
        text=True,
    )
    assert done.stdout == "alice@example.com False\n"


# Against a whole site


@pytest.fixture(scope="module", params=[15, 16], ids=["v15", "v16"])
def site(request):
    with Sandbox(version=request.param) as sandbox:
        yield sandbox


@pytest.fixture
def alice(site):
    return FrappeClient(site.url, ApiKey(*site.api_key("alice@example.com")))


@pytest.fixture
def administrator(site):
    return FrappeClient(site.url, ApiKey(*site.api_key("Administrator"), "basic"))


def test_who_and_what_a_site_is(site, alice):
    assert alice.ping()
    assert alice.logged_user() == "alice@example.com"
    assert alice.versions()["frappe"].startswith(f"{site.version}.")
    assert "/" in alice.time_zone() or alice.time_zone() == "UTC"
    with pytest.raises(errors.PermissionRefused):
        FrappeClient(site.url).logged_user()
    with pytest.raises(errors.AuthenticationRefused):
        FrappeClient(site.url, ApiKey("no", "body")).logged_user()


def test_a_session_from_login_to_logout(site):
    session = FrappeClient(site.url).login("alice@example.com", "alice-sandbox")
    assert session.logged_user() == "alice@example.com"
    session.logout()
    with pytest.raises(errors.AuthenticationRefused, match="expired"):
        session.logged_user()


def test_a_wrong_password_is_a_clear_error(site):
    with pytest.raises(errors.AuthenticationRefused, match="Invalid login credentials"):
        FrappeClient(site.url).login("bob@example.com", "wrong")


@pytest.mark.parametrize("name", [name for name in ODD_NAMES + UNADDRESSABLE_NAMES if "\n" not in name])
def test_a_document_of_any_name_lives_and_dies(alice, administrator, name):
    document = alice.create("Tag", {"name": name, "description": "new"})
    assert document["name"] == name
    read_back = alice.read("Tag", name)
    assert read_back["description"] == "new"
    changed = alice.update("Tag", name, {"description": "changed", "modified": read_back["modified"]})
    assert changed["description"] == "changed"
    with pytest.raises(errors.Conflict):
        alice.update("Tag", name, {"description": "late", "modified": read_back["modified"]})
    assert alice.list("Tag", filters=[["name", "=", name]]) == [{"name": name}]
    with pytest.raises(errors.DuplicateDocument):
        alice.create("Tag", {"name": name})
    administrator.delete("Tag", name)
    with pytest.raises((errors.DocumentDoesNotExist, errors.PermissionRefused)):
        alice.read("Tag", name)


def test_long_and_short_lists_agree(alice):
    names = [row["name"] for row in alice.list("Customer", order_by="name asc")]
    assert len(names) > 20
    assert alice.count("Customer") == len(names)
    padded = names + [f"nobody {number}" for number in range(300)]
    by_post = alice.list("Customer", filters=[["name", "in", padded]], order_by="name asc")
    assert [row["name"] for row in by_post] == names
    countable = [name for name in padded if "\\" not in name]
    assert alice.count("Customer", filters=[["name", "in", countable]]) == len(set(names) & set(countable))
    page = alice.list("Customer", order_by="name asc", limit_start=5, limit_page_length=5, as_dict=False)
    assert page == [[name] for name in names[5:10]]


def test_many_are_inserted_all_or_none(alice):
    marked = [{"doctype": "Tag", "name": "m1"}, {"doctype": "Tag", "name": "m2"}]
    assert alice.insert_many(marked) == ["m1", "m2"]
    with pytest.raises(errors.DuplicateDocument):
        alice.insert_many([{"doctype": "Tag", "name": "m3"}, *marked])
    assert alice.list("Tag", filters=[["name", "=", "m3"]]) == []


def test_a_refusal_brings_frappes_messages(alice):
    with pytest.raises(errors.ValidationRefused) as caught:
        alice.create("Lead", {"status": "No such status", "lead_name": "X"})
    assert "No such status" in caught.value.messages[0]
    assert "<" not in caught.value.messages[0]


def test_a_file_comes_back_as_it_went(alice):
    content = bytes(range(256)) * 100
    file = alice.upload(content, filename="odd name #1 ñ.bin")
    assert file["is_private"] == 1
    assert read(alice, file["file_url"]) == content
