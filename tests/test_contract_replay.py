"""The replayer itself: it finds what is equal, and above all what is not."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path

import pytest

from tests.contract_replay import (
    PAGE,
    Comparison,
    Outcome,
    Replay,
    Values,
    against_page,
    listed_mismatches,
    load,
    main,
    replay,
    summary,
    tally,
)

SLICE = Path(__file__).parent / "data" / "contract"
EPOCH = 1795465723


def values(**options):
    return Values(day="2026-11-23", **options)


def problems(expected, actual, *, unordered=False, known=None):
    comparison = Comparison(known or values(), EPOCH, unordered)
    comparison.compare(expected, actual)
    return comparison.problems


# Values that servers make


def test_a_placeholder_is_bound_at_first_sight_and_holds():
    known = values()
    assert known.match("token <access_token_1>", "token abc")
    assert known.match("again <access_token_1>", "again abc")
    assert not known.match("again <access_token_1>", "again xyz")


def test_a_time_of_the_recording_is_bound_and_another_is_data():
    known = values()
    assert known.match("at 2026-11-23 15:24:35.888686", "at 2030-01-01 00:00:00.000001")
    assert not known.match("at 2026-11-23 15:24:35.888686", "at 2030-01-01 00:00:00.000002")
    assert not known.match("2024-05-01 10:00:00", "2024-05-01 10:00:01")


def test_a_time_of_the_fixtures_must_come_back_as_it_is():
    known = values(fixed=frozenset({"2026-11-23 15:24:35"}))
    assert not known.match("2026-11-23 15:24:35", "2026-11-23 15:24:36")


def test_what_the_request_says_itself_is_not_the_servers_making():
    known = values(asked='{"label": "abcde12345"}')
    assert not known.match("abcde12345", "fghij67890")
    assert values().match("abcde12345", "fghij67890")


def test_a_time_of_day_has_two_spellings():
    known = values()
    assert known.match("15:32:09.400940", "01:02:03.000400")
    assert known.match("15:32:9.40094", "01:02:3.0004")
    assert not known.match("15:32:9.40094", "01:02:3.0005")


def test_a_generated_name_is_bound_even_without_digits():
    assert problems({"name": "abcdefghij"}, {"name": "klmnopqrst"}) == []
    assert problems({"label": "abcdefghij"}, {"label": "klmnopqrst"})


def test_repeated_characters_and_anything_are_understood():
    known = values()
    assert known.match("<3 a>!", "aaa!")
    assert not known.match("<3 a>!", "aa!")
    assert known.match('["<traceback>"]', '["Traceback\\nof anything"]')


def test_markup_is_text():
    assert not values().match("<strong>x</strong>", "<b>x</b>")


def test_a_request_is_filled_with_what_is_bound():
    known = values(bound={"<code_1>": "c0de", "2026-11-23 15:24:35": "2030-01-01 00:00:00"})
    request = {"body": {"code": "<code_1>", "modified": "2026-11-23 15:24:35", "n": 1, "list": ["<2 x>"]}}
    filled = {"body": {"code": "c0de", "modified": "2030-01-01 00:00:00", "n": 1, "list": ["xx"]}}
    assert known.fill(request) == filled


# Comparing


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"a": True}),
        ({"a": 1}, {"a": 1.0}),
        ({"a": None}, {}),
        ({}, {"a": None}),
        ([1, 2], [2, 1]),
        ([1], [1, 1]),
        ("1", 1),
        ({"a": [{"b": "x"}]}, {"a": [{"b": "y"}]}),
    ],
)
def test_a_difference_is_a_problem(expected, actual):
    assert problems(expected, actual)


def test_rows_without_an_order_are_compared_as_a_set():
    assert problems([{"n": 1}, {"n": 2}], [{"n": 2}, {"n": 1}], unordered=True) == []
    assert problems([{"n": 1}, {"n": 2}], [{"n": 2}, {"n": 2}], unordered=True)


def test_seconds_since_the_epoch_are_bound_like_times():
    assert problems({"exp": EPOCH + 3600}, {"exp": EPOCH + 900_000}) == []
    assert problems({"exp": 3600}, {"exp": 3601})


# Replaying the slice that the tests carry


@pytest.mark.parametrize("version", ["v15", "v16"])
def test_the_slice_comes_out_as_recorded(version):
    outcomes = replay(SLICE, version)
    assert [(outcome.id, outcome.problems) for outcome in outcomes if outcome.problems] == []
    assert len(outcomes) == len(load(SLICE, version)) > 10


def doctored(change):
    """Outcome of one exchange whose recording was changed."""
    exchanges = [exchange for exchange in load(SLICE, "v15") if exchange["id"] == "auth.login.form"]
    exchange = deepcopy(exchanges[0])
    change(exchange["response"])
    run = Replay(SLICE, "v15", [exchange])
    try:
        return next(iter(run.run()))
    finally:
        run.stop()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda answer: answer.update(status=201), "status: expected 201, got 200"),
        (lambda answer: answer["body"].update(full_name="Somebody"), ".full_name: expected 'Somebody'"),
        (lambda answer: answer["body"].pop("home_page"), ".home_page: not expected"),
        (lambda answer: answer["body"].update(extra=1), ".extra: missing"),
        (lambda answer: answer["headers"].update({"content-type": "text/html"}), "header content-type"),
        (lambda answer: answer["headers"].update({"retry-after": "5"}), "header retry-after"),
        (lambda answer: answer["headers"]["set-cookie"].pop(), "cookies: expected"),
        (lambda answer: answer["headers"]["set-cookie"][1].update(value="no"), "is not among the rows"),
        (lambda answer: answer.update(body="<html title='Login'>"), "body: expected"),
    ],
)
def test_a_doctored_recording_is_reported(change, said):
    outcome = doctored(change)
    assert any(said in problem for problem in outcome.problems), outcome.problems


def test_an_unchanged_recording_is_not():
    assert doctored(lambda answer: None).problems == []


def test_the_summary_counts_by_topic_and_in_all():
    outcomes = replay(SLICE, "v15", "limits")
    outcomes[0].problems.append("something")
    matched, total = tally(outcomes)["limits"]
    assert (matched, total) == (len(outcomes) - 1, len(outcomes))
    assert summary("v15", outcomes).startswith(f"v15 {matched}/{total} (")


def test_the_command_prints_the_tally_and_writes_the_report(tmp_path, capsys):
    report = tmp_path / "report.jsonl"
    assert main([str(SLICE), "--topic", "rpc", "--report", str(report)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("v15 rpc: 4/4")
    assert lines[-1] == (
        "contract: v15 4/4 (100.0%), v16 4/4 (100.0%); 0 mismatches not listed in sandbox.md"
    )
    assert report.read_text() == ""


def test_the_report_holds_what_was_expected_and_what_came(tmp_path, capsys):
    directory = tmp_path / "contract"
    (directory / "v15").mkdir(parents=True)
    (directory / "fixtures.json").write_text((SLICE / "fixtures.json").read_text())
    exchange = next(one for one in load(SLICE, "v15") if one["id"] == "rpc.ping.get")
    exchange["response"]["body"] = {"message": "ping"}
    (directory / "v15" / "rpc.jsonl").write_text(json.dumps(exchange) + "\n")
    report = tmp_path / "report.jsonl"
    assert main([str(directory), "--version", "v15", "--report", str(report)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == (
        "contract: v15 0/1 (0.0%); 1 mismatches not listed in sandbox.md"
    )
    entry = json.loads(report.read_text())
    assert (entry["id"], entry["expected"]["body"]) == ("rpc.ping.get", {"message": "ping"})
    assert entry["got"]["body"] == '{"message":"pong"}'


def test_a_mismatch_that_the_page_lists_does_not_fail_the_command(tmp_path, capsys):
    directory, page = tmp_path / "contract", tmp_path / "page.md"
    (directory / "v15").mkdir(parents=True)
    (directory / "fixtures.json").write_text((SLICE / "fixtures.json").read_text())
    exchange = next(one for one in load(SLICE, "v15") if one["id"] == "rpc.ping.get")
    exchange["response"]["body"] = {"message": "ping"}
    recording = directory / "v15" / "rpc.jsonl"
    recording.write_text(json.dumps(exchange) + "\n")
    page.write_text("| `rpc.ping.get` | 15 | nobody knows |\n")
    assert main([str(directory), "--version", "v15", "--list", str(page)]) == 0
    exchange["response"]["body"] = {"message": "pong"}
    recording.write_text(json.dumps(exchange) + "\n")
    assert main([str(directory), "--version", "v15", "--list", str(page)]) == 0
    assert "1 are listed and match in page.md: v15 rpc.ping.get" in capsys.readouterr().out


# The page that lists what differs

TABLE = """
| exchange | version | why |
|---|---|---|
| `list.one`, `list.two` | 15, 16 | rows in any order |
| `rpc.three` | 16 | nobody knows |
| `no.reason` | 16 | |
"""


def test_the_page_names_exchanges_by_version():
    assert listed_mismatches(TABLE) == {
        ("v15", "list.one"),
        ("v16", "list.one"),
        ("v15", "list.two"),
        ("v16", "list.two"),
        ("v16", "rpc.three"),
    }


def test_what_the_page_does_not_list_is_told_and_what_it_lists_in_vain():
    outcomes = [
        ("v15", Outcome("list.one", "list", ["differs"])),
        ("v16", Outcome("list.one", "list", [])),
        ("v15", Outcome("rpc.three", "rpc", ["differs"])),
        ("v16", Outcome("rpc.four", "rpc", [])),
    ]
    assert against_page(outcomes, TABLE) == (["v15 rpc.three"], ["v16 list.one"])


def test_the_documentation_gives_a_reason_for_each_mismatch():
    page = PAGE.read_text("utf-8")
    table = page.split("## What differs", 1)[1].split("\n## ", 1)[0]
    told = {
        name
        for row in re.findall(r"^\| (`.*)$", table, re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", row.split("|")[0])
    }
    assert told
    assert {name for _, name in listed_mismatches(page)} == told
