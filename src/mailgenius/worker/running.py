"""One run of a worker: leases jobs, hands them to runners, says what became of them. What there is for each shard of its
queue is in shard.py.

Invariants:
- Nothing that was leased is forgotten: what became of a job is said until the server has answered, however long it is away.
- Jobs of all shards have the same places, so that as many run at once as may, whatever shards they are of.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Sequence
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any

import msgspec

from mailgenius._native import Histogram
from mailgenius.errors import RedisRefused, RedisUnavailable
from mailgenius.queue import AsyncQueue, AsyncShardedQueue
from mailgenius.queue.shards import place

from .batch import Entry
from .core import Core
from .ends import Cores, Ends
from .handlers import Handler
from .hooks import Hooks
from .job import Job
from .keeping import Keeping, shared_memory
from .loop_runner import LoopRunner
from .memory import SharedStates, size_of
from .metrics import WorkerMetrics, timing
from .pool import Pool
from .process_runner import ProcessRunner
from .shard import LAST, Shard
from .sharing import Sharing
from .states import ENDED
from .thread_runner import ThreadRunner
from .verdict import Retry

__all__ = ["Run", "RunOptions"]

_SWEEP = 0.05  # seconds between two looks for what is overdue
_NOTES = 0.05  # seconds in which notes of jobs gather
_SLOTS = 512  # leases beside those with running jobs


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """See ``Worker``."""

    concurrency: int
    keeper: bool
    grace: float


class Run:
    """From ``Worker.run()`` to its end: ``begin()``, ``work()``, ``end()``."""

    def __init__(
        self,
        handlers: dict[str, Handler],
        hooks: Hooks,
        queue: AsyncQueue | AsyncShardedQueue,
        options: RunOptions,
    ) -> None:
        self._queue, self._hooks, self._options = queue, hooks, options
        self._loop = asyncio.get_running_loop()
        self._policy = queue.policy
        self._name = f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}"
        self.stops = 0
        self.until = inf
        pools: dict[str, Pool] = {}
        shared = {kind: Pool(options.concurrency) for kind in ("loop", "threads", "processes")}
        for name, handler in handlers.items():
            pools[name] = shared[handler.kind] if handler.concurrency is None else Pool(handler.concurrency)
        self._pools = used = list(dict.fromkeys(pools.values()))
        queues = [queue] if isinstance(queue, AsyncQueue) else queue.shards
        self._slots = _SLOTS + sum(pool.limit for pool in used)
        size = size_of(self._slots)
        self._fd, self._memory = shared_memory(size * len(queues))
        sharing = Sharing() if len(queues) > 1 else None
        self._shards: list[Shard] = []
        self._waited = Histogram()  # seconds from being added to being leased
        for number, one in enumerate(queues):
            states = SharedStates(memoryview(self._memory)[size * number : size * (number + 1)], self._slots)
            core = Core(handlers, pools, states, one.policy, worker=self._name, ids=one.ids, sharing=sharing)
            core.waited = self._waited
            self._shards.append(Shard(self, one, core, states, self._name, eager=sharing is None))
        self._several = sharing is not None
        # With one shard, which is the rule, its core and its task are called without a detour: it is done for each job.
        first = self._shards[0]
        on_done = self._completed if "completed" in self._hooks else None
        self._ends = Ends(
            Cores() if self._several else first.core,
            self.poke if self._several else first.poke,
            self._broke,
            self._note,
            on_done,
        )
        self._runners: list[LoopRunner | ThreadRunner | ProcessRunner] = []
        for pool in used:
            mine = {name: handler for name, handler in handlers.items() if pools[name] is pool}
            kind = next(iter(mine.values())).kind
            if kind == "loop":
                self._runners.append(LoopRunner(pool, self._ends))
            elif kind == "threads":
                self._runners.append(ThreadRunner(pool, self._ends))
            else:
                functions = {name: handler.function for name, handler in mine.items()}
                self._runners.append(ProcessRunner(pool, self._ends, functions))
        self._errors = 0
        self._begins: list[asyncio.Task[None]] = []
        self._keeping: Keeping | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._notes_due = False

    async def begin(self) -> None:
        """Waits for a server that is away; with several shards, until one of them has begun. Raises ``ConfigError`` if jobs
        are not safe on a server, or there are not so many shards; ``RedisRefused`` if one does not let us in."""
        if isinstance(self._queue, AsyncQueue):
            await self._shards[0].begin()
        else:
            await self._begin_all(self._queue)
        if not any(shard.begun for shard in self._shards):
            return  # it was stopped meanwhile
        if self._options.keeper:
            self._keep()
        self._hooks.fire("ready")

    async def _begin_all(self, queue: AsyncShardedQueue) -> None:
        while not self.stops:
            try:
                await queue._agree(again=True)
                break
            except RedisRefused as error:
                if error.code != "OOM":
                    raise
                self.failed(error)  # it is not known as a queue of several shards before there is room
                break
            except RedisUnavailable as error:
                self.failed(error)
        self._begins = begins = [self._loop.create_task(shard.begin()) for shard in self._shards]
        for shard in self._shards:
            await shard.tried.wait()
        while not any(shard.begun for shard in self._shards) and not self.stops:
            await asyncio.wait([task for task in begins if not task.done()], return_when=asyncio.FIRST_COMPLETED)
            _raise_of(begins)
        _raise_of(begins)

    def _keep(self) -> None:
        redis = self._queue.redis
        order = {
            "url": redis.url,
            "settings": msgspec.to_builtins(redis.settings),
            "shards": [shard.queue.prefix for shard in self._shards],
            "worker": self._name,
            "lease": self._policy.lease,
            "slots": self._slots,
            "clock": self._shards[0].queue._clock,
        }
        self._keeping = Keeping(order, self._fd, self._kept_news, self._broke)
        try:
            self._keeping.start()
        except OSError as error:
            self._keeping = None
            self._broke(error)

    async def work(self) -> None:
        """Until it was stopped, and all was said, or nobody wants to wait any longer."""
        if not self._several:
            await self._shards[0].work()
            return
        tasks = [self._loop.create_task(self._live(*each)) for each in zip(self._begins, self._shards, strict=True)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            _raise_of(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _live(self, begin: asyncio.Task[None], shard: Shard) -> None:
        await begin
        if shard.begun:
            self.poke()
            await shard.work()

    # -- what shards want of us ----------------------------------------------------------------------------------

    def poke(self) -> None:
        """There may be calls to make."""
        for shard in self._shards:
            shard.poke()

    def refresh(self) -> None:
        for runner in self._runners:
            runner.refresh()

    def leased(self) -> None:
        for runner in self._runners:
            runner.notify()
        if self._sweeper is None and not self._shards[0].core.idle:
            self._sweep()
        self.tell()

    def heard(self, shard: Shard, lost: list[bytes], cancelled: set[str]) -> None:
        """The keeper, or whoever renews, says so."""
        shard.core.lost(lost)
        if cancelled:
            ids = {shard.core.ids + id for id in cancelled}
            shard.core.cancel(ids, monotonic())
            for runner in self._runners:
                runner.cancel(ids)
        self._look()
        self.tell()
        self.poke()

    def kept(self, shard: Shard) -> bool:
        return self._keeping is not None and self._shards.index(shard) in self._keeping.ready

    def _kept_news(self, shard: int, lost: list[bytes], cancelled: set[str]) -> None:
        self.heard(self._shards[shard], lost, cancelled)

    # -- what jobs say of themselves -----------------------------------------------------------------------------

    def _note(self, id: str, kind: str, what: bytes) -> None:
        number, inner = place(id, len(self._shards))
        self._shards[number].notes.append((inner, kind, what))
        if not self._notes_due:
            self._notes_due = True
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._loop.call_later, _NOTES, self._note_now)

    def _note_now(self) -> None:
        self._notes_due = False
        for shard in self._shards:
            shard.notes_ready = bool(shard.notes)
        self.poke()

    # -- who hears of it -----------------------------------------------------------------------------------------

    def failed(self, error: BaseException) -> None:
        self._errors += 1
        self._broke(error)
        if self._several:  # others need not wait for it
            self.poke()

    def _broke(self, error: BaseException) -> None:
        self._hooks.fire("error", error)

    def _job(self, entry: Entry) -> Job:
        return Job(entry, self._ends.note, None)

    def _completed(self, entry: Entry, result: Any) -> None:
        self._hooks.fire("completed", self._job(entry), result)

    def tell(self) -> None:
        for shard in self._shards:
            self._tell(shard.core)
        if self._several:  # one may ask for what another has left
            self.poke()

    def _tell(self, core: Core) -> None:
        for entry, error, decided in core.failed:
            if isinstance(decided, Retry):
                self._hooks.fire("retried", self._job(entry), error, decided.after)
            else:
                self._hooks.fire("failed", self._job(entry), error)
        core.failed.clear()
        for entry in core.stalled:
            self._hooks.fire("stalled", self._job(entry))
        core.stalled.clear()
        for ids in core.losses:
            self._hooks.fire("lost", ids)
        core.losses.clear()

    def _look(self) -> None:
        now = monotonic()
        for runner in self._runners:
            runner.sweep(now)

    def _sweep(self) -> None:
        """Looks for what is overdue, as long as something runs."""
        self._look()
        idle = self._shards[0].core.idle
        self._sweeper = None if idle else self._loop.call_later(_SWEEP, self._sweep)

    # -- the end -------------------------------------------------------------------------------------------------

    def stop(self, times: int) -> None:
        self.stops = times
        for shard in self._shards:
            shard.core.stopping = True
        self._shards[0].core.back_all()
        if times == 1:
            self.until = monotonic() + self._options.grace
        else:
            for runner in self._runners:
                runner.abandon()
            self.until = min(self.until, monotonic() + LAST)
        self.poke()

    async def end(self) -> None:
        """Whatever is still leased is given back: jobs that have not ended, as if they had not begun."""
        for begin in self._begins:
            begin.cancel()
        if self._begins:
            await asyncio.wait(self._begins)
        for shard in self._shards:
            await shard.end()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for runner in self._runners:
            for batch, index, *_ in runner.left():
                batch.state[index] = ENDED
            await runner.close()
        if self._keeping is not None:
            await self._keeping.close(LAST)
        else:
            await asyncio.gather(*(shard.give_back() for shard in self._shards))
        os.close(self._fd)

    def metrics(self) -> WorkerMetrics:
        cores = [shard.core for shard in self._shards]
        self.refresh()
        return WorkerMetrics(
            running=sum(pool.running for pool in self._pools),
            waiting=sum(len(pool.waiting) for pool in self._pools),
            leased=sum(core.leased for core in cores),
            done=sum(core.completed for core in cores),
            retried=sum(core.retried for core in cores),
            dead=sum(core.dead for core in cores),
            lost=sum(core.refused for core in cores),
            calls=sum(core.calls for core in cores),
            errors=self._errors,
            keepers=0 if self._keeping is None else self._keeping.started,
            keeper=None if self._keeping is None else self._keeping.pid,
            wait=timing(self._waited),
            run=timing(self._ends.run),
        )


def _raise_of(tasks: Sequence[asyncio.Task[None]]) -> None:
    """What one of them has raised."""
    for task in tasks:
        if task.done() and not task.cancelled():
            task.result()
