"""`erpnext_shell`: Django's shell, acting as somebody."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command

from erpnext_bridge.errors import NotConnected
from erpnext_bridge.identity import ambient_identity
from erpnext_bridge.testing import connect


def run(command, **options):
    err = io.StringIO()
    call_command("erpnext_shell", command=command, stderr=err, verbosity=0, **options)
    return err.getvalue()


def test_documents_are_at_hand_and_act_as_the_service_account(erpnext_site, capsys):
    told = run(
        "print(SalesOrder.objects.filter(~Q(status='Draft')).count(), Customer.objects.first().erp_identity)",
        service=True,
    )
    assert "service account at site 'default'" in capsys.readouterr().out
    assert told == "Acting as service account at site 'default'.\n"
    assert ambient_identity() is None


def test_any_doctype_is_at_hand(erpnext_site, capsys):
    run("print(site.doctype('Company').objects.count(), sites['default'] is site)", service=True)
    assert capsys.readouterr().out == f"{len(erpnext_site.rows('Company'))} True\n"


@pytest.mark.django_db
def test_a_user_sees_what_they_may(erpnext_site, django_user_model, capsys):
    connect(django_user_model.objects.create_user("bob"), "bob@example.com")
    told = run("print({each.territory_id for each in Customer.objects.all()})", user="bob")
    assert told == "Acting as user 'bob' at site 'default'.\n"
    assert capsys.readouterr().out == "{'North'}\n"


def test_nobody_acts_unless_named(erpnext_site):
    with pytest.raises(NotConnected):
        run("Customer.objects.count()")


@pytest.mark.django_db
def test_who_cannot_act_is_told(erpnext_site, django_user_model):
    django_user_model.objects.create_user("carl")
    with pytest.raises(CommandError, match="not connected"):
        run("1", user="carl")
