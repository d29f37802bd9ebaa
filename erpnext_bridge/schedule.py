"""What Celery beat has to do for the app: `CELERY_BEAT_SCHEDULE = {**BEAT_SCHEDULE, …}` in a project's settings."""

from __future__ import annotations

from typing import Any

SWEEP_EVERY = 60.0
"""Seconds between two sweeps, and the longest that a write waits after a crash beyond its lease."""

TEND_EVERY = 60.0
"""Seconds between two looks for tokens to revoke and for connections that nobody has used for long."""

PRUNE_EVERY = 24 * 3600.0

BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    # A sweep that waited in the broker until the next one is due has nothing left to do.
    "erpnext_bridge.sweep": {
        "task": "erpnext_bridge.sweep",
        "schedule": SWEEP_EVERY,
        "options": {"expires": SWEEP_EVERY},
    },
    "erpnext_bridge.tend": {
        "task": "erpnext_bridge.tend",
        "schedule": TEND_EVERY,
        "options": {"expires": TEND_EVERY},
    },
    "erpnext_bridge.prune": {
        "task": "erpnext_bridge.prune",
        "schedule": PRUNE_EVERY,
        "options": {"expires": PRUNE_EVERY},
    },
}
"""Entries for `CELERY_BEAT_SCHEDULE`; settings can import this module, for it imports nothing of Django."""
