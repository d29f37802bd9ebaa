"""Tokens are sealed wherever they are held, and open with any key in the settings."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from cryptography.fernet import Fernet
from django.core import serializers
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.utils import timezone

from erpnext_bridge.errors import NeedsReconnect
from erpnext_bridge.models import Connection
from erpnext_bridge.tokens.crypto import SealedText, TokensUnreadable, fernet_key, is_fernet_key

PASSPHRASE = "correct horse battery staple, twice"


@pytest.fixture
def keys(settings):
    def use(*keys):
        settings.ERPNEXT_BRIDGE = {"SITES": {}, "TOKEN_KEYS": list(keys)}

    use(Fernet.generate_key().decode())
    return use


def sealed_connection(**values):
    return Connection(site="default", access_token="clear-access", expires_at=timezone.now(), **values)


def test_sealed_text_opens_to_what_was_sealed(keys):
    sealed = SealedText.seal("Zürich 🔑")
    assert sealed.open() == "Zürich 🔑"
    assert "Zürich" not in sealed.stored


def test_the_same_text_is_sealed_differently_each_time(keys):
    assert SealedText.seal("a") != SealedText.seal("a")


def test_no_text_stays_no_text(keys):
    sealed = SealedText.seal("")
    assert (sealed.stored, sealed.open(), bool(sealed), str(sealed)) == ("", "", False, "")


def test_sealed_text_shows_nothing(keys):
    sealed = SealedText.seal("clear-access")
    assert repr(sealed) == "SealedText()"
    assert str(sealed) == f"{sealed}" == "(sealed)"


def test_a_text_of_32_characters_is_a_key(keys):
    keys(PASSPHRASE)
    assert SealedText.seal("x").open() == "x"
    assert is_fernet_key(fernet_key(PASSPHRASE).decode())
    assert fernet_key(PASSPHRASE) != fernet_key(PASSPHRASE + "!")


def test_a_fernet_key_is_used_as_it_is():
    key = Fernet.generate_key()
    assert fernet_key(key.decode()) == key


@pytest.mark.parametrize("text", ["", "x" * 31, "ä" * 44, "-" * 44, "=" * 44])
def test_what_is_no_fernet_key_is_not_taken_for_one(text):
    assert not is_fernet_key(text)


def test_a_short_key_is_refused_without_showing_it(keys):
    keys("hunter2")
    with pytest.raises(ImproperlyConfigured, match="has 7 characters") as refusal:
        SealedText.seal("x")
    assert "hunter2" not in str(refusal.value)


def test_without_keys_nothing_is_sealed(keys):
    keys()
    with pytest.raises(ImproperlyConfigured, match="TOKEN_KEYS'] is empty"):
        SealedText.seal("x")


def test_the_first_key_seals_and_every_key_opens(keys):
    old, new = Fernet.generate_key().decode(), PASSPHRASE
    keys(old)
    before = SealedText.seal("x")
    keys(new, old)
    after = SealedText.seal("x")
    assert before.open() == after.open() == "x"
    keys(new)
    assert after.open() == "x"


def test_a_lost_key_is_an_error_that_asks_to_connect_again(keys):
    sealed = SealedText.seal("x")
    keys(PASSPHRASE)
    with pytest.raises(TokensUnreadable, match="TOKEN_KEYS") as lost:
        sealed.open()
    assert isinstance(lost.value, NeedsReconnect)


def test_an_instance_never_holds_clear_text(keys):
    connection = sealed_connection(refresh_token="clear-refresh")
    connection.access_token = "clear-later"
    for holder in (connection, copy.deepcopy(connection), pickle.loads(pickle.dumps(connection))):
        assert "clear" not in repr(vars(holder))
        assert holder.access_token.open() == "clear-later"
    assert b"clear" not in pickle.dumps(connection)


@pytest.fixture
def stored(keys, django_user_model):
    connection = sealed_connection(user=django_user_model.objects.create(username="alice"))
    connection.save()
    return connection


@pytest.mark.django_db
def test_the_column_holds_only_sealed_text(stored):
    column = Connection.objects.values_list(models.functions.Cast("access_token", models.TextField())).get()[
        0
    ]
    assert column
    assert "clear" not in column
    assert Connection.objects.get().access_token.open() == "clear-access"


@pytest.mark.django_db
def test_a_row_is_listed_and_deleted_without_its_key(stored, keys):
    keys(PASSPHRASE)
    connection = Connection.objects.get()
    assert str(connection.access_token) == "(sealed)"
    with pytest.raises(TokensUnreadable):
        connection.access_token.open()
    connection.delete()


@pytest.mark.django_db
def test_update_seals_clear_text(stored):
    Connection.objects.update(access_token="clear-updated")
    assert Connection.objects.get().access_token.open() == "clear-updated"


@pytest.mark.django_db
def test_a_row_is_found_by_its_sealed_text_only(stored):
    assert Connection.objects.filter(access_token=stored.access_token).exists()
    with pytest.raises(TypeError, match="access_token is stored encrypted"):
        Connection.objects.filter(access_token="clear-access")


@pytest.mark.django_db
def test_a_deferred_token_is_read_when_asked_for(stored):
    connection = Connection.objects.defer("access_token").get()
    assert "access_token" not in vars(connection)
    assert connection.access_token.open() == "clear-access"


@pytest.mark.django_db
def test_dumps_hold_sealed_text_and_load_again(stored):
    dump = serializers.serialize("json", [stored])
    assert "clear" not in dump
    assert json.loads(dump)[0]["fields"]["access_token"] == stored.access_token.stored
    (loaded,) = serializers.deserialize("json", dump)
    assert loaded.object.access_token.open() == "clear-access"
