"""The site that is written to: the sandbox behind its own troubles, or a real one behind the proxy."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import requests

from tests.faults import doctype
from tests.faults.commands import FaultProcess
from tests.faults.verdict import Seen, changes, seen_in

CHUNK = 10
"""Documents that Frappe deletes or cancels at once; more become a job in the background."""


class TestedSite(Protocol):
    """What the run needs of a site."""

    faults: FaultProcess
    title: str
    settings: dict[str, Any]
    """Its entry in `SITES`."""

    def seen(self) -> dict[str, Seen]: ...

    def clear(self) -> None: ...


class SandboxSite:
    def __init__(self, version: int, seed: int) -> None:
        self.title = f"the sandbox of {version}"
        self.faults = FaultProcess(
            *("tests.faults.sandboxed", "--version", str(version), "--seed", str(seed)),
            environment=dict(os.environ),
        )
        hello = self.faults.hello
        self.settings = {
            "URL": hello["url"],
            "API_KEY": hello["key"],
            "API_SECRET": hello["secret"],
            "VERSION": version,
            "TIME_ZONE": "America/New_York",
        }

    def seen(self) -> dict[str, Seen]:
        return seen_in(self.faults.ask("journal"))

    def clear(self) -> None:
        self.faults.stop()


@dataclass(frozen=True)
class Account:
    """Where a real site is, and who may make a DocType there."""

    url: str
    key: str
    secret: str

    @classmethod
    def from_environment(cls) -> Account | None:
        url = os.environ.get("ERPNEXT_URL", "")
        if not url:
            return None
        return cls(url.rstrip("/"), os.environ["ERPNEXT_API_KEY"], os.environ["ERPNEXT_API_SECRET"])


class RealSite:
    """A site with a DocType of our own, which is asked past the proxy what came of it."""

    def __init__(self, account: Account, seed: int) -> None:
        self.title = "a real site"
        self.account = account
        self.prefix = f"F{seed}-"
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"token {account.key}:{account.secret}"
        self._install()
        command = ("tests.faults.proxy", account.url, "--seed", str(seed))
        self.faults = FaultProcess(*command, environment=dict(os.environ))
        self.settings = {
            "URL": self.faults.hello["url"],
            "API_KEY": account.key,
            "API_SECRET": account.secret,
        }

    def _call(self, method: str, path: str, **options: Any) -> Any:
        answer = self._session.request(method, f"{self.account.url}/api/{path}", timeout=120, **options)
        if not answer.ok:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json()

    def _install(self) -> None:
        there = self._session.get(f"{self.account.url}/api/resource/DocType/{doctype.NAME}", timeout=120)
        if there.ok:
            self._empty()
        else:
            self._call("POST", "resource/DocType", json=doctype.definition())

    def _rows(self, name: str, fields: list[str], filters: dict[str, Any], order: str = "") -> list[Any]:
        query = {"fields": json.dumps(fields), "filters": json.dumps(filters), "limit_page_length": "0"}
        return list(
            self._call("GET", f"resource/{name}", params={**query, "order_by": order or "name asc"})["data"]
        )

    def seen(self) -> dict[str, Seen]:
        found: dict[str, Seen] = defaultdict(Seen)
        versions = self._versions()
        for row in self._rows(doctype.NAME, ["name", "reference", "step", "docstatus"], {}):
            seen = found[row["reference"]]
            seen.names.append(row["name"])
            seen.last_number = row["step"]
            seen.numbers = changes([0, *versions[row["name"], "step"]])
            seen.docstatuses = changes([0, *versions[row["name"], "docstatus"]])
        for row in self._rows("Deleted Document", ["data"], {"deleted_doctype": doctype.NAME, "restored": 0}):
            data = json.loads(row["data"])
            seen = found[data["reference"]]
            seen.names.append(data["name"])
            seen.is_deleted, seen.last_number = True, data["step"]
            # Its versions went with it.
            seen.numbers = seen.docstatuses = None
        # What earlier runs have deleted is kept by Frappe.
        return {reference: seen for reference, seen in found.items() if reference.startswith(self.prefix)}

    def _versions(self) -> dict[tuple[str, str], list[int]]:
        found: dict[tuple[str, str], list[int]] = defaultdict(list)
        rows = self._rows("Version", ["docname", "data"], {"ref_doctype": doctype.NAME}, "creation asc")
        for row in rows:
            for field, _, new in json.loads(row["data"]).get("changed") or []:
                if field in ("step", "docstatus"):
                    found[row["docname"], field].append(int(new))
        return found

    def clear(self) -> None:
        self.faults.stop()
        self._empty()
        self._call("DELETE", f"resource/DocType/{doctype.NAME}")
        self._session.close()

    def _empty(self) -> None:
        for chunk in self._chunks({"docstatus": 1}):
            names = {"doctype": doctype.NAME, "docnames": json.dumps(chunk), "action": "cancel"}
            self._call("POST", f"method/{BULK}.submit_cancel_or_update_docs", json=names)
        for chunk in self._chunks({}):
            items = {"doctype": doctype.NAME, "items": json.dumps(chunk)}
            self._call("POST", "method/frappe.desk.reportview.delete_items", json=items)

    def _chunks(self, filters: dict[str, Any]) -> Iterator[list[str]]:
        names = [row["name"] for row in self._rows(doctype.NAME, ["name"], filters)]
        return (names[start : start + CHUNK] for start in range(0, len(names), CHUNK))


BULK = "frappe.desk.doctype.bulk_update.bulk_update"
