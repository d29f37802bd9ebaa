"""The helpers for projects' tests, used as a project would use them."""

from __future__ import annotations

import datetime as dt
import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User as DjangoUser
from django.test import TestCase, TransactionTestCase

from erpnext_bridge.conf import get_settings
from erpnext_bridge.errors import PermissionRefused
from erpnext_bridge.identity import acting_as
from erpnext_bridge.models import Connection
from erpnext_bridge.sandbox import Sandbox, User, World
from erpnext_bridge.signals import write_changed
from erpnext_bridge.testing import (
    ErpTestMixin,
    assert_num_erp_requests,
    build,
    connect,
    current_site,
    deliver_writes,
    make,
    open_erpnext_site,
    record_erp_requests,
)
from tests.erp.models import Customer, Lead, SalesOrder, SalesOrderItem, ToDo

ROOT = Path(__file__).resolve().parent.parent
SMALL = World(
    users={"carla@example.com": User("carla@example.com", "Carla", ["System Manager"], password="c")}
)


# The site


def test_the_settings_lead_to_the_site(erpnext_site):
    entry = get_settings().site()
    assert entry.url == erpnext_site.url
    assert entry.has_service_account
    assert entry.can_connect
    assert Customer.objects.as_service().count() == len(erpnext_site.rows("Customer")) == 240


def test_the_settings_are_restored(settings):
    settings.ERPNEXT_BRIDGE = before = {"SITES": {"default": {"URL": "https://erp.example.com"}}}
    with open_erpnext_site(world=SMALL) as site:
        assert get_settings().site().url == site.url
    assert django_settings.ERPNEXT_BRIDGE is before
    with pytest.raises(RuntimeError, match="No sandbox is open"):
        current_site()


def test_no_site_of_the_project_can_be_reached(settings):
    secret = {"API_KEY": "real-key", "API_SECRET": "real-secret", "USERNAME": "real", "PASSWORD": "real"}
    site = {"URL": "https://erp.example.com", "TITLE": "Our ERP", "CLIENT_ID": "real-client", **secret}
    settings.ERPNEXT_BRIDGE = {
        "SITES": {"default": site, "other": "https://u:p@erp.example.org"},
        "PAGE_SIZE": 7,
    }
    with open_erpnext_site(world=SMALL) as sandbox:
        bridge = get_settings()
        assert {entry.url for entry in bridge.sites.values()} == {sandbox.url}
        assert "real" not in repr(django_settings.ERPNEXT_BRIDGE)
        assert (bridge.site().title, bridge.page_size) == ("Our ERP", 7)


@pytest.mark.erpnext(15, 16, world=SMALL)
def test_a_marker_runs_a_test_on_several_versions(erpnext_site, request):
    version = erpnext_site.version
    assert request.node.name.endswith(f"[v{version}]")
    assert get_settings().site().version == version
    assert list(erpnext_site.world.users) == ["carla@example.com"]


@pytest.mark.erpnext(world=SMALL, service_user="carla@example.com")
def test_the_service_account_is_who_the_marker_says(erpnext_site):
    with record_erp_requests() as log:
        ToDo.objects.as_service().count()
    assert [request.user for request in log] == ["carla@example.com"]


def test_versions_and_world_come_from_the_configuration_and_settings_are_restored(pytester_run, tmp_path):
    world = tmp_path / "world.json"
    world.write_text('{"doctypes": {}, "users": {"dora": {"user": "dora@example.com"}}}')
    result = pytester_run(
        """
        from django.conf import settings as django_settings

        def test_changes(settings, erpnext_site):
            settings.ERPNEXT_BRIDGE = {**settings.ERPNEXT_BRIDGE, "PAGE_SIZE": 3}
            assert list(erpnext_site.world.users) == ["dora@example.com"]

        def test_afterwards():
            assert not getattr(django_settings, "ERPNEXT_BRIDGE", {})
        """,
        f"erpnext_versions = 15 16\nerpnext_world = {world}",
    )
    assert "test_changes[v15] PASSED" in result
    assert "test_changes[v16] PASSED" in result
    assert "test_afterwards PASSED" in result


