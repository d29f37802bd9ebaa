"""A user's project with documents, under `mypy --strict`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import django
import pytest

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "tests" / "typing"

WRONG = {
    "Customer(customer_name=None)": 'Incompatible type for "customer_name"',
    "Customer(nickname='x')": 'Unexpected attribute "nickname"',
    "SalesOrder(lines=[])": 'Unexpected attribute "lines"',
    "Customer.objects.filter(disabled=True).get().nickname": 'has no attribute "nickname"',
    "Customer.objects.first().customer_name": 'Item "None"',
    "BridgeDeal.objects.filter(party__pin='x').get().pin": 'has no attribute "pin"',
    "order = SalesOrder.objects.get(); order.customer = SalesOrder.objects.get()": "Incompatible types in assignment",
    "SalesOrder.objects.get().items.all()[0].lines": '"SalesOrderItem" has no attribute "lines"',
    "Customer.objects.get().name.nickname": '"str" has no attribute "nickname"',
    "SalesOrderItem.objects.get().parent.lines": '"SalesOrder" has no attribute "lines"',
}
"""Lines that have to be errors, and what mypy says of each: a checker that knows nothing would pass the sample too."""


def mypy(*paths, cwd):
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(cwd), str(SAMPLE), str(ROOT)])}
    environ["MYPYPATH"] = environ["PYTHONPATH"]
    cache = ["--cache-dir", str(ROOT / ".mypy_cache" / "typing")]
    line = [sys.executable, "-m", "mypy", "--config-file", str(SAMPLE / "mypy.toml"), *cache]
    line += ["--explicit-package-bases", "--no-error-summary", "--no-pretty", *map(str, paths)]
    done = subprocess.run(line, cwd=cwd, env=environ, capture_output=True, encoding="utf-8", check=False)
    return done.stdout + done.stderr


@pytest.mark.skipif(django.VERSION < (6, 1), reason="django-stubs are those of the newest Django")
def test_mypy_has_nothing_to_say_about_right_code_and_finds_what_is_wrong(tmp_path):
    wrong = tmp_path / "wrong.py"
    lines = [
        "from generated.models import BridgeDeal",
        "from shop.models import Customer, SalesOrder, SalesOrderItem",
        *WRONG,
    ]
    wrong.write_text("\n".join(lines), "utf-8")
    generated = tmp_path / "generated"
    generated.mkdir()
    (generated / "__init__.py").touch()
    shutil.copy(ROOT / "tests" / "data" / "inspect" / "bridge.py.txt", generated / "models.py")
    told = mypy(SAMPLE / "shop", generated, wrong, cwd=tmp_path)
    assert [line for line in told.splitlines() if not line.startswith("wrong.py")] == []
    for number, words in enumerate(WRONG.values(), 3):
        (said,) = [line for line in told.splitlines() if line.startswith(f"wrong.py:{number}:")]
        assert words in said
