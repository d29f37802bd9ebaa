"""`erpnext_snapshot`: what a site consists of, for a sandbox, without its secrets."""

from __future__ import annotations

import io
import json

import pytest
from django.core.management import CommandError, call_command

from erpnext_bridge.sandbox import Sandbox, User, World
from erpnext_bridge.testing import connect, make, open_erpnext_site
from tests.erp.models import Customer, SalesOrder

ANN, BEN = "ann.private@corp.example", "ben.private@corp.example"
RULE = {"role": "Vault Keeper", "permlevel": 0, "read": 1, "write": 1, "create": 1, "delete": 0}


def field(fieldname, fieldtype="Data", **more):
    return {"fieldname": fieldname, "fieldtype": fieldtype, "label": fieldname.title(), **more}


def vault_world():
    """A site with a secret in every place that the command could take it from."""
    vault = [
        field("title"),
        field("login_password", "Password"),
        field("pin_code", "Password"),
        field("api_key"),
        field("client_secret", default="SECRET-default"),
        field("access_token", "Small Text"),
        field("next_token"),
        field("keeper", "Link", options="User"),
        field("kind", "Link", options="Vault Kind"),
        field("keys", "Table", options="Vault Key"),
    ]
    secrets = ("login_password", "pin_code", "api_key", "client_secret", "access_token", "next_token")
    row = {
        "name": "V-0007",
        "title": "Front",
        "keeper": BEN,
        "kind": "Steel",
        "owner": ANN,
        "modified_by": BEN,
    }
    key = {
        "name": "k1",
        "parent": "V-0007",
        "parenttype": "Vault",
        "parentfield": "keys",
        "idx": 1,
        "owner": ANN,
    }
    mailbox = {"name": "Mailbox", "module": "Email", "fields": [field("address")], "permissions": [RULE]}
    settings = {"name": "Vault Settings", "issingle": 1, "fields": [field("motto"), field("token")]}
    made = World(
        doctypes={
            "Vault": {
                "name": "Vault",
                "autoname": "V-.####",
                "fields": vault,
                "permissions": [RULE],
                "module": "Vaults",
            },
            "Vault Key": {"name": "Vault Key", "istable": 1, "fields": [field("shape"), field("secret_key")]},
            "Vault Kind": {"name": "Vault Kind", "autoname": "Prompt", "fields": [field("grade", "Int")]},
            "Mailbox": mailbox,
            "Vault Settings": {**settings, "permissions": [RULE], "module": "Vaults"},
        },
        rows={
            "Vault Kind": [{"name": "Steel", "grade": 3}, {"name": "Wood", "grade": 1}],
            "Vault": [{**row, **{name: f"SECRET-{name}" for name in secrets}}],
            "Vault Key": [{**key, "shape": "round", "secret_key": "SECRET-key"}],
            "Mailbox": [{"name": "m1", "address": "x"}],
        },
        singles={"Vault Settings": {"motto": "Hold fast", "token": "SECRET-single"}},
    )
    for name in (ANN, BEN):
        made.add_user(
            User(
                name, roles=["Vault Keeper"], password="SECRET-pwd", api_key="SECRET-k", api_secret="SECRET-s"
            )
        )
    return made