@pytest.fixture
def pytester_run(tmp_path):
    """Run pytest on a module of its own, in a process of its own."""

    def run(source, ini=""):
        import textwrap

        (tmp_path / "test_module.py").write_text(textwrap.dedent(source))
        head = "[pytest]\nDJANGO_SETTINGS_MODULE = tests.settings\n"
        (tmp_path / "pytest.ini").write_text(head + ini)
        options = [
            "-v",
            "-p",
            "erpnext_bridge.testing.pytest_plugin",
            "-p",
            "no:randomly",
            "-p",
            "no:cacheprovider",
        ]
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-c",
            str(tmp_path / "pytest.ini"),
            *options,
            str(tmp_path),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    return run


def test_a_project_that_does_not_use_the_plugin_pays_for_nothing():
    code = "import sys, erpnext_bridge.testing.pytest_plugin; print([m for m in ('django', 'requests', 'werkzeug', 'celery') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_missing_library_is_told_with_the_way_out():
    code = """
import sys, django
sys.modules["werkzeug"] = None
django.setup()
from erpnext_bridge.testing import open_erpnext_site
open_erpnext_site().__enter__()
"""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert "needs werkzeug" in done.stderr
    assert "pip install erpnext-bridge[sandbox]" in done.stderr


# Users


def test_a_connected_user_reads_with_his_own_rights(erpnext_site, erpnext_connect, django_user_model):
    bob = django_user_model.objects.create_user("bob")
    connection = erpnext_connect(bob, "bob@example.com")
    assert (connection.erp_user, connection.full_name) == ("bob@example.com", "Bob Brown")
    territories = set(Customer.objects.for_user(bob).values_list("territory_id", flat=True))
    assert territories == {"North"}
    customer = Customer.objects.for_user(bob).first()
    with pytest.raises(PermissionRefused):
        customer.delete()


def test_erpnext_user_is_connected(erpnext_site, erpnext_user, client):
    client.force_login(erpnext_user)
    assert "alice@example.com" in client.get("/erpnext/").content.decode()


@pytest.mark.erpnext(user="bob@example.com")
def test_erpnext_user_is_who_the_marker_says(erpnext_user):
    assert Connection.objects.get(user=erpnext_user).erp_user == "bob@example.com"


def test_connecting_leaves_no_requests_in_the_log(erpnext_site, erpnext_user):
    assert erpnext_site.requests == []


def test_the_tokens_are_real(erpnext_site, erpnext_user):
    """They expire and are refreshed, as those of a browser's user."""
    assert erpnext_site.expire_tokens("alice@example.com") == 1
    with record_erp_requests() as log:
        assert Customer.objects.for_user(erpnext_user).count() == 240
    assert next(request.status for request in log) == 401
    assert any("oauth2.get_token" in request.path for request in log)


def test_nobody_connects_as_an_unknown_user(erpnext_site, django_user_model, db):
    user = django_user_model.objects.create_user("eve")
    with pytest.raises(ValueError, match=r"no user .eve@example\.com.\. Known users: .*bob@example\.com"):
        connect(user, "eve@example.com")


@pytest.mark.erpnext(world=World())
def test_a_world_without_people_says_so(erpnext_site, django_user_model, db):
    with pytest.raises(ValueError, match="has no users"):
        connect(django_user_model.objects.create_user("eve"))


# Requests


def test_requests_are_counted(erpnext_site):
    with assert_num_erp_requests(2) as log:
        Customer.objects.as_service().count()
        list(Lead.objects.as_service()[:3])
    assert len(log) == 2
    assert [request.doctype for request in log] == ["Customer", "Lead"]
    assert len(log.of("Lead")) == 1
    assert len(log.by("Administrator")) == 2
    assert log[-1].status == 200


