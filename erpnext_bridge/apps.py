"""What happens once, when Django starts."""

from __future__ import annotations

from django.apps import AppConfig


class ERPNextBridgeConfig(AppConfig):
    name = "erpnext_bridge"
    verbose_name = "ERPNext"
    default_auto_field = "django.db.models.BigAutoField"
