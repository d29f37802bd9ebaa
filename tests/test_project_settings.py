"""How the demo project reads its environment, keeps its keys, and what its server logs."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from project.env import Env
from project.keys import kept_keys
from project.logs import Pages

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def environment(monkeypatch):
    """Set variables that begin with SHOP_."""

    def put(**values):
        for key, value in values.items():
            monkeypatch.setenv(f"SHOP_{key}", value)

    return put


def test_a_site_is_read_from_its_url_and_the_variables_beside_it(environment):
    environment(URL="https://erp.example.com/", CLIENT_ID="id", CLIENT_SECRET="secret", API_KEY="key")
    assert Env().erpnext_site("SHOP_URL") == {
        "URL": "https://erp.example.com",
        "CLIENT_ID": "id",
        "CLIENT_SECRET": "secret",
        "API_KEY": "key",
    }


def test_a_secret_may_begin_with_a_dollar(environment):
    environment(URL="https://erp.example.com", CLIENT_SECRET="$ecret")
    assert Env().erpnext_site("SHOP_URL")["CLIENT_SECRET"] == "$ecret"


def test_variables_win_over_what_the_url_holds(environment):
    environment(URL="https://old:secret@erp.example.com?version=15", CLIENT_ID="new")
    assert Env().erpnext_site("SHOP_URL") == {
        "URL": "https://erp.example.com",
        "CLIENT_ID": "new",
        "CLIENT_SECRET": "secret",
        "VERSION": 15,
    }


def test_a_site_without_a_url_names_the_variable():
    with pytest.raises(ImproperlyConfigured, match="SHOP_URL"):
        Env().erpnext_site("SHOP_URL")


def test_keys_are_made_once_for_their_owner_alone(tmp_path):
    path = tmp_path / "state" / "keys.json"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(kept_keys, [path] * 8))
    assert made == [kept_keys(path)] * 8
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def line(request):
    return logging.LogRecord("django.server", logging.INFO, "", 0, '"%s" %s %s', (request, "302", "0"), None)


def test_the_server_logs_no_query_string():
    record = line("GET /erpnext/callback/?code=c0de&state=5tate HTTP/1.1")
    assert Pages().filter(record)
    assert record.getMessage() == '"GET /erpnext/callback/ HTTP/1.1" 302 0'


def test_the_server_logs_no_static_files():
    assert not Pages().filter(line("GET /static/site.css HTTP/1.1"))


PRODUCTION = {
    "HTTPS": "true",
    "ALLOWED_HOSTS": "shop.example.com",
    "SECRET_KEY": "k7vQ2mWx9zR4tY6uP1aS8dF3gH5jL0cV_bN-eXoIyTrUqZwM4tY6",
    "ERPNEXT_URL": "https://client:hush@erp.example.com",
    "ERPNEXT_TOKEN_KEYS": "kq3J0t7uPz1yW5xN8vB2mC4rE6sD9fGhLaQoTiUeYzM=",
}


def run_check(tmp_path, **environment):
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ERPNEXT_", "DJANGO_"))}
    return subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env=kept | {"DEMO_STATE": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_production_settings_are_checked_without_a_warning(tmp_path):
    done = run_check(tmp_path, **PRODUCTION)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("System check identified no issues")


def test_settings_of_a_local_demo_are_not_for_production(tmp_path):
    done = run_check(tmp_path, ERPNEXT_URL="http://erp.example.com")
    assert done.returncode == 1
    assert "erpnext_bridge.W001" in done.stderr
    assert "security.W012" in done.stderr
