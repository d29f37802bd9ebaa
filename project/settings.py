"""Settings of the demo project: from the environment or a `.env` file, and for a local demo without either."""

from __future__ import annotations

from pathlib import Path

from erpnext_bridge.schedule import BEAT_SCHEDULE
from project.env import Env
from project.keys import kept_keys

BASE_DIR = Path(__file__).resolve().parent.parent

env = Env()
env.read_env(BASE_DIR / ".env")

STATE = Path(env.str("DEMO_STATE", default=str(BASE_DIR / ".demo"))).resolve()
"""Where a local demo keeps its database, its broker and its keys."""
KEYS = kept_keys(STATE / "keys.json")

SECRET_KEY = env.str("SECRET_KEY", default=KEYS["SECRET_KEY"])
DEBUG = env.bool("DEBUG", default=False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

if env.bool("HTTPS", default=False):
    # In production, behind a proxy that speaks TLS and sets X-Forwarded-Proto itself, whatever the browser sent.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", default=3600)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True

ERPNEXT_BRIDGE = {
    "SITES": {"default": env.erpnext_site("ERPNEXT_URL", default="http://127.0.0.1:8001")},
    "TOKEN_KEYS": env.list("ERPNEXT_TOKEN_KEYS", default=[KEYS["TOKEN_KEY"]]),
    "WRITE_BACKOFF": (1.0, 60.0),
}
# It would print the redirect URI at each start; the demo prints it where it is needed.
SILENCED_SYSTEM_CHECKS = ["erpnext_bridge.I001"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "erpnext_bridge",
    "project.erp",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "project.metering.MeterMiddleware",
    "erpnext_bridge.middleware.ConnectionMiddleware",
]

ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "project.context.erpnext",
            ]
        },
    }
]

DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{STATE / 'db.sqlite3'}")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # Web and worker write at the same time: each waits for the other, from the start of its transaction on.
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL",
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {"default": env.cache("CACHE_URL", default="locmemcache://")}

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"
# Cookies know no ports: other projects on localhost have a "sessionid" too.
SESSION_COOKIE_NAME = "bridge_demo_session"

USE_TZ = True
TIME_ZONE = env.str("TIME_ZONE", default="UTC")
LANGUAGE_CODE = "en"

STATIC_URL = "static/"
STATIC_ROOT = STATE / "static"
STATICFILES_DIRS = [BASE_DIR / "project" / "static"]

CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default="filesystem://localhost")
if CELERY_BROKER_URL.startswith("filesystem:"):
    # A broker without a server, for one machine: it may lose what a killed worker held, which the sweep finds.
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(STATE / "broker"),
        "data_folder_out": str(STATE / "broker"),
        "control_folder": str(STATE / "broker-control"),
        "polling_interval": 0.1,
    }
    (STATE / "broker").mkdir(parents=True, exist_ok=True)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_BEAT_SCHEDULE = {**BEAT_SCHEDULE}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"short": {"format": "{levelname} {name}: {message}", "style": "{"}},
    "filters": {"pages": {"()": "project.logs.Pages"}},
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "short"},
        "pages": {"class": "logging.StreamHandler", "filters": ["pages"]},
    },
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "erpnext_bridge": {"level": "INFO"},
        "celery": {"level": "INFO"},
        "django.server": {"handlers": ["pages"], "level": "INFO", "propagate": False},
    },
}
