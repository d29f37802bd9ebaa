"""The documents that the demo shows, and their pages."""

from __future__ import annotations
