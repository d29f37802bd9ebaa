"""Clients that others wrote, against the sandbox: Frappe's own command line, and curl as Frappe's documentation has it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pty
import shutil
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import requests

from erpnext_bridge.testing import open_erpnext_site
from tests.erp_browser import ErpBrowser
from tests.services import free_port

ROOT = Path(__file__).resolve().parent.parent
ALICE, PASSWORD = "alice@example.com", "alice-sandbox"


# frappectl: Frappe's command line, for v16

needs_frappectl = pytest.mark.skipif(find_spec("frappectl") is None, reason="frappectl is not installed")


class Frappectl:
    """The command line in a home of its own."""

    def __init__(self, home, **environment):
        own = {
            "HOME": home,
            "XDG_CONFIG_HOME": home,
            "TEST_KEYRING": home / "keyring.json",
            "PYTHONPATH": ROOT,
        }
        own |= {
            "PYTHON_KEYRING_BACKEND": "tests.file_keyring.FileKeyring",
            "COLUMNS": "2000",
            "BROWSER": "true",
        }
        # Its own libraries warn of one another.
        own["PYTHONWARNINGS"] = "ignore"
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        self.environment = {**kept, **{name: str(value) for name, value in {**own, **environment}.items()}}
        self.home = home
        self.command = [sys.executable, "-W", "ignore", "-m", "frappectl"]

    def run(self, *arguments, stdin=None):
        return subprocess.run(
            [*self.command, *arguments],
            capture_output=True,
            text=True,
            check=False,
            input=stdin,
            env=self.environment,
            cwd=self.home,
            timeout=120,
        )

    def __call__(self, *arguments, stdin=None):
        """Return what a command says; all of it is JSON when nobody watches."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout else None

    def refusal(self, *arguments):
        done = self.run(*arguments)
        assert done.returncode != 0, done.stdout
        return done.stderr


@pytest.fixture
def site16():
    with open_erpnext_site(16) as site:
        yield site


@pytest.fixture
def ctl(site16, tmp_path):
    key, secret = site16.api_key(ALICE)
    return Frappectl(tmp_path, FRAPPE_SITE=site16.url, FRAPPE_API_KEY=key, FRAPPE_API_SECRET=secret)


@needs_frappectl
def test_frappectl_signs_in_by_api_key(site16, ctl):
    told = ctl("auth", "whoami")
    assert (told["user"], told["auth"], told["site"]) == (ALICE, "api_key", site16.url)
    ctl.environment["FRAPPE_API_SECRET"] = "wrong"
    assert "FRAPPE_API_SECRET" in ctl.refusal("auth", "whoami")


@needs_frappectl
def test_frappectl_lists_documents(site16, ctl):
    names = sorted(row["name"] for row in site16.rows("Customer"))
    found = ctl("doc", "list", "Customer", "--order-by", "name asc", "--limit", "7")
    assert len(found) == 7
    assert len(ctl("doc", "list", "Customer", "--all", "--fields", "name")) == len(names) == 240
    north = ctl("doc", "list", "Customer", "-f", "territory=North", "--fields", "name,territory", "--all")
    stored = {row["name"] for row in site16.rows("Customer") if row["territory"] == "North"}
    assert {row["name"] for row in north} == stored
    dear = ctl("doc", "list", "Sales Order", "-f", "grand_total>5000", "-f", "docstatus=1", "--all")
    rows = site16.rows("Sales Order")
    assert len(dear) == sum(row["grand_total"] > 5000 and row["docstatus"] == 1 for row in rows)


