"""The figures of the queue, as text for Prometheus and as a page with a picture, for those who may see them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse

from erpnext_bridge import metrics
from erpnext_bridge.models import DocumentWrite
from erpnext_bridge.models.write import State
from erpnext_bridge.queue_views import chart, round_up

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 4, 12, 30, 20, tzinfo=UTC)
TOKEN = "a token for the scraper"


def ago(**span):
    return NOW - timedelta(**span)


def make(**values):
    fields = {
        "site": "default",
        "action": "create",
        "doctype": "Lead",
        "is_service": True,
        "created_at": ago(hours=3),
    }
    return DocumentWrite.objects.create(**fields | {"next_attempt_at": None} | values)


def done(took=10.0, **finished):
    end = ago(**finished)
    return make(state=State.DONE, finished_at=end, created_at=end - timedelta(seconds=took))


@pytest.fixture(autouse=True)
def bridge(settings):
    settings.ERPNEXT_BRIDGE = {"SITES": {"default": {"URL": "https://erp.example.com", "TITLE": "Our ERP"}}}
    return settings.ERPNEXT_BRIDGE


@pytest.fixture
def operator(client):
    user = User.objects.create(username="operator")
    user.user_permissions.add(Permission.objects.get(codename="view_documentwrite"))
    client.force_login(user)
    return client


class TestFigures:
    def test_what_is_open_is_counted_by_state(self):
        for state in (
            State.PENDING,
            State.RETRYING,
            State.RETRYING,
            State.REFUSED,
            State.UNCERTAIN,
            State.CANCELLED,
        ):
            make(state=state)
        assert metrics.figures(NOW)["default"].states == {
            "pending": 1,
            "retrying": 2,
            "refused": 1,
            "uncertain": 1,
        }

    def test_what_is_due_has_waited_since_the_first_of_it(self):
        make(next_attempt_at=ago(seconds=90))
        make(next_attempt_at=ago(seconds=30))
        make(next_attempt_at=NOW + timedelta(seconds=30), state=State.RETRYING)
        found = metrics.figures(NOW)["default"]
        assert (found.due, found.oldest_due) == (2, 90.0)

    def test_workers_that_were_not_heard_of_are_told(self):
        make(state=State.SENDING, lease_expires_at=ago(seconds=1))
        make(state=State.SENDING, lease_expires_at=NOW + timedelta(seconds=1))
        assert metrics.figures(NOW)["default"].crashed == 1

    def test_what_was_finished_lately_tells_how_long_it_took(self):
        for took in range(1, 22):
            done(took=took, minutes=4)
        done(took=999, minutes=6)
        found = metrics.figures(NOW)["default"]
        assert found.finished == {"done": 21}
        assert found.seconds == (pytest.approx(11.0), pytest.approx(20.0))

    def test_one_write_is_enough_for_a_time(self):
        done(took=7, minutes=1)
        assert metrics.figures(NOW)["default"].seconds == (7.0, 7.0)

    def test_a_site_that_the_settings_forgot_is_told_while_it_has_writes(self):
        make(site="old")
        assert set(metrics.figures(NOW)) == {"default", "old"}

    def test_the_questions_are_as_many_for_many_writes(self, django_assert_num_queries):
        for number in range(30):
            done(minutes=1)
            make(site=f"site-{number % 3}")
        with django_assert_num_queries(5):
            metrics.figures(NOW)


class TestMinutes:
    def test_the_depth_is_reckoned_back_from_now(self):
        make(created_at=ago(minutes=2))
        make(created_at=ago(minutes=3), state=State.DONE, finished_at=ago(minutes=1))
        make(created_at=ago(hours=1), state=State.REFUSED, finished_at=ago(minutes=2))
        found = metrics.minutes(5, now=NOW)
        assert [minute.waiting for minute in found] == [1, 2, 2, 1, 1]
        assert [minute.queued for minute in found] == [0, 1, 1, 0, 0]
        assert [minute.done for minute in found] == [0, 0, 0, 1, 0]
        assert [minute.failed for minute in found] == [0, 0, 1, 0, 0]
        assert found[-1].start == datetime(2026, 3, 4, 12, 30, tzinfo=UTC)

    def test_one_site_alone(self):
        make(site="other", created_at=ago(minutes=1))
        assert sum(minute.queued for minute in metrics.minutes(5, "default", NOW)) == 0
        assert sum(minute.queued for minute in metrics.minutes(5, "other", NOW)) == 1


class TestExposition:
    SAMPLE = re.compile(r'^[a-z_0-9]+\{[a-z]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z]+="[^"]*")*\} -?[0-9.e+]+$')

    def test_each_line_is_a_sample_or_a_comment(self):
        make(site='we"ird\\\n')
        done(minutes=1)
        for line in metrics.exposition(NOW).splitlines():
            assert line.startswith(("# HELP erpnext_bridge_", "# TYPE erpnext_bridge_")) or self.SAMPLE.match(
                line
            ), line

    def test_it_tells_states_also_where_there_is_nothing(self):
        make(state=State.REFUSED)
        text = metrics.exposition(NOW)
        assert 'erpnext_bridge_writes{site="default",state="refused"} 1\n' in text
        assert 'erpnext_bridge_writes{site="default",state="uncertain"} 0\n' in text
        assert "# TYPE erpnext_bridge_writes gauge\n" in text


class TestScraping:
    URL = "/erpnext/writes/metrics/"

    def test_a_token_opens_the_metrics(self, client, bridge):
        bridge["METRICS_TOKEN"] = TOKEN
        response = client.get(self.URL, headers={"Authorization": f"Bearer {TOKEN}"})
        assert response.status_code == 200
        assert response["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert 'erpnext_bridge_writes_due{site="default"} 0' in response.text

    @pytest.mark.parametrize("given", ["Bearer wrong", "Bearer ", f"Basic {TOKEN}", ""])
    def test_nothing_else_does(self, client, bridge, given):
        bridge["METRICS_TOKEN"] = TOKEN
        response = client.get(self.URL, headers={"Authorization": given})
        assert (response.status_code, "erpnext_bridge_writes" in response.text) == (401, False)

    def test_no_token_is_no_open_door(self, client):
        assert client.get(self.URL, headers={"Authorization": "Bearer "}).status_code == 401

    def test_who_may_see_all_writes_may_see_the_metrics(self, operator):
        assert operator.get(self.URL).status_code == 200

    def test_others_may_not(self, client):
        client.force_login(User.objects.create(username="alice", is_staff=True))
        assert client.get(self.URL).status_code == 401


class TestPage:
    URL = "/erpnext/writes/queue/"

    def test_visitors_sign_in_and_others_are_refused(self, client):
        assert client.get(self.URL).status_code == 302
        client.force_login(User.objects.create(username="alice", is_staff=True))
        assert client.get(self.URL).status_code == 403

    def test_the_picture_is_drawn_by_the_server(self, operator):
        now = datetime.now(UTC)
        # In this minute too: it may be the last one by the time the page is made.
        for moment in (now, now - timedelta(minutes=1)):
            for _ in range(3):
                make(state=State.REFUSED, finished_at=moment)
        page = operator.get(self.URL).text
        assert "<script" not in page
        pictures = [
            ElementTree.fromstring(svg) for svg in re.findall(r"<svg class.*?</svg>", page, re.DOTALL)
        ]
        lines = [[line.get("points").split() for line in picture.iter("polyline")] for picture in pictures]
        assert [[len(points) for points in picture] for picture in lines] == [[61], [60, 60, 60]]
        assert "Our ERP" in page
        assert "refused or uncertain: <strong>3</strong> in the last one" in page

    def test_points_have_dots_in_every_language(self, operator, settings):
        settings.LANGUAGE_CODE, settings.USE_THOUSAND_SEPARATOR = "de", True
        page = operator.get(self.URL).text
        assert re.search(r'y1="\d+\.\d"', page)

    def test_one_site_of_several(self, operator, bridge):
        bridge["SITES"]["other"] = {"URL": "https://other.example.com"}
        assert "other.example.com" in operator.get(self.URL).text
        assert "Our ERP</th>" not in operator.get(self.URL, {"site": "other"}).text
        assert operator.get(self.URL, {"site": "nowhere"}).status_code == 404

    def test_administrators_find_it_from_the_list_and_back(self, admin_client):
        listing = reverse("admin:erpnext_bridge_documentwrite_changelist")
        assert self.URL in admin_client.get(listing).text
        assert listing in admin_client.get(self.URL).text

    def test_who_sees_no_admin_is_not_sent_there(self, operator):
        assert "/admin/" not in operator.get(self.URL).text


def test_a_chart_reaches_from_its_floor_to_its_top():
    minutes = [metrics.Minute(NOW, number, 0, 0, 0) for number in (0, 7, 10)]
    found = chart(minutes, [("queued", "queued", lambda minute: minute.queued)])
    heights = [float(point.split(",")[1]) for point in found.lines[0].points.split()]
    assert [heights[0], heights[2]] == [dict(found.scale)[0], dict(found.scale)[10]]
    assert heights[0] > heights[1] > heights[2]


@pytest.mark.parametrize(("value", "top"), [(0, 2), (2, 2), (3, 5), (11, 20), (101, 200), (5000, 5000)])
def test_a_scale_ends_at_a_round_number(value, top):
    assert round_up(value) == top
