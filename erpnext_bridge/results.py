"""What became of each of many documents that were written, each for itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from erpnext_bridge.errors import (
    BulkError,
    ERPNextBridgeError,
    RefusedError,
)

MAX_REASONS = 5
"""How many different reasons the text of a BulkError tells."""


class Outcome:
    """Collects what became of each of many documents, and stops where going on makes no sense."""

    def __init__(self, todo: Iterable[Any]) -> None:
        self.todo = list(todo)
        self.ok: list[Any] = []
        self.failed: list[tuple[Any, ERPNextBridgeError]] = []

    def run(self, act: Callable[[Any], Any]) -> None:
        """Act on each; a refusal is one document's own, any other error the end of all that are left."""
        while self.todo:
            each = self.todo[0]
            try:
                act(each)
            except RefusedError as error:
                self.fail([each], error)
            except ERPNextBridgeError as error:
                if not self.ok and not self.failed:
                    raise
                self.fail(list(self.todo), error)
            else:
                self.succeed([each])

    def succeed(self, documents: Sequence[Any]) -> None:
        self.ok += documents
        del self.todo[: len(documents)]

    def fail(self, documents: Sequence[Any], error: ERPNextBridgeError) -> None:
        self.failed += [(each, error) for each in documents]
        del self.todo[: len(documents)]

    def finish(self, what: str) -> None:
        """Raise BulkError unless all went well."""
        if not self.failed:
            return
        total = len(self.ok) + len(self.failed)
        reasons = list(dict.fromkeys(" ".join(error.messages) or str(error) for _, error in self.failed))[
            :MAX_REASONS
        ]
        raise BulkError(
            f"{len(self.failed)} of {total} were not {what}.", *reasons, ok=self.ok, failed=self.failed
        ) from self.failed[0][1]
