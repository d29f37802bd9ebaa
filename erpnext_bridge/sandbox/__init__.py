"""A Frappe-like server inside the process, for development and tests."""

from __future__ import annotations