def test_another_number_of_requests_fails_and_lists_them(erpnext_site):
    with pytest.raises(AssertionError) as failure, assert_num_erp_requests(2):
        list(Lead.objects.as_service().filter(status="Open")[:3])
    first, second = str(failure.value).splitlines()
    assert first == "1 request was sent to ERPNext, not 2."
    assert second.startswith("1. GET /api/resource/Lead?fields=")
    assert '"Open"' in second
    assert second.endswith("→ 200 as Administrator")


def test_the_block_s_own_failure_is_the_one_that_is_told(erpnext_site):
    with pytest.raises(KeyError), assert_num_erp_requests(7):
        raise KeyError


def test_the_log_is_frozen_when_its_block_ends(erpnext_site):
    with record_erp_requests() as log:
        Customer.objects.as_service().count()
    Customer.objects.as_service().count()
    assert len(log) == 1
    assert len(erpnext_site.requests) == 2
    with pytest.raises(AttributeError):
        log[0].status = 500


# Documents


def test_a_document_is_made_with_what_is_mandatory(erpnext_site):
    customer = make(Customer, customer_name="Nuts & Bolts", disabled=True)
    assert customer.pk == "Nuts & Bolts"
    stored = erpnext_site.document("Customer", customer.pk)
    assert stored["disabled"] == 1
    assert stored["customer_type"]
    assert Customer.objects.as_service().get(pk=customer.pk).customer_name == "Nuts & Bolts"


def test_an_order_gets_its_customer_and_a_row(erpnext_site):
    order = make(SalesOrder)
    assert order.customer_id in {row["name"] for row in erpnext_site.rows("Customer")}
    assert len(order.items.all()) == 1
    assert order.grand_total == order.items.all()[0].amount


def test_rows_and_links_are_given_as_documents_too(erpnext_site):
    customer = make(Customer)
    rows = [SalesOrderItem(item_code_id="BOLT-M8", qty=2, rate=Decimal("1.5")), {"qty": 3}]
    code = erpnext_site.rows("Item")[0]["name"]
    rows[0].item_code_id = code
    order = make(SalesOrder, customer=customer, transaction_date=dt.date(2026, 3, 1), items=rows)
    first, second = order.items.all()
    assert (first.item_code_id, first.qty, first.amount) == (code, 2, 3)
    assert second.item_code_id
    assert (order.customer_id, order.transaction_date) == (customer.pk, dt.date(2026, 3, 1))


def test_making_leaves_no_requests_in_the_log(erpnext_site):
    with assert_num_erp_requests(0):
        make(Customer)


def test_made_documents_can_be_saved(erpnext_site):
    customer = make(Customer)
    customer.website = "https://example.com"
    customer.save()
    assert erpnext_site.document("Customer", customer.pk)["website"] == "https://example.com"


def test_made_documents_act_as_who_acts(erpnext_site, erpnext_user):
    with acting_as(erpnext_user):
        customer = make(Customer)
    with record_erp_requests() as log:
        customer.refresh_from_db()
    assert [request.user for request in log] == ["alice@example.com"]


def test_a_doctype_without_a_model_is_made_by_its_name(erpnext_site):
    made = make("Territory", territory_name="Far East")
    assert made["name"] == "Far East"
    assert erpnext_site.document("Territory", "Far East") is not None


def test_names_of_made_documents_differ(erpnext_site):
    assert len({make(Customer).pk for _ in range(3)}) == 3


def test_names_of_made_documents_are_the_same_in_each_run():
    names = []
    for _ in range(2):
        with open_erpnext_site():
            names.append([make(Customer).pk for _ in range(2)])
    assert names[0] == names[1]


def test_building_creates_nothing(erpnext_site):
    values = build(Lead, lead_name="Ada")
    assert values["lead_name"] == "Ada"
    assert [row for row in erpnext_site.rows("Lead") if row["lead_name"] == "Ada"] == []


def test_a_refusal_tells_why(erpnext_site):
    with pytest.raises(ValueError, match="refuses this Customer: Could not find Territory: Nowhere"):
        make(Customer, territory="Nowhere")


