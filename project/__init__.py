"""The demo project: a Django site whose pages show documents of ERPNext."""

from __future__ import annotations