@needs_frappectl
def test_frappectl_creates_updates_and_deletes_a_document(site16, ctl):
    made = ctl("doc", "create", "ToDo", "--set", "description=Follow up", "--set", "priority=High")
    assert site16.document("ToDo", made["name"])["priority"] == "High"
    changed = ctl("doc", "update", "ToDo", made["name"], "--set", "status=Closed")
    assert changed["status"] == site16.document("ToDo", made["name"])["status"] == "Closed"
    assert ctl("doc", "get", "ToDo", made["name"])["modified"] == changed["modified"]
    assert ctl("doc", "delete", "ToDo", made["name"]) == {"deleted": made["name"], "doctype": "ToDo"}
    assert site16.document("ToDo", made["name"]) is None
    assert "not found" in ctl.refusal("doc", "get", "ToDo", made["name"])


@needs_frappectl
def test_frappectl_takes_an_order_through_its_life(site16, ctl):
    """Child rows by standard input, then submit and cancel."""
    customer, item = site16.rows("Customer")[0]["name"], site16.rows("Item")[0]["name"]
    rows = [{"item_code": item, "qty": 2, "rate": 12.5}]
    order = {
        "customer": customer,
        "transaction_date": "2026-03-02",
        "delivery_date": "2026-03-09",
        "items": rows,
    }
    made = ctl("doc", "create", "Sales Order", stdin=json.dumps(order))
    assert (made["grand_total"], len(made["items"])) == (25, 1)
    for step, docstatus in (("submit", 1), ("cancel", 2)):
        ctl("doc", step, "Sales Order", made["name"])
        assert site16.document("Sales Order", made["name"])["docstatus"] == docstatus


@needs_frappectl
def test_frappectl_tells_what_is_refused(site16, ctl):
    assert "Description" in ctl.refusal("doc", "create", "ToDo", "--set", "priority=High")
    assert "nonesuch not found" in ctl.refusal("doc", "get", "ToDo", "nonesuch")
    assert "nonesuch" in ctl.refusal("doc", "list", "ToDo", "-f", "nonesuch=1")
    bob = dict(zip(("FRAPPE_API_KEY", "FRAPPE_API_SECRET"), site16.api_key("bob@example.com"), strict=True))
    ctl.environment |= bob
    refusal = ctl.refusal("doc", "delete", "Customer", site16.rows("Customer")[0]["name"])
    assert "permission" in refusal.lower()


@needs_frappectl
def test_frappectl_shows_doctypes(site16, ctl):
    assert "Insufficient Permission for DocType" in ctl.refusal("doctype", "list")
    keys = site16.api_key("Administrator")
    ctl.environment |= dict(zip(("FRAPPE_API_KEY", "FRAPPE_API_SECRET"), keys, strict=True))
    assert {"Customer", "Sales Order", "ToDo"} <= set(ctl("doctype", "list"))
    shown = json.dumps(ctl("doctype", "show", "Sales Order"))
    assert all(name in shown for name in ("transaction_date", "Sales Order Item", "Sales User"))
    raw = ctl("doctype", "show", "Customer", "--raw")
    assert {field["fieldname"] for field in raw["fields"]} >= {"customer_name", "territory"}


@needs_frappectl
def test_frappectl_uploads_and_downloads_a_file(site16, ctl, tmp_path):
    (tmp_path / "offer.txt").write_text("24 bolts\n")
    customer = site16.rows("Customer")[0]["name"]
    target = ["--doctype", "Customer", "--name", customer]
    file = ctl("file", "upload", "offer.txt", "--private", *target)
    assert file["file_url"] == "/private/files/offer.txt"
    (stored,) = [row for row in site16.rows("File") if row["name"] == file["name"]]
    assert (stored["attached_to_doctype"], stored["attached_to_name"]) == ("Customer", customer)
    for reference in (file["name"], file["file_url"]):
        assert ctl.run("file", "download", reference, "-o", "-").stdout == "24 bolts\n"


@needs_frappectl
def test_frappectl_calls_methods(site16, ctl):
    assert ctl("method", "call", "frappe.auth.get_logged_user") == ALICE
    assert ctl("api", "method/frappe.client.get_count", "-F", "doctype=Customer") == 240
    arguments = [
        "-F",
        "doctype=Customer",
        "-F",
        'filters:={"territory":"North"}',
        "-F",
        "limit_page_length=3",
    ]
    assert len(ctl("api", "method/frappe.client.get_list", *arguments)) == 3
    assert "frappe.no.such.method" in ctl.refusal("method", "call", "frappe.no.such.method")