def snapshot(*doctypes, **options):
    out, err = io.StringIO(), io.StringIO()
    call_command("erpnext_snapshot", *doctypes, stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()


@pytest.fixture(params=[15, 16])
def vaults(request):
    with open_erpnext_site(request.param, vault_world()) as site:
        yield site


def test_no_secret_gets_in(vaults):
    text, _ = snapshot("Vault", "Vault Settings", rows=10, all_links=True)
    key, secret = vaults.api_key("Administrator")
    assert "SECRET" not in text
    assert "private" not in text
    assert '"__' not in text
    assert key not in text
    assert secret not in text


def test_rows_come_with_what_they_link_to(vaults):
    text, told = snapshot("Vault", rows=10, all_links=True)
    world = json.loads(text)
    (vault,) = world["rows"]["Vault"]
    assert (vault["name"], vault["title"], vault["kind"]) == ("V-0007", "Front", "Steel")
    assert [(row["parent"], row["shape"]) for row in world["rows"]["Vault Key"]] == [("V-0007", "round")]
    assert [row["name"] for row in world["rows"]["Vault Kind"]] == ["Steel"]
    assert told == "DocTypes: 3, rows: 3.\n"


def test_links_are_taken_along_only_when_asked(vaults):
    world = json.loads(snapshot("Vault", rows=10)[0])
    assert sorted(world["doctypes"]) == ["Vault", "Vault Key"]
    assert sorted(world["rows"]) == ["Vault", "Vault Key"]


def test_without_rows_there_are_only_doctypes(vaults):
    world = json.loads(snapshot("Vault")[0])
    assert world["rows"] == world["singles"] == world["series"] == {}


def test_users_get_other_names_and_keep_their_places(vaults):
    world = json.loads(snapshot("Vault", rows=10)[0])
    (vault,) = world["rows"]["Vault"]
    assert (vault["owner"], vault["modified_by"], vault["keeper"]) == tuple(
        f"user{number}@example.com" for number in (1, 2, 2)
    )
    assert world["rows"]["Vault Key"][0]["owner"] == "user1@example.com"
    assert [user["user"] for user in world["users"].values()] == [
        "tester@example.com",
        "user1@example.com",
        "user2@example.com",
    ]


def test_single_documents_are_taken(vaults):
    world = json.loads(snapshot("Vault Settings", rows=1)[0])
    assert world["singles"]["Vault Settings"]["motto"] == "Hold fast"


@pytest.mark.parametrize("doctype", ["User", "OAuth Client", "Mailbox"])
def test_rows_that_may_hold_credentials_are_refused(vaults, doctype):
    with pytest.raises(CommandError, match=f"Rows of {doctype} may hold credentials"):
        snapshot("Vault", doctype, rows=10)


def test_what_the_site_refuses_is_told(vaults):
    with pytest.raises(CommandError, match="No Such Thing"):
        snapshot("No Such Thing")


def test_numbering_goes_on_where_the_site_was(vaults):
    world = json.loads(snapshot("Vault", rows=10)[0])
    assert world["series"] == {"V-": 7}
    with open_erpnext_site(vaults.version, world):
        assert make("Vault")["name"] == "V-0008"


def test_the_tester_may_what_the_doctypes_permit(vaults, django_user_model, db):
    world = json.loads(snapshot("Vault", rows=10)[0])
    with open_erpnext_site(vaults.version, world) as site:
        connection = connect(django_user_model.objects.create_user("vera"))
        assert connection.erp_user == "tester@example.com"
        assert "tester@example.com" in {user["name"] for user in site.rows("User") if user["enabled"]}
    (rule,) = world["doctypes"]["Vault"]["permissions"]
    assert {name: rule[name] for name in RULE} == RULE


@pytest.fixture(params=[15, 16])
def company(request):
    with open_erpnext_site(request.param) as site:
        yield site


QUERIES = {
    "plain": lambda: Customer.objects.order_by("name"),
    "links": lambda: (
        Customer.objects.filter(territory__is_group=False).exclude(disabled=True).order_by("-name")
    ),
    "page": lambda: SalesOrder.objects.filter(grand_total__gt=100, docstatus=1).order_by(
        "-grand_total", "name"
    )[:20],
    "children": lambda: SalesOrder.objects.filter(items__qty__gte=5).order_by("transaction_date", "name")[
        :20
    ],
}


def answers():
    """Return what the queries find, told by everything but users."""
    told = {}
    for name, query in QUERIES.items():
        told[name] = [
            {
                field.attname: getattr(row, field.attname)
                for field in row._meta.concrete_fields
                if field.name not in PEOPLE
            }
            for row in query().as_service()
        ]
    told["rows"] = [
        [(item.item_code_id, item.qty, item.amount) for item in order.items.all()]
        for order in SalesOrder.objects.as_service().prefetch_related("items").order_by("name")
    ]
    return told


PEOPLE = ("owner", "modified_by")


def test_the_same_querysets_find_the_same(company):
    text, _ = snapshot("Customer", "Sales Order", rows=1000, all_links=True)
    there = answers()
    with open_erpnext_site(company.version, json.loads(text)):
        here = answers()
        make(SalesOrder).delete()
    assert all(there.values())
    assert here == there


def test_the_same_site_has_the_same_snapshot(company):
    first, second = (snapshot("Customer", "Sales Order", rows=20, all_links=True)[0] for _ in range(2))
    assert first == second
    with open_erpnext_site(company.version, json.loads(first)):
        again = json.loads(snapshot("Customer", "Sales Order", rows=20, all_links=True)[0])
    assert again["rows"]["Customer"] == json.loads(first)["rows"]["Customer"]


def test_another_site_of_the_settings_is_taken_by_its_alias(settings):
    with Sandbox(15, vault_world()) as other, open_erpnext_site(15, World()):
        key, secret = other.api_key("Administrator")
        entry = {"URL": other.url, "API_KEY": key, "API_SECRET": secret}
        settings.ERPNEXT_BRIDGE = {"SITES": {"default": {"URL": "http://127.0.0.1:9"}, "other": entry}}
        assert "Vault" in json.loads(snapshot("Vault", site="other")[0])["doctypes"]
