"""The app's own tables."""

from __future__ import annotations

from erpnext_bridge.models.connection import Connection
from erpnext_bridge.models.gate import SiteGate
from erpnext_bridge.models.revocation import PendingRevocation
from erpnext_bridge.models.write import DocumentWrite, WriteFile

__all__ = ["Connection", "DocumentWrite", "PendingRevocation", "SiteGate", "WriteFile"]
