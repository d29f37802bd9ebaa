"""Django's SQLite backend, which compares text as a Frappe site's MariaDB does."""

from __future__ import annotations
