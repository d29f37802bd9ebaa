"""
What the app tells a project: signals, and the log lines that our own receivers make of them.

No signal and no line carries a token, a key, a code or a body, and no line what was asked for.
"""

from __future__ import annotations

import logging
from typing import Any

from django.dispatch import Signal, receiver

logger = logging.getLogger("erpnext_bridge")
requests_logger = logging.getLogger("erpnext_bridge.requests")
"""One line for each request; its records carry the facts as attributes: `status`, `seconds`, `identity`…"""

connected = Signal()
"""A user connected. Provides `connection`, and `replaced`: the ERPNext user it was for before, or ""."""

refreshed = Signal()
"""A connection has new tokens. Provides `connection`."""

needs_reconnect = Signal()
"""The site refused a connection's tokens for good. Provides `connection`, and `reason`: text for its user."""

disconnected = Signal()
"""A connection is deleted here. Provides `connection` (without a row), and `revoked`: whether ERPNext confirmed."""

request_sent = Signal()
"""
A request to ERPNext is over. Provides `method`, `path` (without its query string), `status` (None when no answer
came), `seconds`, `received` (bytes of the answer, as they came), `error` (class of the error that ended it, or ""),
`identity` (None while a user is connecting), and `arguments`: what a list was asked for (`fields`, `filters`,
`order_by`…) or what a method was called with by GET, as a mapping that is empty for every other request. It is sent
in the thread and context of the request.
"""

write_changed = Signal()
"""
A background write has come into another state, and that is committed. Provides `write`, and `previous`: the
state before, "" for a new write. The start of a delivery is not told.
"""

delivery_started = Signal()
"""
A worker begins to deliver: requests are sent between this signal and `delivery_ended`, by the same thread.
Provides `writes`: those that are sent together.
"""

delivery_ended = Signal()
"""A delivery is over, and recorded. Provides `writes` as they are then."""


@receiver(connected)
def log_connected(*, connection: Any, replaced: str, **_: Any) -> None:
    logger.info("Connected: %s%s", connection, f" (before: {replaced})" if replaced else "")


@receiver(refreshed)
def log_refreshed(*, connection: Any, **_: Any) -> None:
    logger.info("Refreshed: %s", connection)


@receiver(needs_reconnect)
def log_needs_reconnect(*, connection: Any, reason: str, **_: Any) -> None:
    logger.warning("Needs to connect again: %s: %s", connection, reason)


@receiver(disconnected)
def log_disconnected(*, connection: Any, revoked: bool, **_: Any) -> None:
    logger.info("Disconnected: %s (%s)", connection, "revoked" if revoked else "revocation not confirmed")


@receiver(request_sent)
def log_request_sent(*, status: int | None, seconds: float, identity: Any, **told: Any) -> None:
    # The arguments may quote what people wrote, so they stay out of the line.
    level = logging.DEBUG if status is not None and status < 500 else logging.WARNING
    if not requests_logger.isEnabledFor(level):
        return
    facts = {key: told[key] for key in ("method", "path", "received", "error")}
    facts |= {"status": status, "seconds": seconds, "identity": str(identity) if identity else None}
    requests_logger.log(
        level,
        "%s %s: %s in %.0f ms, %d bytes, as %s",
        told["method"],
        told["path"],
        status or told["error"] or "no answer",
        seconds * 1000,
        told["received"],
        identity or "nobody",
        extra=facts,
    )


@receiver(write_changed)
def log_write_changed(*, write: Any, previous: str, **_: Any) -> None:
    # ERPNext's messages may quote what was written, so they stay in the row.
    level = logging.WARNING if write.state in ("refused", "uncertain") else logging.INFO
    logger.log(level, "Write %s: %s → %s %s", write.pk, previous or "new", write.state, write.error_type)
