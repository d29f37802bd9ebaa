"""Both sides agree on random querysets, and the harness would tell if they did not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SEED = 20261125


def run(*arguments, **environment):
    clean = {key: value for key, value in os.environ.items() if not key.startswith("ERPNEXT_")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**clean, "JOBS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_random_querysets_answer_as_the_database_does():
    done = run("-m", "tests.differential", "150", str(SEED))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SEED={SEED}" in done.stdout.splitlines()[0]
    figure = done.stdout.splitlines()[-1]
    assert figure.startswith("differential: 150 querysets, 300 answers: 0 wrong, ")


UNEQUAL = """
import django; django.setup()
from tests.differential import running as r
from tests.differential.worlds import make_sides, make_world
world = make_world("a world", "Diff")
sides = make_sides(world)
rows = r.rows_of(sides)
lost = rows["Order"].pop()
with r.tables_of(sides, rows), r.sandboxes_of(sides, ("v15",), 25):
    result, difference = r.explore(sides, ("v15",), 200, "unequal")
print(lost.name in repr(difference.found) + repr(difference.expected) or difference.found != difference.expected)
print(r.tell(world, difference, 25, "unequal"))
"""


def test_a_row_that_one_side_lacks_is_found_and_told_as_code():
    done = run("-c", UNEQUAL, DJANGO_SETTINGS_MODULE="tests.differential.settings")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "True"
    assert lines[1] == "# v15 answers otherwise than the database (world unequal, PAGE_SIZE 25)"
    assert "class Order(Document):" in lines
    # The smallest queryset that shows it has no condition left.
    assert any(line.startswith("Order.objects") and "filter" not in line for line in lines)


SMALLER = """
import django; django.setup()
from tests.differential.running import reduce_documents
from tests.differential.worlds import make_world
world = make_world("a world", "Diff")
name = world.documents[-1]["name"]
fewer = reduce_documents(world, lambda smaller: any(each["name"] == name for each in smaller.documents))
print([each["name"] for each in fewer.documents] == [name], fewer.documents[0]["rows"])
"""


def test_documents_that_do_not_matter_are_left_out():
    done = run("-c", SMALLER, DJANGO_SETTINGS_MODULE="tests.differential.settings")
    assert (done.stdout, done.stderr) == ("True []\n", "")