def test_an_unknown_doctype_tells_the_way_out(erpnext_site):
    with pytest.raises(ValueError, match="erpnext_snapshot 'Sales Invoice'"):
        make("Sales Invoice")


EVERY_TYPE = [
    *(
        "Attach",
        "Attach Image",
        "Autocomplete",
        "Barcode",
        "Code",
        "Color",
        "Currency",
        "Data",
        "Date",
        "Datetime",
    ),
    *(
        "Duration",
        "Float",
        "Geolocation",
        "HTML Editor",
        "Icon",
        "Int",
        "JSON",
        "Long Text",
        "Markdown Editor",
    ),
    *(
        "Password",
        "Percent",
        "Phone",
        "Rating",
        "Read Only",
        "Signature",
        "Small Text",
        "Text",
        "Text Editor",
        "Time",
    ),
]


def odd_world():
    """A DocType with a mandatory field of every type, named by one of them, that needs others which need others."""
    fields = [
        {"fieldname": f"f{n}", "fieldtype": kind, "label": kind, "reqd": 1}
        for n, kind in enumerate(EVERY_TYPE)
    ]
    link = {"fieldtype": "Link", "reqd": 1}
    fields += [
        {"fieldname": "code", "fieldtype": "Data", "label": "Code", "length": 8},
        {
            "fieldname": "mail",
            "fieldtype": "Data",
            "options": "Email",
            "label": "Mail",
            "reqd": 1,
            "unique": 1,
        },
        {"fieldname": "home", "fieldtype": "Data", "options": "URL", "label": "Home", "reqd": 1},
        {"fieldname": "kind", "fieldtype": "Select", "options": "\nRed\nBlue", "label": "Kind", "reqd": 1},
        {"fieldname": "needed", "options": "Needed", "label": "Needed", **link},
        {"fieldname": "about_type", "options": "DocType", "label": "About Type", **link},
        {
            "fieldname": "about",
            "fieldtype": "Dynamic Link",
            "options": "about_type",
            "label": "About",
            "reqd": 1,
        },
        {"fieldname": "rows", "fieldtype": "Table", "options": "Odd Row", "label": "Rows", "reqd": 1},
    ]
    needed = [{"fieldname": "odd", "options": "Needed", "label": "Odd", "fieldtype": "Link"}]
    return {
        "doctypes": {
            "Odd": {"name": "Odd", "autoname": "field:code", "fields": fields},
            "Odd Row": {
                "name": "Odd Row",
                "istable": 1,
                "fields": [{"fieldname": "n", "fieldtype": "Int", "reqd": 1}],
            },
            "Needed": {"name": "Needed", "autoname": "Prompt", "fields": needed},
        }
    }


@pytest.mark.erpnext(15, 16, world=odd_world())
def test_every_type_of_field_can_be_mandatory(erpnext_site):
    first, second = make("Odd"), make("Odd")
    assert first["name"] != second["name"]
    assert (first["kind"], first["needed"], len(first["rows"])) == ("Red", "Needed 1", 1)
    assert first["mail"] != second["mail"]


# Writes


def test_writes_are_delivered_without_a_worker(erpnext_site, erpnext_user):
    told = []
    write_changed.connect(listener := lambda write, **_: told.append(write.state))
    write = Customer(customer_name="Later Ltd").save_later(user=erpnext_user)
    assert [row for row in erpnext_site.rows("Customer") if row["name"] == "Later Ltd"] == []
    (done,) = deliver_writes()
    write_changed.disconnect(listener)
    assert (done.pk, done.state, done.document_name) == (write.pk, "done", "Later Ltd")
    assert erpnext_site.document("Customer", "Later Ltd")
    assert set(told) == {"done"}
    assert deliver_writes() == []


