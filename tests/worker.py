"""
A project whose worker is a process of its own: a database file, and a broker that is a folder.

`WORKER_FOLDER` holds both; `WORKER_SITES` is the setting `SITES` as JSON.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from celery import Celery

from tests.settings import *  # noqa: F403

FOLDER = Path(os.environ["WORKER_FOLDER"])
QUEUE = FOLDER / "queue"
QUEUE.mkdir(exist_ok=True)

DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": FOLDER / "db.sqlite3"}}
# A lease that ends at once: what a killed worker leaves is found without waiting, for nothing else sweeps here.
ERPNEXT_BRIDGE = {"SITES": json.loads(os.environ["WORKER_SITES"]), "TOKEN_KEYS": [], "WRITE_LEASE": 0.0}

CELERY_BROKER_URL = "filesystem://"
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "data_folder_in": str(QUEUE),
    "data_folder_out": str(QUEUE),
    "control_folder": str(FOLDER / "control"),
    "polling_interval": 0.05,
}
CELERY_WORKER_HIJACK_ROOT_LOGGER = False

app = Celery("tests.worker")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.set_default()
