"""`manage.py erpnext_writes`: what the admin can do, for a terminal and for scripts."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone

from erpnext_bridge.models import DocumentWrite
from erpnext_bridge.models.write import State

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _bridge(settings):
    settings.ERPNEXT_BRIDGE = {"SITES": {"default": {"URL": "https://erp.example.com"}}}


def make(**values):
    fields = {"site": "default", "action": "update", "doctype": "Lead", "document_name": "LEAD-1"}
    return DocumentWrite.objects.create(**fields | {"is_service": "user" not in values} | values)


def run(*arguments):
    out = StringIO()
    call_command("erpnext_writes", *map(str, arguments), stdout=out, stderr=out)
    return out.getvalue()


def states():
    return sorted(DocumentWrite.objects.values_list("state", flat=True))


class TestList:
    def test_each_write_is_a_line_that_begins_with_its_id(self):
        make(state=State.REFUSED, error_type="ValidationRefused", last_error="Email is taken\nand more")
        first = make()
        lines = run("list").splitlines()
        assert lines[0].startswith(str(first.pk))
        assert lines[1].endswith("by the service account | ValidationRefused: Email is taken")

    @pytest.mark.parametrize(
        "options",
        [
            ("--state", "refused"),
            ("--state", "refused", "--state", "cancelled"),
            ("--site", "other"),
            ("--doctype", "Task"),
            ("--action", "submit"),
            ("--user", "alice"),
            ("--error", "validationrefused"),
            ("--error", "is taken"),
            ("--older-than", 5),
        ],
    )
    def test_it_is_narrowed(self, options):
        make()
        wanted = make(
            site="other",
            doctype="Task",
            action="submit",
            user=User.objects.create(username="alice"),
            state=State.REFUSED,
            error_type="ValidationRefused",
            last_error="Email is taken",
            created_at=timezone.now() - timedelta(hours=6),
        )
        assert [line.split()[0] for line in run("list", *options).splitlines()] == [str(wanted.pk)]

    def test_json_has_payload_and_history(self):
        write = make(payload={"notes": "grün"}, history=[{"event": "retried"}], next_attempt_at=None)
        (found,) = json.loads(run("list", write.pk, "--json"))
        assert (found["id"], found["payload"], found["history"]) == (
            str(write.pk),
            {"notes": "grün"},
            [{"event": "retried"}],
        )
        assert found["next_attempt_at"] is None

    def test_a_limit_says_so(self):
        make()
        make()
        assert "Only the newest 1" in run("list", "--limit", 1)


class TestDoing:
    def test_what_is_named_is_sent_again(self):
        write, _ = make(state=State.REFUSED), make(state=State.REFUSED)
        assert run("retry", write.pk) == "1 write queued again.\n"
        assert states() == ["pending", "refused"]
        assert DocumentWrite.objects.get(pk=write.pk).history[-1]["by"] == "manage.py"

    def test_what_is_narrowed_is_given_up(self):
        make(state=State.REFUSED)
        make(state=State.REFUSED)
        make(state=State.DONE)
        assert run("cancel", "--state", "refused") == "2 writes given up.\n"
        assert states() == ["cancelled", "cancelled", "done"]

    def test_all_of_them_has_to_be_said(self):
        make(state=State.REFUSED)
        with pytest.raises(CommandError, match="Name the writes, or narrow them"):
            run("retry")
        assert states() == ["refused"]

    def test_a_dry_run_only_counts(self):
        make(state=State.REFUSED)
        assert "1 write would be queued again" in run("retry", "--state", "refused", "--dry-run")
        assert states() == ["refused"]

    def test_what_cannot_be_done_is_told_and_the_rest_is_done(self):
        make(state=State.REFUSED)
        make(state=State.DONE)
        with pytest.raises(CommandError, match="1 write could not be queued again"):
            run("retry", "--site", "default")
        assert states() == ["done", "pending"]

    def test_a_create_that_may_have_happened_takes_an_option(self):
        make(action="create", document_name="", state=State.UNCERTAIN, outcome_unknown=True)
        with pytest.raises(CommandError):
            run("retry", "--state", "uncertain")
        run("retry", "--state", "uncertain", "--create-again")
        assert states() == ["pending"]

    def test_a_lost_answer_is_resolved_by_its_name(self):
        write = make(action="create", document_name="", state=State.UNCERTAIN, outcome_unknown=True)
        with pytest.raises(CommandError, match="name"):
            run("resolve", write.pk)
        assert "LEAD-9" in run("resolve", write.pk, "--name", "LEAD-9")
        assert states() == ["done"]

    def test_a_write_that_is_not_there_is_told(self):
        with pytest.raises(CommandError, match="There is no write"):
            run("resolve", "00000000-0000-0000-0000-000000000000")


class TestPrune:
    def test_old_ones_go(self):
        make(state=State.DONE, finished_at=timezone.now() - timedelta(days=100))
        make(state=State.DONE, finished_at=timezone.now() - timedelta(days=50))
        assert run("prune", "--dry-run") == "1 write would be deleted.\n"
        assert run("prune") == "1 write deleted.\n"
        assert run("prune", "--days", 10) == "1 write deleted.\n"


class TestStats:
    def test_people_scripts_and_prometheus_are_told(self):
        make(state=State.REFUSED, next_attempt_at=None)
        assert run("stats") == "default: 1 refused; 0 due, the first for 0 s; 0 finished in the last 5 min\n"
        assert json.loads(run("stats", "--json"))["default"]["states"] == {"refused": 1}
        assert 'erpnext_bridge_writes{site="default",state="refused"} 1' in run("stats", "--prometheus")
