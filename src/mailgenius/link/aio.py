"""One connection to Redis that all tasks of an event loop share (asyncio).

Purpose: the commands of all tasks of one turn of the loop leave in one write, and one read brings many replies. No timer is
made for a call: the requests that were written together share one time, and one timer of the connection looks for the
first of them whose deadline passes.

Invariants:
- Replies come in the order of the requests; who no longer waits for his has it thrown away. So nobody is given the reply
  of another one. A stream that is damaged, or a reply that nobody asked for, ends the connection.
- When the oldest request is overdue, and nothing was heard for as long as it was given, the connection is lost.
- A connection that is lost answers everybody who waits: with ``RedisTimeout`` if he was overdue, else with ``Lost``.

Limits: deadlines are kept to within 2 ms of an idle loop; ``max_pending`` requests, ``max_pending_bytes`` not yet written.
"""

from __future__ import annotations

import asyncio
import contextlib
from asyncio.events import _get_running_loop
from collections.abc import Callable
from math import inf
from ssl import SSLContext
from time import monotonic
from typing import Any, NoReturn, cast

from mailgenius._native import Exchange, Reply
from mailgenius.config import RedisSettings
from mailgenius.errors import RedisRefused, RedisTimeout, RedisUnavailable
from mailgenius.link.address import Address
from mailgenius.link.meters import Meters
from mailgenius.link.replies import Lost, reader
from mailgenius.link.tcp import keep_alive

__all__ = ["Line", "open_line"]

LOOK_AGAIN = (
    0.001  # seconds between the first look at an overdue request and the verdict: what has arrived is read first
)


async def open_line(
    address: Address,
    settings: RedisSettings,
    tls: SSLContext | None,
    meters: Meters,
    on_push: Callable[[Any], object] | None,
    on_lost: Callable[[Line, str, bool], object],
) -> Line:
    """Connected, nothing said yet. ``on_lost(line, why, in_flight)`` is called when it ends without our doing."""
    loop = asyncio.get_running_loop()

    def made() -> Line:
        return Line(loop, settings, meters, on_push, on_lost)

    if address.path:
        transport, line = await loop.create_unix_connection(made, address.path)
    else:
        transport, line = await loop.create_connection(
            made,
            address.host,
            address.port,
            ssl=tls,
            server_hostname=address.host if tls else None,
        )
        keep_alive(transport.get_extra_info("socket"), settings.keepalive)
    return line


class Line(Exchange, asyncio.BufferedProtocol):
    """Made by ``open_line``. What callers use is ``Exchange``'s: ``one``, ``many``, ``post``."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: RedisSettings,
        meters: Meters,
        on_push: Callable[[Any], object] | None,
        on_lost: Callable[[Line, str, bool], object],
    ) -> None:
        super().__init__(loop, reader(), meters.latency, settings.max_pending, settings.max_pending_bytes)
        self.on_push = on_push
        self._on_lost = on_lost
        self._meters = meters
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._due = inf
        self._ear: asyncio.Future[None] | None = None  # whoever waits for pushes
        self._gone: asyncio.Future[None] | None = None  # whoever waits for the socket to be closed
        self._transport: asyncio.Transport

    @property
    def current(self) -> bool:
        """Is this its event loop?"""
        return _get_running_loop() is self.loop

    def usable(self) -> bool:
        """Has the server not closed it?"""
        return not self.closed

    # -- what Exchange calls -------------------------------------------------------------------------------------

    def _too_late(self) -> NoReturn:
        raise Lost("it is closed", sent=False)

    def _shed(self, why: str) -> NoReturn:
        self._meters.shed += 1
        raise RedisUnavailable(f"Redis does not keep up: {why}")

    def _flush(self) -> None:
        if self.closed or not self.size:
            return
        now = monotonic()
        shortest, commands = self.turned(now)
        self._meters.commands += commands
        if now + shortest < self._due:
            self._arm(now + shortest)
        if not self._paused:
            self._transport.write(self.leaving())

    def _refused(self, error: RedisRefused) -> None:
        self._meters.error(error.code)

    def _pushed(self, push: Any) -> None:
        if self.on_push is not None:
            try:
                self.on_push(push)
            except Exception as error:
                self.loop.call_exception_handler({"message": "on_push failed", "exception": error})
        if self._ear is not None and not self._ear.done():
            self._ear.set_result(None)

    async def listen(self, timeout: float) -> None:
        """Waits until pushes may have been handed to ``on_push``, or the connection has ended."""
        if not self.closed:
            if self._ear is None or self._ear.done():
                self._ear = self.loop.create_future()
            await asyncio.wait([self._ear], timeout=None if timeout == inf else max(timeout, 0.0))

    # -- time ----------------------------------------------------------------------------------------------------

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self.loop.call_later(max(due - monotonic(), 0.0), self._sweep, False)

    def _sweep(self, sure: bool) -> None:
        """Fails who is overdue. ``sure``: it is the second look."""
        self._timer, self._due = None, inf
        now, due, first = monotonic(), inf, True
        for reply in self.waiting():
            turn, timeout = reply.turn, reply.timeout
            if not turn.since:
                break  # neither it nor those behind it have a time yet
            end = turn.since + timeout
            if end <= now:
                if not sure:
                    self._due = now + LOOK_AGAIN
                    self._timer = self.loop.call_later(LOOK_AGAIN, self._sweep, True)
                    return
                if first and turn.sent:
                    quiet = max(turn.since, self.heard) + timeout
                    if quiet <= now:
                        self.lose(f"nothing was heard from it for {timeout:g} s")
                        return
                    end = quiet
                self._overdue(reply)
            if now < end < due:
                due = end
            first = False
        if due < inf:
            self._arm(due)

    def _overdue(self, reply: Reply[Any]) -> None:
        if not reply.done():
            self._meters.timeouts += 1
            why = f"no reply within {reply.timeout:g} s; the command may still be carried out"
            reply.fail(RedisTimeout(why))

    # -- the transport's calls -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit from it
        self._meters.connections += 1

    def connection_lost(self, error: Exception | None) -> None:
        self.lose(f"it was lost: {error}" if error else "the server closed it")
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()

    # -- the end -------------------------------------------------------------------------------------------------

    def lose(self, why: str) -> None:
        """Gives it up, as if it had been lost."""
        if self.closed:
            return
        now, waiting = monotonic(), self.waiting()
        self._end()
        for reply in waiting:
            turn = reply.turn
            if turn.since and turn.since + reply.timeout <= now:
                self._overdue(reply)
            else:
                reply.fail(Lost(why, sent=turn.sent, since=turn.since))
        self._meters.lost += 1
        self._on_lost(self, why, bool(waiting))

    def _end(self) -> None:
        self.closed = True
        self._meters.connections -= 1
        self.forget()
        if self._timer is not None:
            self._timer.cancel()
        for waiter in (self.empty, self._ear):
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
        self._transport.abort()

    async def close(self, linger: float = 0.0) -> None:
        """Ends it, after waiting up to ``linger`` seconds for replies under way."""
        if self.pending and linger and not self.closed and self.current:
            self.empty = self.loop.create_future()
            await asyncio.wait([self.empty], timeout=linger)
        if self.closed:
            return
        self._gone = self.loop.create_future()
        waiting = self.waiting()
        with contextlib.suppress(RuntimeError):  # its loop is closed, and the socket with it
            self._end()
        for reply in waiting:
            with contextlib.suppress(RuntimeError):
                reply.fail(Lost("it was closed", sent=reply.turn.sent))
        if self.current:  # the transport needs a turn of the loop to close its socket
            await asyncio.wait([self._gone], timeout=1.0)
