"""What README and docs say in tables and code is what the code says."""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path

import pytest

import erpnext_bridge
from erpnext_bridge import errors
from erpnext_bridge.compiler.judges import TESTS
from erpnext_bridge.compiler.lookups import LOOKUPS
from erpnext_bridge.compiler.moments import EXTRACTS
from erpnext_bridge.conf import BridgeSettings, Site

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def page(name):
    return (ROOT / name).read_text("utf-8")


def rows(text, heading):
    """Return the rows of the first table below a heading or a sentence: lists of cells."""
    table = text.split(heading, 1)[1].split("|---", 1)[1].split("\n\n", 1)[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.splitlines()[1:]
        if line.startswith("|")
    ]


def default_of(field):
    return "" if field.default is dataclasses.MISSING else str(field.default)


@pytest.mark.parametrize(
    ("name", "heading"), [("README.md", "## Settings"), ("docs/settings.md", "A misspelled key")]
)
def test_the_settings_tables_are_the_settings(name, heading):
    told = {row[0].strip("`"): row[1].strip("`") for row in rows(page(name), heading)}
    assert told == {field.name.upper(): default_of(field) for field in dataclasses.fields(BridgeSettings)}


def test_the_table_of_a_sites_settings_is_complete():
    told = [row[0].strip("`") for row in rows(page("docs/settings.md"), "\nA site:")]
    assert told == [field.name.upper() for field in dataclasses.fields(Site) if field.name != "alias"]


def classes():
    """Return the error classes in the order of their definition."""
    return [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and value.__module__ == errors.__name__
    ]


def test_the_error_table_is_the_tree():
    told = [row[0].strip("`") for row in rows(page("docs/errors.md"), "# Errors")]
    assert sorted(told) == sorted(each.__name__ for each in classes())
    for name in set(told) - {"ERPNextBridgeError"}:
        assert name in page("README.md"), name


def test_the_lookups_table_names_every_lookup():
    told = set(
        re.findall(r"[a-z_]+", " ".join(row[0] for row in rows(page("docs/queries.md"), "## What works")))
    )
    assert {*LOOKUPS, *TESTS, *EXTRACTS, "isnull", "date", "time"} <= told


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_python_blocks_are_python(path):
    for block in re.findall(r"```python\n(.*?)```", path.read_text("utf-8"), re.DOTALL):
        if ">>>" not in block:
            ast.parse(block)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files(path):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text("utf-8")):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target


def test_the_readme_is_short():
    assert len(page("README.md").splitlines()) < 250


def test_the_changelog_begins_with_this_version():
    (version,) = re.findall(r"^## \[?([\w.]+)", page("CHANGELOG.md"), re.MULTILINE)[:1]
    assert version in (erpnext_bridge.__version__, "Unreleased")


def test_every_make_target_that_is_told_is_there():
    targets = set(re.findall(r"^([a-z]+):", page("Makefile"), re.MULTILINE))
    told = set(
        re.findall(r"(?:`|^)make ([a-z]+)", " ".join(each.read_text("utf-8") for each in PAGES), re.MULTILINE)
    )
    assert told - targets == set()
