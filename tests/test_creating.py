"""Creates, exactly once: whatever is lost on the way, one document for each write, and each write knows its name."""

from __future__ import annotations

import io
import threading
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from django.core.management import call_command
from django.utils import timezone

from erpnext_bridge.access import open_site
from erpnext_bridge.models import DocumentWrite, WriteFile
from erpnext_bridge.models.write import KeyStrategy, State
from erpnext_bridge.outbox import cleaning, markers
from erpnext_bridge.outbox.creating import only_embedding
from erpnext_bridge.outbox.delivery import drain, perform
from erpnext_bridge.outbox.keyfield import FIELDNAME, field_of
from erpnext_bridge.sandbox.meta import DocType
from erpnext_bridge.writes import cancel, enqueue_file, enqueue_many, resolve, retry, sweep
from tests.write_site import SERVICE, due_now, open_write_site, service_account, writes_seen

pytestmark = pytest.mark.django_db


@pytest.fixture(
    params=[(15, "marker"), (16, "marker"), (15, "field"), (16, "field")], ids="v{0[0]}-{0[1]}".format
)
def site(request, settings):
    version, key = request.param
    with open_write_site(settings, version=version, create_key=key) as running:
        for doctype in ("Ticket", "Deal"):
            running.insert("Custom Field", **field_of(doctype))
        yield running


@pytest.fixture(params=[15, 16], ids="v{}".format)
def marked(request, settings):
    with open_write_site(settings, version=request.param) as running:
        yield running


def queue(*subjects, doctype="Ticket", **options):
    return enqueue_many(
        SERVICE, doctype, [{"subject": subject} if subject else {} for subject in subjects], **options
    )


def deliver(*writes):
    perform(writes[0].pk)
    for write in writes:
        write.refresh_from_db()


def states(writes):
    return [State(write.state) for write in writes]


def stored(site, doctype="Ticket"):
    return {row["name"]: row["subject"] for row in site.rows(doctype)}


def nobody_creates_tags(site):
    tag = site.site.store.meta("Tag")
    fields, rules = [one.raw for one in tag.fields], [{**rule, "create": 0} for rule in tag.permissions]
    site.site.store.define(DocType(tag.raw, fields, rules))


def posts(request):
    return request.method == "POST"


