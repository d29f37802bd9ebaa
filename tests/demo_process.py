"""`python -m project.demo` as its user has it: one command in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

from tests.services import free_port

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS, STOP_SECONDS = 180, 90


class DemoProcess:
    """The running demo on a port of its own."""

    def __init__(self, state: Path, **environment: str) -> None:
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("ERPNEXT_", "DJANGO_"))
        }
        self.state = state
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "project.demo"],
            cwd=ROOT,
            env=kept | {"PORT": str(free_port()), "DEMO_STATE": str(state), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        self._ready.wait(START_SECONDS)
        if not self.said("Ctrl-C stops all of it."):
            self.stop(signal.SIGKILL)
            raise AssertionError(f"The demo did not start:\n{self.text}")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGTERM)

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if "Ctrl-C" in line:
                self._ready.set()
        self._ready.set()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def said(self, text: str) -> bool:
        return text in self.text

    @property
    def url(self) -> str:
        return re.search(r"Open +(http://\S+?)/$", self.text, re.MULTILINE)[1]

    @property
    def site_url(self) -> str:
        return re.search(r"ERPNext +(http://\S+?)/ ", self.text)[1]

    def stop(self, number: int) -> int:
        """Send a signal to the demo alone, wait for its end, and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(STOP_SECONDS)
        self._reader.join(STOP_SECONDS)
        self.process.stdout.close()
        return status

    def family(self) -> list[int]:
        """Return the ids of the demo's process and of all that descend from it."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(entry.read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.parent.name))
        found, todo = [], [self.process.pid]
        while todo:
            found.append(todo.pop())
            todo += children.get(found[-1], [])
        return found
