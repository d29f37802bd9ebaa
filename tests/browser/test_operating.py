"""Operators at their pages, with and without scripts: the queue as a picture, the list, a write, a conflict."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from tests.demo_process import ROOT

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

# An hour at a site: most goes well, some is refused, and one document was saved by somebody else first.
HISTORY = """
import django; django.setup()
import math
from datetime import timedelta
from django.contrib.auth.models import User
from django.utils import timezone
from erpnext_bridge.models import DocumentWrite

now, demo = timezone.now(), User.objects.get(username="demo")
facts = {"site": "default", "user": demo, "doctype": "Lead", "next_attempt_at": None}
DocumentWrite.objects.all().delete()
rows = []
for minute in range(60):
    for number in range(round(8 + 6 * math.sin(minute / 7))):
        queued = now - timedelta(minutes=minute, seconds=number)
        is_bad = (minute * 7 + number) % 41 == 0
        rows.append(DocumentWrite(
            **facts, action="create", created_at=queued, finished_at=min(now, queued + timedelta(seconds=20 + minute)),
            state="refused" if is_bad else "done", document_name="" if is_bad else f"CRM-LEAD-{minute:02}{number:02}",
            error_type="ValidationRefused" if is_bad else "", last_error="Email is <b>taken</b>" if is_bad else "",
        ))
DocumentWrite.objects.bulk_create(rows)
for number in range(7):
    DocumentWrite.objects.create(**facts, action="create", state="retrying", created_at=now - timedelta(seconds=30),
        error_type="SiteUnreachable", last_error="ERPNext does not answer.")
DocumentWrite.objects.create(
    **facts | {"doctype": "Customer"}, action="update", document_name="Bolt & Sons", state="refused", error_type="Conflict",
    payload={"customer_name": "Bolt & Sons Ltd", "territory": "North", "customer_group": "Commercial"},
    base_modified="2026-03-04 11:00:00", finished_at=now, last_error="Somebody else has saved the document since.",
    history=[{"at": now.isoformat(timespec="seconds"), "event": "refused", "attempt": 1, "error": "TimestampMismatchError"}],
    conflict={
        "base": {"customer_name": "Bolt and Sons", "territory": "South", "customer_group": "Individual"},
        "ours": {"customer_name": "Bolt & Sons Ltd", "territory": "North", "customer_group": "Commercial"},
        "theirs": {"customer_name": "Bolt & Sons Limited", "territory": "South", "customer_group": "Individual"},
        "base_modified": "2026-03-04 11:00:00", "modified": "2026-03-04 11:59:30", "modified_by": "bob@example.com",
    },
)
"""


@pytest.fixture
def operator(demo, visitor_with, request):
    environment = os.environ | {"DEMO_STATE": str(demo.state), "DJANGO_SETTINGS_MODULE": "project.settings"}
    subprocess.run([sys.executable, "-c", HISTORY], cwd=ROOT, env=environment, check=True, timeout=120)
    visitor = visitor_with(**getattr(request, "param", {}))
    visitor.sign_in()
    return visitor


@pytest.mark.parametrize(
    "operator", [{}, {"java_script_enabled": False}], indirect=True, ids=["scripts", "bare"]
)
def test_an_operator_looks_and_decides(operator):
    page = operator.page
    operator.open("/admin/erpnext_bridge/documentwrite/?error_type=Conflict")
    operator.picture("writes-admin-conflicts")
    page.get_by_role("link", name="Depth and rates").click()
    page.get_by_role("img", name="Writes that were waiting, minute by minute").wait_for()
    operator.picture("write-queue")
    page.get_by_role("link", name="All writes").click()
    operator.picture("writes-admin")
    operator.open("/admin/erpnext_bridge/documentwrite/?error_type=Conflict")
    page.get_by_role("link", name="Update Customer Bolt & Sons").click()
    operator.picture("write-admin")
    page.get_by_role("link", name="Compare and decide").click()
    operator.picture("write-conflict")
    page.get_by_label("South").check()
    page.get_by_role("button", name="Send what is ours").click()
    page.get_by_text("Update Customer Bolt & Sons (pending)").first.wait_for()
    # The payload no more has what stays theirs.
    expect(page.locator(".field-values")).not_to_contain_text("North")
