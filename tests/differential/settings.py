"""A project whose database compares text as a Frappe site does; the sites come with each world."""

from __future__ import annotations

INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "erpnext_bridge"]
DATABASES = {"default": {"ENGINE": "tests.differential.backend", "NAME": ":memory:"}}
ERPNEXT_BRIDGE: dict[str, object] = {"SITES": {}}
USE_TZ = True
TIME_ZONE = "UTC"
SECRET_KEY = "differential"
