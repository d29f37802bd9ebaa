"""The sandbox itself: how soon it is there, how many lists it answers on one core, and that its memory stays."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

STARTS = 5
REQUESTS = 2000
MORE = 10_000
LISTS = {
    "20 names": "/api/resource/Customer",
    "20 rows of 4 fields, filtered and ordered": (
        "/api/resource/Customer?fields=%5B%22name%22%2C%22customer_name%22%2C%22territory%22%2C%22modified%22%5D"
        "&filters=%5B%5B%22territory%22%2C%22%3D%22%2C%22North%22%5D%5D&order_by=customer_name%20asc"
    ),
}
START = """
import time
from erpnext_bridge.sandbox import Sandbox
Sandbox().start().stop()
begin = time.process_time()
Sandbox().start().stop()
print(time.process_time() - begin)
"""
SERVE = """
import sys
from erpnext_bridge.sandbox import Sandbox
with Sandbox(int(sys.argv[1]), keep_requests=100) as site:
    print(site.url, *site.api_key("alice@example.com"), flush=True)
    sys.stdin.read()
"""


@dataclass
class Served:
    """A sandbox in a process of its own, and one bare connection to it: the caller's own work is not measured."""

    process: subprocess.Popen[str]
    connection: socket.socket
    head: str

    def get(self, path: str) -> None:
        self.connection.sendall(f"GET {path} {self.head}".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.connection.recv(65536)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(body) < length:
            body += self.connection.recv(65536)

    def cpu_seconds(self) -> float:
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Return the bytes that the process has in memory."""
        return int(self._proc("statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def _proc(self, name: str) -> str:
        with open(f"/proc/{self.process.pid}/{name}", encoding="ascii") as file:
            return file.read()


@contextmanager
def served(version: int) -> Iterator[Served]:
    command = [sys.executable, "-c", SERVE, str(version)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        url, key, secret = process.stdout.readline().split()
        host, port = url.removeprefix("http://").split(":")
        head = f"HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: token {key}:{secret}\r\n\r\n"
        with socket.create_connection((host, int(port))) as connection:
            yield Served(process, connection, head)
        process.stdin.close()


def start_seconds() -> float:
    """Return the median CPU time from nothing to a port that answers: demo company included, Python's imports not."""
    command = [sys.executable, "-c", START]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(STARTS)]
    return statistics.median(float(run.stdout) for run in runs)


def rate(site: Served, path: str) -> float:
    """Return requests for each second of the server's CPU time: what one core would answer if it did nothing else."""
    for _ in range(REQUESTS // 20):
        site.get(path)
    before = site.cpu_seconds()
    for _ in range(REQUESTS):
        site.get(path)
    return REQUESTS / (site.cpu_seconds() - before)


def growth(site: Served) -> int:
    """Return by how many bytes the process grows over many requests, after as many that warmed it up."""
    sizes = []
    for _ in range(2):
        for _ in range(MORE):
            site.get(LISTS["20 names"])
        sizes.append(site.memory())
    return sizes[1] - sizes[0]


def main() -> None:
    seconds = start_seconds()
    print(f"{'a sandbox with the demo company starts in':<62} {seconds * 1000:7.0f} ms of CPU")
    lowest = 0.0
    for version in (15, 16):
        with served(version) as site:
            for title, path in LISTS.items():
                found = rate(site, path)
                lowest = min(lowest or found, found)
                print(
                    f"{f'Frappe {version}, lists of {title}':<62} {found:7.0f} a second of one core",
                    flush=True,
                )
            if version == 15:
                grown = growth(site)
                print(f"{f'memory after {MORE:,} more requests':<62} {grown / 1024:+7.0f} KiB", flush=True)
    print(
        f"sandbox: starts in {seconds * 1000:.0f} ms of CPU, {lowest:.0f} lists a second on one core, "
        f"{grown / 1024:+.0f} KiB after {MORE:,} requests"
    )


if __name__ == "__main__":
    main()
