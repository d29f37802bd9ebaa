"""A project that mypy looks at; nothing runs it."""

from __future__ import annotations

SECRET_KEY = "tests"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "erpnext_bridge",
    "shop",
    "generated",
]
