"""The sandbox as an OAuth provider: the whole dance, and Frappe's odd answers along the way."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from erpnext_bridge.sandbox import Sandbox, User, World

ALICE, BOB, PASSWORD = "alice@example.com", "bob@example.com", "a sandbox password"
METHOD = "/api/method/frappe.integrations.oauth2."
WHO = "/api/method/frappe.auth.get_logged_user"
REDIRECT = "http://testserver/callback/"
VERIFIER = "a-verifier-of-a-client-that-is-long-enough-0123456789"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")


class Client:
    """An OAuth client and its user's browser."""

    def __init__(self, site):
        self.site = site
        self.id, self.secret = site.oauth_client([REDIRECT, "http://other.example/"])
        self.browser = requests.Session()
        self.login(ALICE)

    def login(self, user):
        self.browser.cookies.clear()
        form = {"usr": user, "pwd": PASSWORD}
        assert self.browser.post(f"{self.site.url}/api/method/login", data=form).status_code == 200

    def query(self, **changes):
        given = {"client_id": self.id, "response_type": "code", "redirect_uri": REDIRECT, "scope": "all"}
        return {key: value for key, value in {**given, "state": "st", **changes}.items() if value is not None}

    def go(self, step, **changes):
        url = f"{self.site.url}{METHOD}{step}"
        return self.browser.get(url, params=self.query(**changes), allow_redirects=False)

    def code(self, **changes):
        return parse_qs(urlsplit(self.go("approve", **changes).headers["Location"]).query)["code"][0]

    def post(self, endpoint, headers=None, **form):
        return requests.post(f"{self.site.url}{METHOD}{endpoint}", data=form, headers=headers, timeout=60)

    def exchange(self, code, **form):
        given = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT,
            "client_id": self.id,
        }
        return self.post("get_token", **{**given, **form})

    def tokens(self, **changes):
        return self.exchange(self.code(**changes)).json()

    def refresh(self, refresh_token):
        return self.post(
            "get_token", grant_type="refresh_token", refresh_token=refresh_token, client_id=self.id
        )

    def who(self, access_token):
        headers = {"Authorization": f"Bearer {access_token}"}
        return requests.get(self.site.url + WHO, headers=headers, timeout=60)


@pytest.fixture(params=[15, 16], ids=["v15", "v16"])
def site(request):
    world = World()
    for user in (ALICE, BOB):
        world.add_user(
            User(user, full_name=user.split("@")[0].title(), roles=["System Manager"], password=PASSWORD)
        )
    with Sandbox(request.param, world) as sandbox:
        yield sandbox


@pytest.fixture
def client(site):
    client = Client(site)
    yield client
    client.browser.close()


# Authorization


def test_a_guest_is_sent_to_the_login_page_and_comes_back(client):
    client.browser.cookies.clear()
    answer = client.go("authorize")
    assert answer.status_code == 302
    place = urlsplit(answer.headers["Location"])
    assert place.path == "/login"
    back = parse_qs(place.query)["redirect-to"][0]
    form = {"usr": ALICE, "pwd": PASSWORD, "redirect-to": back}
    page = client.browser.post(f"{client.site.url}/login", data=form)
    assert '<button id="allow"' in page.text


def test_the_consent_page_names_the_app_and_its_wishes_and_has_both_ways_out(client):
    page = client.go("authorize", scope="all openid").text
    links = re.findall(r'window\.location\.replace\("(.*?)"\)', page)
    assert links[0].startswith(f"{METHOD}approve?client_id={client.id}&")
    assert links[1] == f"{REDIRECT}?error=access_denied"
    assert re.findall("<li>(.*?)</li>", page) == ["All", "Full Name", "Email", "User Image", "Roles"]
    assert "Sandbox client wants to access" in page
    assert f'href="{links[1]}"' in page


