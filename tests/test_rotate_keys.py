"""`erpnext_rotate_keys`: no key is missed, none is needed twice, and running servers do not notice."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection as database

from erpnext_bridge import signals
from erpnext_bridge.access import open_site
from erpnext_bridge.conf import get_site
from erpnext_bridge.models import Connection, PendingRevocation
from erpnext_bridge.tokens import refreshing

pytestmark = pytest.mark.django_db(transaction=True)

NEW = Fernet.generate_key().decode()


@pytest.fixture
def keys(settings):
    """Return a function that sets TOKEN_KEYS."""
    old = "a key of the tests, which is long enough"

    def put(*keys):
        names = {"old": old, "new": NEW}
        settings.ERPNEXT_BRIDGE["TOKEN_KEYS"] = [names[key] for key in keys]

    return put


def rotate(capsys, **options):
    call_command("erpnext_rotate_keys", **options)
    return capsys.readouterr().out.strip()


def test_after_it_the_old_key_can_go(connection, keys, capsys, site):
    site.trouble("drop_before", times=None)
    connection.delete()
    site.trouble_clear()
    assert PendingRevocation.objects.count() == 1
    keys("new", "old")
    assert rotate(capsys) == "2 texts sealed anew, 0 were current, 0 cannot be opened."
    keys("new")
    assert all(token.open() for token in PendingRevocation.objects.get().tokens)


def test_a_connection_works_before_during_and_after_it(connection, keys, capsys):
    for step in (("new", "old"), None, ("new",)):
        if step is None:
            rotate(capsys)
        else:
            keys(*step)
        assert open_site(connection.identity).client.logged_user() == "alice@example.com"


def test_it_can_be_stopped_and_run_again(connection, keys, capsys):
    keys("new", "old")
    Connection.objects.update(access_token=connection.access_token.open())
    assert rotate(capsys) == "1 texts sealed anew, 1 were current, 0 cannot be opened."
    assert rotate(capsys) == "0 texts sealed anew, 2 were current, 0 cannot be opened."


def test_it_leaves_alone_what_a_refresh_stores_meanwhile(connection, keys, capsys):
    keys("new", "old")
    refreshed = []

    def refresh_first(execute, sql, *arguments):
        if sql.startswith("UPDATE") and not refreshed:
            refreshed.append(None)
            refreshed[0] = refreshing.refresh(connection, get_site())
        return execute(sql, *arguments)

    with database.execute_wrapper(refresh_first):
        rotate(capsys)
    assert Connection.objects.get().access_token.open() == refreshed[0].access_token.open()


def test_a_check_changes_nothing_and_fails_while_the_old_key_is_needed(connection, keys, capsys):
    keys("new", "old")
    with pytest.raises(CommandError, match="keep the others"):
        rotate(capsys, check=True)
    assert "2 texts to be sealed anew" in capsys.readouterr().out
    assert Connection.objects.get().access_token == connection.access_token
    rotate(capsys)
    rotate(capsys, check=True)


def test_tokens_that_no_key_opens_are_counted_and_kept(connection, keys, capsys):
    keys("new")
    with pytest.raises(CommandError, match="Put the key back"):
        rotate(capsys)
    assert "2 cannot be opened" in capsys.readouterr().out
    assert Connection.objects.get().access_token == connection.access_token


def test_without_a_key_it_says_how_to_make_one(connection, keys, capsys):
    keys()
    with pytest.raises(CommandError, match="generate_key"):
        rotate(capsys)


def test_a_refresh_survives_a_rotation_in_its_middle(connection, keys, capsys, site):
    keys("new", "old")

    def rotate_now(path, **_):
        if path.endswith("get_token"):
            call_command("erpnext_rotate_keys", verbosity=0)

    signals.request_sent.connect(rotate_now)
    try:
        now = refreshing.refresh(connection, get_site())
    finally:
        signals.request_sent.disconnect(rotate_now)
    keys("new")
    assert now.access_token.open() != ""
    assert open_site(connection.identity).client.logged_user() == "alice@example.com"
