"""Documents in Django's admin, and the app's own tables."""

from __future__ import annotations

from erpnext_bridge.admin.connections import ConnectionAdmin, PendingRevocationAdmin
from erpnext_bridge.admin.documents import ChildRowInline, ErpModelAdmin
from erpnext_bridge.admin.writes import DocumentWriteAdmin

__all__ = [
    "ChildRowInline",
    "ConnectionAdmin",
    "DocumentWriteAdmin",
    "ErpModelAdmin",
    "PendingRevocationAdmin",
]
