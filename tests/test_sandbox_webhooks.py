"""Webhooks of the sandbox: which fire, what they carry, how they are signed and tried again."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from erpnext_bridge.sandbox import Sandbox, User, World, templating

ALICE = "alice@example.com"
SECRET = "a secret of the tests"


class Receiver:
    """Answers webhooks with the statuses it is given, then 200."""

    def __init__(self, *statuses):
        self.statuses = list(statuses)
        self.heard = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                """Nothing."""

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status = receiver.statuses.pop(0) if receiver.statuses else 200
                receiver.heard.append((self.command, self.path, dict(self.headers), body))
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/moved")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST = do_PUT = answer  # noqa: N815 - names that http.server looks up

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def wait(self, count):
        """The first requests, as soon as there are so many."""
        deadline = time.monotonic() + 60
        while len(self.heard) < count and time.monotonic() < deadline:
            time.sleep(0.005)
        assert len(self.heard) >= count
        return self.heard

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture(params=[15, 16], ids=["v15", "v16"])
def site(request):
    world = World()
    world.add_user(User(ALICE, full_name="Alice", roles=["System Manager"]))
    with Sandbox(request.param, world, webhook_pauses=(0.01, 0.01, 0.01)) as sandbox:
        yield sandbox


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.stop()


def hook(site, url, event="after_insert", **values):
    given = {
        "name": f"hook-{event}",
        "webhook_doctype": "Note",
        "webhook_docevent": event,
        "request_method": "POST",
    }
    template = '{"title": {{ doc.title | tojson }}}'
    defaults = {"request_url": url, "enabled": 1, "request_structure": "JSON", "webhook_json": template}
    return post(site, "/api/resource/Webhook", {**given, **defaults, **values})


def post(site, path, body):
    headers = {"Authorization": "token {}:{}".format(*site.api_key(ALICE))}
    return requests.post(site.url + path, json=body, headers=headers, timeout=60)


def note(site, title="A note", **values):
    answer = post(site, "/api/resource/Note", {"title": title, **values})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def logged(site, count):
    """The log's rows, as soon as there are so many: a delivery is logged after it was answered."""
    deadline = time.monotonic() + 60
    while len(rows := site.rows("Webhook Request Log")) < count and time.monotonic() < deadline:
        time.sleep(0.005)
    return rows


def test_an_insert_sends_what_the_template_says(site, receiver):
    assert hook(site, f"{receiver.url}/in").status_code == 200
    note(site, 'Ünï "q"')
    method, path, headers, body = receiver.wait(1)[0]
    assert (method, path, json.loads(body)) == ("POST", "/in", {"title": 'Ünï "q"'})
    assert "Content-Type" not in headers
    assert "X-Frappe-Webhook-Signature" not in headers


def test_the_signature_is_over_the_raw_body(site, receiver):
    hook(site, receiver.url + "/", enable_security=1, webhook_secret=SECRET)
    note(site)
    _, _, headers, body = receiver.wait(1)[0]
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).digest()
    assert headers["X-Frappe-Webhook-Signature"] == base64.b64encode(digest).decode()


def test_fields_can_be_mapped_and_headers_added(site, receiver):
    rows = [{"fieldname": "title", "key": "what"}, {"fieldname": "public", "key": "open"}]
    more = {"webhook_data": rows, "webhook_headers": [{"key": "X-Event", "value": "note"}]}
    hook(site, receiver.url + "/", request_structure="", webhook_json=None, **more)
    note(site)
    _, _, headers, body = receiver.wait(1)[0]
    assert json.loads(body) == {"what": "A note", "open": 0}
    assert headers["X-Event"] == "note"


def test_a_condition_chooses_documents(site, receiver):
    hook(site, receiver.url + "/", condition="doc.title == 'yes'")
    note(site, "no")
    note(site, "yes")
    assert json.loads(receiver.wait(1)[0][3]) == {"title": "yes"}
    assert len(receiver.heard) == 1


def test_an_address_can_depend_on_the_document(site, receiver):
    hook(site, receiver.url + "/{{ doc.title | urlencode }}?n={{ 1 + 1 }}", is_dynamic_url=1)
    note(site, "a b")
    assert receiver.wait(1)[0][1] == "/a%20b?n=2"


