"""The threads' half of ``aio``: one connection to Redis that all threads share.

Purpose: a thread that finds the connection free writes and reads itself; those that come meanwhile leave their requests,
and they go out together as soon as it has its reply. It then hands the reading over to one who still waits.

Invariants: those of ``aio``. Only the leader, who holds ``_lead``, writes and reads. An entry is completed by the leader
alone; whether its owner waits, left, or is to lead next is decided under ``_mutex``.

Limits: deadlines are the socket's own time limits, set only when another one is needed, so that they cost no system call.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import struct
from _thread import allocate_lock
from collections import deque
from collections.abc import Callable, Iterator
from math import inf
from ssl import SSLContext, SSLSocket, SSLWantReadError, SSLWantWriteError
from threading import TIMEOUT_MAX
from time import monotonic
from typing import Any

from mailgenius.config import RedisSettings
from mailgenius.errors import RedisRefused, RedisTimeout, RedisUnavailable
from mailgenius.link.address import Address
from mailgenius.link.meters import Meters
from mailgenius.link.replies import NOT_YET, Lost, Push, reader
from mailgenius.link.tcp import keep_alive

__all__ = ["Line", "open_line"]

_log = logging.getLogger("mailgenius.link")
IDLE = 1.0  # seconds without use after which the connection is looked at before it is used
PIECE = 64 << 10  # bytes written at a time, so that replies are read in between
_BLOCKED = (BlockingIOError, SSLWantReadError, SSLWantWriteError, TimeoutError)


class Plain(socket.socket):
    """One that closes without a word when its client was forgotten."""

    def __del__(self) -> None:
        self.close()


class Secure(SSLSocket):
    """The same."""

    def __del__(self) -> None:
        self.close()


class Alarm:
    """Wakes whoever listens. It stays open as long as somebody may read it."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK)

    def ring(self) -> None:
        os.eventfd_write(self.fd, 1)

    def __del__(self) -> None:
        os.close(self.fd)


class Entry:
    """A request of one caller."""

    __slots__ = (
        "count",
        "deadline",
        "done",
        "error",
        "gone",
        "packed",
        "promoted",
        "replies",
        "sent",
        "since",
        "timeout",
        "wake",
    )

    def __init__(self, packed: bytes, count: int, timeout: float) -> None:
        self.packed = packed
        self.count = count
        self.timeout = timeout
        self.since = now = monotonic()
        self.deadline = now + timeout
        self.replies: list[Any] = []
        self.error: Exception | None = None
        self.sent = self.done = self.gone = self.promoted = False
        self.wake: Any = None  # held until its owner has something to do


def open_line(
    address: Address,
    settings: RedisSettings,
    tls: SSLContext | None,
    meters: Meters,
    on_push: Callable[[Any], object] | None,
    on_lost: Callable[[Line, str, bool], object],
) -> Line:
    """Connected, nothing said yet. ``on_lost(line, why, in_flight)`` is called when it ends without our doing."""
    if address.path:
        sock: socket.socket = Plain(socket.AF_UNIX)
        sock.settimeout(settings.connect_timeout)
        try:
            sock.connect(address.path)
        except BaseException:
            sock.close()
            raise
    else:
        made = socket.create_connection((address.host, address.port), settings.connect_timeout)
        sock = Plain(made.family, made.type, made.proto, made.detach())
        sock.settimeout(settings.connect_timeout)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            keep_alive(sock, settings.keepalive)
            if tls is not None:
                tls.sslsocket_class = Secure
                sock = tls.wrap_socket(sock, server_hostname=address.host)
        except BaseException:
            sock.close()
            raise
    sock.settimeout(None)
    return Line(sock, settings, meters, on_push, on_lost)


