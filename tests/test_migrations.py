"""Django's migrations, content types, permissions and test runner in a project that has documents."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

SETTINGS = """
SECRET_KEY = "tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "erpnext_bridge", "plain", "noted"]
ERPNEXT_BRIDGE = {"SITES": {"default": {"URL": %r, "API_KEY": "k", "API_SECRET": "s"}}}
"""

MODELS = """
from django.db import models
from erpnext_bridge.documents import ChildDocument, Document
from erpnext_bridge.fields import Currency, DynamicLink, Link


class Customer(Document):
    customer_name = models.CharField(max_length=140)
    kind = Link("DocType")
    about = DynamicLink("kind")


class Order(Document, doctype="Sales Order"):
    customer = Link(Customer)
    total = Currency()


class Item(ChildDocument, parent=Order, fieldname="items"):
    qty = models.FloatField(default=0)


class Settings(Document, single=True):
    motto = models.CharField(max_length=140)
"""

TABLE = """

class Basket(models.Model):
    note = models.TextField()
"""

TESTS = """
from django.db import connection
from django.test import TestCase


class Tables(TestCase):
    def test_only_what_is_a_table_is_made(self):
        tables = connection.introspection.table_names()
        self.assertIn("noted_basket", tables)
        self.assertFalse([name for name in tables if name.startswith("plain_")])
        self.assertEqual([name for name in tables if name.startswith("noted_")], ["noted_basket"])
"""

LOOK = """
import json
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection

call_command("remove_stale_contenttypes", interactive=False, verbosity=0)
print(json.dumps({
    "tables": [name for name in connection.introspection.table_names() if name.startswith(("plain", "noted"))],
    "types": sorted(f"{each.app_label}.{each.model}" for each in ContentType.objects.filter(app_label__in=["plain", "noted"])),
    "permissions": sorted(Permission.objects.filter(content_type__app_label="plain", content_type__model="customer")
                          .values_list("codename", flat=True)),
}))
"""


class Project:
    """A project in a folder: `plain` has documents and no migrations, `noted` documents, a table and migrations."""

    def __init__(self, folder, site):
        self.folder = folder
        self.write("settings.py", SETTINGS % site.url)
        for app in ("plain", "noted"):
            self.write(f"{app}/__init__.py")
            self.write(f"{app}/models.py", MODELS + (TABLE if app == "noted" else ""))
        self.write("noted/migrations/__init__.py")
        self.write("noted/tests.py", TESTS)

    def write(self, name, text=""):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def manage(self, *arguments, code=0):
        """Run a command of Django's and return what it says."""
        paths = os.pathsep.join([str(self.folder), str(ROOT)])
        environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": paths}
        line = [sys.executable, "-m", "django", *arguments]
        done = subprocess.run(
            line, cwd=self.folder, env=environ, capture_output=True, encoding="utf-8", check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


def test_documents_leave_migrations_alone_and_have_types_and_permissions(tmp_path, site):
    site.requests.clear()
    project = Project(tmp_path, site)

    told = project.manage("makemigrations")
    assert sorted(path.parent.parent.name for path in tmp_path.glob("*/migrations/0*.py")) == ["noted"]
    (migration,) = tmp_path.glob("noted/migrations/0*.py")
    assert migration.read_text("utf-8").count('"managed": False'.replace('"', "'")) == 4
    assert "plain" not in told
    assert project.manage("sqlmigrate", "noted", "0001").count("CREATE TABLE") == 1

    told = project.manage("migrate")
    assert "changes that are not yet reflected" not in told
    found = json.loads(project.manage("shell", "--no-imports", "--command", LOOK).splitlines()[-1])
    assert found["tables"] == ["noted_basket"]
    kinds = ("customer", "item", "order", "settings")
    assert found["types"] == sorted(
        ["noted.basket", *(f"{app}.{kind}" for app in ("plain", "noted") for kind in kinds)]
    )
    assert found["permissions"] == ["add_customer", "change_customer", "delete_customer", "view_customer"]

    # DocTypes change at ERPNext, and classes with them.
    for app in ("plain", "noted"):
        path = tmp_path / app / "models.py"
        path.write_text(
            path.read_text("utf-8").replace("total = Currency()", "total = Currency()\n    paid = Currency()")
        )
    assert "No changes detected" in project.manage("makemigrations", "--check")

    assert "OK" in project.manage("test", "noted")
    assert site.requests == []


@pytest.mark.parametrize("label", ["plain", "noted"])
def test_the_checks_accept_such_a_project(tmp_path, site, label):
    assert "no issues" in Project(tmp_path, site).manage("check", label, "--tag", "models")
