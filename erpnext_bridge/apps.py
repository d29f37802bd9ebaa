"""What happens once, when Django starts."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_delete


class ERPNextBridgeConfig(AppConfig):
    name = "erpnext_bridge"
    verbose_name = "ERPNext"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from erpnext_bridge import notifying, oauth, rights, tasks  # noqa: F401
        from erpnext_bridge.checks import register_checks
        from erpnext_bridge.models import Connection
        from erpnext_bridge.tokens import revoking

        oauth.install()
        register_checks()
        post_delete.connect(revoking.revoke_deleted, sender=Connection, dispatch_uid="erpnext_bridge.revoke")
