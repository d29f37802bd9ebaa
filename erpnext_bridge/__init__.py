"""ERPNext DocTypes as Django models, read and written as the signed-in user."""

from __future__ import annotations

__version__ = "0.1.0"
