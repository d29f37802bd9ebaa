"""The same querysets in Django's database and at ERPNext: `make differential N=10000 [SEED=…]`."""

from __future__ import annotations