def test_an_approval_brings_a_code_and_the_state_back(client):
    answer = client.go("approve", state="a b&c=d/?#")
    assert answer.status_code == 302
    parts = urlsplit(answer.headers["Location"])
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == REDIRECT
    assert parse_qs(parts.query)["state"] == ["a b&c=d/?#"]


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"client_id": "nope"}, "invalid_request", "Invalid client_id parameter value."),
        ({"redirect_uri": "http://evil.example/"}, "invalid_request", "Mismatching redirect URI."),
        ({"redirect_uri": REDIRECT + "?x=1"}, "invalid_request", "Mismatching redirect URI."),
        ({"response_type": None}, "invalid_request", "Missing response_type parameter."),
        ({"response_type": "foo"}, "unsupported_response_type", ""),
        ({"response_type": "token"}, "unauthorized_client", ""),
        ({"scope": "all profile"}, "invalid_scope", ""),
        ({"scope": ""}, "invalid_scope", ""),
        (
            {"code_challenge": "x", "code_challenge_method": "S512"},
            "invalid_request",
            "Transform algorithm not supported.",
        ),
    ],
)
def test_a_bad_authorization_request_ends_at_the_site_and_never_reaches_the_client(
    client, changes, error, text
):
    answer = client.go("authorize", **changes)
    assert answer.status_code == 400
    assert answer.json() == {"description": text, "status_code": 400, "error": error}


def test_a_missing_redirect_uri_is_a_crash_on_v15(client):
    assert client.go("authorize", redirect_uri=None).status_code == (
        500 if client.site.version == 15 else 200
    )


def test_a_code_belongs_to_the_user_of_the_cookie(client):
    sid = client.browser.cookies["sid"]
    client.browser.cookies.clear()
    client.browser.cookies.set("sid", sid)
    answer = client.go("approve")
    assert (answer.status_code, answer.json()["exc_type"]) == (500, "KeyError")


def test_a_client_may_skip_the_question(site):
    client = Client(site)
    client.id, _ = site.oauth_client([REDIRECT], skip_authorization=True)
    with client.browser:
        answer = client.go("authorize")
    assert (answer.status_code, urlsplit(answer.headers["Location"]).path) == (302, f"{METHOD}approve")


# Tokens


def test_a_code_becomes_a_token_pair_that_acts_as_the_user(client):
    answer = client.exchange(client.code())
    assert answer.status_code == 200
    tokens = answer.json()
    assert tokens.keys() == {"access_token", "refresh_token", "expires_in", "token_type", "scope"}
    assert (tokens["expires_in"], tokens["token_type"], tokens["scope"]) == (3600, "Bearer", "all")
    assert client.who(tokens["access_token"]).json() == {"message": ALICE}


def test_a_code_is_spent_once(client):
    code = client.code()
    assert client.exchange(code).status_code == 200
    again = client.exchange(code)
    assert (again.status_code, again.json()) == (400, {"error": "invalid_grant"})


def test_the_client_secret_is_not_looked_at(client):
    assert client.exchange(client.code(), client_secret="wrong").status_code == 200


def test_basic_authentication_of_the_client_is_taken_for_an_api_key(client):
    pair = base64.b64encode(f"{client.id}:{client.secret}".encode()).decode()
    answer = client.post("get_token", {"Authorization": f"Basic {pair}"}, grant_type="authorization_code")
    assert answer.status_code == 401


def test_a_bearer_header_spoils_the_token_endpoint(client):
    access = client.tokens()["access_token"]
    headers = {"Authorization": f"Bearer {access}"}
    form = {"grant_type": "authorization_code", "code": client.code(), "client_id": client.id}
    answer = client.post("get_token", headers, redirect_uri=REDIRECT, **form)
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_client"})


def test_an_unknown_client_is_missing_on_v15_and_forbidden_on_v16(client):
    answer = client.exchange(client.code(), client_id="nope")
    expected = (404, "DoesNotExistError") if client.site.version == 15 else (403, "PermissionError")
    assert (answer.status_code, answer.json()["exc_type"]) == expected


def test_pkce_accepts_the_verifier_that_fits(client):
    code = client.code(code_challenge=CHALLENGE, code_challenge_method="S256")
    assert client.exchange(code, code_verifier=VERIFIER).status_code == 200


def test_pkce_survives_a_wrong_verifier_and_not_a_missing_one(client):
    wrong = client.code(code_challenge=CHALLENGE, code_challenge_method="S256")
    assert client.exchange(wrong, code_verifier=VERIFIER[::-1]).json() == {"error": "invalid_grant"}
    assert client.exchange(wrong, code_verifier=VERIFIER).status_code == 200
    missing = client.code(code_challenge=CHALLENGE, code_challenge_method="S256")
    assert client.exchange(missing).status_code == 400
    assert client.exchange(missing, code_verifier=VERIFIER).status_code == 400


