"""The app's own tables in Django's admin."""

from __future__ import annotations

from erpnext_bridge.admin.connections import ConnectionAdmin, PendingRevocationAdmin
from erpnext_bridge.admin.writes import DocumentWriteAdmin

__all__ = ["ConnectionAdmin", "DocumentWriteAdmin", "PendingRevocationAdmin"]
