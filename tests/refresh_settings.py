"""A project whose processes refresh at once: `REFRESH_DATABASE` and `REFRESH_SITE` are Django's and ours, as JSON."""

from __future__ import annotations

import json
import os

import pymysql

from tests.settings import *  # noqa: F403

# Django asks for mysqlclient, which brings no wheel: this one is Python alone, and says to be it.
pymysql.version_info = (2, 2, 7, "final", 0)
pymysql.install_as_MySQLdb()

DATABASES = {"default": json.loads(os.environ["REFRESH_DATABASE"])}
ERPNEXT_BRIDGE = {
    "SITES": {"default": json.loads(os.environ["REFRESH_SITE"])},
    "TOKEN_KEYS": ["a key of the tests, which is long enough"],
}
LOGGING_CONFIG = None
