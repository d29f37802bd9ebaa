"""
`make smoke`: the main job without a browser, from Connect to Disconnect, over HTTP and with a real worker.

It runs against the sandbox, or against the site of ERPNEXT_URL as ERPNEXT_USER with ERPNEXT_PASSWORD. What it
creates there it deletes again, and it ends the connection it made, also when a step fails.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from project.demo import ERP_USERS, CannotStartError, Demo, Plan, running, say, stop_on_signals
from project.processes import StartError
from project.walking import Link, Page, Walker, WalkError

WRITE_SECONDS = 60.0


@dataclass
class Account:
    """Who connects at ERPNext."""

    name: str
    password: str = field(repr=False)


@dataclass
class Job:
    """The main job, step by step."""

    demo: Demo
    account: Account
    walker: Walker
    mark: str = field(default_factory=lambda: f"Smoke {uuid4().hex[:12]}")
    """First name of the lead, by which it is found whatever became of its write."""
    may_be_written: bool = False
    is_connected: bool = False

    def run(self) -> None:
        for step in (self.sign_in, self.connect, self.list_customers, self.read_customer, self.create_lead):
            say(f"{step.__name__.replace('_', ' '):<15} {step()}")

    def clear_up(self) -> None:
        for is_due, step in ((self.may_be_written, self.delete_lead), (self.is_connected, self.disconnect)):
            if is_due:
                say(f"{step.__name__.replace('_', ' '):<15} {step()}")
        self.walker.log_out(self.demo.site_url)

    # The steps, each of which returns what it found.

    def sign_in(self) -> str:
        page = self.walker.get("/sign-in/")
        self.walker.send(page, username="demo", password="demo").expect(path="/")  # noqa: S106
        return "as demo"

    def connect(self) -> str:
        self.walker.log_in(self.demo.site_url, self.account.name, self.account.password)
        consent = self.walker.send(self.walker.get("/"), "/erpnext/connect/").expect()
        # From here on there may be a connection.
        self.is_connected = True
        self.walker.allow(consent, home=self.demo.url).expect(path="/customers/")
        if self.account.name not in self.walker.get("/").text:
            raise WalkError(f"The demo is not connected as {self.account.name}.")
        return f"as {self.account.name}, after Allow"

    def list_customers(self) -> str:
        everything = self.walker.get("/customers/").expect()
        links = customer_links(everything)
        if links:
            # A part of a name that is on the page has to find something.
            word = links[0].text.split()[0]
            found = customer_links(self.walker.get("/customers/", q=word, order="-modified").expect())
            if not found:
                raise WalkError(f"The search for {word!r} finds no customer.")
        return f"{len(links)} on the first page"

    def read_customer(self) -> str:
        links = customer_links(self.walker.get("/customers/"))
        if not links:
            return "none that this user may see"
        page = self.walker.get(links[0].href).expect()
        return f"with {page.text.count('<article')} orders on the page"

    def create_lead(self) -> str:
        form = self.walker.get("/leads/new/").expect()
        self.may_be_written = True
        shown = self.walker.send(form, first_name=self.mark, company_name="Smoke test").expect()
        status = self.settled(shown)
        if status["state"] != "done":
            raise WalkError(f"The write is {status['state']}: {' '.join(status['messages'])}")
        if self.names() != [status["document_name"]]:
            raise WalkError(f"ERPNext has the leads {self.names()}, not {status['document_name']} alone.")
        return f"{status['document_name']} by the worker, after {status['attempts']} attempt(s)"

    def settled(self, page: Page) -> dict[str, str]:
        deadline = time.monotonic() + WRITE_SECONDS
        while True:
            status = self.walker.json(f"{page.path}status/")
            if status["settled"] or time.monotonic() >= deadline:
                return status
            time.sleep(0.1)

    def delete_lead(self) -> str:
        deleted = self.names()
        for lead in self.leads():
            lead.delete()
        if self.names():
            raise WalkError(f"ERPNext still has {self.names()}.")
        return ", ".join(deleted) or "there was none"

    def disconnect(self) -> str:
        page = self.walker.get("/erpnext/disconnect/")
        if page.path == "/erpnext/":
            return "there was no connection"
        done = self.walker.send(page, "/erpnext/disconnect/").expect()
        self.walker.get("/customers/").expect(path="/erpnext/connect/")
        if "ERPNext has revoked" not in done.text:
            raise WalkError("ERPNext did not confirm that it has revoked the tokens.")
        return "revoked at ERPNext"

    def leads(self) -> list[Any]:
        """Return the leads with our mark, as the demo's user sees them by the models of the demo."""
        from django.contrib.auth.models import User

        from project.erp.models import Lead

        return list(Lead.objects.for_user(User.objects.get(username="demo")).filter(first_name=self.mark))

    def names(self) -> list[str]:
        return [lead.name for lead in self.leads()]


def customer_links(page: Page) -> list[Link]:
    return page.links(r"^/customers/[^?]+/$")


def account_of(plan: Plan) -> Account:
    if not plan.site:
        return Account(*next(iter(ERP_USERS.items())))
    try:
        return Account(os.environ["ERPNEXT_USER"], os.environ["ERPNEXT_PASSWORD"])
    except KeyError as missing:
        raise CannotStartError(
            f"ERPNEXT_URL is set, but {missing.args[0]} is not: the user who connects at that site."
        ) from None


def silent(_label: str, _line: str) -> None:
    """Show nothing: a child that fails tells its last lines itself."""


def run_job(plan: Plan, account: Account) -> None:
    with running(plan, silent) as demo, Walker(demo.url) as walker:
        say(
            f"{'started':<15} site, worker, {'sandbox' if demo.sandbox else 'and the ERPNext'} at {demo.site_url}"
        )
        job = Job(demo, account, walker)
        try:
            job.run()
        finally:
            job.clear_up()


def attempt(work: Callable[[], None]) -> int:
    try:
        work()
    except KeyboardInterrupt:
        say("main job: stopped")
        return 130
    except (CannotStartError, StartError, WalkError) as problem:
        say(f"main job: failed: {problem}")
        return 1
    say("main job: ok")
    return 0


def main() -> int:
    stop_on_signals()
    with tempfile.TemporaryDirectory(prefix="erpnext-bridge-smoke-") as folder:

        def work() -> None:
            plan = Plan.from_environment()
            # A real site knows one redirect URI, so the usual port is kept there.
            port = plan.port if plan.site else 0
            run_job(replace(plan, port=port, state=Path(folder) / "state"), account_of(plan))

        return attempt(work)


if __name__ == "__main__":
    sys.exit(main())
