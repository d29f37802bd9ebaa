"""Child processes: started, heard, and stopped to the last one, with all that they have started themselves."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

KEPT_LINES = 200
STOP_SECONDS = 10.0

Show = Callable[[str, str], None]
"""Label of the child, line of its output → shown, or not."""


class StartError(Exception):
    """A child has ended, or was not ready in time; the message has its last lines."""


class Child:
    """One process in a group of its own, so that a Ctrl-C of the terminal reaches only its parent."""

    def __init__(
        self,
        label: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        show: Show,
        ended: queue.SimpleQueue[Child],
    ) -> None:
        self.label = label
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._show = show
        self._ended = ended
        self._heard = threading.Condition()
        self.process = subprocess.Popen(  # noqa: S603
            command,
            cwd=folder,
            env={**environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, name=f"output of {label}", daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        for line in self.process.stdout or ():
            with self._heard:
                self.lines.append(line.rstrip("\n"))
                self._heard.notify_all()
            self._show(self.label, line.rstrip("\n"))
        self._ended.put(self)
        with self._heard:
            self._heard.notify_all()

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def wait_for(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until the child is ready; look again at each of its lines, and a few times a second."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.is_running or time.monotonic() >= deadline:
                raise StartError(self.story("did not start"))
            with self._heard:
                self._heard.wait(0.1)

    def said(self, text: str) -> bool:
        with self._heard:
            return any(text in line for line in self.lines)

    def story(self, what: str) -> str:
        """Return what happened, and the last lines that the child has said."""
        code = self.process.poll()
        end = "" if code is None else f" (exit status {code})"
        return "\n".join([f"{self.label} {what}{end}:", *list(self.lines)[-30:]])

    def ask_to_stop(self) -> None:
        self._signal(signal.SIGTERM)

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Wait for the end, then end what is left of the group by force."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        self._signal(signal.SIGKILL)
        self.process.wait()
        self._listener.join(seconds)
        if self.process.stdout:
            self.process.stdout.close()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


class Children:
    """All children of one parent; leaving the block stops them together."""

    def __init__(self, environment: Mapping[str, str], folder: Path, show: Show) -> None:
        self._start = (environment, folder, show)
        self._ended: queue.SimpleQueue[Child] = queue.SimpleQueue()
        self.all: list[Child] = []

    def start(self, label: str, *command: str) -> Child:
        child = Child(label, command, *self._start, self._ended)
        self.all.append(child)
        return child

    def wait_for_end(self) -> Child:
        """Return the first child that ends."""
        return self._ended.get()

    def stop(self) -> None:
        for child in self.all:
            child.ask_to_stop()
        for child in self.all:
            child.stop()
