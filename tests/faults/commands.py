"""How the run talks to the process that makes the faults: one JSON line there, one back."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from tests.faults.chances import Dice

Answer = Callable[[dict[str, Any]], Any]


def obey(hello: dict[str, Any], dice: Dice, more: dict[str, Callable[[], Any]]) -> None:
    """Say hello, then do what is asked until the asking process is gone."""
    commands: dict[str, Callable[[], Any]] = {
        "storm": lambda: setattr(dice, "is_calm", False),
        "calm": lambda: setattr(dice, "is_calm", True),
        "counts": lambda: dict(dice.counts),
        **more,
    }
    _say(hello)
    for line in sys.stdin:
        _say(commands[line.strip()]())


def _say(value: Any) -> None:
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()


class FaultProcess:
    """The process that makes the faults, as the run sees it."""

    def __init__(self, *command: str, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.hello: dict[str, Any] = self._hear()

    def ask(self, command: str) -> Any:
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return self._hear()

    def _hear(self) -> Any:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self.process.args)} has ended.")
        return json.loads(line)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
