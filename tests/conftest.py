"""Fixtures that every test file shares."""

from __future__ import annotations
