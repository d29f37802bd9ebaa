"""
`make fidelity [N=…] [SEED=…]`: asks a real site and a sandbox of the same DocTypes and rows the same random questions.

ERPNEXT_URL names the site, ERPNEXT_API_KEY and ERPNEXT_API_SECRET are its Administrator's. It makes DocTypes of its own
there, takes their snapshot, starts a sandbox of it, and removes them again. Questions are lists, counts, values and
documents: with every operator on every type, with fields, orders and groups, and a part of them wrong on purpose.
Answers have to be equal: the status; rows, in the order that was asked for where that leaves no choice; else the kind
of the error and its messages. It fails when more than one in a hundred differs.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import requests

from erpnext_bridge import snapshot
from erpnext_bridge.client import FrappeClient
from erpnext_bridge.sandbox import Sandbox, World
from tests.own_doctypes import OwnDocTypes, administrator

ALLOWED = 0.01
"""The part of the answers that may differ: MariaDB has more corners than anybody has looked into."""

PARTY, REGION, CONTACT = "Bridge Twin Party", "Bridge Twin Region", "Bridge Twin Contact"
STANDARD = ("name", "owner", "creation", "modified", "docstatus", "idx")


def _field(fieldname: str, fieldtype: str = "Data", **more: Any) -> dict[str, Any]:
    return {"fieldname": fieldname, "label": fieldname.title(), "fieldtype": fieldtype, **more}


FIELDS = [
    _field("nick"),
    _field("status", "Select", options="\nOpen\nHold\nClosed"),
    _field("quantity", "Int"),
    _field("score", "Float"),
    _field("credit", "Currency"),
    _field("active", "Check"),
    _field("since", "Date"),
    _field("seen", "Datetime"),
    _field("opens", "Time"),
    _field("note", "Text"),
    _field("region", "Link", options=REGION),
]
DOCTYPES = [
    {"name": REGION, "autoname": "prompt", "fields": [_field("title")]},
    {"name": CONTACT, "istable": 1, "fields": [_field("label"), _field("phone")]},
    {
        "name": PARTY,
        "autoname": "prompt",
        "fields": [*FIELDS, _field("contacts", "Table", options=CONTACT)],
    },
]
COLUMNS = {
    PARTY: [*STANDARD, *(one["fieldname"] for one in FIELDS)],
    REGION: [*STANDARD, "title"],
}
TEXTS = ["alpha", "Alpha", "beta", "x, y", "100%", "a_b", "a\\b", "it's", "Ünï", "日本", "", "0", "12abc"]
VALUES: dict[str, list[Any]] = {
    "Data": TEXTS,
    "Text": TEXTS,
    "Select": ["", "Open", "Hold", "Closed"],
    "Int": [0, 1, 5, -3, 1_000_000],
    "Float": [0, 1.5, -2.25, 0.1],
    "Currency": [0, 99.99, -5, 1234.5],
    "Check": [0, 1],
    "Date": [None, "2024-01-15", "2026-03-08", "2000-02-29"],
    "Datetime": [None, "2024-01-15 09:30:00", "2024-01-15 09:30:00.250000", "2026-03-08 02:30:00"],
    "Time": [None, "09:30:00", "23:59:59"],
    "Link": [None, "North", "South"],
}
OPERATORS = [
    "=", "!=", "like", "not like", "in", "not in", "is", "between", ">", "<", ">=", "<=", "timespan",
]  # fmt: skip
WRONG = ["==", "has", "ancestors of", "descendants of"]
SPANS = ["this year", "last month", "today", "last 6 months", "no such span"]


def documents(rng: random.Random) -> list[dict[str, Any]]:
    found = [{"doctype": REGION, "name": name, "title": f"{name} and more"} for name in ("North", "South")]
    for number in range(40):
        values = {one["fieldname"]: rng.choice(VALUES[one["fieldtype"]]) for one in FIELDS}
        contacts = [
            {"doctype": CONTACT, "label": rng.choice(TEXTS), "phone": str(rng.randint(100, 999))}
            for _ in range(rng.choice((0, 0, 1, 2)))
        ]
        found.append({"doctype": PARTY, "name": f"Party {number:02}", **values, "contacts": contacts})
    return found


@dataclass(frozen=True)
class Question:
    """One GET request."""

    path: str
    query: dict[str, Any] = field(default_factory=dict)

    @property
    def is_ordered(self) -> bool:
        """Whether there is one order only that the rows can come in: names are told apart by it."""
        return re.search(r"\bname\b`?( asc| desc)?$", str(self.query.get("order_by", ""))) is not None

    @property
    def is_cut(self) -> bool:
        return self.query.get("limit_page_length", self.query.get("page_length")) != 0

    def __str__(self) -> str:
        return f"GET {self.path} {json.dumps(self.query, ensure_ascii=False)}"


class Asker:
    """Draws questions."""

    def __init__(self, rng: random.Random, names: dict[str, list[str]]) -> None:
        self.rng, self.names = rng, names

    def question(self) -> Question:
        doctype = self.rng.choice((PARTY, PARTY, PARTY, REGION))
        kind = self.rng.choice(("list", "list", "list", "get_list", "count", "value", "document", "report"))
        return getattr(self, f"_{kind}")(doctype)

    def _list(self, doctype: str) -> Question:
        return Question(f"/api/resource/{quote(doctype)}", self._arguments(doctype))

    def _get_list(self, doctype: str) -> Question:
        return Question(
            "/api/method/frappe.client.get_list", {"doctype": doctype, **self._arguments(doctype)}
        )

    def _report(self, doctype: str) -> Question:
        query = {"doctype": doctype, "fields": json.dumps(["name"]), **self._arguments(doctype)}
        query["page_length"] = query.pop("limit_page_length")
        return Question("/api/method/frappe.desk.reportview.get", query)

    def _count(self, doctype: str) -> Question:
        query = {"doctype": doctype, "filters": json.dumps(self._filters(doctype))}
        return Question("/api/method/frappe.client.get_count", query)

    def _value(self, doctype: str) -> Question:
        fieldname = self.rng.choice(COLUMNS[doctype])
        query = {"doctype": doctype, "fieldname": fieldname, "filters": self._name(doctype)}
        return Question("/api/method/frappe.client.get_value", query)

    def _document(self, doctype: str) -> Question:
        return Question(f"/api/resource/{quote(doctype)}/{quote(self._name(doctype), safe='')}")

    def _name(self, doctype: str) -> str:
        return self.rng.choice([*self.names[doctype], "nobody", "PARTY 01", "party 02 "])

    def _arguments(self, doctype: str) -> dict[str, Any]:
        rng = self.rng
        query: dict[str, Any] = {"limit_page_length": rng.choice((0, 0, 3, 20))}
        if rng.random() < 0.8:
            query["filters"] = json.dumps(self._filters(doctype))
        if rng.random() < 0.15:
            query["or_filters"] = json.dumps(self._filters(doctype))
        if rng.random() < 0.7:
            query["fields"] = json.dumps([self._field(doctype) for _ in range(rng.randint(1, 3))])
        if rng.random() < 0.7:
            query["order_by"] = self._order(doctype)
        return query

    def _field(self, doctype: str) -> str:
        column = self.rng.choice(COLUMNS[doctype])
        return self.rng.choice(
            [column] * 6 + [f"`tab{doctype}`.`{column}`", f"{column} as other", "region.title", "nosuch", "*"]
        )

    def _order(self, doctype: str) -> str:
        column, way = self.rng.choice(COLUMNS[doctype]), self.rng.choice(("asc", "desc"))
        return self.rng.choice(
            [
                f"{column} {way}, name asc",
                f"`tab{doctype}`.`{column}` {way}, `tab{doctype}`.`name` desc",
                f"name {way}",
                column,
                f"nosuch {way}",
            ]
        )

    def _filters(self, doctype: str) -> list[Any]:
        return [self._filter(doctype) for _ in range(self.rng.randint(1, 2))]

    def _filter(self, doctype: str) -> list[Any]:
        rng = self.rng
        fieldname = rng.choice([*COLUMNS[doctype] * 2, "nosuch"])
        operator = rng.choice(OPERATORS if rng.random() < 0.9 else WRONG)
        one = [fieldname, operator, self._operand(operator)]
        if rng.random() < 0.15 and doctype == PARTY:
            return [CONTACT, rng.choice(("label", "phone")), operator, self._operand(operator)]
        return one if rng.random() < 0.7 else [doctype, *one]

    def _operand(self, operator: str) -> Any:
        rng = self.rng
        if operator in ("in", "not in"):
            return rng.choice([[self._scalar() for _ in range(rng.randint(0, 3))], "alpha,beta"])
        if operator == "between":
            return [self._scalar(), self._scalar()]
        if operator == "is":
            return rng.choice(("set", "not set", "set", "not set", "other"))
        if operator == "timespan":
            return rng.choice(SPANS)
        if operator in ("like", "not like"):
            return rng.choice(("%a%", "A%", "_lpha", "100\\%", "%", "", "2024%"))
        return self._scalar()

    def _scalar(self) -> Any:
        return self.rng.choice(self.rng.choice(list(VALUES.values())))


class Side:
    """One of the two that are asked, by HTTP."""

    def __init__(self, url: str, key: str, secret: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"token {key}:{secret}"

    def ask(self, question: Question) -> tuple[int, Any]:
        answer = self.session.get(self.url + question.path, params=question.query, timeout=60)
        try:
            body = answer.json()
        except ValueError:
            body = answer.text
        return answer.status_code, outcome(question, answer.status_code, body)


def outcome(question: Question, status: int, body: Any) -> Any:
    """What has to be equal of an answer."""
    if not isinstance(body, dict):
        return body
    if status != 200:
        return body.get("exc_type"), [plain(text) for text in _messages(body)]
    found = body.get("data", body.get("message"))
    if isinstance(found, dict) and "values" in found:
        found = [dict(zip(found["keys"], row, strict=True)) for row in found["values"]]
    if not isinstance(found, list) or question.is_ordered:
        return found
    # Which rows come first is MariaDB's choice.
    return len(found) if question.is_cut else sorted(found, key=json.dumps)


def _messages(body: dict[str, Any]) -> Iterator[str]:
    for text in json.loads(body.get("_server_messages") or "[]"):
        yield json.loads(text)["message"]


def plain(text: str) -> str:
    """A message without what differs between any two runs: the order of a Python set."""
    found = re.fullmatch(r"(Operator must be one of )(.*)", text)
    return found[1] + ", ".join(sorted(found[2].split(", "))) if found else text


@contextmanager
def twins(client: FrappeClient, rng: random.Random) -> Iterator[tuple[Side, Side, dict[str, list[str]]]]:
    """A real site with our DocTypes, and a sandbox of their snapshot."""
    own = OwnDocTypes(client, DOCTYPES)
    try:
        own.make()
        own.fill(documents(rng))
        apps = client.call("frappe.utils.change_log.get_versions", http_method="GET")
        world = World.load({**snapshot.take(client, [PARTY, REGION], rows=1000), "server": apps})
        names = {doctype: own.names(doctype) for doctype in (PARTY, REGION)}
        version = int(apps["frappe"]["version"].split(".")[0])
        with Sandbox(version, world) as sandbox:
            key, secret = os.environ["ERPNEXT_API_KEY"], os.environ["ERPNEXT_API_SECRET"]
            yield (
                Side(os.environ["ERPNEXT_URL"].rstrip("/"), key, secret),
                Side(sandbox.url, *sandbox.api_key("Administrator")),
                names,
            )
    finally:
        own.remove()


def main(arguments: list[str]) -> int:
    count = int(arguments[0]) if arguments else 1000
    seed = int(arguments[1]) if len(arguments) > 1 else random.SystemRandom().randrange(10**8)
    client = administrator()
    if client is None:
        print("fidelity: ERPNEXT_URL names no site, and there is nothing else to compare with.")
        return 2
    print(f"fidelity: {count} questions, SEED={seed}, {client.url}")
    rng, begin, different = random.Random(seed), time.monotonic(), 0
    with twins(client, rng) as (real, sandbox, names):
        asker = Asker(rng, names)
        for _ in range(count):
            question = asker.question()
            theirs, ours = real.ask(question), sandbox.ask(question)
            if theirs != ours:
                different += 1
                print(f"{question}\n  site    {str(theirs)[:300]}\n  sandbox {str(ours)[:300]}")
    seconds = time.monotonic() - begin
    print(
        f"fidelity: {count} questions, {different} answered otherwise by the sandbox "
        f"({different / count:.1%}; SEED={seed}, {seconds:.0f} s)"
    )
    return 1 if different > ALLOWED * count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
