"""The user's browser at ERPNext: it signs in there, and allows or denies what our site asks for."""

from __future__ import annotations

import json
import re
from urllib.parse import urlsplit

import requests


class ErpBrowser:
    """Keeps cookies, follows nothing by itself."""

    def __init__(self, site_url, user, password):
        self.site_url = site_url
        self.session = requests.Session()
        login = {"usr": user, "pwd": password}
        assert self.session.post(f"{site_url}/api/method/login", data=login).status_code == 200

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.session.close()

    def allow(self, authorize_url):
        """Click Allow on the consent page; return the path that ERPNext sends the browser back to."""
        approve = self._buttons(authorize_url)["allow"]
        answer = self.session.get(self.site_url + approve, allow_redirects=False)
        assert answer.status_code == 302
        return relative(answer.headers["Location"])

    def deny(self, authorize_url):
        return relative(self._buttons(authorize_url)["deny"])

    def _buttons(self, authorize_url):
        page = self.session.get(authorize_url, allow_redirects=False)
        assert page.status_code == 200, page.text
        found = re.findall(r"\$\('#(\w+)'\).*?location\.replace\((\".*?\")\)", page.text, re.DOTALL)
        return {button: json.loads(target) for button, target in found}


def relative(url):
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"