def log_in(ctl, site):
    """Log in on a terminal, with alice in the browser; return the id of the OAuth client, and what is said."""
    port, url = free_port(), site.url
    client_id, _ = site.oauth_client([f"http://127.0.0.1:{port}/callback"], "openid all")
    terminal, inside = pty.openpty()
    command = [
        *ctl.command,
        "auth",
        "login",
        url,
        "--oauth",
        "--name",
        "erp",
        "--description",
        "",
        "--writable",
    ]
    process = subprocess.Popen(
        [*command, "--oauth-port", str(port), "--client-id", client_id],
        stdin=inside,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ctl.environment,
        cwd=ctl.home,
    )
    guard = threading.Timer(120, process.kill)
    guard.start()
    try:
        told = []
        for line in process.stderr:
            told.append(line)
            if line.startswith(url):
                with ErpBrowser(url, ALICE, PASSWORD) as browser:
                    back = browser.allow(line.strip())
                page = requests.get(f"http://127.0.0.1:{port}{back}", timeout=60)
                assert "Login complete" in page.text
        assert process.wait() == 0, told
    finally:
        guard.cancel()
        process.stdout.close()
        process.stderr.close()
        os.close(terminal)
        os.close(inside)
    return client_id, "".join(told)


@needs_frappectl
def test_frappectl_signs_in_by_oauth_with_pkce(site16, tmp_path):
    ctl = Frappectl(tmp_path)
    client_id, said = log_in(ctl, site16)
    assert ALICE in said
    asked = next(request for request in site16.requests if request.path.endswith("oauth2.authorize"))
    assert dict(asked.query)["code_challenge_method"] == "S256"
    assert dict(asked.query)["client_id"] == client_id
    told = ctl("auth", "whoami")
    assert (told["user"], told["auth"]) == (ALICE, "oauth")
    assert len(ctl("doc", "list", "Lead", "--all", "--fields", "name")) == len(site16.rows("Lead"))


@needs_frappectl
def test_frappectl_refreshes_its_token_and_revokes_it(site16, tmp_path):
    ctl = Frappectl(tmp_path)
    log_in(ctl, site16)
    assert site16.expire_tokens(ALICE) == 1
    assert ctl("auth", "whoami")["user"] == ALICE
    assert len(site16.rows("OAuth Bearer Token")) == 2
    assert ctl.run("auth", "logout", "erp").returncode == 0
    assert sorted(row["status"] for row in site16.rows("OAuth Bearer Token")) == ["Active", "Revoked"]


@needs_frappectl
def test_frappectl_cannot_register_itself_where_only_https_is_taken(site16, tmp_path):
    """As at a real 16.4 that is not in developer mode; the registration itself is the site's to allow."""
    ctl = Frappectl(tmp_path)
    terminal, inside = pty.openpty()
    command = [
        *ctl.command,
        "auth",
        "login",
        site16.url,
        "--oauth",
        "--name",
        "erp",
        "--description",
        "",
        "--writable",
    ]
    with open(inside, closefd=True) as stdin, open(terminal, "wb", closefd=True):
        options = {
            "capture_output": True,
            "text": True,
            "check": False,
            "env": ctl.environment,
            "cwd": ctl.home,
        }
        done = subprocess.run(command, stdin=stdin, timeout=120, **options)
    assert done.returncode == 1
    assert "redirect_uris must be https" in done.stderr


# curl: the lines of docs.frappe.io, REST API and its guides, in words of our own

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


