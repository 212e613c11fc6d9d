"""Moves jobs that transactions have committed (``add(connection=…)``) from PostgreSQL to Redis, each exactly once.

Invariants:
- A row is deleted in the transaction that has it locked, after Redis has said that it has the jobs. Who dies between leaves
  it to the next one, who gives it to Redis under the same key; Redis knows for a day which keys it had.
- Relays may be as many as one likes: rows that another one is moving are passed over.
- It waits for news of new rows (LISTEN), and looks now and then all the same, for news that did not come through.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Any, Self

import msgspec
import psycopg

from mailgenius.errors import DatabaseUnavailable, MailgeniusError
from mailgenius.link import AsyncRedis
from mailgenius.pool import AsyncPool
from mailgenius.queue.names import split
from mailgenius.queue.sending_async import Sending
from mailgenius.rt import aio as rt

__all__ = ["AsyncOutbox"]

ROWS = 50  # that one transaction moves
LOOK = 5.0  # seconds until it looks without having heard anything
FENCE = 60.0  # seconds after which a transaction moves no more: it may have lost its rows to another one
AFTER = 600_000  # milliseconds that Redis knows a row's key once the row is gone: far longer than that
_LONGEST = 5.0  # seconds between two tries
_words = msgspec.msgpack.Decoder(list[Any]).decode
_TAKE = (
    "select id, queue, key, jobs from mailgenius.outbox where error is null order by id limit %s for update skip locked"
)


class AsyncOutbox:
    """``async with AsyncOutbox(pool, redis):`` moves jobs, beside whatever else the program does.

    ``on_error(error)``: called with what keeps it from moving them; it tries again. ``unsafe``: as for ``AsyncQueue``.
    """

    def __init__(
        self,
        pool: AsyncPool,
        redis: AsyncRedis,
        *,
        on_error: Callable[[Exception], object] | None = None,
        unsafe: bool = False,
    ) -> None:
        self._pool, self._redis, self._on_error, self._unsafe = pool, redis, on_error, unsafe
        self._queues: dict[str, Sending] = {}
        self._running: rt.Spawned | None = None
        self._closing = rt.Event()
        self.moved = 0  # rows

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def start(self) -> None:
        """Begins to move jobs in the background."""
        if self._running is None:
            self._closing.clear()
            self._running = rt.spawn(self._run)

    async def close(self) -> None:
        """Ends that, after the rows that are being moved. Safe to repeat."""
        running, self._running = self._running, None
        if running is None:
            return
        self._closing.set()
        with contextlib.suppress(DatabaseUnavailable):  # then it looks in a moment
            await self._pool.execute("notify mailgenius_outbox")  # it waits for news
        await running.join()

    async def flush(self) -> int:
        """Moves all rows that no other relay is moving; how many. Raises the errors of ``AsyncPool`` and
        ``AsyncQueue.add``; nothing is lost then."""
        count = 0
        while moved := await self._move():
            count += moved
        return count

    async def _move(self) -> int:
        """Takes some rows; how many."""
        keys: dict[str, list[str]] = {}
        async with self._pool.transaction() as connection:
            until = monotonic() + FENCE
            rows = await (await connection.execute(_TAKE, (ROWS,))).fetchall()
            gone = []
            for id, name, key, jobs in rows:
                if monotonic() > until:
                    break
                try:
                    words = _words(jobs)
                except msgspec.MsgspecError as error:
                    await connection.execute("update mailgenius.outbox set error = %s where id = %s", (str(error), id))
                    continue
                await self._declare(name)
                await self._queue(name).take(key, words)
                gone.append(id)
                keys.setdefault(name, []).append(key)
            if gone:
                await connection.execute("delete from mailgenius.outbox where id = any(%s)", (gone,))
        self.moved += len(gone)
        for name, taken in keys.items():
            await self._queue(name).taken(taken, AFTER)
        return len(rows)

    async def _declare(self, name: str) -> None:
        """How many shards a queue has which nobody else may have used yet."""
        queue, _, shards = split(name)
        if shards and name not in self._queues:
            await self._queue(queue)._count_shards("use", shards)

    def _queue(self, name: str) -> Sending:
        if name not in self._queues:
            queue, shard, _ = split(name)
            self._queues[name] = Sending(self._redis, queue, None, 5.0, self._unsafe, shard)
        return self._queues[name]

    async def _run(self) -> None:
        pause = 0.1
        while not self._closing.is_set():
            try:
                async with await psycopg.AsyncConnection.connect(self._pool.conninfo, autocommit=True) as own:
                    await own.execute("listen mailgenius_outbox")
                    while not self._closing.is_set():
                        await self.flush()
                        pause = 0.1
                        async for _ in own.notifies(timeout=LOOK, stop_after=1):
                            pass
                        await own.execute("listen mailgenius_outbox")  # once more: is the connection still there?
            except (MailgeniusError, psycopg.Error, OSError) as error:
                if self._on_error is not None:
                    self._on_error(error)
                await rt.wait(self._closing, pause)
                pause = min(2 * pause, _LONGEST)
