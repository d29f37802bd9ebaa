"""Answers that real servers gave become the error that tells what to do next."""

from __future__ import annotations

import json
from decimal import Decimal
from email.utils import formatdate
from pathlib import Path
from time import time

import pytest
from requests.structures import CaseInsensitiveDict

from erpnext_bridge import answers, errors
from erpnext_bridge.transport import Answer

RECORDED = [
    pytest.param(entry, id=f"{file.stem}-{entry['id']}")
    for file in sorted((Path(__file__).parent / "data" / "answers").glob("*.json"))
    for entry in json.loads(file.read_text("utf-8"))["answers"]
]
FAILED = [param for param in RECORDED if "error" in param.values[0]]
SUCCEEDED = [param for param in RECORDED if "error" not in param.values[0]]


def answer(status=200, body=b"{}", content_type="application/json", method="GET", path="/api/x", **headers):
    content = (
        body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    )
    given = {"Content-Type": content_type, **{key.replace("_", "-"): value for key, value in headers.items()}}
    return Answer(method, path, status, CaseInsensitiveDict(given), content)


def recorded_answer(entry):
    return answer(
        entry["status"],
        entry["body"],
        entry["headers"].get("content-type", ""),
        entry["method"],
        entry["path"],
    )


def refused(status=417, body=b"{}", **kwargs):
    return answers.error_of(answer(status, body, **kwargs))


def test_both_versions_are_recorded():
    assert len(FAILED) > 100
    assert {param.id[:3] for param in RECORDED} == {"v15", "v16"}


@pytest.mark.parametrize("entry", FAILED)
def test_a_recorded_refusal_is_its_class_with_frappes_messages(entry):
    with pytest.raises(errors.ERPNextBridgeError) as caught:
        answers.read(recorded_answer(entry))
    expected = entry["error"]
    assert type(caught.value).__name__ == expected["class"]
    assert list(caught.value.messages) == expected["messages"]
    assert list(getattr(caught.value, "fields", ())) == expected.get("fields", [])
    assert caught.value.status == entry["status"]


@pytest.mark.parametrize("entry", FAILED)
def test_no_refusal_shows_markup_or_a_traceback(entry):
    text = str(answers.error_of(recorded_answer(entry)))
    assert "Traceback" not in text
    assert not [tag for tag in ("<strong>", "<br>", "<details>", "<a href", "&quot;", "&lt;") if tag in text]


@pytest.mark.parametrize("entry", SUCCEEDED)
def test_a_recorded_success_comes_back_as_sent(entry):
    assert answers.read(recorded_answer(entry)) == entry["body"]


# What a proxy or a broken line makes of an answer


@pytest.mark.parametrize("status", [502, 503, 504, 520, 500])
def test_a_proxys_error_page_means_later(status):
    error = refused(status, "<html><title>Bad</title><h1>Bad</h1>", content_type="text/html")
    assert type(error) is errors.SiteBusy
    assert error.sent is (status != 503)


def test_an_html_404_is_not_a_missing_document():
    error = refused(404, "<html><title>404 Not Found</title>", content_type="text/html; charset=utf-8")
    assert type(error) is errors.RefusedError
    assert error.messages[0] == "Not Found"


def test_html_instead_of_json_is_one_clear_error():
    with pytest.raises(errors.UnreadableAnswer, match=r"'Welcome to nginx!'.*Check the site's URL"):
        answers.read(answer(200, "<html><head><title>Welcome to nginx!</title></head>", "text/html"))


def test_a_long_page_is_told_by_its_title():
    page = "<title>502 Bad Gateway</title><p>" + "blah " * 10_000
    assert refused(502, page, content_type="text/html").messages == ("Bad Gateway",)


def test_json_that_does_not_end_is_a_broken_line():
    with pytest.raises(errors.SiteUnreachable, match="damaged or cut") as caught:
        answers.read(answer(200, b'{"data": [{"name": "A'))
    assert caught.value.sent


@pytest.mark.parametrize("body", [b"[1, 2]", b'"text"', b"null", b"[" * 100_000])
def test_json_that_is_no_object_is_not_erpnext(body):
    with pytest.raises(errors.ERPNextBridgeError) as caught:
        answers.read(answer(200, body))
    assert isinstance(caught.value, errors.UnreadableAnswer)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_an_unreadable_error_body_leaves_the_status(body):
    assert type(refused(403, body)) is errors.PermissionRefused


