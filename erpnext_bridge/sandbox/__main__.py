"""`python -m erpnext_bridge.sandbox`: a sandbox in the foreground, with whatever trouble it is told to make."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .sandbox import Sandbox

REDIRECT_URI = "http://localhost:8000/erpnext/callback/"

Write = Callable[[str], object]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--version", dest="frappe", type=int, choices=(15, 16), default=15, help="Frappe's version"
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8800, help="0 lets the system choose")
    parser.add_argument("--world", help="JSON file with the site's content; a demo company without it")
    parser.add_argument("--redirect-uri", default=REDIRECT_URI, help="of the OAuth client that is registered")
    trouble = parser.add_argument_group(
        "trouble", "may also be typed while it runs, one a line: `help` lists it"
    )
    trouble.add_argument(
        "--trouble",
        action="append",
        default=[],
        metavar="'KIND [name=value …]'",
        help="a fault, such as 'latency seconds=0.5', 'drop_after method=POST chance=0.2' or "
        "'rate_limited match=/api/resource/ retry_after=3 times=5'; may be repeated",
    )
    trouble.add_argument("--seed", type=int, default=0, help="of the dice behind chance=")
    trouble.add_argument("--clock-skew", type=float, default=0, metavar="SECONDS", help="the clock is ahead")
    trouble.add_argument(
        "--rotate-refresh-tokens", action="store_true", help="a refresh revokes the pair that it replaces"
    )
    trouble.add_argument("--token-seconds", type=int, metavar="SECONDS", help="lifetime of access tokens")
    trouble.add_argument("--rate-limit", metavar="REQUESTS/SECONDS", help="429 once they are spent")


def commands_of(options: argparse.Namespace) -> Iterator[str]:
    """The options about trouble as lines of the console."""
    yield f"seed {options.seed}"
    if options.clock_skew:
        yield f"skew {options.clock_skew}"
    if options.rotate_refresh_tokens:
        yield "rotate on"
    if options.token_seconds:
        yield f"lifetime {options.token_seconds}"
    if options.rate_limit:
        yield f"rate {options.rate_limit}"
    for line in options.trouble:
        yield f"trouble {line}"


def serve(options: argparse.Namespace, write: Write) -> None:
    """Run until SIGINT or SIGTERM."""
    from . import console
    from .sandbox import Sandbox
    from .world import World

    world = World.load(options.world) if options.world else World.demo()
    stop = threading.Event()
    with contextlib.ExitStack() as stack:
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.signal(number, lambda *_: stop.set())
            stack.callback(signal.signal, number, before)
        if hasattr(signal, "SIGTTIN"):
            # In the background it may not read from the terminal; it has to run all the same.
            before = signal.signal(signal.SIGTTIN, signal.SIG_IGN)
            stack.callback(signal.signal, signal.SIGTTIN, before)
        # Nobody looks at the log of this one.
        sandbox = Sandbox(options.frappe, world, options.host, options.port, keep_requests=100)
        said = [console.obey(sandbox, line) for line in commands_of(options)]
        if wrong := [answer for answer in said if answer.startswith("?")]:
            raise SystemExit("\n".join(wrong))
        stack.enter_context(sandbox)
        client_id, client_secret = sandbox.oauth_client([options.redirect_uri])
        write(f"Frappe {options.frappe} sandbox at {sandbox.url}")
        for user in world.users.values():
            write(f"  user {user.name}, password {user.password or '(none)'}")
        write(f"  OAuth client {client_id}, secret {client_secret}, redirect to {options.redirect_uri}")
        for answer in said[1:]:
            write(f"  {answer}")
        listen(sandbox, write)
        write("Stop it with Ctrl-C.")
        stop.wait()


def listen(sandbox: Sandbox, write: Write) -> None:
    """Obey what is typed, for as long as there is somebody to type it."""
    from . import console

    try:
        # Unbuffered and our own: a thread that waits on sys.stdin would keep the process from ending.
        stream = io.FileIO(os.dup(sys.stdin.fileno()))
    except (AttributeError, OSError, ValueError):
        return

    def follow() -> None:
        with contextlib.suppress(OSError), stream:
            console.listen(sandbox, (line.decode("utf-8", "replace") for line in stream), write)

    threading.Thread(target=follow, name="sandbox:console", daemon=True).start()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m erpnext_bridge.sandbox", description=__doc__)
    arguments(parser)

    def write(text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    serve(parser.parse_args(argv), write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
