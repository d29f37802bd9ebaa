"""The errors say what happened, to whom to turn, and survive pickling."""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest
from django.core.exceptions import ObjectDoesNotExist
from django.db.utils import NotSupportedError

from erpnext_bridge import errors

CLASSES = [
    member
    for _, member in inspect.getmembers(errors, inspect.isclass)
    if issubclass(member, errors.ERPNextBridgeError)
]
SAMPLES = [
    errors.UnsupportedQuery("Frappe cannot negate 'range'."),
    errors.NeedsReconnect(),
    errors.GrantRefused("Unknown token", error="invalid_grant", status=400),
    errors.Conflict("Changed", document={"name": "A"}, status=417, exc_type="TimestampMismatchError"),
    errors.ValidationRefused("Value missing", fields=("subject",), method="POST", path="/api/resource/Task"),
    errors.SiteBusy("Too many requests", retry_after=2.5, status=429),
    errors.SiteUnreachable("timed out", sent=True, method="PUT", path="/api/resource/Task/T-1"),
    errors.UnreadableAnswer("A redirect", sent=False, status=302),
]


def tree_in_docstring():
    """Read the module docstring's tree as {class name: name of its parent}."""
    parents, path = {}, []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^([│├└─ ]*)([A-Z]\w+)  ", line)
        if found:
            path = path[: len(found[1]) // 4]
            parents[found[2]] = path[-1] if path else None
            path.append(found[2])
    return parents


def test_the_docstring_draws_the_whole_tree():
    ours = {
        cls.__name__: next((base.__name__ for base in cls.__bases__ if base in CLASSES), None)
        for cls in CLASSES
    }
    assert tree_in_docstring() == ours


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_error_can_be_raised_with_a_message_alone(cls):
    assert cls("Because.").messages == ("Because.",)
    assert str(cls("Because.")) == "Because."


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
def test_errors_survive_copying_and_pickling(error, duplicate):
    twin = duplicate(error)
    assert type(twin) is type(error)
    assert (twin.args, vars(twin)) == (error.args, vars(error))
    assert str(twin) == str(error)


def test_text_tells_the_request_the_status_and_the_messages():
    error = errors.ValidationRefused(
        "Value missing for Task: Subject",
        "Could not find Project: P",
        method="POST",
        path="/api/resource/Task",
        status=417,
        exc_type="MandatoryError",
    )
    assert str(error) == (
        "POST /api/resource/Task: 417 MandatoryError: Value missing for Task: Subject Could not find Project: P"
    )


def test_a_missing_connection_names_the_way_out():
    assert "connect page" in str(errors.NotConnected())
    assert "connect again" in str(errors.NeedsReconnect())


def test_generic_django_code_catches_what_it_knows():
    assert issubclass(errors.DocumentDoesNotExist, ObjectDoesNotExist)
    assert issubclass(errors.UnsupportedQuery, NotSupportedError)


def test_a_refused_grant_has_oauths_two_words():
    error = errors.GrantRefused("Unknown", "token", error="invalid_grant")
    assert (error.error, error.description) == ("invalid_grant", "Unknown token")
