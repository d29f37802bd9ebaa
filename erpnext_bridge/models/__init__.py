"""The app's own tables."""

from __future__ import annotations

from erpnext_bridge.models.connection import Connection

__all__ = ["Connection"]
