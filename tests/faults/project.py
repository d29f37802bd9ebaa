"""The project whose workers deliver the writes: PostgreSQL, a broker, and a site, all from the environment."""

from __future__ import annotations

import json
import os

from celery import Celery

from tests.settings import *  # noqa: F403

GIVEN = json.loads(os.environ["FAULTS"])
"""`database`, `broker`, `sites`, and keys of ERPNEXT_BRIDGE as `bridge`."""

DATABASES = {"default": GIVEN["database"]}
ERPNEXT_BRIDGE = {
    "SITES": GIVEN["sites"],
    "TOKEN_KEYS": ["a key of the faults, which is long enough"],
    **GIVEN["bridge"],
}

CELERY_BROKER_URL = GIVEN["broker"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_IGNORE_RESULT = True
CELERY_BEAT_SCHEDULE = {
    # Every minute in production; here a crash comes every other second.
    "sweep": {"task": "erpnext_bridge.sweep", "schedule": 2.0, "options": {"expires": 10.0}}
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"short": {"format": "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "short"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}

app = Celery("tests.faults.project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.set_default()
