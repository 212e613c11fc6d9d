"""A TCP proxy that lets a chosen number of bytes pass towards the server, and then does something about it.

The moment of a fault is a byte, not a time: the same number gives the same moment whatever the machine is doing.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from typing import Self

from mailgenius.servers import ValkeyServer


class FaultProxy:
    """Forwards to ``server``. When ``at`` bytes have gone to it in total, ``action`` is called once, before the next."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.server = server
        self.sent = 0
        self.at: int | None = None
        self.action: Callable[[], None] = self.cut
        self.delay = 0.0  # seconds that each piece of an answer takes longer
        self.done = threading.Event()  # the action has been taken, to its end
        self._open = threading.Event()  # cleared: nothing gets through, and nobody is told
        self._open.set()
        self._damaged = threading.Event()  # the next bytes for the client begin with one that no reply begins with
        self._flip: tuple[bool, int, int, re.Pattern[bytes]] | None = None
        self.flipped: bytes | None = None  # what stood around the byte that was changed, as it was
        self._closed = threading.Event()
        self.delay = 0.0  # seconds that whatever comes is held back
        self.piece = 16 << 10  # bytes that are passed on at a time
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, at: int, action: Callable[[], None]) -> None:
        """From now on, at ``at`` bytes more, ``action``."""
        with self._lock:
            self.sent, self.at, self.action = 0, at, action
            self.done.clear()

    def cut(self) -> None:
        """Closes every connection through the proxy, both sides, without a word."""
        with self._lock:
            for sock in self._sockets:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def stall(self) -> None:
        """From now on nothing gets through, in either direction, and no connection ends: a cable that was pulled."""
        self._open.clear()

    def damage(self) -> None:
        """The next bytes for the client arrive with the first one changed."""
        self._damaged.set()

    def flip(self, to_server: bool, after: int, mask: int, where: str = "(?s).") -> None:
        """Of what goes in that direction, ``after`` bytes later, the first byte that ``where`` matches arrives with the
        bits of ``mask`` changed."""
        with self._lock:
            self._flip, self.flipped = (to_server, after, mask, re.compile(where.encode())), None

    def mend(self) -> None:
        """What was held back goes on."""
        self._open.set()

    def close(self) -> None:
        self.mend()
        self._closed.set()
        with contextlib.suppress(OSError):  # wakes accept(), which would let one more connection in
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.server)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._sockets |= {client, server}
            threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(self.piece):
                self._open.wait()
                self._closed.wait(self.delay)
                if counted:
                    self._count(len(data))
                elif self._damaged.is_set():
                    self._damaged.clear()
                    data = b"?" + data[1:]
                if self._flip is not None:
                    data = self._changed(data, counted)
                sink.sendall(data)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._sockets.discard(source)
        source.close()

    def _changed(self, data: bytes, to_server: bool) -> bytes:
        with self._lock:
            if self._flip is None or self._flip[0] is not to_server:
                return data
            _, after, mask, where = self._flip
            found = where.search(data, after)
            if found is None:
                self._flip = (to_server, max(0, after - len(data)), mask, where)
                return data
            at = found.start()
            self._flip, self.flipped = None, data[max(0, at - 40) : at + 40]
            return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]

    def _count(self, size: int) -> None:
        with self._lock:
            self.sent += size
            fire = self.at is not None and self.sent >= self.at
            if fire:
                self.at = None
        if fire:
            self.action()
            self.done.set()


def at(server: ValkeyServer) -> tuple[str, int]:
    """Where it listens, for a proxy in front of it."""
    host, _, port = server.url.rpartition("@")[2].removeprefix("redis://").partition("/")[0].rpartition(":")
    return host, int(port)


def through(proxy: FaultProxy) -> str:
    """The URL of the Redis behind it."""
    return f"redis://127.0.0.1:{proxy.port}"
