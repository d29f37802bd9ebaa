"""`manage.py erpnext_install_keys`: the key field comes, is used, and goes again."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command

from erpnext_bridge.models.write import KeyStrategy, State
from erpnext_bridge.outbox.delivery import perform
from erpnext_bridge.outbox.keyfield import FIELDNAME
from erpnext_bridge.writes import enqueue
from tests.write_site import SERVICE, open_write_site, service_account

pytestmark = pytest.mark.django_db


@pytest.fixture(params=[15, 16], ids="v{}".format)
def site(request, settings):
    with open_write_site(settings, version=request.param, user="Administrator", create_key="auto") as running:
        yield running


def delivered(subject):
    write = enqueue("create", SERVICE, "Ticket", payload={"subject": subject})
    perform(write.pk)
    write.refresh_from_db()
    assert write.state == State.DONE, write.last_error
    return write


def test_writes_use_the_field_from_then_on_and_tags_once_it_is_gone(site, capsys):
    assert delivered("before").key_strategy == KeyStrategy.MARKER
    tags = len(site.rows("Tag"))
    call_command("erpnext_install_keys", "Ticket", "Deal")
    write = delivered("with a field")
    assert write.key_strategy == KeyStrategy.FIELD
    assert site.document("Ticket", write.document_name)[FIELDNAME] == write.pk.hex
    assert len(site.rows("Tag")) == tags
    call_command("erpnext_install_keys", "Ticket", "--remove")
    assert delivered("after").key_strategy == KeyStrategy.MARKER
    assert capsys.readouterr().out == "Ticket: installed\nDeal: installed\nTicket: removed\n"


def test_twice_is_as_good_as_once(site, capsys):
    for options in ([], [], ["--remove"], ["--remove"], []):
        call_command("erpnext_install_keys", "Ticket", *options)
    told = ["installed", "is there already", "removed", "is not there", "installed"]
    assert capsys.readouterr().out.splitlines() == [f"Ticket: {word}" for word in told]


def test_who_may_not_is_told_what_is_missing(site, settings):
    settings.ERPNEXT_BRIDGE["SITES"]["default"] |= service_account(site, "clerk@example.com")
    with pytest.raises(CommandError, match="System Manager"):
        call_command("erpnext_install_keys", "Ticket")


def test_a_doctype_that_is_not_there_is_named(site):
    with pytest.raises(CommandError, match="Nonsense"):
        call_command("erpnext_install_keys", "Nonsense")


def test_it_stays_while_a_lost_answer_is_to_be_found_by_it(site):
    call_command("erpnext_install_keys", "Ticket")
    site.trouble("drop_after", match=lambda request: request.method == "POST")
    write = enqueue("create", SERVICE, "Ticket", payload={"subject": "lost"})
    perform(write.pk)
    with pytest.raises(CommandError, match="tells of 1 write whether"):
        call_command("erpnext_install_keys", "Ticket", "--remove")
    perform(write.pk)
    call_command("erpnext_install_keys", "Ticket", "--remove")
    write.refresh_from_db()
    assert write.state == State.DONE
