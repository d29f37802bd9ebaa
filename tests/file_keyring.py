"""A key ring for command lines under test: a JSON file in place of the desktop's service."""

from __future__ import annotations

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend


class FileKeyring(KeyringBackend):
    priority = 1

    @property
    def path(self):
        return Path(os.environ["TEST_KEYRING"])

    def load(self):
        return json.loads(self.path.read_text()) if self.path.exists() else {}

    def get_password(self, service, username):
        return self.load().get(f"{service}/{username}")

    def set_password(self, service, username, password):
        self.path.write_text(json.dumps({**self.load(), f"{service}/{username}": password}))

    def delete_password(self, service, username):
        kept = self.load()
        kept.pop(f"{service}/{username}", None)
        self.path.write_text(json.dumps(kept))
