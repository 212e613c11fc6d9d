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
from collections import deque
from collections.abc import Callable
from math import inf
from ssl import SSLContext
from time import monotonic
from typing import Any, cast

from mailgenius.config import RedisSettings
from mailgenius.errors import RedisRefused, RedisTimeout, RedisUnavailable
from mailgenius.link.address import Address
from mailgenius.link.meters import Meters
from mailgenius.link.replies import NOT_YET, Lost, Push, reader
from mailgenius.link.tcp import keep_alive

__all__ = ["Line", "open_line"]

LOOK_AGAIN = (
    0.001  # seconds between the first look at an overdue request and the verdict: what has arrived is read first
)


class Turn:
    """What is written together."""

    __slots__ = ("sent", "shortest", "since")

    def __init__(self) -> None:
        self.since = 0.0  # when the loop came to it; 0: it has not yet
        self.sent = False
        self.shortest = inf  # seconds of the most impatient one


class Batch:
    """The replies of a request of several commands."""

    __slots__ = ("count", "replies")

    def __init__(self, count: int) -> None:
        self.count = count
        self.replies: list[Any] = []


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


class Line(asyncio.Protocol):
    """Made by ``open_line``."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: RedisSettings,
        meters: Meters,
        on_push: Callable[[Any], object] | None,
        on_lost: Callable[[Line, str, bool], object],
    ) -> None:
        self.closed = False
        self.protocol = 0  # until it was greeted
        self.on_push = on_push
        self._loop = loop
        self._on_lost = on_lost
        self._meters = meters
        self._observe = meters.latency.observe
        self._max_pending, self._max_bytes = settings.max_pending, settings.max_pending_bytes
        self._future, self._soon = loop.create_future, loop.call_soon
        self._reader = reader()
        self._pending: deque[tuple[asyncio.Future[Any], float, Turn, Batch | None]] = deque()
        self._out: list[bytes] = []
        self._size = 0  # bytes in _out
        self._turn = Turn()
        self._ready: list[Turn] = []  # turns that are complete, and not written yet
        self._scheduled = self._paused = False
        self._heard = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._due = inf
        self._ear: asyncio.Future[None] | None = None  # whoever waits for pushes
        self._gone: asyncio.Future[None] | None = None  # whoever waits for the socket to be closed
        self._empty: asyncio.Future[None] | None = None  # whoever waits for the last reply
        self._transport: asyncio.Transport

    @property
    def pending(self) -> int:
        """Requests that wait for their replies."""
        return len(self._pending)

    @property
    def current(self) -> bool:
        """Is this its event loop?"""
        return _get_running_loop() is self._loop

    def usable(self) -> bool:
        """Has the server not closed it?"""
        return not self.closed

    # -- requests ------------------------------------------------------------------------------------------------

    def one(self, packed: bytes, timeout: float) -> asyncio.Future[Any]:
        """The reply to one command. Raises, when awaited, ``RedisRefused``, ``RedisTimeout`` or ``Lost``."""
        return self._request(packed, timeout, None, 1)

    def many(self, packed: bytes, count: int, timeout: float) -> asyncio.Future[list[Any]]:
        """The replies to ``count`` commands; refusals are among them, as exceptions."""
        return self._request(packed, timeout, Batch(count), count)

    def post(self, packed: bytes) -> None:
        """Sends what has no reply of its own, such as SUBSCRIBE."""
        self._append(packed, 1)

    def _request(self, packed: bytes, timeout: float, batch: Batch | None, count: int) -> asyncio.Future[Any]:
        pending = self._pending
        if len(pending) >= self._max_pending:
            self._shed(f"{len(pending):,} requests wait for their replies ($.redis.max_pending)")
        self._append(packed, count)
        turn = self._turn
        if timeout < turn.shortest:
            turn.shortest = timeout
        future = self._future()
        pending.append((future, timeout, turn, batch))
        return future

    def _append(self, packed: bytes, count: int) -> None:
        if self.closed:
            raise Lost("it is closed", sent=False)
        if _get_running_loop() is not self._loop:
            raise RuntimeError("this AsyncRedis is used in another event loop already; make one for each loop")
        size = self._size
        if size and size + len(packed) > self._max_bytes:
            self._shed(f"{size:,} bytes wait to be written ($.redis.max_pending_bytes)")
        self._size = size + len(packed)
        self._out.append(packed)
        self._meters.commands += count
        if not self._scheduled:
            self._scheduled = True
            self._soon(self._flush)

    def _shed(self, why: str) -> None:
        self._meters.shed += 1
        raise RedisUnavailable(f"Redis does not keep up: {why}")

    def _flush(self) -> None:
        self._scheduled = False
        if self.closed:
            return
        turn, self._turn = self._turn, Turn()
        turn.since = now = monotonic()
        self._ready.append(turn)
        if now + turn.shortest < self._due:
            self._arm(now + turn.shortest)
        if not self._paused:
            self._write()

    def _write(self) -> None:
        for turn in self._ready:
            turn.sent = True
        self._ready.clear()
        out, self._out, self._size = self._out, [], 0
        self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    # -- replies -------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.closed:
            return
        self._heard = now = monotonic()
        gets, pending, observe = self._reader.gets, self._pending, self._observe
        try:
            self._reader.feed(data)
            while (reply := gets()) is not NOT_YET:
                kind = type(reply)
                if kind is Push:
                    self._pushed(reply)
                    continue
                if not pending:
                    if self.on_push is None:
                        self.lose("it sent a reply that nobody asked for")
                        return
                    self._pushed(reply)  # RESP2 has no other way to bring messages
                    continue
                future, _, turn, batch = pending[0]
                if kind is RedisRefused and self.protocol:
                    self._meters.error(reply.code)
                if batch is not None:
                    batch.replies.append(reply)
                    if len(batch.replies) < batch.count:
                        continue
                    reply, kind = batch.replies, list
                pending.popleft()
                observe(now - turn.since)
                if not future.done():
                    if kind is RedisRefused:
                        future.set_exception(reply)
                    else:
                        future.set_result(reply)
        except Exception as error:  # ProtocolError, or what hiredis makes of a damaged stream
            self.lose(f"it sent what is not RESP: {error}")
            return
        if self._empty is not None and not pending and not self._empty.done():
            self._empty.set_result(None)

    def _pushed(self, push: Any) -> None:
        if self.on_push is not None:
            try:
                self.on_push(push)
            except Exception as error:
                self._loop.call_exception_handler({"message": "on_push failed", "exception": error})
        if self._ear is not None and not self._ear.done():
            self._ear.set_result(None)

    async def listen(self, timeout: float) -> None:
        """Waits until pushes may have been handed to ``on_push``, or the connection has ended."""
        if not self.closed:
            if self._ear is None or self._ear.done():
                self._ear = self._loop.create_future()
            await asyncio.wait([self._ear], timeout=None if timeout == inf else max(timeout, 0.0))

    # -- time ----------------------------------------------------------------------------------------------------

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self._loop.call_later(max(due - monotonic(), 0.0), self._sweep, False)

    def _sweep(self, sure: bool) -> None:
        """Fails who is overdue. ``sure``: it is the second look."""
        self._timer, self._due = None, inf
        now, due, first = monotonic(), inf, True
        for future, timeout, turn, _ in self._pending:
            if not turn.since:
                break  # neither it nor those behind it have a time yet
            end = turn.since + timeout
            if end <= now:
                if not sure:
                    self._due = now + LOOK_AGAIN
                    self._timer = self._loop.call_later(LOOK_AGAIN, self._sweep, True)
                    return
                if first and turn.sent:
                    quiet = max(turn.since, self._heard) + timeout
                    if quiet <= now:
                        self.lose(f"nothing was heard from it for {timeout:g} s")
                        return
                    end = quiet
                self._overdue(future, timeout)
            if now < end < due:
                due = end
            first = False
        if due < inf:
            self._arm(due)

    def _overdue(self, future: asyncio.Future[Any], timeout: float) -> None:
        if not future.done():
            self._meters.timeouts += 1
            future.set_exception(RedisTimeout(f"no reply within {timeout:g} s; the command may still be carried out"))

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
        if self._out and not self._scheduled and not self.closed:
            self._write()

    # -- the end -------------------------------------------------------------------------------------------------

    def lose(self, why: str) -> None:
        """Gives it up, as if it had been lost."""
        if self.closed:
            return
        now, in_flight = monotonic(), bool(self._pending)
        waiting = [entry for entry in self._pending if not entry[0].done()]
        self._end()
        for future, timeout, turn, _ in waiting:
            if turn.since and turn.since + timeout <= now:
                self._overdue(future, timeout)
            else:
                future.set_exception(Lost(why, sent=turn.sent, since=turn.since))
        self._meters.lost += 1
        self._on_lost(self, why, in_flight)

    def _end(self) -> None:
        self.closed = True
        self._meters.connections -= 1
        self._pending.clear()
        self._out.clear()
        if self._timer is not None:
            self._timer.cancel()
        for waiter in (self._empty, self._ear):
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
        self._transport.abort()

    async def close(self, linger: float = 0.0) -> None:
        """Ends it, after waiting up to ``linger`` seconds for replies under way."""
        if self._pending and linger and not self.closed and self.current:
            self._empty = self._loop.create_future()
            await asyncio.wait([self._empty], timeout=linger)
        if self.closed:
            return
        self._gone = self._loop.create_future()
        waiting = [entry for entry in self._pending if not entry[0].done()]
        with contextlib.suppress(RuntimeError):  # its loop is closed, and the socket with it
            self._end()
        for future, _, turn, _ in waiting:
            with contextlib.suppress(RuntimeError):
                future.set_exception(Lost("it was closed", sent=turn.sent))
        if self.current:  # the transport needs a turn of the loop to close its socket
            await asyncio.wait([self._gone], timeout=1.0)
