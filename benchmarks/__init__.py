"""How long the package takes next to what it replaces, as ratios within one run: one file for each thing measured."""

from __future__ import annotations
