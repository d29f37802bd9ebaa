"""What happens when the demo starts: its Celery application becomes the one that tasks are sent with."""

from __future__ import annotations

from django.apps import AppConfig


class ErpConfig(AppConfig):
    name = "project.erp"
    label = "erp"

    def ready(self) -> None:
        from project import celery  # noqa: F401
