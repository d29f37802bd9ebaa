"""`python -m erpnext_bridge.sandbox`: a sandbox in the foreground."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Sequence

REDIRECT_URI = "http://localhost:8000/erpnext/callback/"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--version", dest="frappe", type=int, choices=(15, 16), default=15, help="Frappe's version"
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8800, help="0 lets the system choose")
    parser.add_argument("--world", help="JSON file with the site's content; a demo company without it")
    parser.add_argument("--seed", type=int, help="seed of the demo company")
    parser.add_argument("--redirect-uri", default=REDIRECT_URI, help="of the OAuth client that is registered")


def serve(options: argparse.Namespace, write: Callable[[str], object]) -> None:
    """Run until SIGINT or SIGTERM."""
    from .sandbox import Sandbox
    from .world import World

    world = World.load(options.world) if options.world else World.demo()
    stop = threading.Event()
    with contextlib.ExitStack() as stack:
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.signal(number, lambda *_: stop.set())
            stack.callback(signal.signal, number, before)
        sandbox = stack.enter_context(Sandbox(options.frappe, world, options.host, options.port))
        client_id, client_secret = sandbox.oauth_client([options.redirect_uri])
        write(f"Frappe {options.frappe} sandbox at {sandbox.url}")
        for user in world.users.values():
            write(f"  user {user.name}, password {user.password or '(none)'}")
        write(f"  OAuth client {client_id}, secret {client_secret}, redirect to {options.redirect_uri}")
        write("Stop it with Ctrl-C.")
        stop.wait()


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
