"""Adding jobs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from mailgenius.errors import ConfigError
from mailgenius.queue.added import Added
from mailgenius.queue.flows_async import Flows
from mailgenius.queue.options import DEFAULT_PRIORITY, Backoff, chosen, lane
from mailgenius.queue.step import Step, StepLike

__all__ = ["PART", "Producer", "parts"]

PART = 1000  # jobs of add_many in one call: the server does nothing else meanwhile
WRITTEN = 50  # jobs of a row of the outbox, which one call adds
_encode = msgspec.msgpack.Encoder().encode


class Producer(Flows):
    """The part of a queue that adds."""

    async def add(
        self,
        name: str,
        payload: Any = None,
        *,
        delay: float = 0.0,
        at: datetime | None = None,
        priority: int = DEFAULT_PRIORITY,
        group: str = "",
        attempts: int | None = None,
        backoff: Backoff | None = None,
        timeout: float | None = None,
        keep_result: float | None = None,
        unique: str = "",
        unique_for: float | None = None,
        replace: bool = False,
        trace: str = "",
        durable: bool = False,
        connection: Any = None,
    ) -> str:
        """Adds a job; its id.

        ``payload``: whatever msgspec can write as msgpack. ``delay``: seconds to wait, or ``at``: when to start.
        ``priority``: 1 (first) to 9 (last). ``group``: jobs of one group have limits and pauses of their own, and groups
        take turns. ``attempts``, ``backoff``, ``timeout``: instead of the queue's. ``keep_result``: seconds that what the
        handler returns can be read. ``unique``: while a job with this key is there, that one's id is given and nothing is
        added; ``unique_for``: for so many seconds, whether it is there or not; ``replace``: one that waits for its time
        gives way to this one instead. ``trace``: a W3C traceparent, for the handler. ``durable``: returns once the job is
        on the server's disk, where no crash takes it (WAITAOF, or ``appendfsync always``). ``connection``: of psycopg; the
        job is part of its transaction: it is added if and when that commits, by a relay (``AsyncOutbox``). Its id is this
        one's then, though nothing is added if by then there is another job with its ``unique`` key.

        Raises ``ConfigError``, ``QueueFull``, ``RedisRefused``, ``RedisUnavailable``; of these ``RedisOutcomeUnknown``
        alone means that the job may be there.
        """
        options = None
        if (
            attempts is not None
            or backoff is not None
            or timeout is not None
            or keep_result is not None
            or priority != DEFAULT_PRIORITY
            or group
            or trace
            or unique
        ):
            options = chosen(attempts, backoff, timeout, keep_result, priority, group, trace, unique=bool(unique))
        place = "5" if options is None else lane(priority, group)
        if connection is not None:
            wait, due = _when(delay, at)
            rest = unique, _window(unique, unique_for, replace), "", 0, "replace" if replace else "keep"
            key = await self._write_down(connection, [(place, wait, due, *rest, name, options, _encode(payload))])
            return f"{key}-0"
        frame = self._head(name, options) + _encode(payload)
        server = await self._server() if durable else ""
        if not unique and not delay and at is None:
            id = await self._together((place, name, frame))
        else:
            wait, due = _when(delay, at)
            window = _window(unique, unique_for, replace)
            keep = "replace" if replace else "keep"
            id, _ = await self._puts((place, wait, due, name, unique, window, "", 0, keep, frame))
        if durable:
            await self._synced(server)
        return id

    async def add_many(
        self,
        name: str,
        payloads: Iterable[Any],
        *,
        priority: int = DEFAULT_PRIORITY,
        group: str = "",
        attempts: int | None = None,
        backoff: Backoff | None = None,
        timeout: float | None = None,
        keep_result: float | None = None,
        trace: str = "",
        batch: str = "",
        then: StepLike | None = None,
        durable: bool = False,
        connection: Any = None,
    ) -> Added:
        """Adds a job for each payload, some thousand in each call to the server; their ids, in order.

        ``batch``: a name by which the same payloads can be given again within a day, by another process too: what was added
        by the first attempt is not added twice. ``then``: a job, as ``(name, payload)`` or a ``Step``, that starts when all
        of these have ended; each of them costs some more for it. Other arguments and errors as those of ``add``; when it
        raises, what the calls before had added is there.
        """
        options = chosen(attempts, backoff, timeout, keep_result, priority, group, trace)
        place = lane(priority, group)
        if connection is not None:
            if then is not None or batch:
                raise ConfigError("$.queue.add_many: then and batch are not for jobs of a transaction (connection)")
            written: list[tuple[str, int, int]] = []
            for part in parts(payloads, WRITTEN):
                rows = [(place, 0, 0, "", 0, "", 0, "keep", name, options, _encode(payload)) for payload in part]
                written.append((await self._write_down(connection, rows), 0, len(rows)))
            return Added(written)
        server = await self._server() if durable else ""
        if then is not None:
            like = Step(name, None, (), "run", priority, group, attempts, backoff, timeout, keep_result, trace)
            added = await self._batch(like, payloads, then, batch)
            if durable:
                await self._synced(server)
            return added
        ranges: list[tuple[str, int, int]] = []
        start = self._head(name, options)
        for number, part in enumerate(parts(payloads, PART)):
            frames = [start + _encode(payload) for payload in part]
            args: list[Any] = [self.policy.max_waiting, 1, name, len(frames), place, len(frames)]
            args += frames
            reply = await self._sure(self._add, args, f"b:{batch}:{number}" if batch else "")
            ranges.append((reply[1].decode(), int(reply[2]), len(frames)))
        if durable:
            await self._synced(server)
        return Added(ranges)


def parts(payloads: Iterable[Any], most: int) -> Iterable[list[Any]]:
    """``most`` at a time."""
    part: list[Any] = []
    for payload in payloads:
        part.append(payload)
        if len(part) == most:
            yield part
            part = []
    if part:
        yield part


def _when(delay: float, at: datetime | None) -> tuple[int, int]:
    """Milliseconds to wait, and milliseconds since 1970; 0: not given."""
    if at is not None:
        if delay:
            raise ConfigError("$.queue.add: give delay or at, not both")
        if at.tzinfo is None:
            raise ConfigError(f"$.queue.add.at: {at} has no time zone; give one, as in datetime.now(timezone.utc)")
        return 0, max(1, round(at.timestamp() * 1000))
    if delay < 0:
        raise ConfigError(f"$.queue.add.delay: {delay} is out of range; give seconds from 0")
    return round(delay * 1000), 0


def _window(unique: str, unique_for: float | None, replace: bool) -> int:
    """Milliseconds that a key is kept; 0: as long as its job is there."""
    if not unique and (unique_for is not None or replace):
        raise ConfigError("$.queue.add: unique_for and replace need the key that is to be unique")
    return 0 if unique_for is None else max(1, round(unique_for * 1000))
