"""How long the package takes next to what it replaces, as ratios within one run."""

from __future__ import annotations