def test_a_redirect_names_where_to_and_nothing_else():
    error = refused(302, b"", Location="https://user:pw@other.example/login?token=abc")
    assert isinstance(error, errors.UnreadableAnswer)
    assert "https://other.example," in str(error)
    assert not {"abc", "pw", "user"} & set(str(error).replace("/", " ").replace("@", " ").split())
    assert not error.sent


# Frappe's bodies


def test_the_message_that_was_raised_comes_first_and_each_comes_once():
    noted = [{"message": "Note"}, {"message": "Cause", "raise_exception": 1}, {"message": "Note"}, "bare"]
    body = {"_server_messages": json.dumps([json.dumps(one) for one in noted]), "_error_message": "Cause"}
    assert refused(417, body).messages == ("Cause", "Note", "bare")


@pytest.mark.parametrize("value", ["nonsense", 7, None, '{"a": 1}', "[1, null, {}, []]", [["x"]]])
def test_server_messages_of_any_shape_are_survived(value):
    error = refused(417, {"_server_messages": value, "exception": "frappe.exceptions.ValidationError: Said"})
    assert error.messages == ("Said",)


@pytest.mark.parametrize("value", [None, [], {}, [None], [{"type": None}], "x"])
def test_v2_errors_of_any_shape_are_survived(value):
    assert type(refused(417, {"errors": value, "messages": value})) is errors.ValidationRefused


def test_the_class_is_found_in_the_exception_when_exc_type_is_missing():
    error = refused(500, {"exception": "frappe.exceptions.TimestampMismatchError: changed"})
    assert type(error) is errors.Conflict
    assert error.exc_type == "TimestampMismatchError"


@pytest.mark.parametrize("exc_type", ["QueryDeadlockError", "QueryTimeoutError", "InReadOnlyMode"])
def test_what_frappe_rolled_back_may_be_sent_again(exc_type):
    error = refused(500, {"exc_type": exc_type})
    assert type(error) is errors.SiteBusy
    assert not error.sent


@pytest.mark.parametrize(
    ("code", "cls"),
    [
        (1213, errors.SiteBusy),
        (2006, errors.SiteBusy),
        (1062, errors.DuplicateDocument),
        (1406, errors.ValidationRefused),
        (1054, errors.RefusedError),
    ],
)
def test_a_database_error_is_told_by_its_number(code, cls):
    error = refused(
        500, {"exc_type": "OperationalError", "exception": f'pymysql.err.X: ({code}, "It\'s so")'}
    )
    assert type(error) is cls
    assert error.messages == ("It's so",)


def test_a_dead_session_is_an_error_even_with_an_answer():
    with pytest.raises(errors.AuthenticationRefused, match="session has expired"):
        answers.read(answer(200, {"data": [], "session_expired": 1}))


@pytest.mark.parametrize("value", ["7", "7.0"])
def test_retry_after_in_seconds(value):
    assert refused(429, b"Too many", content_type="text/html", Retry_After=value).retry_after == 7


def test_retry_after_as_a_date():
    seconds = refused(503, b"{}", Retry_After=formatdate(time() + 100, usegmt=True)).retry_after
    assert 0 < seconds <= 100


@pytest.mark.parametrize("value", ["", "soon", "-3", "99999999999999"])
def test_a_retry_after_without_sense_is_none(value):
    assert refused(503, b"{}", Retry_After=value).retry_after is None


def test_numbers_are_read_as_asked():
    body = answers.read(answer(200, b'{"data": 0.1}'), parse_float=Decimal)
    assert body == {"data": Decimal("0.1")}


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("plain", "plain"),
        ("a &lt; b &amp;&amp; c &quot;d&quot; &eacute; &#8364;", 'a < b && c "d" é €'),
        ("one<br>two<br/>three", "one\ntwo\nthree"),
        ("Missing:<ul><li>Item</li><li><b>Rate</b></li></ul>", "Missing:\n- Item\n- Rate"),
        ("<p>a</p>\n<p>  b  c </p>", "a\nb c"),
        ("<table><tr><td>x</td><td>y</td></tr></table>", "x y"),
        ("<script>alert(1)</script>safe<style>p{}</style>", "safe"),
        ("'<', '>' and 1 < 2", "'<', '>' and 1 < 2"),
        ('<a href="/app/Form/X">X</a>', "X"),
        ("", ""),
    ],
)
def test_html_becomes_what_a_reader_sees(html, text):
    assert answers.plain_text(html) == text


def test_messages_have_an_end():
    body = {
        "_server_messages": json.dumps([json.dumps({"message": f"{n} " + "x" * 9000}) for n in range(99)])
    }
    messages = refused(417, body).messages
    assert (len(messages), max(map(len, messages))) == (20, 2000)
