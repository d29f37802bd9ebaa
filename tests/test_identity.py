"""An identity says whose rights a request carries, and the ambient one ends with its block."""

from __future__ import annotations

import asyncio
import pickle
import threading
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import AnonymousUser

from erpnext_bridge.errors import NotConnected
from erpnext_bridge.identity import (
    Identity,
    acting_as,
    ambient_identity,
    reset_ambient,
    set_ambient,
    user_identity,
)

ALICE, BOB = SimpleNamespace(pk=1), SimpleNamespace(pk=2)


def test_an_identity_is_a_user_at_a_site():
    identity = Identity.for_user(ALICE, "berlin")
    assert (identity.site, identity.user_pk, identity.is_service) == ("berlin", "1", False)
    assert str(identity) == "user 1 at site 'berlin'"


def test_or_the_service_account_of_a_site():
    identity = Identity.service()
    assert identity.is_service
    assert str(identity) == "service account at site 'default'"


@pytest.mark.parametrize("nobody", [AnonymousUser(), SimpleNamespace(pk=None)])
def test_nobody_has_no_identity(nobody):
    with pytest.raises(NotConnected, match="Nobody is signed in"):
        Identity.for_user(nobody)


def test_identities_are_values():
    assert Identity.for_user(ALICE) == Identity("default", "1")
    assert pickle.loads(pickle.dumps(Identity.for_user(ALICE))) == Identity("default", "1")
    assert len({Identity("default", "1"), Identity("default", "1"), Identity("default", None)}) == 2


def test_nobody_acts_by_default():
    assert ambient_identity() is None


def test_a_block_acts_as_its_user_at_every_site():
    with acting_as(ALICE):
        assert ambient_identity() == Identity("default", "1")
        assert ambient_identity("berlin") == Identity("berlin", "1")
    assert ambient_identity() is None


def test_a_block_acts_as_an_identity_at_its_own_site_only():
    with acting_as(Identity.service("berlin")):
        assert ambient_identity("berlin") == Identity("berlin", None)
        assert ambient_identity() is None


def test_the_inner_block_acts_and_the_outer_one_comes_back():
    with acting_as(ALICE):
        with acting_as(BOB):
            assert ambient_identity() == Identity("default", "2")
        assert ambient_identity() == Identity("default", "1")


def test_a_block_ends_with_an_error_too():
    with pytest.raises(RuntimeError), acting_as(ALICE):
        raise RuntimeError
    assert ambient_identity() is None


def test_nobody_cannot_act():
    with pytest.raises(NotConnected), acting_as(AnonymousUser()):
        pass


def test_another_thread_acts_as_nobody():
    seen = []
    with acting_as(ALICE):
        thread = threading.Thread(target=lambda: seen.append(ambient_identity()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_tasks_that_run_at_the_same_time_keep_their_own():
    async def act(user):
        with acting_as(user):
            await asyncio.sleep(0)
            return ambient_identity()

    async def both():
        return await asyncio.gather(act(ALICE), act(BOB))

    assert asyncio.run(both()) == [Identity("default", "1"), Identity("default", "2")]


def test_a_lazy_user_is_asked_for_when_it_is_needed_only():
    asked = []

    def get_user():
        asked.append(1)
        return ALICE

    token = set_ambient(user_identity(get_user))
    try:
        assert asked == []
        assert ambient_identity() == Identity("default", "1")
        assert asked == [1]
    finally:
        reset_ambient(token)


@pytest.mark.parametrize("nobody", [None, AnonymousUser()])
def test_a_lazy_nobody_is_no_identity(nobody):
    token = set_ambient(user_identity(lambda: nobody))
    try:
        assert ambient_identity() is None
    finally:
        reset_ambient(token)
