"""The OAuth endpoints ask as Frappe wants it, and tell a final refusal from a bad day."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from erpnext_bridge import errors
from erpnext_bridge.oauth import LOGGERS, OAuthEndpoints, RedactTokens, TokenPair, install, new_pkce
from erpnext_bridge.transport import Timeouts
from tests.wire_server import Reply, WireServer

REDIRECT = "https://django.example.com/erpnext/callback/"
SECRETS = ["c0d3c0d3", "v3r1f13r", "r3fr3sh", "acc3ss", "cl13nts3cr3t"]
TOKENS = {
    "access_token": "acc3ss",
    "refresh_token": "r3fr3sh",
    "expires_in": 3600,
    "token_type": "Bearer",
    "scope": "all openid",
    "id_token": "ignored",
}
RECORDED = {
    (file.stem, entry["id"]): entry
    for file in (Path(__file__).parent / "data" / "answers").glob("*.json")
    for entry in json.loads(file.read_text("utf-8"))["answers"]
}


def json_reply(body, status=200):
    return Reply(status, body=json.dumps(body).encode())


def recorded_reply(version, name):
    entry = RECORDED[version, name]
    return json_reply(entry["body"], entry["status"])


@pytest.fixture
def server():
    with WireServer() as wire:
        wire.reply = json_reply(TOKENS)
        yield wire


def endpoints(server, **kwargs):
    given = {
        "client_secret": "cl13nts3cr3t",
        "redirect_uri": REDIRECT,
        "timeouts": Timeouts(60, 60, 60),
        **kwargs,
    }
    return OAuthEndpoints(server.url, "client-id", **given)


def form_of(seen):
    return dict(parse_qsl(seen.body.decode()))


def calls(oauth):
    """Every call that carries secrets, by name."""
    return {
        "exchange": lambda: oauth.exchange("c0d3c0d3", "v3r1f13r"),
        "refresh": lambda: oauth.refresh("r3fr3sh"),
        "revoke": lambda: oauth.revoke("acc3ss"),
        "introspect": lambda: oauth.introspect("acc3ss"),
        "profile": lambda: oauth.profile("acc3ss"),
    }


# Asking


def test_the_browser_is_sent_with_state_and_challenge():
    oauth = OAuthEndpoints("https://erp.example.com", "client-id", redirect_uri=REDIRECT, scope="all openid")
    url = oauth.authorize_url("the+state", "the-challenge")
    assert urlsplit(url)[:3] == (
        "https",
        "erp.example.com",
        "/api/method/frappe.integrations.oauth2.authorize",
    )
    assert parse_qs(urlsplit(url).query) == {
        "response_type": ["code"],
        "client_id": ["client-id"],
        "redirect_uri": [REDIRECT],
        "scope": ["all openid"],
        "state": ["the+state"],
        "code_challenge": ["the-challenge"],
        "code_challenge_method": ["S256"],
    }
    assert "scope=all%20openid" in url


def test_a_challenge_is_the_hash_of_its_verifier():
    verifier, challenge = new_pkce()
    digest = hashlib.sha256(verifier.encode()).digest()
    assert challenge == base64.urlsafe_b64encode(digest).decode().rstrip("=")
    assert 43 <= len(verifier) <= 128
    assert new_pkce()[0] != verifier


@pytest.mark.parametrize(
    ("client_auth", "secret", "client_id", "basic"),
    [
        ("post", "cl13nts3cr3t", "client-id", False),
        ("none", None, "client-id", False),
        ("basic", None, None, True),
    ],
)
def test_a_client_proves_itself_in_one_way_only(server, client_auth, secret, client_id, basic):
    oauth = endpoints(server, client_auth=client_auth)
    server.replies = {"/api/method/frappe.integrations.oauth2.revoke_token": json_reply({})}
    for name in ("exchange", "refresh", "revoke", "introspect"):
        calls(oauth)[name]()
    forms = [form_of(seen) for seen in server.seen]
    assert [form.get("client_secret") for form in forms] == [secret] * 4
    assert [form.get("client_id") for form in forms] == [client_id] * 4
    pair = "Basic " + base64.b64encode(b"client-id:cl13nts3cr3t").decode()
    assert [seen.headers.get("Authorization") for seen in server.seen] == [pair if basic else None] * 4
    assert {seen.headers["Content-Type"] for seen in server.seen} == {"application/x-www-form-urlencoded"}


def test_a_code_is_exchanged_with_its_verifier(server):
    asked = datetime.now(UTC)
    tokens = endpoints(server).exchange("c0d3c0d3", "v3r1f13r")
    form = form_of(server.seen[0])
    assert server.paths() == ["POST /api/method/frappe.integrations.oauth2.get_token"]
    assert form == {
        "grant_type": "authorization_code",
        "code": "c0d3c0d3",
        "code_verifier": "v3r1f13r",
        "redirect_uri": REDIRECT,
        "client_id": "client-id",
        "client_secret": "cl13nts3cr3t",
    }
    assert (tokens.access_token, tokens.refresh_token, tokens.scope) == ("acc3ss", "r3fr3sh", "all openid")
    assert timedelta(0) <= tokens.expires_at - asked - timedelta(hours=1) < timedelta(seconds=30)


def test_a_refresh_brings_a_whole_new_pair(server):
    server.reply = json_reply(TOKENS | {"refresh_token": "newer", "expires_in": 60})
    tokens = endpoints(server).refresh("r3fr3sh")
    assert form_of(server.seen[0]) == {
        "grant_type": "refresh_token",
        "refresh_token": "r3fr3sh",
        "client_id": "client-id",
        "client_secret": "cl13nts3cr3t",
    }
    assert tokens.refresh_token == "newer"
    assert tokens.expires_at < datetime.now(UTC) + timedelta(seconds=61)


@pytest.mark.parametrize("version", ["v15", "v16"])
@pytest.mark.parametrize(("call", "name"), [("exchange", "oauth.token.ok"), ("refresh", "oauth.refresh.ok")])
def test_recorded_tokens_are_understood(server, version, call, name):
    server.reply = recorded_reply(version, name)
    tokens = calls(endpoints(server))[call]()
    body = RECORDED[version, name]["body"]
    assert (tokens.access_token, tokens.refresh_token) == (body["access_token"], body["refresh_token"])


@pytest.mark.parametrize("told", ["soon", "nan", -5, 1e12, [60], {"s": 60}, None])
def test_a_lifetime_that_is_none_costs_no_refreshed_token(server, told):
    server.reply = json_reply(TOKENS | {"expires_in": told, "scope": ["openid", 7]})
    asked = datetime.now(UTC)
    tokens = endpoints(server).refresh("r3fr3sh")
    assert (tokens.access_token, tokens.scope) == ("acc3ss", "openid 7")
    assert timedelta(0) <= tokens.expires_at - asked - timedelta(hours=1) < timedelta(seconds=30)


@pytest.mark.parametrize("told", ["soon", [60]])
def test_a_code_that_brings_a_lifetime_that_is_none_is_an_unreadable_answer(server, told):
    server.reply = json_reply(TOKENS | {"expires_in": told})
    with pytest.raises(errors.UnreadableAnswer):
        endpoints(server).exchange("c0d3c0d3", "v3r1f13r")


@pytest.mark.parametrize("token", ["", "two words", "line\r\nX-Injected: 1", "tökén", 7, None])
def test_an_access_token_that_no_header_can_carry_is_none(server, token):
    server.reply = json_reply(TOKENS | {"access_token": token})
    with pytest.raises(errors.UnreadableAnswer, match="no access token"):
        endpoints(server).refresh("r3fr3sh")


def test_a_refresh_token_that_is_no_text_is_none(server):
    server.reply = json_reply(TOKENS | {"refresh_token": 7})
    assert endpoints(server).refresh("r3fr3sh").refresh_token is None


def test_another_scope_than_asked_for_is_taken_as_it_is(server):
    server.reply = json_reply(TOKENS | {"scope": "openid"})
    assert endpoints(server).exchange("c0d3c0d3", "v3r1f13r").scope == "openid"


def test_tokens_without_a_lifetime_live_an_hour(server):
    server.reply = json_reply({"access_token": "acc3ss", "token_type": "Bearer"})
    for tokens in (endpoints(server).refresh("r3fr3sh"), endpoints(server).exchange("c0d3c0d3", "v3r1f13r")):
        assert tokens.refresh_token is None
        assert timedelta(minutes=59) < tokens.expires_at - datetime.now(UTC) < timedelta(minutes=61)


def test_revoking_says_which_kind_of_token_it_is(server):
    server.reply = json_reply({})
    endpoints(server).revoke("r3fr3sh", "refresh_token")
    form = form_of(server.seen[0])
    assert (form["token"], form["token_type_hint"]) == ("r3fr3sh", "refresh_token")


def test_introspection_drops_messages_that_quote_the_token(server):
    server.reply = recorded_reply("v15", "oauth.introspect.unknown")
    assert endpoints(server).introspect("acc3ss", "access_token") == {"active": False}


def test_the_profile_is_asked_for_with_the_token(server):
    server.reply = json_reply({"email": "alice@example.com", "sub": None})
    assert endpoints(server).profile("acc3ss")["email"] == "alice@example.com"
    assert server.seen[0].headers["Authorization"] == "Bearer acc3ss"


# Refusals

FINAL = [
    ("v15", "oauth.token.replay", "invalid_grant"),
    ("v15", "oauth.token.pkce.wrong", "invalid_grant"),
    ("v15", "oauth.token.unknownclient", "invalid_client"),
    ("v16", "oauth.token.unknownclient", "invalid_client"),
    ("v15", "oauth.token.basic", "invalid_client"),
    ("v15", "oauth.token.cookie.useridonly", "invalid_client"),
    ("v15", "oauth.token.clientcredentials", "unauthorized_client"),
    ("v15", "oauth.refresh.unknown", "invalid_grant"),
    ("v16", "oauth.refresh.unknown", "invalid_grant"),
    ("v15", "oauth.refresh.missing", "invalid_request"),
    ("v16", "oauth.refresh.scope.wider", "invalid_scope"),
]


@pytest.mark.parametrize("call", ["exchange", "refresh"])
@pytest.mark.parametrize(("version", "name", "code"), FINAL)
def test_what_frappe_refuses_for_good_is_a_refused_grant(server, call, version, name, code):
    server.reply = recorded_reply(version, name)
    with pytest.raises(errors.GrantRefused) as caught:
        calls(endpoints(server))[call]()
    assert caught.value.error == code
    assert isinstance(caught.value, errors.AuthenticationRefused)


HTML = [("Content-Type", "text/html")]
NOT_FINAL = {
    "down": (Reply(drop=True), errors.SiteUnreachable),
    "silent": (Reply(hang=True), errors.SiteUnreachable),
    "cut": (Reply(body=b'{"access_token": "acc'), errors.SiteUnreachable),
    "rate limit": (Reply(429, HTML, b"Too many"), errors.SiteBusy),
    "bad gateway": (Reply(502, HTML, b"<title>502</title>"), errors.SiteBusy),
    "maintenance": (json_reply({"exc_type": "SessionStopped"}, 503), errors.SiteBusy),
    "firewall": (Reply(403, HTML, b"<title>Blocked</title>"), errors.SiteBusy),
    "broken refresh": (json_reply({"exc_type": "PermissionError"}, 403), errors.SiteBusy),
    "proxy's password": (Reply(401, HTML, b"<title>Who?</title>"), errors.SiteBusy),
    "wrong site": (Reply(404, HTML, b"<title>No such site</title>"), errors.SiteBusy),
    "a proxy's 400": (Reply(400, HTML, b"<title>Bad</title>"), errors.RefusedError),
    "server error": (json_reply({"exc_type": "AttributeError"}, 500), errors.RefusedError),
    "a web page": (Reply(200, HTML, b"<title>Hello</title>"), errors.UnreadableAnswer),
    "no tokens": (json_reply({"message": "hi"}), errors.UnreadableAnswer),
    "a redirect": (Reply(302, [("Location", "https://elsewhere.example/")]), errors.UnreadableAnswer),
}


@pytest.mark.parametrize("call", ["exchange", "refresh"])
@pytest.mark.parametrize("trouble", NOT_FINAL)
def test_anything_else_leaves_the_tokens_alone(server, call, trouble):
    server.reply, cls = NOT_FINAL[trouble]
    waits = {"timeouts": Timeouts(60, 0.3, 60)} if trouble == "silent" else {}
    with pytest.raises(cls) as caught:
        calls(endpoints(server, **waits))[call]()
    assert not isinstance(caught.value, errors.GrantRefused)


def test_an_error_with_status_200_is_refused_too(server):
    server.reply = json_reply({"error": "invalid_grant", "error_description": "Too late"})
    with pytest.raises(errors.GrantRefused, match="Too late"):
        endpoints(server).refresh("r3fr3sh")


def test_a_dead_token_has_no_profile(server):
    server.reply = recorded_reply("v15", "oauth.use.bearer.refreshtoken")
    with pytest.raises(errors.AuthenticationRefused):
        endpoints(server).profile("acc3ss")


# Guarantees


def test_no_redirect_is_followed_and_no_cookie_kept(server):
    with WireServer() as elsewhere:
        cookie = ("Set-Cookie", "sid=Guest; Path=/")
        server.reply = Reply(307, [("Location", f"{elsewhere.url}/"), cookie])
        oauth = endpoints(server)
        for call in list(calls(oauth).values()) * 2:
            with pytest.raises(errors.UnreadableAnswer, match="redirects"):
                call()
        assert elsewhere.seen == []
    assert not [seen for seen in server.seen if "Cookie" in seen.headers]


def test_netrc_and_the_environment_are_left_alone(server, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
    before = dict(os.environ)
    os.environ["NETRC"] = str(tmp_path / "netrc")
    try:
        endpoints(server).exchange("c0d3c0d3", "v3r1f13r")
        assert "OAUTHLIB_INSECURE_TRANSPORT" not in os.environ
    finally:
        os.environ.clear()
        os.environ.update(before)
    assert "Authorization" not in server.seen[0].headers


@pytest.mark.parametrize(
    "url", ["http://localhost:8000", "http://127.0.0.1", "http://[::1]:1", "http://erp.localhost"]
)
def test_plain_http_is_fine_on_this_machine(url):
    assert OAuthEndpoints(url, "id").authorize_url("s", "c").startswith(f"{url}/api/method/")


def test_plain_http_to_another_machine_must_be_asked_for():
    with pytest.raises(ValueError, match="not https"):
        OAuthEndpoints("http://erp.example.com", "id")
    allowed = OAuthEndpoints("http://erp.example.com", "id", allow_http=True)
    assert allowed.authorize_url("s", "c").startswith("http://erp.example.com/")


@pytest.mark.parametrize("name", ["exchange", "refresh", "revoke", "introspect", "profile"])
def test_no_error_tells_a_secret_even_when_the_site_does(server, name):
    quoted = {"message": f"Not found: {SECRETS}", "raise_exception": 1}
    server.reply = json_reply(
        {"exc_type": "DoesNotExistError", "_server_messages": json.dumps([json.dumps(quoted)])}, 404
    )
    with pytest.raises(errors.ERPNextBridgeError) as caught:
        calls(endpoints(server))[name]()
    sent = server.seen[0].body.decode() + server.seen[0].headers.get("Authorization", "")
    told = f"{caught.value} {caught.value!r} {vars(caught.value)}"
    assert not [secret for secret in SECRETS if secret in sent and secret in told]


def test_nothing_secret_is_logged(server, caplog):
    caplog.set_level(logging.DEBUG)
    for logger in map(logging.getLogger, LOGGERS):
        logger.filters.clear()
    oauth = endpoints(server)
    for client_auth in ("post", "basic"):
        for call in calls(endpoints(server, client_auth=client_auth)).values():
            call()
    oauth.authorize_url("state", "challenge")
    assert "requests_oauthlib.oauth2_session" in {record.name for record in caplog.records}
    basic = base64.b64encode(b"client-id:cl13nts3cr3t").decode()
    assert not [secret for secret in [*SECRETS, basic] if secret in caplog.text]


def test_the_filter_keeps_numbers_and_blanks_the_rest():
    record = logging.LogRecord("x", logging.DEBUG, "f", 1, "%s got %d and %s", ("a", 200, {"t": 1}), None)
    assert RedactTokens().filter(record)
    assert record.getMessage() == "[redacted] got 200 and [redacted]"
    mapped = logging.LogRecord("x", logging.DEBUG, "f", 1, "%(a)s", ({"a": "b"},), None)
    assert RedactTokens().filter(mapped)
    assert mapped.getMessage() == "[redacted]"


def test_installing_the_filter_twice_adds_it_once():
    install()
    install()
    logger = logging.getLogger("requests_oauthlib.oauth2_session")
    assert len([one for one in logger.filters if isinstance(one, RedactTokens)]) == 1


def test_tokens_and_endpoints_show_no_secret_and_are_not_pickled(server):
    tokens = TokenPair("acc3ss", "r3fr3sh", datetime.now(UTC), "all")
    told = f"{tokens!r} {tokens} {endpoints(server)!r}"
    assert not [secret for secret in SECRETS if secret in told]
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps(tokens)