def test_each_delivery_is_one_attempt(erpnext_site, erpnext_user):
    customer = make(Customer)
    customer.erp_identity = Connection.objects.get(user=erpnext_user).identity
    customer.website = "https://example.com"
    write = customer.save_later()
    erpnext_site.trouble("unavailable")
    assert [done.state for done in deliver_writes()] == ["retrying"]
    assert [done.state for done in deliver_writes()] == ["done"]
    write.refresh_from_db()
    assert write.attempts == 2


def test_refused_writes_are_told(erpnext_site, erpnext_user):
    SalesOrder().save_later(user=erpnext_user)
    (write,) = deliver_writes()
    assert write.state == "refused"
    assert "Data missing in table: Items" in write.last_error


@pytest.mark.django_db(transaction=True)
def test_no_worker_is_asked(erpnext_site, erpnext_user, caplog):
    Customer(customer_name="Later Ltd").save_later(user=erpnext_user)
    assert "worker" not in caplog.text
    assert [write.state for write in deliver_writes()] == ["done"]


# Django's own test classes


class TestCaseWithASite(ErpTestMixin, TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.user = DjangoUser.objects.create_user("carol")

    def test_everything_is_at_hand(self):
        self.connect_erpnext(self.user, "bob@example.com")
        with self.assertNumErpRequests(1) as log:
            Customer.objects.for_user(self.user).count()
        assert log[0].user == "bob@example.com"
        self.assertNumErpRequests(1, Customer.objects.for_user(self.user).count)
        Lead(lead_name="Ada", first_name="Ada").save_later(user=self.user)
        assert [write.state for write in deliver_writes()] == ["done"]
        assert isinstance(self.erpnext_site, Sandbox)

    def test_each_test_has_a_site_of_its_own(self):
        assert len(self.erpnext_site.rows("Lead")) == 40
        make(Lead)

    def test_each_test_has_a_site_of_its_own_indeed(self):
        assert len(self.erpnext_site.rows("Lead")) == 40
        make(Lead)


class TransactionTestCaseWithASite(ErpTestMixin, TransactionTestCase):
    erpnext_version = 16
    erpnext_world = SMALL
    erpnext_service_user = "carla@example.com"

    def test_the_class_says_which_site(self):
        assert self.erpnext_site.version == 16
        assert get_settings().site().version == 16
        with self.assertNumErpRequests(1) as log:
            ToDo.objects.as_service().count()
        assert log[0].user == "carla@example.com"


# The page that shows all this


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The project of docs/testing.md, made as the page says."""
    folder = tmp_path_factory.mktemp("docs")
    text = (ROOT / "docs/testing.md").read_text("utf-8")
    for command in re.findall(r"^(?:django-admin|python manage.py) (start.*)$", text, re.MULTILINE):
        subprocess.run([sys.executable, "-m", "django", *command.split()], cwd=folder, check=True)
    for block in re.findall(r"```(?:python|ini)\n(# .*?)```", text, re.DOTALL):
        name = block.splitlines()[0].removeprefix("# ")
        with (folder / name).open("a", encoding="utf-8") as file:
            file.write(f"\n{block}")
    return folder


def run_in(folder, *command):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "mysite.settings"}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_the_page_s_pytest_tests_pass(project):
    options = ["-p", "erpnext_bridge.testing.pytest_plugin", "-p", "no:cacheprovider"]
    said = run_in(project, "-m", "pytest", "-q", *options)
    assert re.search(r"^1\d passed", said, re.MULTILINE), said


def test_the_page_s_django_tests_pass(project):
    said = run_in(project, "manage.py", "test")
    assert "Ran 1 test" in said, said
    assert said.rstrip().endswith("OK") or "\nOK\n" in said, said


def test_the_page_tells_every_trouble():
    from erpnext_bridge.sandbox.trouble import EFFECTS

    page = (ROOT / "docs/testing.md").read_text("utf-8")
    section = page.split("## Trouble on demand", 1)[1].split("\n##", 1)[0]
    told = {
        name
        for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
        for name in re.findall(r"\w+", row)
    }
    assert told == set(EFFECTS)
