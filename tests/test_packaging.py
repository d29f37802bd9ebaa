"""The wheel is complete, and its pieces agree about the version."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import erpnext_bridge

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "erpnext_bridge"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from a copy, so that the build leaves nothing in the source tree."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            (source / name).write_bytes((ROOT / name).read_bytes())
    for path in files_of_the_package():
        target = source / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(folder),
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def files_of_the_package():
    return [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel):
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == {path.relative_to(ROOT).as_posix() for path in files_of_the_package()}


@pytest.mark.parametrize(
    "pattern",
    [
        r"erpnext_bridge/py\.typed",
        r"erpnext_bridge/templates/erpnext_bridge/base\.html",
        r"erpnext_bridge/static/erpnext_bridge/.+\.css",
        r"erpnext_bridge/migrations/0\d+_.+\.py",
        r"erpnext_bridge/management/commands/erpnext_\w+\.py",
        r"erpnext_bridge/sandbox/worlds/.+\.json",
        r"erpnext_bridge-[^/]+\.dist-info/licenses/LICENSE",
    ],
)
def test_the_wheel_holds_what_is_easily_forgotten(wheel, pattern):
    assert any(re.fullmatch(pattern, name) for name in wheel.namelist())


def test_the_wheel_states_its_version_and_what_it_needs(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = wheel.read(name).decode()
    assert f"\nVersion: {erpnext_bridge.__version__}\n" in metadata
    assert "\nRequires-Python: >=3.11\n" in metadata
    assert re.search(r"^Requires-Dist: django>=5\.2$", metadata, re.MULTILINE)
    assert re.search(r"^Requires-Dist: werkzeug.*extra == .sandbox.$", metadata, re.MULTILINE)


def test_the_changelog_begins_with_this_version():
    first = re.search(r"^## (\S+),", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert first[1] == erpnext_bridge.__version__


def test_the_mandated_top_level_is_there():
    mandated = ("manage.py", "erpnext_bridge", "project", "templates", "tests", "requirements.txt")
    assert [name for name in mandated if not (ROOT / name).exists()] == []


def test_the_project_requires_what_the_package_does():
    listed = (ROOT / "requirements.txt").read_text("utf-8")
    package = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*package["dependencies"], *package["optional-dependencies"]["sandbox"]]
    assert [each for each in wanted if not re.search(f"^{re.escape(each)}", listed, re.MULTILINE)] == []