class Line:
    """Made by ``open_line``."""

    def __init__(
        self,
        sock: socket.socket,
        settings: RedisSettings,
        meters: Meters,
        on_push: Callable[[Any], object] | None,
        on_lost: Callable[[Line, str, bool], object],
    ) -> None:
        self.closed = False
        self.protocol = 0  # until it was greeted
        self.on_push = on_push
        self._sock = sock
        self._on_lost = on_lost
        self._meters = meters
        self._observe = meters.latency.observe
        self._max_pending, self._max_bytes = settings.max_pending, settings.max_pending_bytes
        self._reader = reader()
        self._lead, self._mutex, self._writing = allocate_lock(), allocate_lock(), allocate_lock()
        self._inflight: deque[Entry] = deque()
        self._waiting: deque[Entry] = deque()
        self._waiting_bytes = 0
        self._tls = isinstance(sock, SSLSocket)  # which does not know the system's own time limits
        self._limits = [0.0, 0.0]  # what SO_RCVTIMEO and SO_SNDTIMEO are
        self._heard = monotonic()
        self._poll = select.poll()
        self._poll.register(sock.fileno(), select.POLLIN)
        self._alarm: Alarm | None = None  # once somebody waits for pushes
        meters.connections += 1

    @property
    def pending(self) -> int:
        """Requests that wait for their replies."""
        return len(self._inflight) + len(self._waiting)

    def usable(self) -> bool:
        """Has the server not closed it? For one that nobody else uses."""
        with self._lead:
            return not self.closed and (not self._poll.poll(0) or self._look())

    # -- requests ------------------------------------------------------------------------------------------------

    def one(self, packed: bytes, timeout: float) -> Any:
        """The reply to one command. Raises ``RedisRefused``, ``RedisTimeout`` or ``Lost``."""
        reply = self._request(packed, 1, timeout)[0]
        if type(reply) is RedisRefused:
            raise reply
        return reply

    def many(self, packed: bytes, count: int, timeout: float) -> list[Any]:
        """The replies to ``count`` commands; refusals are among them, as exceptions."""
        return self._request(packed, count, timeout)

    def post(self, packed: bytes) -> None:
        """Sends what has no reply of its own, such as SUBSCRIBE."""
        if self.closed:
            raise Lost("it is closed", sent=False)
        self._meters.commands += 1
        try:
            with self._writing:
                self._sock.sendall(packed)
        except OSError as error:
            self.lose(f"it was lost: {error}")
            raise Lost(str(error), sent=True) from error

    def _request(self, packed: bytes, count: int, timeout: float) -> list[Any]:
        entry = Entry(packed, count, timeout)
        if self._lead.acquire(False):
            leads, mine = True, entry
        else:
            leads, mine = self._queue(entry), None
        if leads:
            self._serve(entry, mine)
        if entry.error is not None:
            raise entry.error
        if len(entry.replies) < count:  # closed by another thread before we came to it
            raise Lost("it was closed", sent=entry.sent)
        return entry.replies

    # -- who leads -----------------------------------------------------------------------------------------------

    def _queue(self, entry: Entry) -> bool:
        """Waits behind the leader for the reply, or until we are to lead: True."""
        size = self._waiting_bytes
        if self.pending >= self._max_pending or (size and size + len(entry.packed) > self._max_bytes):
            self._meters.shed += 1
            raise RedisUnavailable(f"Redis does not keep up: {self.pending:,} requests and {size:,} bytes wait")
        entry.wake = wake = allocate_lock()
        wake.acquire()
        self._waiting_bytes += len(entry.packed)
        self._waiting.append(entry)
        if self._lead.acquire(False):  # the leader may have left before it saw us
            return True
        limit = -1.0 if entry.timeout == inf else min(max(entry.deadline - monotonic(), 0.0), TIMEOUT_MAX)
        if not wake.acquire(True, limit):
            with self._mutex:
                entry.gone = not wake.acquire(False)
            if entry.gone:
                self._overdue(entry)
                self._judge(monotonic())
                return False
        return entry.promoted  # though it may be done by now: whoever was handed the lead has to hand it on

    def _serve(self, entry: Entry, mine: Entry | None) -> None:
        """Leads until ``entry`` is done. ``mine``: it is not in the queue."""
        try:
            self._send(mine)
            while not (entry.done or self.closed):
                self._receive(entry)
        except BaseException as error:
            if not isinstance(error, OSError):
                self.lose("it was left in the middle of something")
                raise
            self.lose(f"it was lost: {error.strerror or error}")
        finally:
            self._hand_over()

    def _hand_over(self) -> None:
        while True:
            if self.closed:  # by another thread, who may not have seen what was queued meanwhile
                for entry in self._left():
                    if not entry.gone:
                        self._finish(entry, Lost("it was closed", sent=entry.sent, since=entry.since))
            elif self._inflight or self._waiting:
                with self._mutex:
                    for entry in (*self._inflight, *self._waiting):
                        if entry.wake is not None and not entry.gone and not entry.done:
                            entry.promoted = True
                            entry.wake.release()
                            return
                    while self._waiting and self._waiting[0].gone:  # else they would look like somebody to serve
                        self._waiting_bytes -= len(self._waiting.popleft().packed)
            if self.closed:
                self._shut()
            self._lead.release()
            if not self._waiting or not self._lead.acquire(False):
                return

    # -- what the leader does ------------------------------------------------------------------------------------

    def _send(self, mine: Entry | None) -> None:
        batch = [] if mine is None else [mine]
        while self._waiting:
            entry = self._waiting.popleft()
            self._waiting_bytes -= len(entry.packed)
            if not entry.gone:
                batch.append(entry)
        if not batch:
            return
        if self.closed:
            for entry in batch:
                self._finish(entry, Lost("it is closed", sent=False))
            return
        first = batch[0]
        now = first.since if len(batch) == 1 else monotonic()
        if now - self._heard > IDLE and not self._inflight and self._poll.poll(0) and not self._look():
            for entry in batch:
                self._finish(entry, Lost("the server closed it", sent=False))
            return
        self._meters.commands += first.count if len(batch) == 1 else sum(entry.count for entry in batch)
        for entry in batch:
            entry.sent, entry.since = True, now
            self._inflight.append(entry)
        data = first.packed if len(batch) == 1 else b"".join([entry.packed for entry in batch])
        if first.timeout != self._limits[1]:
            self._limit(1, first.timeout)
        with self._writing:
            if len(data) <= PIECE:
                self._sock.sendall(data)
                return
            view = memoryview(data)
            for at in range(0, len(data), PIECE):
                while self._poll.poll(0):
                    self._take(self._sock.recv_into(self._reader.room()))
                self._sock.sendall(view[at : at + PIECE])

    def _receive(self, entry: Entry) -> None:
        """Waits for what comes, once. ``entry`` is the leader's own."""
        left = entry.timeout if self._heard < entry.since else entry.deadline - monotonic()
        if left != self._limits[0]:
            self._limit(0, max(left, 0.0005))
        try:
            got = self._sock.recv_into(self._reader.room())
        except _BLOCKED:
            now = monotonic()
            self._judge(now)
            if not entry.done and entry.deadline <= now + 0.001:
                self._overdue(entry)
                entry.gone = entry.done = True  # its reply, if it comes, is thrown away by whoever leads then
            return
        self._take(got)

    def _limit(self, which: int, seconds: float) -> None:
        if self._tls:
            self._sock.settimeout(None if seconds == inf else seconds)
            self._limits = [seconds, seconds]
            return
        if seconds == inf:
            value = struct.pack("ll", 0, 0)
        else:
            value = struct.pack("ll", int(seconds), max(1, int(seconds % 1 * 1_000_000)))
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO if which else socket.SO_RCVTIMEO, value)
        self._limits[which] = seconds

    def _look(self) -> bool:
        """Something is there though nobody asked: the server's farewell, or pushes. Can it still be used?"""
        self._limit(0, 0.001)
        with contextlib.suppress(*_BLOCKED):
            while not self.closed:
                self._take(self._sock.recv_into(self._reader.room()))
                if not self._poll.poll(0):
                    break
        return not self.closed

    def _take(self, got: int) -> None:
        if not got:
            self.lose("the server closed it")
            return
        self._heard = now = monotonic()
        gets, inflight = self._reader.gets, self._inflight
        try:
            self._reader.filled(got)
            while (reply := gets()) is not NOT_YET:
                kind = type(reply)
                if kind is Push:
                    self._pushed(reply)
                    continue
                if not inflight:
                    if self.on_push is None or self.protocol == 3:
                        self.lose("it sent a reply that nobody asked for")
                        return
                    self._pushed(reply)  # RESP2 has no other way to bring messages
                    continue
                entry = inflight[0]
                if kind is RedisRefused and self.protocol:
                    self._meters.error(reply.code)
                entry.replies.append(reply)
                if len(entry.replies) == entry.count:
                    inflight.popleft()
                    self._observe(now - entry.since)
                    self._finish(entry, None)
        except Exception as error:
            self.lose(f"it sent what is not RESP: {error}")

    def _pushed(self, push: Any) -> None:
        if self.on_push is not None:
            try:
                self.on_push(push)
            except Exception:
                _log.exception("on_push failed")  # of whoever wrote it; the connection goes on
            if self._alarm is not None:
                self._alarm.ring()

    def _finish(self, entry: Entry, error: Exception | None) -> None:
        if entry.wake is None:  # its owner leads
            if not entry.done:
                entry.error, entry.done = error, True
            return
        with self._mutex:
            if not entry.done:
                entry.error, entry.done = error, True
                if not entry.promoted:
                    entry.wake.release()

    # -- pushes --------------------------------------------------------------------------------------------------

    def listen(self, timeout: float) -> None:
        """Waits until pushes may have come, and has them handed to ``on_push``."""
        alarm = self._alarm
        if alarm is None:
            alarm = self._alarm = Alarm()
            self._poll.register(alarm.fd, select.POLLIN)
        if self.closed:
            return
        self._poll.poll(None if timeout == inf else max(timeout, 0.0) * 1000)
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(alarm.fd)
        if self._lead.acquire(False):
            try:
                fd = self._sock.fileno()  # -1: it was closed meanwhile
                ready = select.poll()
                if fd >= 0:
                    ready.register(fd, select.POLLIN)
                while not self.closed and (
                    ready.poll(0) or (isinstance(self._sock, SSLSocket) and self._sock.pending())
                ):
                    self._take(self._sock.recv_into(self._reader.room()))
            except OSError as error:
                self.lose(f"it was lost: {error}")
            finally:
                self._hand_over()

    # -- the end -------------------------------------------------------------------------------------------------

    def _overdue(self, entry: Entry) -> None:
        self._meters.timeouts += 1
        more = "the command may still be carried out" if entry.sent else "it was not sent"
        entry.error = RedisTimeout(f"no reply within {entry.timeout:g} s; {more}")

    def _judge(self, now: float) -> None:
        """Is the oldest request overdue, and was nothing heard for as long as it was given?"""
        try:
            oldest = self._inflight[0]
        except IndexError:
            return
        if max(oldest.since, self._heard) + oldest.timeout <= now + 0.001:
            self.lose(f"nothing was heard from it for {oldest.timeout:g} s")

    def lose(self, why: str) -> None:
        """Gives it up, as if it had been lost; from any thread. The socket is shut down, which ends the leader's waiting,
        and closed by a leader."""
        with self._mutex:
            if self.closed:
                return
            self.closed = True
            in_flight = bool(self._inflight or self._waiting)
            waiting = dict.fromkeys((*self._inflight, *self._waiting))
            waiting |= dict.fromkeys(self._left())  # those that came meanwhile
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
        now = monotonic()
        for entry in waiting:
            if entry.done or entry.gone:
                continue
            if entry.deadline <= now + 0.001:
                self._overdue(entry)
                self._finish(entry, entry.error)
            else:
                self._finish(entry, Lost(why, sent=entry.sent, since=entry.since))
        self._meters.connections -= 1
        self._meters.lost += 1
        self._on_lost(self, why, in_flight)

    def _left(self) -> Iterator[Entry]:
        """Takes out what is still queued."""
        for queue in (self._inflight, self._waiting):
            with contextlib.suppress(IndexError):
                while True:
                    yield queue.popleft()

    def _shut(self) -> None:
        self._sock.close()
        if self._alarm is not None:  # whoever listens does not see that the socket is closed
            self._alarm.ring()

    def close(self, linger: float = 0.0) -> None:
        """Ends it, after waiting up to ``linger`` seconds for replies under way."""
        if self._lead.acquire(True, max(linger, 0.0)):
            try:
                if not self.closed:
                    self.closed = True
                    self._meters.connections -= 1
                    for entry in (*self._inflight, *self._waiting):
                        self._finish(entry, Lost("it was closed", sent=entry.sent))
                    self._inflight.clear()
                    self._waiting.clear()
            finally:
                self._hand_over()
        else:
            self.lose("it was closed")
