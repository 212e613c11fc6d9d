"""One server: the connection that all calls share, how it is made again, and whether it is worth a try.

Invariants:
- ``line`` is a connection whose server said that it is ready, or None.
- Once a connection was lost with calls under way, or an attempt failed, the breaker is open until the server has answered a
  PING. Someone looks for it in the background meanwhile.
- A connection that the server closed while nobody waited is no fault: the next call has it made again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from ssl import SSLContext
from time import monotonic
from typing import Any

from mailgenius._native import pack_commands
from mailgenius.config import RedisSettings
from mailgenius.errors import RedisUnavailable
from mailgenius.link import aio
from mailgenius.link.address import Address
from mailgenius.link.effort_async import Effort, _inherited
from mailgenius.link.greeting import greeting
from mailgenius.link.meters import Meters
from mailgenius.link.replies import Lost
from mailgenius.link.tcp import context
from mailgenius.rt import aio as rt

__all__ = ["Node"]

LINGER = 1.0  # seconds that closing waits for replies under way
KEPT = 8  # connections of blocking calls that are kept for the next ones


class Node(Effort):
    """``on_push`` gets what the server sends unasked on the shared connection; ``on_connected(node, line)`` each new one of
    those, before calls use it; ``on_lost()`` is called when it is gone, ``on_down()`` when the breaker opens.

    ``locate()`` says where the server is, before each attempt; ``check(node, line)`` whether it is the right one, on every
    connection."""

    def __init__(
        self,
        address: Address,
        settings: RedisSettings,
        meters: Meters,
        *,
        name: str = "",
        on_push: Callable[[Any], object] | None = None,
        on_connected: Callable[[Node, aio.Line], rt.Awaits[None]] | None = None,
        on_lost: Callable[[], object] | None = None,
        on_down: Callable[[], object] | None = None,
        locate: Callable[[], rt.Awaits[Address]] | None = None,
        check: Callable[[Node, aio.Line], rt.Awaits[None]] | None = None,
    ) -> None:
        super().__init__(settings, meters)
        self.address = address
        self._name = name  # while its address is not known
        self.line: aio.Line | None = None
        self._idle: list[tuple[Address, aio.Line]] = []  # for blocking calls
        self._on_push, self._on_connected, self._on_lost, self._on_down = on_push, on_connected, on_lost, on_down
        self._locate, self._check = locate, check
        self._tls: SSLContext | None = context(settings) if address.tls else None

    @property
    def where(self) -> str:
        return self.address.where if self.address.host or self.address.path else self._name

    # -- for callers ---------------------------------------------------------------------------------------------

    async def ready(self, deadline: float, patient: bool = False) -> aio.Line:
        """The shared connection. ``patient``: waits for an attempt under way though the breaker is open. Raises
        ``RedisUnavailable``."""
        while True:
            line = self.line
            if line is not None:
                return line
            await self.wait(deadline, patient)
            patient = False

    async def open(self, on_push: Callable[[Any], object] | None, on_lost: Callable[..., object]) -> aio.Line:
        """A connection of its own, greeted. Raises ``RedisUnavailable``, ``RedisRefused``."""
        where = self.where
        try:
            line = await self._connect(on_push, on_lost)
        except TimeoutError:
            raise RedisUnavailable(
                f"Cannot connect to {where}: no answer within {self.settings.connect_timeout:g} s"
            ) from None
        except Lost as error:
            raise RedisUnavailable(f"Cannot connect to {where}: {error.why}") from error
        except OSError as error:
            raise RedisUnavailable(f"Cannot connect to {where}: {error.strerror or error}") from error
        return line

    async def borrow(self) -> tuple[Address, aio.Line]:
        """A connection that nobody else uses, to be given back. Errors as of ``open``."""
        while self._idle:
            address, line = self._idle.pop()
            if address == self.address and line.usable():
                return address, line
            await line.close()
        line = await self.open(None, _ignore)
        return self.address, line

    async def give_back(self, address: Address, line: aio.Line, usable: bool) -> None:
        if usable and address == self.address and not self.closed and len(self._idle) < KEPT:
            self._idle.append((address, line))
        else:
            await line.close()

    def retire(self, line: aio.Line | None, why: str | None = None) -> None:
        """``line`` is not used any more, as its server does not serve; what is under way there goes on. ``why``: nor does
        another one, so that the breaker opens."""
        if line is None or line is not self.line:
            return
        self.line = None
        rt.spawn(line.close, LINGER)
        self._gone(why)
        if not self.closed:
            self.begin()

    async def close(self) -> None:
        self._end()
        await self._close_lines()
        if self._trying is not None:
            with contextlib.suppress(RuntimeError):  # it was left behind in an event loop that is closed
                await self._trying.join()
        await self._close_lines()  # one that came meanwhile

    async def _close_lines(self) -> None:
        line, self.line = self.line, None
        if line is not None:
            await line.close(LINGER)
        while self._idle:
            await self._idle.pop()[1].close()

    # -- connecting ----------------------------------------------------------------------------------------------

    async def _try(self) -> float:
        if self._locate is not None:
            self.address = await self._locate()
        line = await self.open(self._on_push, self._lost)
        if self._on_connected is not None:
            try:
                await self._on_connected(self, line)
            except BaseException:
                await line.close()
                raise
        self.down, self.line = None, line
        if line.closed:  # just now: nobody was told
            self._lost(line, "the server closed it", False)
        return 0.0

    def _failed(self, error: Exception) -> None:
        super()._failed(error)
        self.meters.refused += 1
        if self._on_down is not None:
            self._on_down()

    async def _connect(self, on_push: Callable[[Any], object] | None, on_lost: Callable[..., object]) -> aio.Line:
        settings = self.settings
        deadline = monotonic() + settings.connect_timeout
        async with rt.limit(settings.connect_timeout):
            line = await aio.open_line(self.address, settings, self._tls, self.meters, on_push, on_lost)
        try:
            words = greeting(self.address, settings.client_name, settings.protocol)
            commands = next(words)
            while True:
                left = max(deadline - monotonic(), 0.001)
                replies = await line.many(pack_commands(commands), len(commands), left)
                try:
                    commands = words.send(replies)
                except StopIteration as end:
                    line.protocol = end.value
                    break
            if self._check is not None:
                await self._check(self, line)
        except BaseException:
            await line.close()
            raise
        self.meters.connects += 1
        return line

    def _lost(self, line: aio.Line, why: str, in_flight: bool) -> None:
        if line is not self.line:
            return  # while it was greeted: the attempt fails
        self.line = None
        self._gone(why if in_flight else None)

    def _gone(self, why: str | None) -> None:
        """``why``: the breaker opens."""
        if why is not None:
            self.down = f"{self.where} is down: {why}"
            if not self.closed:
                self.begin()
                if self._on_down is not None:
                    self._on_down()
        if self._on_lost is not None:
            self._on_lost()

    def _forked(self) -> None:
        _inherited.extend((self.line, *self._idle))
        self.line = None
        self._idle = []
        super()._forked()


def _ignore(*_: object) -> None:
    pass
