"""The app's own tables."""

from __future__ import annotations

from erpnext_bridge.models.connection import Connection
from erpnext_bridge.models.write import DocumentWrite

__all__ = ["Connection", "DocumentWrite"]