def test_an_update_fires_its_own_event(site, receiver):
    template = '{"title": {{ doc.description | tojson }}}'
    for event in ("on_update", "on_change"):
        hook(site, receiver.url + "/", event, webhook_doctype="ToDo", webhook_json=template)
    name = post(site, "/api/resource/ToDo", {"description": "old"}).json()["data"]["name"]
    assert json.loads(receiver.wait(1)[0][3]) == {"title": "old"}
    headers = {"Authorization": "token {}:{}".format(*site.api_key(ALICE))}
    where = f"{site.url}/api/resource/ToDo/{name}"
    answer = requests.put(where, json={"description": "new"}, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    assert [json.loads(body) for _, _, _, body in receiver.wait(3)[1:]] == [{"title": "new"}] * 2


def test_a_rolled_back_insert_fires_nothing(site, receiver):
    hook(site, receiver.url + "/")
    docs = [{"doctype": "Note", "title": "one"}, {"doctype": "Note"}]
    assert post(site, "/api/method/frappe.client.insert_many", {"docs": docs}).status_code == 417
    note(site, "after")
    assert [json.loads(heard[3])["title"] for heard in receiver.wait(1)] == ["after"]


@pytest.mark.parametrize(("statuses", "attempts"), [((500, 503), 3), ((500, 500, 500), 3), ((), 1)])
def test_a_failure_is_tried_three_times(site, statuses, attempts):
    receiver = Receiver(*statuses)
    try:
        hook(site, receiver.url + "/")
        note(site)
        assert len(logged(site, attempts)) == attempts
        assert len(receiver.heard) == attempts
        assert len({heard[3] for heard in receiver.heard}) == 1
    finally:
        receiver.stop()


def test_a_redirect_is_followed_without_the_body(site):
    receiver = Receiver(302)
    try:
        hook(site, receiver.url + "/")
        note(site)
        method, path, _, body = receiver.wait(2)[1]
        assert (method, path, body) == ("GET", "/moved", b"")
    finally:
        receiver.stop()


def test_a_template_that_fails_is_logged_and_not_sent(site, receiver):
    hook(site, receiver.url + "/", webhook_json='{"title": {{ doc.title }} }')
    note(site)
    row = logged(site, 1)[0]
    assert "json.decoder.JSONDecodeError" in row["error"]
    assert receiver.heard == []


def test_an_unreachable_receiver_is_logged(site):
    hook(site, "http://127.0.0.1:9/")
    note(site)
    rows = logged(site, 3)
    assert len(rows) == 3
    assert all("Connection refused" in row["error"] for row in rows)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"request_url": "no-url"}, "Check Request URL"),
        ({"enable_security": 1}, "Invalid Webhook Secret"),
        ({"webhook_docevent": "on_submit"}, "DocType must be Submittable for the selected Doc Event"),
        ({"condition": "doc."}, "Invalid Condition: invalid syntax"),
    ],
)
def test_a_webhook_that_cannot_work_is_refused(site, values, text):
    answer = hook(site, "http://127.0.0.1:9/", **values)
    assert answer.status_code == 417
    assert text in answer.text


# Templates


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ doc.a }}", "1"),
        ("{{ doc.missing }}", "None"),
        ("{{ doc.b | upper }}", "TEXT"),
        ("{{ doc.missing | default('-') }}", "-"),
        ("{% if doc.a > 1 %}more{% elif doc.a == 1 %}one{% else %}less{% endif %}", "one"),
        ("{% if doc.a %}{% if doc.missing %}x{% else %}y{% endif %}{% endif %}", "y"),
        ("{% for row in doc.rows %}[{{ row.n }}]{% endfor %}", "[1][2]"),
        ("{% set x = doc.a + 1 %}{{ x }}", "2"),
        ("{# nothing #}{{ 'a' if doc.a else 'b' }}", "a"),
        ("{{ doc.get('b', 'c') }}{{ doc['a'] }}", "text1"),
    ],
)
def test_templates_say_what_jinja_says(template, text):
    document = {"a": 1, "b": "text", "rows": [{"n": 1}, {"n": 2}]}
    names = {"doc": templating.Document(document, lenient=True)}
    assert templating.render(template, names) == text


@pytest.mark.parametrize(
    "expression", ["doc.__class__", "().__class__", "open('/etc/passwd')", "lambda: 1", "[x for x in 'a']"]
)
def test_expressions_reach_nothing_but_the_document(expression):
    names = {"doc": templating.Document({}, lenient=False)}
    with pytest.raises((AttributeError, NameError, SyntaxError)):
        templating.evaluate(expression, names)


def test_an_unknown_tag_is_refused():
    with pytest.raises(SyntaxError, match="unknown tag"):
        templating.render("{% include 'x' %}", {})
