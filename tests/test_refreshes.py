"""One refresh for all processes, and none that is lost: on each database, for servers that rotate and those that do not."""

from __future__ import annotations

import pytest

from tests.refreshes import DATABASES, PROCESSES, THREADS, Project, database, fly, kills
from tests.services import ServiceMissing

ROTATES = pytest.mark.parametrize("rotates", [False, True], ids=["not rotating", "rotating"])


def marks(kind):
    return [pytest.mark.xdist_group(kind), *([pytest.mark.service] if kind != "sqlite" else [])]


@pytest.fixture(scope="module", params=[pytest.param(kind, marks=marks(kind)) for kind in DATABASES])
def project(request):
    try:
        with database(request.param) as settings, Project(settings) as running:
            yield running
    except ServiceMissing as missing:
        pytest.skip(str(missing))


@ROTATES
def test_all_processes_and_threads_refresh_with_one_request(project, rotates):
    flight = fly(project, rotates=rotates)
    assert dict(flight.outcomes) == {"alice@example.com": PROCESSES * THREADS}
    assert flight.refreshes == 1
    assert flight.stored_lives
    assert flight.living == 1


@ROTATES
def test_a_refresh_that_is_killed_anywhere_loses_nothing_that_erpnext_would_keep_up(project, rotates):
    done = list(kills(project, rotates=rotates))
    assert len(done) > 25
    assert [one.step for one in done if one.lost] == []
    # Over is only what ERPNext has given to a process that could not store it any more.
    assert [one.step for one in done if one.ended != (not one.honoured)] == []
    assert bool([one for one in done if one.ended]) == rotates
    assert [one.step for one in done if one.pending] == []


@ROTATES
@pytest.mark.parametrize(("writes", "locks"), [(False, False), (True, False), (True, True)])
def test_a_view_that_is_rolled_back_keeps_the_new_tokens(project, rotates, writes, locks):
    project.connect(rotates=rotates)
    before = project.do("state")
    assert project.do("roll_back", writes=writes, locks=locks) == "alice@example.com"
    assert project.do("state")["access_token"] != before["access_token"]
    assert project.do("read") == "alice@example.com"
    assert project.is_honoured(project.do("state")["refresh_token"])


@ROTATES
def test_a_database_that_ends_the_connection_in_a_refresh_costs_no_tokens(project, rotates):
    project.connect(rotates=rotates)
    answer = project.do("cut_off")
    if "a file" in answer:
        pytest.skip(answer)
    assert answer == "alice@example.com"
    assert project.is_honoured(project.do("state")["refresh_token"])
