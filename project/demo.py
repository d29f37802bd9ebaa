"""
`make demo`: an ERPNext to click at, the site and its worker, with one command and one Ctrl-C.

The ERPNext is the sandbox inside this process, or the site that ERPNEXT_URL names.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from project.env import Env
from project.processes import Child, Children, Show, StartError

if TYPE_CHECKING:
    from erpnext_bridge.sandbox import Sandbox

BASE_DIR = Path(__file__).resolve().parent.parent
PORT, SANDBOX_PORT = 8000, 8001
READY_SECONDS = 60.0
USERS = ("demo", "guest")
QUIET = {
    "DJANGO_RUNSERVER_HIDE_WARNING": "true",
    # Celery warns root of messages that are Python pickles; these are JSON.
    "PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges",
}
ERP_USERS = {"alice@example.com": "alice-sandbox", "bob@example.com": "bob-sandbox"}


class CannotStartError(Exception):
    """The message says what is in the way, and what to do."""


@dataclass
class Demo:
    """The running demo."""

    port: int
    state: Path
    site_url: str
    environment: dict[str, str]
    children: Children
    sandbox: Sandbox | None = None

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"


@dataclass(frozen=True)
class Plan:
    """What is to be started, as the environment asks for it."""

    port: int = PORT
    state: Path | None = None
    site: dict[str, str] = field(default_factory=dict)
    """The real site; empty for the sandbox."""
    sandbox_version: int = 15

    @classmethod
    def from_environment(cls) -> Plan:
        env = Env()
        plan = cls(
            port=env.int("PORT", default=PORT),
            state=Path(env.str("DEMO_STATE")) if "DEMO_STATE" in os.environ else None,
            site=env.erpnext_site("ERPNEXT_URL") if env.str("ERPNEXT_URL", default="") else {},
            sandbox_version=env.int("SANDBOX_VERSION", default=15),
        )
        if plan.site and not plan.site.get("CLIENT_ID"):
            raise CannotStartError(
                "ERPNEXT_URL is set, but ERPNEXT_CLIENT_ID is not. Make an OAuth Client at that site, with the "
                f"redirect URI {callback_of('localhost', plan.port)}, and set ERPNEXT_CLIENT_ID and "
                "ERPNEXT_CLIENT_SECRET to what it shows. Without ERPNEXT_URL, the demo brings an ERPNext along."
            )
        return plan

    @property
    def folder(self) -> Path:
        return self.state or BASE_DIR / ".demo" / f"{'site' if self.site else 'sandbox'}-{self.port}"


@contextmanager
def running(plan: Plan, show: Show) -> Iterator[Demo]:
    """Start everything, wait until it answers, and stop all of it at the end of the block."""
    port = free_port(plan.port)
    with erpnext(plan, port) as (sandbox, settings):
        state = plan.folder
        if sandbox is not None:
            # A new sandbox knows none of the connections and documents that an earlier one had.
            shutil.rmtree(state, ignore_errors=True)
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        environment = {**os.environ, **settings, **QUIET, "DEMO_STATE": str(state)}
        prepare(environment)
        children = Children(environment, BASE_DIR, show)
        try:
            start(children, port, state)
            yield Demo(port, state, settings["ERPNEXT_URL"], environment, children, sandbox)
        finally:
            children.stop()


@contextmanager
def erpnext(plan: Plan, port: int) -> Iterator[tuple[Sandbox | None, dict[str, str]]]:
    """Yield the sandbox, if it takes one, and the settings that lead to the ERPNext."""
    if plan.site:
        yield None, {f"ERPNEXT_{key}": value for key, value in plan.site.items()}
        return
    from erpnext_bridge.sandbox import Sandbox

    with Sandbox(version=plan.sandbox_version, port=sandbox_port(plan)) as sandbox:
        redirect_uris = [callback_of(host, port) for host in ("localhost", "127.0.0.1")]
        client_id, client_secret = sandbox.oauth_client(redirect_uris, app_name="Bridge demo")
        yield (
            sandbox,
            {
                "ERPNEXT_URL": sandbox.url,
                "ERPNEXT_TITLE": "ERPNext sandbox",
                "ERPNEXT_CLIENT_ID": client_id,
                "ERPNEXT_CLIENT_SECRET": client_secret,
            },
        )


def callback_of(host: str, port: int) -> str:
    return f"http://{host}:{port}/erpnext/callback/"


def prepare(environment: dict[str, str]) -> None:
    """Make the tables and the users, with Django in this process."""
    os.environ.update(environment, DJANGO_SETTINGS_MODULE="project.settings")
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0, interactive=False)
    seed()


def seed() -> None:
    from django.contrib.auth.models import User

    for name in USERS:
        if not User.objects.filter(username=name).exists():
            is_admin = name == "demo"
            User.objects.create_user(name, password=name, is_staff=is_admin, is_superuser=is_admin)


def start(children: Children, port: int, state: Path) -> None:
    manage = (sys.executable, "manage.py")
    # --insecure serves the style sheets although DEBUG is off, so that errors look as in production.
    web = children.start("web", *manage, "runserver", "--noreload", "--insecure", f"127.0.0.1:{port}")
    worker = children.start("worker", *WORKER, "--schedule", str(state / "beat"))
    web.wait_for(lambda: answers(f"http://127.0.0.1:{port}/sign-in/"), READY_SECONDS)
    worker.wait_for(lambda: worker.said(" ready."), READY_SECONDS)


WORKER = (
    *(sys.executable, "-m", "celery", "--quiet", "--app", "project", "worker"),
    *("--pool", "threads", "--concurrency", "2", "--loglevel", "INFO", "--beat"),
    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310
            return True
    except urllib.error.HTTPError as error:
        error.close()
        raise StartError(f"{url} answers {error.code}.") from error
    except OSError:
        return False


def free_port(port: int) -> int:
    """Return the port when nobody listens there; any free one for 0."""
    with suppress(OSError), socket.create_connection(("localhost", port), timeout=1):
        raise CannotStartError(busy(port))
    try:
        with socket.create_server(("127.0.0.1", port)) as listener:
            return int(listener.getsockname()[1])
    except OSError as error:
        raise CannotStartError(busy(port)) from error


def busy(port: int) -> str:
    return f"Port {port} is taken by another program. Choose another one: make demo PORT={port + 10}"


def sandbox_port(plan: Plan) -> int:
    """Return the sandbox's usual port; 0, for any, when the demo's own is not usual, or it is taken."""
    if plan.port != PORT:
        return 0
    try:
        return free_port(SANDBOX_PORT)
    except CannotStartError:
        return 0


def say(text: str = "") -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


COLOURS = {"web": "36", "worker": "35"}


def show(label: str, line: str) -> None:
    prefix = f"{label:<6} │"
    say(f"\033[{COLOURS[label]}m{prefix}\033[0m {line}" if sys.stdout.isatty() else f"{prefix} {line}")


def banner(demo: Demo) -> str:
    lines = [
        f"Open      {demo.url}/",
        "Sign in   demo / demo  or  guest / guest  (users of this Django site; demo may use /admin/)",
        *_where_to_connect(demo),
        "",
        "Ctrl-C stops all of it.",
    ]
    return "\n".join(["", "  The demo is ready.", "", *(f"  {line}" for line in lines), ""])


def _where_to_connect(demo: Demo) -> list[str]:
    if demo.sandbox is None:
        return [
            f"Connect   with your own account at {demo.site_url}",
            f"          Its OAuth Client must list {callback_of('localhost', demo.port)}",
        ]
    accounts = "  or  ".join(f"{name} / {password}" for name, password in ERP_USERS.items())
    return [
        f"Connect   {accounts}  (users of the ERPNext)",
        f"ERPNext   {demo.site_url}/  a sandbox of version {demo.sandbox.version}, new at each start",
    ]


def stop_on_signals() -> None:
    """Let the first Ctrl-C, SIGTERM or SIGHUP end the block that runs, and no further one the clearing up."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        # The worker finishes what it is sending, and takes up to five seconds to notice that it is to stop.
        os.write(1, b"\nStopping ...\n")
        raise KeyboardInterrupt

    for number in numbers:
        signal.signal(number, stop)


def main() -> int:
    stop_on_signals()
    try:
        plan = Plan.from_environment()
        say(
            "Starting: an ERPNext sandbox, the site, a worker …"
            if not plan.site
            else "Starting: site, worker …"
        )
        with running(plan, show) as demo:
            say(banner(demo))
            ended: Child = demo.children.wait_for_end()
            say(ended.story("ended by itself, so the demo ends"))
            return 1
    except KeyboardInterrupt:
        say("Stopped: nothing of it is left running.")
        return 0
    except (CannotStartError, StartError) as problem:
        say(f"demo: {problem}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
