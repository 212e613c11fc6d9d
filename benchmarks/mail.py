"""A sink that speaks SMTP (RFC 5321), in a process of its own, and the least of a client: for benchmarks of what leads to
sending, not of sending.

    python -m benchmarks.mail        prints its port; writes each recipient it took mail for as a line
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class Sink(asyncio.Protocol):
    """A server's side of one connection."""

    def __init__(self) -> None:
        self._had, self._body = b"", False
        self._recipients: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        data = self._had + data
        while True:
            text, end, rest = data.partition(b"\r\n.\r\n" if self._body else b"\r\n")
            if not end:
                break
            self._transport.write(self._stored() if self._body else self._command(text))
            data = rest
        self._had = data

    def _stored(self) -> bytes:
        sys.stdout.buffer.write(b"".join(recipient + b"\n" for recipient in self._recipients))
        sys.stdout.flush()
        self._body, self._recipients = False, []
        return b"250 2.0.0 taken\r\n"

    def _command(self, line: bytes) -> bytes:
        word = line[:4].upper()
        if word == b"RCPT":
            self._recipients.append(line.partition(b"<")[2].partition(b">")[0])
        elif word == b"DATA":
            self._body = True
            return b"354 go on\r\n"
        elif word == b"QUIT":
            self._transport.write(b"221 2.0.0 bye\r\n")
            self._transport.close()
            return b""
        elif word not in (b"EHLO", b"HELO", b"MAIL", b"RSET", b"NOOP"):
            return b"502 5.5.2 not known\r\n"
        return b"250 2.0.0 ok\r\n"


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def sink(file: Path) -> Iterator[int]:
    """A running one: its port. ``file``: gets the recipients, after the port in the first line."""
    with (
        file.open("wb") as out,
        subprocess.Popen([sys.executable, "-m", "benchmarks.mail"], stdout=out, cwd=ROOT) as process,
    ):
        try:
            while not (said := file.read_text()).endswith("\n"):
                assert process.poll() is None
            yield int(said)
        finally:
            process.kill()


class Client:
    """One connection, plain: a command, its answer, the next command."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def _say(self, text: str, expected: bytes) -> None:
        self._writer.write(text.encode())
        answer = await self._reader.readline()
        while answer[3:4] == b"-":
            answer = await self._reader.readline()
        if not answer.startswith(expected):
            raise OSError(f"{text[:60]!r}: {answer!r}")

    async def send(self, sender: str, recipient: str, message: str) -> None:
        await self._say(f"MAIL FROM:<{sender}>\r\n", b"250")
        await self._say(f"RCPT TO:<{recipient}>\r\n", b"250")
        await self._say("DATA\r\n", b"354")
        await self._say(message + "\r\n.\r\n", b"250")


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = Client(reader, writer)
    try:
        await client._say("", b"220")
        await client._say("EHLO benchmark\r\n", b"250")
        yield client
        await client._say("QUIT\r\n", b"221")
    finally:
        writer.close()


def text(recipient: str, lines: Sequence[str]) -> str:
    head = f"From: news@example.com\r\nTo: {recipient}\r\nSubject: Hello\r\nMessage-ID: <{recipient}>\r\n\r\n"
    return head + "\r\n".join(lines)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())