def test_openid_signs_who_the_user_is_with_the_clients_secret(client):
    tokens = client.tokens(scope="all openid", nonce="n-1")
    header, claims, signature = tokens["id_token"].split(".")
    digest = hmac.new(client.secret.encode(), f"{header}.{claims}".encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == signature
    said = json.loads(base64.urlsafe_b64decode(claims + "=="))
    assert (said["aud"], said["nonce"], said["email"], said["iss"]) == (
        client.id,
        "n-1",
        ALICE,
        client.site.url,
    )
    assert said["exp"] == said["iat"] + 3600
    assert "id_token" not in client.refresh(tokens["refresh_token"]).json()


def test_the_profile_is_that_of_the_bearer(client):
    access = client.tokens()["access_token"]
    headers = {"Authorization": f"Bearer {access}"}
    profile = requests.get(f"{client.site.url}{METHOD}openid_profile", headers=headers, timeout=60).json()
    assert (profile["email"], profile["name"], profile["iss"]) == (ALICE, "Alice", client.site.url)
    assert "System Manager" in profile["roles"]


# Refresh, revocation, expiry


def test_a_refresh_leaves_the_old_pair_alive(client):
    old = client.tokens()
    new = client.refresh(old["refresh_token"]).json()
    assert new["access_token"] != old["access_token"]
    assert client.who(old["access_token"]).status_code == 200
    assert client.who(new["access_token"]).status_code == 200
    assert client.refresh(old["refresh_token"]).status_code == 200


def test_newer_servers_revoke_the_old_pair(client):
    client.site.rotate_refresh_tokens = True
    old = client.tokens()
    new = client.refresh(old["refresh_token"]).json()
    assert client.who(old["access_token"]).status_code == 401
    assert client.who(new["access_token"]).status_code == 200
    assert client.refresh(old["refresh_token"]).status_code in (403, 404)


def test_an_unknown_refresh_token_is_404_on_v15_and_403_on_v16(client):
    assert client.refresh("nope").status_code == (404 if client.site.version == 15 else 403)


def test_a_refresh_cannot_widen_the_scope(client):
    refresh = client.tokens()["refresh_token"]
    answer = client.post(
        "get_token",
        grant_type="refresh_token",
        refresh_token=refresh,
        client_id=client.id,
        scope="all openid",
    )
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_scope"})


def test_a_revoked_access_token_takes_its_refresh_token_along(client):
    tokens = client.tokens()
    answer = client.post("revoke_token", token=tokens["access_token"])
    assert (answer.status_code, answer.json()) == (200, {})
    assert client.who(tokens["access_token"]).status_code == 401
    assert client.refresh(tokens["refresh_token"]).status_code in (403, 404)


def test_revoking_a_refresh_token_needs_the_hint(client):
    tokens = client.tokens()
    client.post("revoke_token", token=tokens["refresh_token"], client_id=client.id)
    assert client.who(tokens["access_token"]).status_code == 200
    client.post(
        "revoke_token", token=tokens["refresh_token"], client_id=client.id, token_type_hint="refresh_token"
    )
    assert client.who(tokens["access_token"]).status_code == 401


def test_revoking_by_get_is_refused(client):
    answer = requests.get(f"{client.site.url}{METHOD}revoke_token?token=x", timeout=60)
    assert (answer.status_code, answer.json()) == (400, {})


def test_introspection_knows_revoked_tokens_and_takes_expired_ones_for_active(client):
    tokens = client.tokens()
    said = client.post("introspect_token", token=tokens["access_token"]).json()
    assert (said["active"], said["client_id"], said["scope"]) == (True, client.id, "all")
    client.site.expire_tokens()
    assert client.who(tokens["access_token"]).status_code == 401
    assert client.post("introspect_token", token=tokens["access_token"]).json()["active"] is True
    client.site.revoke_tokens()
    assert client.post("introspect_token", token=tokens["access_token"]).json()["active"] is False
    assert client.post("introspect_token", token="nope").json()["active"] is False


def test_an_expired_access_token_can_be_refreshed(client):
    tokens = client.tokens()
    client.site.expire_tokens(ALICE)
    assert client.who(client.refresh(tokens["refresh_token"]).json()["access_token"]).status_code == 200


def test_tokens_of_one_user_are_expired_and_revoked_alone(client):
    mine = client.tokens()
    client.login(BOB)
    others = client.tokens()
    assert client.site.expire_tokens(BOB) == 1
    assert client.who(mine["access_token"]).status_code == 200
    assert client.who(others["access_token"]).status_code == 401
    assert client.site.revoke_tokens(ALICE) == 1
    assert client.who(mine["access_token"]).status_code == 401


# Requests as they should not come


@pytest.mark.parametrize("verb", ["POST", "PUT"])
def test_an_approval_may_come_in_the_body(client, verb):
    def approve(form):
        return client.browser.request(
            verb, f"{client.site.url}{METHOD}approve", data=form, allow_redirects=False
        )

    answer = approve(client.query(state="a b"))
    assert answer.status_code == 302
    assert parse_qs(urlsplit(answer.headers["Location"]).query)["state"] == ["a b"]
    twice = approve([*client.query().items(), ("response_type", "code")])
    assert (twice.status_code, twice.json()["description"]) == (400, "Duplicate response_type parameter.")


def test_functions_that_are_no_methods_are_told_from_those_that_are_not_there(client):
    refused = client.go("get_oauth_server")
    assert (refused.status_code, refused.json()["exc_type"]) == (403, "PermissionError")
    missing = client.go("no_such_function")
    assert (missing.status_code, missing.json()["exc_type"]) == (417, "ValidationError")


def test_a_token_next_to_a_cookie_ends_the_session_of_16(client):
    headers = {"Authorization": f"Bearer {client.tokens()['access_token']}"}
    sid = {"sid": client.browser.cookies["sid"]}
    both = requests.get(client.site.url + WHO, headers=headers, cookies=sid, timeout=60)
    assert both.json()["message"] == ALICE
    after = [requests.get(client.site.url + WHO, cookies=sid, timeout=60) for _ in range(2)]
    if client.site.version == 15:
        assert [answer.json() for answer in after] == [{"message": ALICE}] * 2
        return
    for answer in after:
        told = answer.json()
        assert (answer.status_code, told["exc_type"]) == (403, "PermissionError")
        assert (told["message"], told["home_page"], told["full_name"]) == ("No App", "/login", "Guest")
        assert "User None not found" in told["_server_messages"]
        assert answer.cookies["sid"] == "Guest"


def test_a_head_of_the_openid_configuration_is_a_redirect_with_15_alone(site):
    answer = requests.head(f"{site.url}/.well-known/openid-configuration", timeout=60)
    assert answer.status_code == (301 if site.version == 15 else 404)


# What the site says of itself


def test_the_openid_configuration_is_reached_in_two_ways(site):
    answer = requests.get(f"{site.url}/.well-known/openid-configuration", allow_redirects=False, timeout=60)
    assert answer.status_code == (301 if site.version == 15 else 200)
    document = requests.get(f"{site.url}/.well-known/openid-configuration", timeout=60).json()
    assert document["token_endpoint"] == f"{site.url}{METHOD}get_token"
    assert document["issuer"] == site.url


@pytest.mark.parametrize("name", ["oauth-authorization-server", "oauth-protected-resource"])
def test_only_v16_publishes_metadata(site, name):
    answer = requests.get(f"{site.url}/.well-known/{name}", timeout=60)
    assert answer.status_code == (404 if site.version == 15 else 200)


def register(site, **changes):
    data = {"client_name": "Dynamic", "redirect_uris": ["https://client.example/callback"], **changes}
    return requests.post(f"{site.url}{METHOD}register_client", json=data, timeout=60)


def test_only_v16_registers_clients(site):
    answer = register(site)
    assert answer.status_code == (417 if site.version == 15 else 201)
    if site.version == 16:
        stored = site.rows("OAuth Client")[0]
        assert answer.json()["client_id"] == stored["client_id"]
        assert answer.json()["client_secret"] == stored["client_secret"]


@pytest.mark.parametrize("site", [16], indirect=True)
def test_a_public_client_gets_no_secret(site):
    assert "client_secret" not in register(site, token_endpoint_auth_method="none").json()


@pytest.mark.parametrize("site", [16], indirect=True)
@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"redirect_uris": ["http://client.example/"]}, "redirect_uris must be https"),
        ({"redirect_uris": []}, "redirect_uris is required"),
        ({"response_types": ["token"]}, "only 'code' response_type is supported"),
    ],
)
def test_a_registration_that_asks_too_much_is_refused(site, changes, text):
    answer = register(site, **changes)
    assert answer.status_code == 400
    assert answer.json() == {"error": "invalid_client_metadata", "error_description": text}
