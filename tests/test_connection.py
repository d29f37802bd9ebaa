"""A connection belongs to one user at one site, and says what is wrong with it without a secret."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from erpnext_bridge.conf import get_site
from erpnext_bridge.connecting import problem_of
from erpnext_bridge.errors import NeedsReconnect
from erpnext_bridge.identity import Identity
from erpnext_bridge.models import Connection

pytestmark = pytest.mark.django_db

URL = "https://erp.example.com"


@pytest.fixture
def keys(settings):
    settings.ERPNEXT_BRIDGE = {
        "SITES": {"default": {"URL": URL, "CLIENT_ID": "c"}},
        "TOKEN_KEYS": ["k-" * 20],
    }
    return settings.ERPNEXT_BRIDGE


@pytest.fixture
def alices(keys, user):
    return make(user)


def make(user, **values):
    default = {
        "site": "default",
        "site_url": URL,
        "erp_user": "alice@example.com",
        "access_token": "clear-access",
        "refresh_token": "clear-refresh",
        "expires_at": timezone.now() + timedelta(hours=1),
    }
    return Connection.objects.create(user=user, **{**default, **values})


def test_it_is_called_by_account_and_site(alices):
    assert str(alices) == "alice@example.com at https://erp.example.com"
    assert repr(alices) == "<Connection: alice@example.com at https://erp.example.com>"


def test_its_label_has_the_full_name_where_there_is_one(alices):
    assert alices.label == "alice@example.com"
    alices.full_name = "Alice Example"
    assert alices.label == "Alice Example (alice@example.com)"


def test_a_user_has_one_connection_to_a_site(alices, user):
    with pytest.raises(IntegrityError), transaction.atomic():
        make(user)
    make(user, site="berlin")


def test_an_identity_finds_its_connection_only(alices, django_user_model):
    other = django_user_model.objects.create_user("bob")
    find = Connection.objects.for_identity
    assert find(alices.identity).get() == alices
    assert not find(Identity.for_user(other)).exists()
    assert not find(Identity.for_user(alices.user, "berlin")).exists()


def test_the_service_account_has_no_connection(alices, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert not Connection.objects.for_identity(Identity.service()).exists()


def test_it_expires_within_the_margin(alices):
    now = datetime(2026, 1, 1, tzinfo=UTC)
    alices.expires_at = now + timedelta(seconds=60)
    assert alices.expires_within(60, now)
    assert not alices.expires_within(59, now)


def test_a_healthy_one_has_no_problem(alices):
    assert problem_of(alices, get_site()) == ""


def test_an_ended_one_tells_why(alices):
    alices.health, alices.reason = "needs_reconnect", "It was revoked."
    assert problem_of(alices, get_site()) == "It was revoked."


def test_tokens_are_not_for_another_address(alices, keys):
    keys["SITES"]["default"]["URL"] = "https://evil.example"
    assert "another address" in problem_of(alices, get_site())


def test_a_lost_key_is_a_problem_and_no_traceback(alices, keys):
    keys["TOKEN_KEYS"] = ["another key that is long enough to be one"]
    assert "TOKEN_KEYS" in problem_of(Connection.objects.get(), get_site())
    with pytest.raises(NeedsReconnect):
        Connection.objects.get().access_token.open()
