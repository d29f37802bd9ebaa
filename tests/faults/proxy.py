"""The faults before a real site: a proxy in a process of its own that cuts, loses and refuses, and else passes on."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import threading
from urllib.parse import urlsplit

from tests.faults.chances import CUT, FINE, LIMITED, LOST, UNAVAILABLE, Dice
from tests.faults.commands import obey

BUSY = {
    LIMITED: b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\n",
    UNAVAILABLE: b"HTTP/1.1 503 Service Unavailable\r\n",
}
BUSY_BODY = b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


async def read_message(reader: asyncio.StreamReader) -> bytes:
    """Return a request or an answer as it came; b"" at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    fields = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:] if line)
    }
    if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
        return head + await read_chunks(reader)
    return head + await reader.readexactly(int(fields.get(b"content-length", 0)))


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    found = b""
    while True:
        size = await reader.readline()
        chunk = await reader.readexactly(int(size, 16) + 2)
        found += size + chunk
        if int(size, 16) == 0:
            return found


class Proxy:
    """Throws the dice for each request."""

    def __init__(self, host: str, port: int, dice: Dice) -> None:
        self.host, self.port, self.dice = host, port, dice

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            behind = await asyncio.open_connection(self.host, self.port)
            try:
                while request := await read_message(reader):
                    if not await self.pass_on(request, writer, *behind):
                        break
            finally:
                behind[1].close()
        writer.close()

    async def pass_on(
        self,
        request: bytes,
        writer: asyncio.StreamWriter,
        site_reader: asyncio.StreamReader,
        site_writer: asyncio.StreamWriter,
    ) -> bool:
        """Return whether the connection goes on."""
        fate = self.dice.throw()
        if fate == CUT:
            return False
        if fate in BUSY:
            writer.write(BUSY[fate] + BUSY_BODY)
        else:
            site_writer.write(request)
            answer = await read_message(site_reader)
            if fate == LOST or not answer:
                return False
            writer.write(answer)
        await writer.drain()
        return fate != FINE or b"\r\nconnection: close\r\n" not in answer.lower()


async def listen(proxy: Proxy, started: list[int], ready: threading.Event) -> None:
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, limit=1 << 20)
    started.append(server.sockets[0].getsockname()[1])
    ready.set()
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    behind = urlsplit(options.url)
    dice = Dice(options.seed)
    started: list[int] = []
    ready = threading.Event()
    proxy = Proxy(str(behind.hostname), behind.port or 80, dice)
    threading.Thread(target=lambda: asyncio.run(listen(proxy, started, ready)), daemon=True).start()
    ready.wait(30)
    obey({"url": f"http://127.0.0.1:{started[0]}"}, dice, {})


if __name__ == "__main__":
    main()
