"""`make faults`: thousands of background writes while everything around them breaks, and what the site says came of it."""

from __future__ import annotations
