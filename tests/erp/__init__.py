"""A Django app as a user writes it: documents of the sandbox's demo world."""

from __future__ import annotations
