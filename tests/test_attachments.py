"""Attach fields: the file's URL, and the file with the rights of its document."""

from __future__ import annotations

import pickle

import pytest
from django.db import models
from django.test.utils import isolate_apps

from erpnext_bridge.attachments import AttachedFile
from erpnext_bridge.documents import Document
from erpnext_bridge.errors import DocumentDoesNotExist, NotConnected, PermissionRefused
from erpnext_bridge.fields import Attach
from erpnext_bridge.identity import Identity
from erpnext_bridge.sandbox import Sandbox, User
from tests.own_doctypes import READER, world_of

OFFER = {
    "name": "Offer",
    "autoname": "prompt",
    "fields": [
        {"fieldname": "title", "fieldtype": "Data"},
        {"fieldname": "paper", "fieldtype": "Attach"},
    ],
}
BOB = "bob@example.com"


@pytest.fixture(params=[15, 16], ids=["v15", "v16"])
def site(request, settings):
    world = world_of([OFFER], [{"doctype": "Offer", "name": "O-1", "title": "x", "paper": None}])
    world.add_user(User(BOB, full_name="Bob", roles=[], password="bob-sandbox"))
    with Sandbox(version=request.param, world=world) as sandbox:
        sites = {}
        for alias, user in {"default": READER, "bob": BOB}.items():
            key, secret = sandbox.api_key(user)
            sites[alias] = {"URL": sandbox.url, "API_KEY": key, "API_SECRET": secret}
        settings.ERPNEXT_BRIDGE = {"SITES": sites, "TOKEN_KEYS": ["k" * 40]}
        yield sandbox


@pytest.fixture
def offers(site):
    with isolate_apps("tests.erp"):

        class Offer(Document):
            title = models.CharField(max_length=140)
            paper = Attach(null=True)

            class Meta:
                app_label = "erp"

        yield Offer.objects.as_service()


def test_a_private_file_is_read_with_the_rights_of_its_document(offers, site):
    offer = offers.get(pk="O-1")
    assert offer.paper is None
    offer.attach(b"for your eyes only", filename="offer ü.txt", fieldname="paper")
    paper = offers.get(pk="O-1").paper
    assert paper == "/private/files/offer ü.txt"
    assert (paper.filename, paper.is_private) == ("offer ü.txt", True)
    assert paper.url == f"{site.url}/private/files/offer%20%C3%BC.txt"
    assert paper.read() == b"for your eyes only"
    with paper.open() as file:
        assert b"".join(file) == b"for your eyes only"
    stranger = AttachedFile.of(str(paper), type(offer)())
    with pytest.raises(NotConnected):
        stranger.read()
    with pytest.raises((PermissionRefused, DocumentDoesNotExist)):
        AttachedFile.of(str(paper), Owned(Identity.service("bob"))).read()


class Owned:
    """What a file belongs to, as far as it needs to know."""

    def __init__(self, identity):
        self.erp_identity = identity


def test_credentials_go_to_no_other_host(offers, site):
    offer = offers.get(pk="O-1")
    offer.paper = "https://elsewhere.example.com/files/x.pdf"
    assert offer.paper.url == "https://elsewhere.example.com/files/x.pdf"
    before = len(site.requests)
    with pytest.raises(ValueError, match=r"elsewhere\.example\.com is not"):
        offer.paper.read()
    offer.paper = "/files/../private/files/x"
    with pytest.raises(ValueError, match="dots"):
        offer.paper.read()
    offer.paper = ""
    with pytest.raises(ValueError, match="no file"):
        offer.paper.read()
    assert len(site.requests) == before


def test_the_value_is_text_to_everything_else(offers):
    offer = offers.get(pk="O-1")
    offer.paper = "/files/a.txt"
    assert offer.changes() == {"paper": "/files/a.txt"}
    assert type(offer.__dict__["paper"]) is str
    offer.save()
    assert offers.filter(paper__startswith="/files/").count() == 1
    assert offers.only("title").get(paper="/files/a.txt").paper == "/files/a.txt"
    other = offers.get(pk="O-1")
    other.paper = offer.paper
    assert other.changes() == {}
    assert pickle.loads(pickle.dumps(offer.paper)) == "/files/a.txt"
