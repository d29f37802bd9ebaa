"""
The processes of a project, under command: `python -m tests.refresh_process` reads a line of JSON for each thing to do.

Children are forked, as a web server forks its workers. Each line is answered with one of JSON.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import traceback
from datetime import timedelta
from functools import partial

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection as database  # noqa: E402
from django.db import connections, transaction  # noqa: E402
from django.utils import timezone  # noqa: E402

from erpnext_bridge import signals  # noqa: E402
from erpnext_bridge.access import open_site  # noqa: E402
from erpnext_bridge.errors import NeedsReconnect  # noqa: E402
from erpnext_bridge.models import Connection, PendingRevocation  # noqa: E402
from erpnext_bridge.tokens import revoking  # noqa: E402


def setup() -> None:
    call_command("migrate", verbosity=0)
    User.objects.create(username="alice")


def connect(site_url: str, access_token: str, refresh_token: str) -> None:
    """Give Alice a connection whose access token expired an hour ago."""
    Connection.objects.update_or_create(
        user=User.objects.get(),
        site="default",
        defaults={
            "site_url": site_url,
            "erp_user": "alice@example.com",
            "access_token": access_token,
            "refresh_token": refresh_token,
            "expires_at": timezone.now() - timedelta(hours=1),
            "health": "healthy",
            "failures": 0,
            "next_refresh_at": None,
            "lease": "",
            "leased_until": None,
        },
    )
    PendingRevocation.objects.all().delete()


def read() -> str:
    """Ask ERPNext who Alice is, with her tokens; return the answer or the name of the error."""
    try:
        return str(open_site(User.objects.get().erpnext_connections.get().identity).client.logged_user())
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connections.close_all()


def together(processes: int, threads: int) -> list[str]:
    """Read in so many processes and threads at the same moment; return what each came to."""
    connections.close_all()
    gate_out, gate_in = os.pipe()
    pipes = []
    for _ in range(processes):
        out, into = os.pipe()
        if os.fork() == 0:
            os.close(gate_in)
            os.read(gate_out, 1)  # until the parent closes its end
            os.write(into, json.dumps(in_threads(threads)).encode())
            os._exit(0)
        os.close(into)
        pipes.append(out)
    os.close(gate_out)
    os.close(gate_in)
    outcomes: list[str] = []
    for out in pipes:
        with os.fdopen(out) as told:
            outcomes += json.loads(told.read() or "[]")
        os.wait()
    return outcomes


def in_threads(count: int) -> list[str]:
    outcomes: list[str] = []
    barrier = threading.Barrier(count)

    def work() -> None:
        barrier.wait()
        outcomes.append(read())

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def state() -> dict[str, object]:
    """Return what is stored of Alice's connection, in clear text."""
    stored = Connection.objects.get()
    return {
        "access_token": stored.access_token.open(),
        "refresh_token": stored.refresh_token.open(),
        "health": stored.health,
        "pending": PendingRevocation.objects.count(),
    }


def die(kind: str, number: int) -> dict[str, object]:
    """
    Refresh in a child that kills itself: at its n-th statement to the database, before or after it was carried out,
    or as the answer to its n-th request has come. Return whether it came so far.
    """
    connections.close_all()
    child = os.fork()
    if child == 0:
        deadly = Deadly(kind, number)
        signals.request_sent.connect(deadly.answered)
        with database.execute_wrapper(deadly.stated):
            read()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return {"killed": os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL}


class Deadly:
    """Counts down to the end of this process."""

    def __init__(self, kind: str, number: int) -> None:
        self.kind, self.left = kind, number

    def step(self, kind: str) -> None:
        if kind == self.kind:
            self.left -= 1
            if self.left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def answered(self, **_: object) -> None:
        self.step("answer")

    def stated(self, execute, *arguments):
        self.step("before")
        answer = execute(*arguments)
        self.step("after")
        return answer


def roll_back(writes: bool, locks: bool) -> str:
    """Read inside a transaction that is rolled back, as a view that fails under ATOMIC_REQUESTS; return the answer."""
    outcome = ""
    with transaction.atomic():
        if writes:
            User.objects.update(first_name="Alice")
        if locks:
            Connection.objects.update(full_name="Alice")
        identity = User.objects.get().erpnext_connections.get().identity
        outcome = str(open_site(identity).client.logged_user())
        transaction.set_rollback(True)
    for thread in threading.enumerate():
        if thread.name.startswith("erpnext_bridge"):
            thread.join()
    return outcome


KILL = {
    "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend(%s)"),
    "mysql": ("SELECT CONNECTION_ID()", "KILL %s"),
}


def cut_off() -> str:
    """Read while the database ends this process's connection as soon as ERPNext has given new tokens; return the answer."""
    if database.vendor not in KILL:
        return "a file ends no connections"
    own, kill = KILL[database.vendor]

    def end(number: int) -> None:
        with database.cursor() as cursor:
            cursor.execute(kill, [number])
        database.close()

    def cut(*, path: str, **_: object) -> None:
        if path.endswith("get_token"):
            with database.cursor() as cursor:
                cursor.execute(own)
                number = cursor.fetchone()[0]
            thread = threading.Thread(target=end, args=[number])
            thread.start()
            thread.join()

    signals.request_sent.connect(cut)
    try:
        return read()
    finally:
        signals.request_sent.disconnect(cut)


def recover() -> dict[str, object]:
    """Let the lease of the dead end, try again, and sweep; return what came of it."""
    Connection.objects.exclude(lease="").update(leased_until=timezone.now() - timedelta(seconds=1))
    outcome = read()
    PendingRevocation.objects.update(next_attempt_at=timezone.now())
    revoking.sweep()
    return {"outcome": outcome, "ended": outcome.startswith(NeedsReconnect.__name__), **state()}


COMMANDS = {
    "setup": setup,
    "connect": connect,
    "together": together,
    "state": state,
    "die": die,
    "recover": recover,
    "roll_back": roll_back,
    "cut_off": cut_off,
    "read": read,
}


def main() -> None:
    logging.getLogger("erpnext_bridge").setLevel(logging.ERROR)
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            answer = partial(COMMANDS[name], **arguments)()
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