class Curl:
    """`curl URL…`, as on a page of documentation; answers (status, what was sent)."""

    def __init__(self, site, jar):
        self.site, self.jar = site, jar

    def __call__(self, path, *options):
        shown = "\n%{http_code} %{redirect_url}"
        command = ["curl", "--silent", "--show-error", "--noproxy", "*", "--write-out", shown, *options]
        done = subprocess.run(
            [*command, self.site.url + path], capture_output=True, text=True, check=True, timeout=120
        )
        body, _, end = done.stdout.rpartition("\n")
        status, _, self.redirect = end.partition(" ")
        return int(status), json.loads(body) if body.startswith("{") else body

    def log_in(self, user=ALICE, password=PASSWORD):
        """Log in as the guide to simple authentication does; keep the cookie."""
        body = ["--data", json.dumps({"usr": user, "pwd": password}), "--cookie-jar", str(self.jar)]
        return self("/api/method/login", "--request", "POST", *JSON, *body)


JSON = ("--header", "Content-Type: application/json", "--header", "Accept: application/json")


@pytest.fixture(params=[15, 16], ids=["v15", "v16"])
def curl(request, tmp_path):
    with open_erpnext_site(request.param) as site:
        yield Curl(site, tmp_path / "cookies.txt")


@needs_curl
def test_curl_logs_in_with_a_password(curl):
    status, body = curl.log_in()
    home = {15: "/app", 16: "/desk"}[curl.site.version]
    assert (status, body["message"], body["full_name"]) == (200, "Logged In", "Alice Adams")
    assert body["home_page"].startswith(home)
    cookie = ("--cookie", str(curl.jar))
    assert curl("/api/method/frappe.auth.get_logged_user", *cookie) == (200, {"message": ALICE})
    assert curl("/api/method/logout", "--request", "POST", *cookie)[0] == 200
    assert curl("/api/method/frappe.auth.get_logged_user", *cookie)[0] == 403
    assert curl.log_in(password="wrong")[0] == 401


@pytest.fixture
def token(curl):
    return ("--header", "Authorization: token " + ":".join(curl.site.api_key(ALICE)))


@needs_curl
def test_curl_asks_who_it_is_by_token(curl, token):
    pair = base64.b64encode(":".join(curl.site.api_key(ALICE)).encode()).decode()
    for header in (token, ("--header", f"Authorization: Basic {pair}")):
        assert curl("/api/method/frappe.auth.get_logged_user", *header) == (200, {"message": ALICE})
    wrong = ("--header", "Authorization: token no:good")
    assert curl("/api/method/frappe.auth.get_logged_user", *wrong)[0] == 401


@needs_curl
def test_curl_lists_documents(curl, token):
    status, body = curl("/api/resource/Customer", *token)
    assert (status, len(body["data"]), list(body["data"][0])) == (200, 20, ["name"])
    wanted = {
        "fields": '["name", "territory"]',
        "filters": '[["Customer", "territory", "=", "North"]]',
        "order_by": "name desc",
        "limit_start": "2",
        "limit_page_length": "3",
    }
    options = [part for name, value in wanted.items() for part in ("--data-urlencode", f"{name}={value}")]
    _, body = curl("/api/resource/Customer", "--get", *options, *token)
    names = sorted(
        (row["name"] for row in curl.site.rows("Customer") if row["territory"] == "North"), reverse=True
    )
    assert len(body["data"]) == 3
    assert {row["name"] for row in body["data"]} <= set(names)
    assert {row["territory"] for row in body["data"]} == {"North"}


