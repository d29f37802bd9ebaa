"""The demo project: a Django site whose pages show documents of ERPNext."""

from __future__ import annotations

from project.celery import app as celery_app

__all__ = ["celery_app"]
