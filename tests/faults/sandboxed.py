"""The sandbox as a process of its own, behind its troubles, with a journal that its database keeps of every commit."""

from __future__ import annotations

import argparse
import threading
from typing import Any

from erpnext_bridge.sandbox import Sandbox, User, World
from erpnext_bridge.sandbox.store import table
from erpnext_bridge.sandbox.trouble import Incoming
from tests.faults import chances, doctype
from tests.faults.chances import Dice
from tests.faults.commands import obey

USER = "robot@example.com"
TROUBLES = {
    chances.LOST: ("drop_after", {}),
    chances.CUT: ("drop_before", {}),
    chances.LIMITED: ("rate_limited", {"retry_after": 1}),
    chances.UNAVAILABLE: ("unavailable", {}),
}

# Of the database, not of the application: what is rolled back is not in it, what is committed is.
JOURNAL = """
CREATE TABLE journal (event TEXT, name TEXT, reference TEXT, step INTEGER, docstatus INTEGER);
CREATE TRIGGER journal_insert AFTER INSERT ON {table} BEGIN
  INSERT INTO journal VALUES ('insert', NEW.name, NEW.reference, NEW.step, NEW.docstatus);
END;
CREATE TRIGGER journal_update AFTER UPDATE ON {table} BEGIN
  INSERT INTO journal VALUES ('update', NEW.name, NEW.reference, NEW.step, NEW.docstatus);
END;
CREATE TRIGGER journal_delete AFTER DELETE ON {table} BEGIN
  INSERT INTO journal VALUES ('delete', OLD.name, OLD.reference, OLD.step, OLD.docstatus);
END;
"""


def world() -> World:
    made = World(doctypes={doctype.NAME: doctype.definition()})
    made.add_user(User(USER, "Robot", [doctype.ROLE]))
    return made


def let_it_storm(site: Sandbox, dice: Dice) -> None:
    """Throw once for each request, and let the trouble that came up take it."""
    thrown = threading.local()

    def matching(fate: str, is_first: bool) -> Any:
        def match(_: Incoming) -> bool:
            if is_first:
                thrown.fate = dice.throw()
            return bool(thrown.fate == fate)

        return match

    for number, (fate, (kind, options)) in enumerate(TROUBLES.items()):
        site.trouble(kind, times=None, match=matching(fate, number == 0), **options)


def journal(site: Sandbox) -> list[list[Any]]:
    with site.site.lock:
        return [
            list(row) for row in site.site.store.connection.execute("SELECT * FROM journal ORDER BY rowid")
        ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--version", type=int, default=15)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    dice = Dice(options.seed)
    with Sandbox(options.version, world()) as site:
        site.site.store.ensure(doctype.NAME)
        site.site.store.connection.executescript(JOURNAL.format(table=table(doctype.NAME)))
        let_it_storm(site, dice)
        key, secret = site.api_key(USER)
        hello = {"url": site.url, "key": key, "secret": secret}
        obey(hello, dice, {"journal": lambda: journal(site), "requests": lambda: len(site.requests)})


if __name__ == "__main__":
    main()
