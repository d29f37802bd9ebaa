"""How a site of ERPNext is written in the environment."""

from __future__ import annotations

from typing import Any

import environ

from erpnext_bridge.conf import site_from_url

SITE_KEYS = (
    "TITLE",
    "CLIENT_ID",
    "CLIENT_SECRET",
    "CLIENT_AUTH",
    "SCOPE",
    "REDIRECT_URI",
    "API_KEY",
    "API_SECRET",
    "TIME_ZONE",
)


class Env(environ.Env):
    """django-environ, and `erpnext_site()`."""

    def erpnext_site(self, var: str, default: Any = environ.Env.NOTSET) -> dict[str, Any]:
        """
        Return the `SITES` entry of a URL variable and of the variables beside it.

        For "ERPNEXT_URL" these are ERPNEXT_CLIENT_ID, ERPNEXT_CLIENT_SECRET, ERPNEXT_API_KEY and so on. The URL
        may hold the client's credentials itself: https://CLIENT_ID:CLIENT_SECRET@erp.example.com
        """
        entry = site_from_url(self.str(var, default=default))
        prefix = var.removesuffix("URL")
        # Read without django-environ, to which a secret that begins with "$" is the name of another variable.
        given = {key: self.ENVIRON.get(f"{prefix}{key}", "") for key in SITE_KEYS}
        return entry | {key: value for key, value in given.items() if value}
