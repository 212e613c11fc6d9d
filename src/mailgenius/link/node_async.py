"""One server: the connection that all calls share, how it is made again, and whether it is worth a try.

Invariants:
- ``line`` is a connection whose server said that it is ready, or None. At most one attempt to connect is under way.
- Once a connection was lost with calls under way, or an attempt failed, ``down`` says why, and calls fail at once with it
  (the breaker is open) until the server has answered a PING. Someone looks for it in the background meanwhile.
- A connection that the server closed while nobody waited is no fault: the next call has it made again.
"""

from __future__ import annotations

import contextlib
import os
import random
import weakref
from collections.abc import Callable
from ssl import SSLContext
from time import monotonic
from typing import Any

from mailgenius._native import pack_commands
from mailgenius.config import RedisSettings
from mailgenius.errors import MailgeniusError, RedisUnavailable
from mailgenius.link import aio
from mailgenius.link.address import Address
from mailgenius.link.greeting import greeting
from mailgenius.link.meters import Meters
from mailgenius.link.replies import Lost
from mailgenius.link.tcp import context
from mailgenius.rt import aio as rt

__all__ = ["Node"]

LINGER = 1.0  # seconds that closing waits for replies under way


class Attempt:
    """To connect. ``done`` is set when it is over, whatever came of it."""

    def __init__(self) -> None:
        self.done = rt.Event()


class Node:
    """``on_push`` gets what the server sends unasked on the shared connection; ``on_connected(line)`` each new one of
    those, before calls use it; ``on_lost()`` is called when it is gone."""

    def __init__(
        self,
        address: Address,
        settings: RedisSettings,
        meters: Meters,
        *,
        on_push: Callable[[Any], object] | None = None,
        on_connected: Callable[[aio.Line], rt.Awaits[None]] | None = None,
        on_lost: Callable[[], object] | None = None,
    ) -> None:
        self.address, self.settings, self.meters = address, settings, meters
        self.line: aio.Line | None = None
        self.down: str | None = None
        self.closed = False
        self._on_push, self._on_connected, self._on_lost = on_push, on_connected, on_lost
        self._tls: SSLContext | None = context(settings) if address.tls else None
        self._attempts: dict[
            str, Attempt
        ] = {}  # the one under way, if any: a dict, whose steps no thread comes between
        self._trying: rt.Spawned | None = None
        self._stop = rt.Event()
        self._waiting = 0
        _nodes.add(self)

    # -- for callers ---------------------------------------------------------------------------------------------

    async def ready(self, deadline: float, patient: bool = False) -> aio.Line:
        """The shared connection. ``patient``: waits for an attempt under way though the breaker is open. Raises
        ``RedisUnavailable``."""
        first = True
        while True:
            line = self.line
            if line is not None:
                return line
            if self.closed:
                raise RedisUnavailable(f"The client of {self.address.where} is closed.")
            queued = self.settings.offline_queue
            attempt = self._attempts.get("now") or self._begin()
            if self.down is not None and not (first and patient) and self._waiting >= queued:
                self.meters.shed += 1
                raise RedisUnavailable(self.down)
            left = deadline - monotonic()
            self._waiting += 1
            try:
                came = left > 0 and await rt.wait(attempt.done, min(left, 1e6))
            finally:
                self._waiting -= 1
            if not came:
                self.meters.timeouts += 1
                self.down = self.down or f"{self.address.where} is down: no connection in time; still trying"
                raise RedisUnavailable(self.down)
            first = False

    async def open(self, on_push: Callable[[Any], object] | None, on_lost: Callable[..., object]) -> aio.Line:
        """A connection of its own, greeted. Raises ``RedisUnavailable``, ``RedisRefused``."""
        where = self.address.where
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

    async def close(self) -> None:
        self.closed = True
        self._stop.set()
        await self._close_line()
        if self._trying is not None:
            with contextlib.suppress(RuntimeError):  # it was left behind in an event loop that is closed
                await self._trying.join()
        await self._close_line()  # one that came meanwhile

    async def _close_line(self) -> None:
        line, self.line = self.line, None
        if line is not None:
            await line.close(LINGER)

    # -- connecting ----------------------------------------------------------------------------------------------

    def _begin(self) -> Attempt:
        attempt = Attempt()
        if (found := self._attempts.setdefault("now", attempt)) is attempt:
            self._trying = rt.spawn(self._keep_trying, attempt)
        return found

    async def _keep_trying(self, attempt: Attempt) -> None:
        failures = 0
        try:
            while not self.closed:
                try:
                    line = await self.open(self._on_push, self._lost)
                    if self._on_connected is not None:
                        await self._on_connected(line)
                except (MailgeniusError, Lost) as error:
                    self.down = f"{self.address.where} is down: {error}"
                    self.meters.refused += 1
                else:
                    self.down, self.line = None, line
                    if line.closed:  # just now: nobody was told
                        self._lost(line, "the server closed it", False)
                    return
                failures += 1
                settings = self.settings
                pause = min(settings.backoff_max, settings.backoff * 2.0 ** min(failures, 32))
                over, attempt = attempt, Attempt()
                self._attempts["now"] = attempt
                over.done.set()
                await rt.wait(self._stop, random.uniform(0, pause))  # noqa: S311 - so that clients do not come together
        finally:
            self._attempts.pop("now", None)
            attempt.done.set()

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
                commands = words.send(replies)
        except StopIteration as end:
            line.protocol = end.value
        except BaseException:
            await line.close()
            raise
        self.meters.connects += 1
        return line

    def _lost(self, line: aio.Line, why: str, in_flight: bool) -> None:
        if line is not self.line:
            return  # while it was greeted: the attempt fails
        self.line = None
        if in_flight:
            self.down = f"{self.address.where} is down: {why}"
            if not self.closed:
                self._begin()
        if self._on_lost is not None:
            self._on_lost()

    def _forked(self) -> None:
        """In a child process: the parent's connection is not ours. Kept, so that nothing of it is finalised here."""
        _inherited.extend((self.line, self._trying, self._attempts))
        self.line = self.down = self._trying = None
        self._attempts, self._stop, self._waiting = {}, rt.Event(), 0
        self.meters.connections = 0


_nodes: weakref.WeakSet[Node] = weakref.WeakSet()
_inherited: list[object] = []


def _after_fork_in_child() -> None:
    for node in _nodes:
        node._forked()


os.register_at_fork(after_in_child=_after_fork_in_child)
