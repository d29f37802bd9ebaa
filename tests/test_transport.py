"""The transport keeps its promises on a real, ill-behaved line."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import io
import os
import socket
import subprocess
import threading

import pytest

from erpnext_bridge.credentials import Anonymous, ApiKey, Bearer, SessionId
from erpnext_bridge.errors import ERPNextBridgeError, SiteUnreachable, UnreadableAnswer
from erpnext_bridge.transport import (
    MAX_TRANSPORTS,
    Multipart,
    Request,
    Timeouts,
    Transport,
    origin_of,
    transport_for,
)
from tests.wire_server import Reply, WireServer

# Far apart, so that a busy machine cannot confuse which of the two ends a request.
IMPATIENT = Timeouts(read=1)
HURRIED = Timeouts(read=30, total=1)
SECRET = "s3cr3ts3cr3t"


@pytest.fixture
def server():
    with WireServer() as wire:
        yield wire


@pytest.fixture
def transport(server):
    with contextlib.closing(Transport(server.url)) as made:
        yield made


@pytest.fixture
def environment():
    """Environment variables to set, restored afterwards."""
    before = dict(os.environ)
    yield os.environ
    os.environ.clear()
    os.environ.update(before)


def get(path="/api/x", **kwargs):
    return Request("GET", path, **kwargs)


def post(path="/api/x", body=b"{}", **kwargs):
    return Request("POST", path, body=body, **kwargs)


def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# What goes out


def test_a_request_arrives_as_it_was_written(server, transport):
    path = "/api/resource/A%2FB/100%25%20%3F%23%20%E6%9D%B1%27%22"
    transport.send(get(path, query={"filters": '[["a","=","b&c+d"]]'}, credentials=ApiKey("key", SECRET)))
    seen = server.seen[0]
    assert seen.target == path + "?filters=%5B%5B%22a%22%2C%22%3D%22%2C%22b%26c%2Bd%22%5D%5D"
    assert seen.headers["Authorization"] == f"token key:{SECRET}"
    assert (seen.headers["Accept"], seen.headers["Accept-Language"]) == ("application/json", "en")


def test_identities_never_mix_on_one_transport(server, transport):
    many = [Bearer(f"token-of-{number}") for number in range(8)] + [SessionId(f"sid-{n}") for n in range(4)]

    def ask(credentials):
        for _ in range(5):
            wanted = "".join(credentials.headers().values())
            answer = transport.send(get(f"/api/{wanted[-6:].strip()}", credentials=credentials))
            assert answer.status == 200

    threads = [threading.Thread(target=ask, args=(credentials,)) for credentials in many]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    proofs = [seen.headers.get("Authorization") or seen.headers["Cookie"] for seen in server.seen]
    assert len(proofs) == 60
    assert all(seen.target[5:] in proof for seen, proof in zip(server.seen, proofs, strict=True))
    assert not any("Authorization" in seen.headers and "Cookie" in seen.headers for seen in server.seen)


def test_no_cookie_is_kept(server, transport):
    server.reply = Reply(headers=[("Set-Cookie", "sid=Guest; Path=/"), ("Set-Cookie", "user_id=x; Path=/")])
    assert transport.send(get()).cookies == {"sid": "Guest", "user_id": "x"}
    transport.send(get())
    assert "Cookie" not in server.seen[1].headers


def test_netrc_is_never_read(server, transport, environment, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\n")
    environment["NETRC"] = str(netrc)
    transport.send(get())
    transport.send(get(credentials=SessionId("sid")))
    assert not [seen for seen in server.seen if "Authorization" in seen.headers]


def test_a_proxy_of_the_environment_is_used(server, environment):
    with WireServer() as proxy:
        environment.update({"http_proxy": proxy.url, "no_proxy": "", "NO_PROXY": ""})
        proxy.reply = Reply(body=b'{"from": "proxy"}')
        with contextlib.closing(Transport("http://erp.invalid")) as transport:
            assert transport.send(get()).content == b'{"from": "proxy"}'
        assert proxy.paths() == ["GET http://erp.invalid/api/x"]


def test_a_redirect_is_handed_back_and_never_followed(server, transport):
    with WireServer() as elsewhere:
        server.reply = Reply(302, [("Location", f"{elsewhere.url}/steal")], b"")
        answer = transport.send(get(credentials=Bearer(SECRET)))
        assert answer.status == 302
        assert elsewhere.seen == []


# Connections


def test_a_connection_is_used_again(server, transport):
    for _ in range(3):
        transport.send(get())
    assert len({seen.connection for seen in server.seen}) == 1


def test_a_connection_that_was_idle_too_long_is_not_used_again(server):
    with contextlib.closing(Transport(server.url, keep_alive=0)) as transport:
        for _ in range(3):
            transport.send(post())
    assert len({seen.connection for seen in server.seen}) == 3


def test_one_site_has_one_transport():
    first = transport_for("http://erp.example.com:80/")
    assert transport_for("http://ERP.example.com") is first
    assert transport_for("https://erp.example.com") is not first
    assert transport_for("http://erp.example.com", verify="/ca.pem") is not first


def test_only_so_many_sites_keep_their_connections():
    first = transport_for("http://first.example.com")
    others = [transport_for(f"http://erp{number}.example.com") for number in range(MAX_TRANSPORTS)]
    assert transport_for("http://first.example.com") is not first
    assert transport_for(others[-1].origin) is others[-1]
    assert repr(first) == "<Transport http://first.example.com>"


def test_a_read_survives_a_connection_that_died_of_old_age(server, transport):
    server.reply = Reply(drop_reused=True)
    transport.send(get())
    assert transport.send(get()).status == 200
    assert len(server.seen) == 3


def test_a_read_is_tried_a_second_time_only_once(server, transport):
    transport.send(get())
    server.reply = Reply(drop=True)
    with pytest.raises(SiteUnreachable):
        transport.send(get())
    assert len(server.seen) == 3


def test_a_read_by_post_survives_it_too(server, transport):
    server.reply = Reply(drop_reused=True)
    transport.send(get())
    assert transport.send(post(idempotent=True)).status == 200


def test_a_write_on_a_dead_connection_is_not_sent_twice(server, transport):
    server.reply = Reply(drop_reused=True)
    transport.send(get())
    with pytest.raises(SiteUnreachable) as caught:
        transport.send(post())
    assert caught.value.sent
    assert server.paths() == ["GET /api/x", "POST /api/x"]


def test_a_fresh_connection_that_breaks_is_not_tried_again(server, transport):
    server.reply = Reply(drop=True)
    with pytest.raises(SiteUnreachable, match="the connection failed"):
        transport.send(get())
    assert len(server.seen) == 1


def test_a_forked_process_opens_its_own_connection(server, transport):
    transport.send(get())
    child = os.fork()
    if child == 0:
        with contextlib.suppress(Exception):
            transport.send(get("/api/child"))
        os._exit(0)
    os.waitpid(child, 0)
    transport.send(get("/api/parent"))
    connections = {seen.target: seen.connection for seen in server.seen}
    assert connections["/api/x"] == connections["/api/parent"] != connections["/api/child"]


# Failures


def test_a_closed_port_is_unreachable_and_nothing_was_sent():
    with (
        contextlib.closing(Transport(f"http://127.0.0.1:{unused_port()}")) as transport,
        pytest.raises(SiteUnreachable, match="Connection refused") as caught,
    ):
        transport.send(post("/api/resource/Lead"))
    assert not caught.value.sent
    assert (caught.value.method, caught.value.path) == ("POST", "/api/resource/Lead")


def test_an_unknown_host_is_unreachable(environment):
    environment.update({"no_proxy": "*"})
    with (
        contextlib.closing(Transport("http://erp.invalid")) as transport,
        pytest.raises(SiteUnreachable) as caught,
    ):
        transport.send(post())
    assert not caught.value.sent


def test_silence_ends_after_the_read_timeout(server, transport):
    server.reply = Reply(hang=True)
    with pytest.raises(SiteUnreachable, match=r"no answer within 1 s") as caught:
        transport.send(post(), timeouts=IMPATIENT)
    assert caught.value.sent


@pytest.mark.parametrize("part", ["body", "headers"])
def test_a_slow_drip_ends_at_the_deadline(server, transport, part):
    server.reply = Reply(body=b"x" * 1000, drip=0.05, drip_headers=part == "headers")
    with pytest.raises(SiteUnreachable, match=r"took longer than 1 s") as caught:
        transport.send(get(), timeouts=HURRIED)
    assert caught.value.sent


def test_a_pause_does_not_outlast_the_deadline(server, transport):
    server.reply = Reply(body=b"{}", drip=60)
    with pytest.raises(SiteUnreachable, match=r"took longer than 1 s"):
        transport.send(get(), timeouts=HURRIED)


def test_a_body_that_stops_ends_after_the_read_timeout(server, transport):
    server.reply = Reply(body=b"{" * 10, drip=60)
    with pytest.raises(SiteUnreachable, match=r"stopped for 1 s"):
        transport.send(get(), timeouts=IMPATIENT)


def test_an_answer_that_breaks_off_is_unreachable(server, transport):
    server.reply = Reply(body=b'{"data": [', length=1000)
    with pytest.raises(SiteUnreachable, match="broke off") as caught:
        transport.send(get())
    assert caught.value.sent
    assert caught.value.status == 200


def test_damaged_compression_is_unreachable(server, transport):
    server.reply = Reply(headers=[("Content-Encoding", "gzip")], body=b"no gzip")
    with pytest.raises(SiteUnreachable, match="compression"):
        transport.send(get())


def test_contradictory_headers_are_unreachable(server, transport):
    server.reply = Reply(headers=[("Content-Length", "5, 7")])
    with pytest.raises(SiteUnreachable):
        transport.send(get())


def test_what_is_no_http_is_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet():
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 mail.example.com ESMTP\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        with (
            contextlib.closing(Transport(f"http://127.0.0.1:{listener.getsockname()[1]}")) as transport,
            pytest.raises(SiteUnreachable),
        ):
            transport.send(get())
        thread.join()


# Sizes


def test_a_huge_error_page_is_read_to_its_first_megabyte(server, transport):
    server.reply = Reply(500, [("Content-Type", "text/html")], b"<title>Oops</title>" + b"x" * (20 << 20))
    answer = transport.send(get())
    assert (answer.status, len(answer.content), answer.cut) == (500, 1 << 20, True)


def test_a_success_above_the_limit_is_refused(server):
    server.reply = Reply(body=b"x" * (3 << 20))
    with (
        contextlib.closing(Transport(server.url, max_bytes=1 << 20)) as transport,
        pytest.raises(UnreadableAnswer, match="larger than 1 MB"),
    ):
        transport.send(get())


def test_a_small_answer_that_unpacks_above_the_limit_is_refused(server):
    server.reply = Reply(headers=[("Content-Encoding", "gzip")], body=gzip.compress(b"0" * (30 << 20)))
    with (
        contextlib.closing(Transport(server.url, max_bytes=1 << 20)) as transport,
        pytest.raises(UnreadableAnswer, match="larger than 1 MB"),
    ):
        transport.send(get())


def test_a_compressed_answer_is_unpacked(server, transport):
    server.reply = Reply(headers=[("Content-Encoding", "gzip")], body=gzip.compress(b'{"a": 1}'))
    assert transport.send(get()).content == b'{"a": 1}'


def test_a_stream_is_read_in_pieces_without_a_limit(server):
    server.reply = Reply(body=b"x" * (3 << 20))
    with (
        contextlib.closing(Transport(server.url, max_bytes=1 << 20)) as transport,
        transport.stream(get()) as stream,
    ):
        sizes = [len(chunk) for chunk in stream]
    assert sum(sizes) == 3 << 20
    assert max(sizes) <= 1 << 16


# TLS


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1"
    )
    command += f" -addext subjectAltName=IP:127.0.0.1 -keyout {folder}/key.pem -out {folder}/cert.pem"
    subprocess.run(command.split(), check=True, capture_output=True)
    return f"{folder}/cert.pem", f"{folder}/key.pem"


def test_a_certificate_that_nobody_vouches_for_is_a_tls_failure(certificate):
    with WireServer(tls=certificate) as server, contextlib.closing(Transport(server.url)) as transport:
        with pytest.raises(SiteUnreachable, match=r"TLS failure .*self-signed") as caught:
            transport.send(post(credentials=Bearer(SECRET)))
        assert not caught.value.sent
        assert server.seen == []


def test_tls_works_with_the_right_authority(certificate):
    with WireServer(tls=certificate) as server:
        with contextlib.closing(Transport(server.url, verify=certificate[0])) as transport:
            assert [transport.send(get()).status for _ in range(2)] == [200, 200]
        assert len({seen.connection for seen in server.seen}) == 1


def test_an_authority_of_the_environment_is_used(certificate, environment):
    environment["REQUESTS_CA_BUNDLE"] = certificate[0]
    with WireServer(tls=certificate) as server, contextlib.closing(Transport(server.url)) as transport:
        assert transport.send(get()).status == 200


def test_a_drip_over_tls_ends_at_the_deadline(certificate):
    with WireServer(tls=certificate) as server:
        server.reply = Reply(body=b"x" * 1000, drip=0.05)
        with (
            contextlib.closing(Transport(server.url, verify=certificate[0])) as transport,
            pytest.raises(SiteUnreachable, match="took longer"),
        ):
            transport.send(get(), timeouts=HURRIED)


def test_plain_http_on_a_tls_port_is_unreachable(certificate):
    with (
        WireServer(tls=certificate) as server,
        contextlib.closing(Transport(server.url.replace("https", "http"))) as transport,
        pytest.raises(SiteUnreachable),
    ):
        transport.send(get(), timeouts=IMPATIENT)


# What is told


def failing(server):
    yield Reply(drop=True)
    yield Reply(hang=True)
    yield Reply(body=b"x", length=10)


def test_no_error_tells_a_secret_a_query_or_a_body(server, transport):
    for reply in failing(server):
        server.reply = reply
        request = post(query={"q": "queried"}, body=b"posted", credentials=ApiKey("k3yk3yk3y", SECRET))
        with pytest.raises(SiteUnreachable) as caught:
            transport.send(request, timeouts=IMPATIENT)
        told = f"{caught.value!r} {caught.value} {vars(caught.value)} {request!r}"
        assert not [word for word in (SECRET, "k3yk3yk3y", "queried", "posted") if word in told]
        # What it was made from holds all of them, in its text, its request and its frames.
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


def test_every_exchange_is_reported_once(server, transport):
    told = []
    server.replies = {"/gone": Reply(404, body=b"x" * 50), "/drop": Reply(drop=True)}
    transport.send(get("/fine"), on_exchange=told.append)
    transport.send(get("/gone"), on_exchange=told.append)
    with pytest.raises(ERPNextBridgeError):
        transport.send(post("/drop"), on_exchange=told.append)
    assert [(one.method, one.path, one.status, one.error) for one in told] == [
        ("GET", "/fine", 200, ""),
        ("GET", "/gone", 404, ""),
        ("POST", "/drop", None, "SiteUnreachable"),
    ]
    assert told[1].received > 50
    assert all(one.seconds > 0 for one in told)


# URLs


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://erp.example.com", "https://erp.example.com"),
        (" https://ERP.Example.com:443/ ", "https://erp.example.com"),
        ("http://localhost:8000/", "http://localhost:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_the_origin_of_a_site(url, origin):
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "erp.example.com",
        "ftp://x",
        "https://",
        "",
        "https://x/app",
        "https://x?y=1",
        "http://a b",
        "https://x:port",
    ],
)
def test_what_is_no_sites_url_is_refused(url):
    with pytest.raises(ValueError):  # noqa: PT011 - a bad port is urllib's own sentence
        origin_of(url)


def test_a_password_in_a_url_is_refused_without_being_shown():
    with pytest.raises(ValueError, match="must not contain") as caught:
        origin_of(f"https://me:{SECRET}@erp.example.com")
    assert SECRET not in str(caught.value)


def test_a_number_of_seconds_makes_all_timeouts():
    assert Timeouts.of(2) == Timeouts(connect=2, read=2, total=8)
    assert Timeouts.of(None) == Timeouts()
    assert Timeouts.of(HURRIED) is HURRIED


# Files


class Unsized(io.BytesIO):
    """A file that counts how much of it was asked for at once."""

    largest = 0

    def read(self, size=-1):
        self.largest = max(self.largest, size if size >= 0 else 1 << 60)
        return super().read(size)


def test_a_file_is_sent_piece_by_piece(server, transport):
    file = Unsized(b"skipped" + b"\x00\xff" * (1 << 20))
    file.seek(7)
    body = Multipart({"is_private": "1", "docname": "é"}, file, 'odd "name"\r\n.txt')
    transport.send(post(body=body, headers={"Content-Type": body.content_type}, credentials=Anonymous()))
    seen = server.seen[0]
    assert int(seen.headers["Content-Length"]) == len(body) == len(seen.body)
    assert file.largest <= 1 << 16
    head, _, tail = seen.body.partition(b"\x00\xff")
    assert b'name="docname"\r\n\r\n\xc3\xa9\r\n' in head
    assert b'name="file"; filename="odd %22name%22%0D%0A.txt"\r\n' in head
    assert tail.endswith(f"\xff\r\n--{body.boundary}--\r\n".encode("latin-1"))


def test_a_multipart_body_can_be_read_twice():
    body = Multipart({"a": "b"}, io.BytesIO(b"content"), "f")
    assert b"".join(body) == b"".join(body.rewind())
    assert b"".join(body) == b""


def test_headers_without_end_are_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def flood():
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(1000)
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\n" + b"X-More: 1\r\n" * (http.client._MAXHEADERS + 50) + b"\r\n"
                )

        thread = threading.Thread(target=flood)
        thread.start()
        with (
            contextlib.closing(Transport(f"http://127.0.0.1:{listener.getsockname()[1]}")) as transport,
            pytest.raises(SiteUnreachable),
        ):
            transport.send(get())
        thread.join()
