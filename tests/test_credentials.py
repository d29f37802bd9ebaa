"""Credentials reach a header and nothing else."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import traceback

import pytest

from erpnext_bridge.credentials import Anonymous, ApiKey, Bearer, SessionId

SECRETS = ["k3yk3yk3y", "s3cr3ts3cr3t", "t0k3nt0k3n", "s1ds1d", "csrfcsrf"]
ALL = [
    Anonymous(),
    ApiKey("k3yk3yk3y", "s3cr3ts3cr3t"),
    ApiKey("k3yk3yk3y", "s3cr3ts3cr3t", "basic"),
    Bearer("t0k3nt0k3n"),
    SessionId("s1ds1d", "csrfcsrf"),
]
ids = [f"{credentials.kind}-{index}" for index, credentials in enumerate(ALL)]


def test_each_kind_has_its_header():
    assert [credentials.headers() for credentials in ALL] == [
        {},
        {"Authorization": "token k3yk3yk3y:s3cr3ts3cr3t"},
        {"Authorization": "Basic " + base64.b64encode(b"k3yk3yk3y:s3cr3ts3cr3t").decode()},
        {"Authorization": "Bearer t0k3nt0k3n"},
        {"Cookie": "sid=s1ds1d", "X-Frappe-CSRF-Token": "csrfcsrf"},
    ]


@pytest.mark.parametrize("credentials", ALL, ids=ids)
def test_no_text_of_them_shows_a_secret(credentials):
    texts = [repr(credentials), str(credentials), f"{credentials}", repr([credentials])]
    assert not [secret for secret in SECRETS if any(secret in text for text in texts)]


@pytest.mark.parametrize("credentials", ALL, ids=ids)
def test_they_refuse_to_be_pickled(credentials):
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(credentials)


@pytest.mark.parametrize("credentials", ALL, ids=ids)
def test_copies_are_the_same_object(credentials):
    assert copy.copy(credentials) is credentials
    assert copy.deepcopy({"of": credentials})["of"] is credentials


def test_they_are_not_json_either():
    with pytest.raises(TypeError):
        json.dumps(ALL)


@pytest.mark.parametrize(
    "make",
    [
        lambda bad: ApiKey(bad, "secret"),
        lambda bad: ApiKey("key", bad),
        Bearer,
        SessionId,
        lambda bad: SessionId("sid", bad),
    ],
    ids=["key", "secret", "token", "sid", "csrf"],
)
@pytest.mark.parametrize("bad", ["two words", "line\r\nX-Evil: 1", "tab\there", "naïve", ""])
def test_a_value_that_would_break_its_header_is_refused_without_being_shown(make, bad):
    with pytest.raises(ValueError, match="without blanks") as caught:
        make(bad)
    assert not bad or bad not in "".join(traceback.format_exception_only(caught.value))


@pytest.mark.parametrize("pair", [("a:b", "c"), ("a", "b:c")])
def test_a_colon_in_an_api_key_is_refused(pair):
    with pytest.raises(ValueError, match="splits"):
        ApiKey(*pair)


@pytest.mark.parametrize("sid", ["a;b", "a,b", 'a"b'])
def test_a_sid_is_a_single_cookie(sid):
    with pytest.raises(ValueError, match="single cookie"):
        SessionId(sid)