@needs_curl
def test_curl_creates_reads_updates_and_deletes_a_document(curl, token):
    values = json.dumps({"description": "New ToDo", "priority": "High"})
    status, body = curl("/api/resource/ToDo", "--request", "POST", *JSON, "--data", values, *token)
    name = body["data"]["name"]
    assert (status, body["data"]["doctype"]) == (200, "ToDo")
    place = f"/api/resource/ToDo/{quote(name)}"
    _, body = curl(place, *token)
    assert body["data"]["description"] == curl.site.document("ToDo", name)["description"] == "New ToDo"
    change = json.dumps({"description": "Changed"})
    status, body = curl(place, "--request", "PUT", *JSON, "--data", change, *token)
    assert (status, body["data"]["description"], body["data"]["priority"]) == (200, "Changed", "High")
    assert curl.site.document("ToDo", name)["description"] == "Changed"
    assert curl(place, "--request", "DELETE", *token) == (202, {"data": "ok"})
    assert curl.site.document("ToDo", name) is None
    assert curl(place, *token)[0] == 404


@needs_curl
def test_curl_uploads_a_file(curl, token, tmp_path):
    (tmp_path / "note.txt").write_text("a note")
    form = ("--form", f"file=@{tmp_path / 'note.txt'}", "--form", "is_private=1")
    status, body = curl("/api/method/upload_file", *form, *token)
    assert (status, body["message"]["file_url"]) == (200, "/private/files/note.txt")
    assert curl("/private/files/note.txt", *token) == (200, "a note")


REDIRECT = "https://app.example.com/oauth2/callback"
OAUTH = "/api/method/frappe.integrations.oauth2"


def form(**values):
    return [part for name, value in values.items() for part in ("--data-urlencode", f"{name}={value}")]


@needs_curl
def test_curl_walks_through_oauth(curl):
    client_id, _ = curl.site.oauth_client([REDIRECT])
    verifier = "420" * 20
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    asked = form(
        client_id=client_id, state="444", response_type="code", scope="openid all", redirect_uri=REDIRECT
    )
    asked += form(code_challenge=challenge)
    # Nobody is signed in yet: the log-in page comes first.
    assert curl(f"{OAUTH}.authorize", "--get", *asked)[0] == 302
    assert "/login?redirect-to=" in curl.redirect
    curl.log_in()
    cookie = ("--cookie", str(curl.jar))
    # The guide writes it like this; no server takes it.
    status, refusal = curl(
        f"{OAUTH}.authorize", "--get", *asked, *form(code_challenge_method="s256"), *cookie
    )
    assert (status, refusal["description"]) == (400, "Transform algorithm not supported.")
    asked += form(code_challenge_method="S256")
    status, page = curl(f"{OAUTH}.authorize", "--get", *asked, *cookie)
    assert status == 200
    assert "Sandbox client" in page
    assert curl(f"{OAUTH}.approve", "--get", *asked, *cookie)[0] == 302
    back = parse_qs(urlsplit(curl.redirect).query)
    assert curl.redirect.startswith(f"{REDIRECT}?")
    assert back["state"] == ["444"]

    grant = form(
        grant_type="authorization_code", code=back["code"][0], redirect_uri=REDIRECT, client_id=client_id
    )
    status, tokens = curl(f"{OAUTH}.get_token", *grant, *form(code_verifier=verifier))
    assert (status, tokens["token_type"], tokens["expires_in"]) == (200, "Bearer", 3600)
    bearer = ("--header", f"Authorization: Bearer {tokens['access_token']}")
    who = "/api/method/frappe.auth.get_logged_user"
    assert curl(who, *bearer) == (200, {"message": ALICE})
    assert curl(f"{OAUTH}.openid_profile", *bearer)[1]["email"] == ALICE

    again = form(grant_type="refresh_token", refresh_token=tokens["refresh_token"], client_id=client_id)
    status, fresh = curl(f"{OAUTH}.get_token", *again, *form(redirect_uri=REDIRECT))
    assert status == 200
    assert fresh["access_token"] != tokens["access_token"]
    bearer = ("--header", f"Authorization: Bearer {fresh['access_token']}")
    assert curl(f"{OAUTH}.introspect_token", *form(token=fresh["access_token"]))[1]["active"] is True
    assert curl(f"{OAUTH}.revoke_token", *form(token=fresh["access_token"]))[0] == 200
    assert curl(who, *bearer)[0] == 401