@contextmanager
def sends_twice(url):
    """A proxy that sends each request on twice, as some do where a connection broke, and hands the second answer back."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name: self.headers[name] for name in ("Authorization", "Content-Type", "Accept")}
            for _ in range(2):
                answer = requests.request(
                    self.command, url + self.path, data=body, headers=headers, timeout=60
                )
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = handle_one  # noqa: N815

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def each_has_its_own(site, writes, doctype="Ticket"):
    """There is one document for each write, and each write has the name of its own."""
    assert states(writes) == [State.DONE] * len(writes), [write.last_error for write in writes]
    assert stored(site, doctype) == {write.document_name: write.payload["subject"] for write in writes}


class TestOneRequestForMany:
    def test_many_creates_are_one_request_and_each_gets_its_name(self, site):
        writes = queue("a", "b", "c", "d")
        deliver(*writes)
        each_has_its_own(site, writes)
        assert writes_seen(site) == [("POST", 200)]
        assert len({write.batch for write in writes}) == 1

    def test_a_document_that_is_refused_holds_no_other_back(self, site):
        writes = queue("a", "b", "", "c", "", "d", "e")
        deliver(*writes)
        refused = [write for write in writes if write.state == State.REFUSED]
        assert [writes.index(write) for write in refused] == [2, 4]
        assert all("Subject" in write.last_error for write in refused)
        each_has_its_own(site, [write for write in writes if write not in refused])
        assert not DocumentWrite.objects.exclude(lane_lock=None, slot_lock=None).exists()

    def test_those_of_another_user_doctype_or_submitted_go_by_themselves(self, site):
        tickets, deals = queue("a", "b"), queue("c", doctype="Deal")
        deliver(*tickets, *deals)
        assert states([*tickets, *deals]) == [State.DONE, State.DONE, State.PENDING]

    def test_a_batch_that_is_submitted_goes_on_with_each(self, site):
        writes = queue("a", "b", "c", doctype="Deal", submit=True)
        drain(10)
        for write in writes:
            write.refresh_from_db()
        each_has_its_own(site, writes, "Deal")
        assert [deal["docstatus"] for deal in site.rows("Deal")] == [1, 1, 1]
        assert [event["event"] for event in writes[1].history] == ["created", "done"]

    def test_a_batch_is_no_larger_than_the_settings_say(self, site, settings):
        settings.ERPNEXT_BRIDGE["WRITE_BATCH"] = 2
        writes = queue("a", "b", "c")
        deliver(*writes)
        assert states(writes) == [State.DONE, State.DONE, State.PENDING]

    def test_the_rest_follows_when_trouble_comes_in_the_middle(self, site):
        writes = queue("a", "", "b", "c")
        # Refused as a whole, the first half comes through, and the second meets a site that is busy.
        seen = iter([200, 417, 200, 503])
        site.trouble("unavailable", match=lambda request: posts(request) and next(seen) == 503)
        deliver(*writes)
        assert State.RETRYING in states(writes)
        for write in writes:
            due_now(write) if write.state == State.RETRYING else None
        drain(10)
        for write in writes:
            write.refresh_from_db()
        assert states(writes) == [State.DONE, State.REFUSED, State.DONE, State.DONE]
        each_has_its_own(site, [writes[0], *writes[2:]])


class TestLostAnswers:
    @pytest.mark.parametrize("kind", ["drop_after", "truncated", "drop_before", "bad_gateway", "html"])
    def test_one_create(self, site, kind):
        site.trouble(kind, match=posts)
        (write,) = queue("x")
        deliver(write)
        assert (write.state, write.outcome_unknown) == (State.RETRYING, True)
        assert write.lane_lock == write.lane
        deliver(write)
        each_has_its_own(site, [write])
        assert (write.outcome_unknown, write.lane_lock, write.last_error) == (False, None, "")

    @pytest.mark.parametrize("kind", ["drop_after", "drop_before"])
    def test_many_and_equal_ones_among_them(self, site, kind):
        site.trouble(kind, match=posts)
        writes = queue("same", "same", "other", "same")
        deliver(*writes)
        assert states(writes) == [State.RETRYING] * 4
        deliver(*writes)
        each_has_its_own(site, writes)
        assert [write.document_name for write in writes] == sorted(write.document_name for write in writes)

    def test_again_and_again(self, site, settings):
        settings.ERPNEXT_BRIDGE["WRITE_ATTEMPTS"] = 9
        writes = queue("a", "b")
        for kind in ("drop_before", "drop_after", "drop_after", "unavailable", "drop_before"):
            site.trouble(kind, match=posts)
            deliver(*writes)
        deliver(*writes)
        each_has_its_own(site, writes)

    def test_one_of_those_is_refused_when_they_are_sent_again(self, site):
        writes = queue("a", "", "b")
        site.trouble("drop_after", match=posts)
        deliver(*writes)
        assert states(writes) == [State.RETRYING] * 3
        deliver(*writes)
        assert states(writes) == [State.DONE, State.REFUSED, State.DONE]
        assert sorted(stored(site).values()) == ["a", "b"]

    def test_while_it_is_unknown_no_other_of_the_lane_is_sent(self, site, settings):
        settings.ERPNEXT_BRIDGE["WRITE_BACKOFF"] = (3600.0, 3600.0)
        site.trouble("drop_after", match=posts)
        first = queue("a")[0]
        deliver(first)
        DocumentWrite.objects.filter(pk=first.pk).update(next_attempt_at=timezone.now() + timedelta(hours=1))
        second = queue("b")[0]
        assert perform(second.pk) is None
        due_now(first)
        deliver(second)
        first.refresh_from_db()
        each_has_its_own(site, [first, second])

    def test_used_up_attempts_are_for_a_person_who_may_let_it_be_looked_for(self, site, settings):
        settings.ERPNEXT_BRIDGE["WRITE_ATTEMPTS"] = 1
        site.trouble("drop_after", match=posts)
        (write,) = queue("a")
        deliver(write)
        assert (write.state, write.outcome_unknown, write.lane_lock) == (State.UNCERTAIN, True, None)
        retry(write)
        deliver(write)
        each_has_its_own(site, [write])

    def test_a_person_who_has_looked_can_have_it_created_again(self, site, settings):
        settings.ERPNEXT_BRIDGE["WRITE_ATTEMPTS"] = 1
        site.trouble("drop_before", match=posts)
        (write,) = queue("a")
        deliver(write)
        retry(write, create_again=True)
        deliver(write)
        each_has_its_own(site, [write])

    def test_a_worker_that_died_with_the_answer_leaves_it_to_be_found(self, site):
        site.trouble("drop_after", match=posts)
        writes = queue("a", "b")
        deliver(*writes)
        DocumentWrite.objects.update(
            state=State.SENDING, next_attempt_at=None, outcome_unknown=False, lease_expires_at=timezone.now()
        )
        sweep()
        deliver(*writes)
        each_has_its_own(site, writes)


class TestMarkers:
    def test_there_are_two_for_each_request(self, marked):
        writes = queue("a", "b")
        deliver(*writes)
        assert {row["name"] for row in marked.rows("Tag")} == set(markers.names_of(writes[0].batch))

    def test_a_request_that_was_still_on_its_way_comes_through_no_more(self, marked):
        """It was refused when it was sent again; the first one, which may not be refused, must not come after that."""
        marked.trouble("drop_before", match=posts)
        writes = queue("a", "")
        deliver(*writes)
        batch = writes[0].batch
        deliver(*writes)
        assert states(writes) == [State.DONE, State.REFUSED]
        with pytest.raises(markers.DuplicateDocument):
            markers.insert(open_site(SERVICE).client, batch, [{"doctype": "Ticket", "subject": "a"}])
        each_has_its_own(marked, writes[:1])

    def test_one_that_comes_through_at_the_last_moment_is_recognised(self, marked):
        marked.trouble("drop_before", match=posts)
        writes = queue("a", "b")
        deliver(*writes)
        first, last = markers.names_of(writes[0].batch)
        owner, names, requests = {"owner": "clerk@example.com"}, [], iter(range(9))

        def comes_after_the_look(request):
            # What is sent again is refused, and then the Tag is to be used up.
            if posts(request) and next(requests) == 1:
                made = [marked.insert("Tag", name=first)]
                made += [marked.insert("Ticket", subject=subject) for subject in "ab"]
                made += [marked.insert("Tag", name=last)]
                names.extend(document["name"] for document in made[1:-1])
                for document in made:
                    marked.site.store.update(document["doctype"], document["name"], owner)
                marked.site.store.commit()
            return False

        DocumentWrite.objects.filter(pk=writes[1].pk).update(payload={})
        marked.trouble("unavailable", match=comes_after_the_look)
        deliver(*writes)
        assert states(writes) == [State.DONE, State.DONE]
        assert [write.document_name for write in writes] == names

    @pytest.fixture
    def lost(self, marked):
        """Writes whose documents are there, and whose answer was lost, between others that came in the same moments."""

        def lose(*subjects, others=(), known=False):
            marked.trouble("drop_after", match=posts)
            writes = queue(*subjects)
            deliver(*writes)
            _, window = markers.look(open_site(SERVICE).client, writes[0].batch)
            for subject in others:
                name = open_site(SERVICE).client.create("Ticket", {"subject": subject})["name"]
                marked.site.store.update("Ticket", name, {"creation": window.end})
                marked.site.store.commit()
                if known:
                    other = queue(subject)[0]
                    DocumentWrite.objects.filter(pk=other.pk).update(
                        state=State.DONE, document_name=name, next_attempt_at=None
                    )
            deliver(*writes)
            return writes

        return lose

    def test_documents_that_others_made_in_the_same_moment_are_told_apart_by_what_they_hold(self, lost):
        writes = lost("a", "b", others=["c"])
        assert states(writes) == [State.DONE, State.DONE]

    def test_those_of_other_writes_are_known(self, lost):
        assert states(lost("a", "a", others=["a"], known=True)) == [State.DONE, State.DONE]

    def test_where_nothing_tells_them_apart_a_person_decides(self, lost, marked):
        writes = lost("a", others=["a"])
        assert states(writes) == [State.UNCERTAIN]
        assert "which one cannot be told" in writes[0].last_error
        assert all(name in writes[0].last_error for name in stored(marked))
        assert writes[0].lane_lock is None

    def test_a_document_that_is_gone_by_now_is_for_a_person(self, marked):
        marked.trouble("drop_after", match=posts)
        (write,) = queue("a")
        deliver(write)
        open_site(SERVICE).client.delete("Ticket", marked.rows("Ticket")[0]["name"])
        deliver(write)
        assert (write.state, write.outcome_unknown) == (State.UNCERTAIN, True)

    def test_of_a_batch_of_which_one_was_given_up_the_others_are_found(self, marked):
        marked.trouble("drop_after", match=posts)
        writes = queue("same", "same", "same")
        deliver(*writes)
        cancel(writes[1])
        deliver(writes[0], writes[2])
        names = sorted(stored(marked))
        assert [writes[0].document_name, writes[2].document_name] == [names[0], names[2]]

    def test_a_part_of_a_lost_request_does_not_speak_for_the_rest(self, marked):
        """A sweep that was killed has picked up one write of a request that never arrived, and the other one later."""
        marked.trouble("drop_before", match=posts)
        writes = queue("a", "b")
        deliver(*writes)
        later = timezone.now() + timedelta(hours=1)
        DocumentWrite.objects.filter(pk=writes[1].pk).update(state=State.SENDING, lease_expires_at=later)
        deliver(*writes)
        assert states(writes) == [State.DONE, State.SENDING]
        DocumentWrite.objects.filter(pk=writes[1].pk).update(lease_expires_at=timezone.now())
        sweep()
        deliver(*reversed(writes))
        each_has_its_own(marked, writes)

    def test_a_request_that_something_on_the_way_has_sent_twice_creates_once(self, marked, settings):
        settings.ERPNEXT_BRIDGE["SITES"]["default"]["CREATE_KEY"] = "auto"
        with sends_twice(marked.url) as url:
            settings.ERPNEXT_BRIDGE["SITES"]["default"]["URL"] = url
            writes = queue("a", "b")
            deliver(*writes)
        each_has_its_own(marked, writes)
        assert [write.key_strategy for write in writes] == [KeyStrategy.MARKER] * 2

    def test_who_may_not_create_them_creates_one_by_one(self, marked, settings):
        settings.ERPNEXT_BRIDGE["SITES"]["default"]["CREATE_KEY"] = "auto"
        nobody_creates_tags(marked)
        writes = queue("a", "b")
        deliver(*writes)
        each_has_its_own(marked, writes)
        assert [write.key_strategy for write in writes] == [KeyStrategy.NONE] * 2
        marked.trouble("drop_after", match=posts)
        (write,) = queue("c")
        deliver(write)
        assert write.state == State.UNCERTAIN

    def test_who_insists_on_them_is_told(self, marked):
        nobody_creates_tags(marked)
        (write,) = queue("a")
        deliver(write)
        assert write.state == State.REFUSED
        assert "lets this user create no Tags" in write.last_error

    def test_a_probe_tells_what_works(self, marked, settings):
        probe = markers.probe(open_site(SERVICE).client)
        assert (probe.works, probe.can_delete) == (True, False)
        assert "Tag" in probe.message
        settings.ERPNEXT_BRIDGE["SITES"]["default"] |= service_account(marked, "Administrator")
        assert markers.probe(open_site(SERVICE).client) == markers.Probe(True, True)


class TestCleaning:
    def finished(self, *subjects):
        writes = queue(*subjects)
        deliver(*writes)
        DocumentWrite.objects.update(finished_at=timezone.now() - timedelta(days=2))
        return writes

    def test_old_markers_are_deleted_where_that_is_allowed(self, marked, settings):
        settings.ERPNEXT_BRIDGE["SITES"]["default"] |= service_account(marked, "Administrator")
        self.finished("a", "b")
        (fresh,) = queue("c")
        deliver(fresh)
        assert cleaning.clean() == 1
        assert {row["name"] for row in marked.rows("Tag")} == set(markers.names_of(fresh.batch))
        assert cleaning.clean() == 0

    def test_the_command_deletes_them_where_there_is_no_beat(self, marked, settings):
        settings.ERPNEXT_BRIDGE["SITES"]["default"] |= service_account(marked, "Administrator")
        self.finished("a")
        out = io.StringIO()
        call_command("erpnext_writes", "prune", stdout=out)
        assert "by request: 1." in out.getvalue()
        assert marked.rows("Tag") == []

    def test_those_that_an_undecided_write_needs_stay(self, marked, settings):
        settings.ERPNEXT_BRIDGE["SITES"]["default"] |= service_account(marked, "Administrator")
        marked.trouble("drop_after", match=posts)
        writes = queue("a", "b")
        deliver(*writes)
        DocumentWrite.objects.filter(pk=writes[1].pk).update(state=State.UNCERTAIN, next_attempt_at=None)
        deliver(*writes)
        assert states(writes) == [State.DONE, State.UNCERTAIN]
        DocumentWrite.objects.update(finished_at=timezone.now() - timedelta(days=2))
        assert cleaning.clean() == 0
        retry(writes[1])
        deliver(*reversed(writes))
        each_has_its_own(marked, writes)

    def test_where_it_is_not_they_stay_and_nobody_asks_again(self, marked):
        self.finished("a")
        assert cleaning.clean() == 0
        seen = len(marked.requests)
        assert cleaning.clean() == 0
        assert len(marked.requests) == seen
        assert len(marked.rows("Tag")) == 2

    def test_a_site_that_is_down_is_asked_another_time(self, marked, settings):
        settings.ERPNEXT_BRIDGE["SITES"]["default"] |= service_account(marked, "Administrator")
        self.finished("a")
        self.finished("b")
        marked.trouble("unavailable")
        assert cleaning.clean() == 0
        assert cleaning.clean() == 2
        assert marked.rows("Tag") == []


def test_the_key_field_finds_a_document_that_came_late(settings):
    with open_write_site(settings, create_key="field") as site:
        site.insert("Custom Field", **field_of("Ticket"))
        site.trouble("drop_before", match=posts)
        (write,) = queue("a")
        deliver(write)
        late = site.insert("Ticket", subject="a", **{FIELDNAME: write.pk.hex})
        deliver(write)
        assert (write.state, write.document_name) == (State.DONE, late["name"])


def test_what_was_sent_with_a_key_is_sent_with_it_again(settings):
    """The first request may still be at work, and nothing but the key keeps the two from being two documents."""
    with open_write_site(settings, create_key="field") as site:
        site.insert("Custom Field", **field_of("Ticket"))
        site.trouble("drop_before", match=posts)
        (write,) = queue("a")
        deliver(write)
        settings.ERPNEXT_BRIDGE["SITES"]["default"]["CREATE_KEY"] = "marker"
        deliver(write)
        assert site.document("Ticket", write.document_name)[FIELDNAME] == write.pk.hex


def test_a_document_that_its_creator_may_not_read_is_not_called_refused(settings):
    """Its key says that it is there; its name, and so what becomes of the write, is for a person to tell."""
    with open_write_site(settings, create_key="field", user="owner@example.com") as site:
        site.insert("Custom Field", **field_of("Ticket"))
        site.trouble("drop_before", match=posts)
        writes = queue("a", "b", "c")
        deliver(writes[0])
        there = site.insert("Ticket", subject="b", **{FIELDNAME: writes[1].pk.hex})
        deliver(writes[0])
        for write in writes:
            write.refresh_from_db()
        assert [write.state for write in writes] == [State.DONE, State.UNCERTAIN, State.DONE]
        assert "does not show it" in writes[1].last_error
        assert len(site.rows("Ticket")) == 3
        resolve(writes[1], there["name"])
        assert (writes[1].state, writes[1].document_name) == (State.DONE, there["name"])


def test_the_content_of_a_file_that_was_refused_is_kept(marked):
    write = enqueue_file(SERVICE, "Ticket", "TK-0001", b"content", "")
    deliver(write)
    assert (write.state, write.file.content) == (State.REFUSED, b"content")
    name = marked.insert("Ticket", subject="a")["name"]
    payload = {**write.payload, "file_name": "a.txt", "attached_to_name": name}
    DocumentWrite.objects.filter(pk=write.pk).update(payload=payload)
    write.refresh_from_db()
    retry(write)
    deliver(write)
    assert write.state == State.DONE
    assert not WriteFile.objects.exists()


@pytest.mark.parametrize(
    ("small", "large", "places"),
    [
        ("ab", "ab", [0, 1]),
        ("ab", "xaxbx", [1, 3]),
        ("aa", "axa", [0, 2]),
        ("a", "axa", None),
        ("ab", "ba", None),
        ("", "a", None),
        ("ab", "a", None),
    ],
)
def test_an_order_is_found_where_there_is_one_way_only(small, large, places):
    assert only_embedding(small, large, str.__eq__) == places
