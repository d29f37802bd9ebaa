"""
Hosts of their own on this machine: network namespaces, each with a way to the services that are forwarded to it.

A host can be cut off from one service and keep the others, as by a broken route. Needs root and iproute2.
"""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import threading
from contextlib import ExitStack, contextmanager, suppress

_numbers = itertools.count()


def missing():
    """Why there can be no hosts here, "" when there can."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    if shutil.which("ip") is None:
        return "needs iproute2"
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "this machine allows no network namespaces"


def ip(*arguments, host=None):
    inside = ["ip", "netns", "exec", host.name] if host else []
    subprocess.run([*inside, "ip", *arguments], check=True, capture_output=True)


class Host:
    """One namespace. Services are forwarded to addresses that only exist between it and this machine."""

    def __init__(self):
        number = next(_numbers)
        self.name = f"bridge-{os.getpid()}-{number}"
        self.link = f"br{os.getpid() % 100000}x{number}"
        # Sixteen addresses each, of a network that no other process has.
        self.net = f"10.{100 + (os.getpid() >> 8) % 100}.{os.getpid() % 256}"
        self.first = number % 16 * 16
        self.stack = ExitStack()

    def __enter__(self):
        inner = f"{self.link}i"
        ip("netns", "add", self.name)
        self.stack.callback(lambda: ip("netns", "del", self.name))
        ip("link", "add", self.link, "type", "veth", "peer", "name", inner)
        ip("link", "set", inner, "netns", self.name)
        ip("addr", "add", f"{self.address(1)}/28", "dev", self.link)
        ip("link", "set", self.link, "up")
        for arguments in (
            ("addr", "add", f"{self.address(2)}/28", "dev", inner),
            ("link", "set", inner, "up"),
            ("link", "set", "lo", "up"),
        ):
            ip(*arguments, host=self)
        return self

    def __exit__(self, *exc):
        self.stack.close()

    def address(self, last):
        return f"{self.net}.{self.first + last}"

    def reach(self, last, port):
        """Let the host reach a port of this machine at an address of its own, which is returned."""
        address = self.address(last)
        ip("addr", "add", f"{address}/28", "dev", self.link)
        self.stack.enter_context(forwarded(address, port))
        return address

    def cut(self, address):
        """Cut the host off from an address: what it sends there is lost, without a word."""
        ip("route", "add", "blackhole", f"{address}/32", host=self)

    def mend(self, address):
        ip("route", "del", "blackhole", f"{address}/32", host=self)

    def popen(self, *command, **options):
        return subprocess.Popen(["ip", "netns", "exec", self.name, *command], **options)


@contextmanager
def forwarded(address, port):
    """Take connections at an address to the same port of this machine."""
    listener = socket.create_server((address, port))
    sockets = [listener]

    def pump(source, target):
        with suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve():
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", port))
                sockets.extend((near, far))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield
    finally:
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
