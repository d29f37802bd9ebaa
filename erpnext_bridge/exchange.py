"""
Documents in django-import-export, which is not required: `pip install django-import-export`.

Its own ModelResource exports documents as they are. To import them, take DocumentResource.
"""

from __future__ import annotations

from typing import Any

from import_export import resources


class DocumentResource(resources.ModelResource):  # type: ignore[misc]
    """
    A ModelResource whose dry run, and the preview in the admin, send nothing.

    A plain one saves in a dry run, and lets the database roll back: ERPNext would keep what was sent.
    """

    def save_instance(self, instance: Any, is_create: bool, row: Any, **kwargs: Any) -> None:
        self.before_save_instance(instance, row, **kwargs)
        if not self._is_dry_run(kwargs):
            instance.name = instance.name or None
            self.do_instance_save(instance, is_create)
        self.after_save_instance(instance, row, **kwargs)

    def delete_instance(self, instance: Any, row: Any, **kwargs: Any) -> None:
        self.before_delete_instance(instance, row, **kwargs)
        if not self._is_dry_run(kwargs):
            instance.delete()
        self.after_delete_instance(instance, row, **kwargs)
