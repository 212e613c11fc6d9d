"""One run of a worker: leases jobs, hands them to runners, says what became of them.

Invariants:
- Nothing that was leased is forgotten: what became of a job is said until the server has answered, however long it is away.
- Calls that change leases are made one at a time, by one task.
- Every wait for the server has a deadline.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import socket
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any

import msgspec

from mailgenius.errors import RedisRefused, RedisUnavailable
from mailgenius.queue import AsyncQueue
from mailgenius.queue.names import keys
from mailgenius.queue.scripts import script

from .batch import Ack, Entry, Settle
from .core import Core
from .ends import Ends
from .handlers import Handler
from .hooks import Hooks
from .job import Job
from .keeping import Keeping, shared_memory
from .loop_runner import LoopRunner
from .memory import SharedStates, size_of
from .metrics import WorkerMetrics, timing
from .pool import Pool
from .process_runner import ProcessRunner
from .states import ENDED
from .thread_runner import ThreadRunner
from .verdict import Retry

__all__ = ["Run", "RunOptions"]

_TIMEOUT = 5.0  # seconds of a call
_BLOCK = 5.0  # seconds that the server may hold an idle worker's question
_SOON = 0.05  # seconds that it may hold one beyond the time when something is due
_LATE = 4.0  # seconds after that, until the connection counts as lost
_FIRST, _LONGEST = 0.01, 0.5  # seconds between two tries of a call
_BEAT = 2.0  # seconds between two beats at most, so that cancelled jobs are heard of
_SWEEP = 0.05  # seconds between two looks for what is overdue
_NOTES = 0.05  # seconds in which notes of jobs gather
_LINES, _LOG_KEPT = 1000, 86_400_000  # lines of a job's log; milliseconds that it is kept
_SLOTS = 512  # leases beside those with running jobs
_LAST = 5.0  # seconds to give back what is left
_ALLOW_OOM = "#!lua flags=allow-oom\n"  # known since Redis 7.0


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """See ``Worker``."""

    concurrency: int
    keeper: bool
    grace: float


class Run:
    """From ``Worker.run()`` to its end: ``begin()``, ``work()``, ``end()``."""

    def __init__(self, handlers: dict[str, Handler], hooks: Hooks, queue: AsyncQueue, options: RunOptions) -> None:
        self._queue, self._hooks, self._options = queue, hooks, options
        self._loop = asyncio.get_running_loop()
        self._redis, self._policy = queue.redis, queue.policy
        self._keys = keys(queue.prefix)
        self._name = f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}"
        self._scripts = {
            name: (self._redis.script(script(name)), self._redis.script(_ALLOW_OOM + script(name)))
            for name in ("work", "settle", "note", "beat", "back")
        }
        pools: dict[str, Pool] = {}
        shared = {kind: Pool(options.concurrency) for kind in ("loop", "threads", "processes")}
        for name, handler in handlers.items():
            pools[name] = shared[handler.kind] if handler.concurrency is None else Pool(handler.concurrency)
        self._pools = used = list(dict.fromkeys(pools.values()))
        self._slots = _SLOTS + sum(pool.limit for pool in used)
        self._fd, self._memory = shared_memory(size_of(self._slots))
        self._states = SharedStates(memoryview(self._memory), self._slots)
        self._core = Core(handlers, pools, self._states, self._policy, worker=self._name)
        on_done = self._completed if "completed" in self._hooks else None
        self._ends = Ends(self._core, self.poke, self._broke, self._noted, on_done)
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
        self._waker: asyncio.Future[None] | None = None
        self._listener: asyncio.Task[None] | None = None
        self._beater: asyncio.Task[None] | None = None
        self._keeping: Keeping | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._notes_due = self._notes_ready = False
        self._stops = 0
        self._configured = True
        self._until = inf  # when running jobs are not waited for any more

    async def begin(self) -> None:
        """Raises ``ConfigError`` if jobs are not safe on this server, ``RedisRefused`` if it does not let us in. Waits for
        one that is away, and begins on one that is full: who else is to empty it?"""
        pause = _FIRST
        while True:
            try:
                await self._queue.check()
                await self._queue.configure()
                break
            except RedisRefused as error:
                if error.code != "OOM":
                    raise
                self._failed(error)
                self._configured = False  # somebody has to make room before
                break
            except RedisUnavailable as error:
                self._failed(error)
            if self._stops:
                return
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - so that not all come at once
            pause = min(2 * pause, _LONGEST)
        if self._options.keeper:
            order = {
                "url": self._redis.url,
                "settings": msgspec.to_builtins(self._redis.settings),
                "prefix": self._queue.prefix,
                "worker": self._name,
                "lease": self._policy.lease,
                "slots": self._slots,
                "clock": self._queue._clock,
            }
            self._keeping = Keeping(order, self._fd, self._heard, self._broke)
            try:
                self._keeping.start()
            except OSError as error:
                self._keeping = None
                self._broke(error)
        self._beater = self._loop.create_task(self._beat())
        self._hooks.fire("ready")

    # -- the one task that calls ---------------------------------------------------------------------------------

    async def work(self) -> None:
        """Until it was stopped, and all was said, or nobody wants to wait any longer."""
        try:
            await self._work()
        except (RedisUnavailable, RedisRefused):
            if not self._stops:
                raise

    async def _work(self) -> None:
        core = self._core
        while True:
            for runner in self._runners:
                runner.refresh()
            if core.cron:
                core.cron = False
                await self._tick()
            now = monotonic()
            todo = core.plan(now)
            if type(todo) is Ack:
                reply, _ = await self._sure("work", todo.words)
                self._answered(todo, reply)
            elif type(todo) is Settle:
                if self._ends.notes:
                    await self._note()  # before the job is gone
                reply, tries = await self._sure("settle", todo.words)
                # If a try whose reply was lost has settled the last ones, the lease is gone, as it should.
                core.settled(todo, bool(reply[1]) or tries > 1)
                self._tell()
            elif self._ends.notes and self._notes_ready:
                await self._note()
            elif self._stops and ((core.idle and core.over) or now >= self._until):
                return
            else:
                if core.listening and (self._listener is None or self._listener.done()):
                    self._listener = self._loop.create_task(self._listen(core.ask(now)))
                assert isinstance(todo, float)  # noqa: S101 - for the type checker
                await self._sleep(min(todo, self._until - now))

    def _answered(self, call: Ack, reply: list[Any]) -> None:
        core = self._core
        core.answered(call, reply, monotonic())
        for runner in self._runners:
            runner.notify()
        if self._sweeper is None and not core.idle:
            self._sweep()
        self._tell()

    async def _sleep(self, seconds: float) -> None:
        self._waker = waker = self._loop.create_future()
        timer = None if seconds == inf else self._loop.call_later(seconds, self.poke)
        try:
            await waker
        finally:
            self._waker = None
            if timer is not None:
                timer.cancel()

    def poke(self) -> None:
        """There may be a call to make."""
        waker = self._waker
        if waker is not None:
            self._waker = None
            if not waker.done():
                waker.set_result(None)

    async def _sure(self, name: str, words: list[Any]) -> tuple[Any, int]:
        """The reply, and after how many tries."""
        run, always = self._scripts[name]
        args = (self._queue._clock, self._name, *words)
        pause, tries = _FIRST, 0
        while True:
            tries += 1
            try:
                return await run(self._keys, args, timeout=_TIMEOUT), tries
            except (RedisUnavailable, RedisRefused) as error:
                if isinstance(error, RedisRefused) and error.code == "OOM":
                    run, always = always, run  # what waits must be able to leave a server that is full
                self._failed(error)
                if monotonic() >= self._until + _TIMEOUT:
                    raise
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - so that not all come at once
            pause = min(2 * pause, _LONGEST)

    async def _tick(self) -> None:
        """Cron jobs are due, as the server said."""
        try:
            if await self._queue.tick():
                self._core.woken()
        except (RedisUnavailable, RedisRefused) as error:  # the server will say so again
            self._failed(error)

    async def _listen(self, call: Ack) -> None:
        """Waits, on the server, until there is something to do, and has it leased then and there: the call stands behind
        the command that waits, so that it needs no round trip of its own."""
        core = self._core
        # What is due before is asked for in time; and a server of 6.2 would take 1 ms for no limit at all.
        wait = min(_BLOCK, max(0.0, core.due - monotonic()) + _SOON)
        then = self._scripts["work"][0].command(self._keys, (self._queue._clock, self._name, *call.words))
        try:
            _, reply = await self._redis.blocking(
                "BLPOP", self._queue.prefix + "wake", wait, timeout=wait + _LATE, then=then
            )
        except (RedisUnavailable, RedisRefused) as error:
            self._failed(error)
            await asyncio.sleep(random.uniform(_LONGEST / 2, _LONGEST))  # noqa: S311 - so that not all come at once
            core.woken()
        else:
            if isinstance(reply, RedisRefused):  # it does not know the script, or is full
                core.woken()
            else:
                self._answered(call, reply)
                if not core.latest(call):  # so it changed nothing
                    core.woken()
        self.poke()

    async def _note(self) -> None:
        """What jobs said of themselves; of each the last progress."""
        self._notes_due = self._notes_ready = False
        words: list[Any] = []
        latest: dict[str, bytes] = {}
        for _ in range(len(self._ends.notes)):
            id, kind, what = self._ends.notes.popleft()
            if kind == "progress":
                latest[id] = what
            else:
                words += id, kind, what
        for id, what in latest.items():
            words += id, "progress", what
        try:
            await self._scripts["note"][0](
                self._keys, (self._queue._clock, _LINES, _LOG_KEPT, *words), timeout=_TIMEOUT
            )
        except (RedisUnavailable, RedisRefused) as error:  # they are no promise
            self._failed(error)

    def _noted(self) -> None:
        if not self._notes_due:
            self._notes_due = True
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._loop.call_later, _NOTES, self._note_now)

    def _note_now(self) -> None:
        self._notes_ready = True
        self.poke()

    # -- who hears of it -----------------------------------------------------------------------------------------

    def _failed(self, error: BaseException) -> None:
        self._errors += 1
        self._broke(error)

    def _broke(self, error: BaseException) -> None:
        self._hooks.fire("error", error)

    def _job(self, entry: Entry) -> Job:
        return Job(entry, self._ends.note, None)

    def _completed(self, entry: Entry, result: Any) -> None:
        self._hooks.fire("completed", self._job(entry), result)

    def _tell(self) -> None:
        core = self._core
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

    # -- leases and deadlines ------------------------------------------------------------------------------------

    def _heard(self, lost: list[bytes], cancelled: set[str]) -> None:
        """The keeper, or whoever renews, says so."""
        self._core.lost(lost)
        if cancelled:
            self._core.cancel(cancelled, monotonic())
            for runner in self._runners:
                runner.cancel(cancelled)
        self._look()
        self._tell()
        self.poke()

    async def _beat(self) -> None:
        """Renews the leases, while there is no keeper that does."""
        every = min(self._policy.lease / 3, _BEAT)
        while True:
            await asyncio.sleep(every)
            if not self._configured:
                with suppress(RedisUnavailable, RedisRefused):
                    await self._queue.configure()
                    self._configured = True
            tokens = [token for token, batch in self._core.batches.items() if not batch.lost]
            if tokens and (self._keeping is None or not self._keeping.ready):
                words = self._queue._clock, self._name, round(self._policy.lease * 1000), *tokens
                try:
                    _, lost, cancelled = await self._scripts["beat"][0](self._keys, words, timeout=every)
                except (RedisUnavailable, RedisRefused) as error:
                    self._failed(error)
                else:
                    self._heard(lost, {id.decode() for id in cancelled})

    def _look(self) -> None:
        now = monotonic()
        for runner in self._runners:
            runner.sweep(now)

    def _sweep(self) -> None:
        """Looks for what is overdue, as long as something runs."""
        self._look()
        self._sweeper = None if self._core.idle else self._loop.call_later(_SWEEP, self._sweep)

    # -- the end -------------------------------------------------------------------------------------------------

    def stop(self, times: int) -> None:
        self._stops = times
        self._core.stopping = True
        self._core.back_all()
        if times == 1:
            self._until = monotonic() + self._options.grace
        else:
            for runner in self._runners:
                runner.abandon()
            self._until = min(self._until, monotonic() + _LAST)
        self.poke()

    async def end(self) -> None:
        """Whatever is still leased is given back: jobs that have not ended, as if they had not begun."""
        for task in (self._listener, self._beater):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        if self._sweeper is not None:
            self._sweeper.cancel()
        for runner in self._runners:
            for batch, index, *_ in runner.left():
                batch.state[index] = ENDED
            await runner.close()
        if self._keeping is not None:
            await self._keeping.close(_LAST)
        else:
            await self._give_back()
        os.close(self._fd)

    async def _give_back(self) -> None:
        """What the keeper would do."""
        back, _ = self._scripts["back"]
        for lease in (*self._states.leases(), None):
            words = (b"", b"", b"") if lease is None else (lease.token, lease.begun, lease.done)
            try:
                await back(self._keys, (self._queue._clock, self._name, *words), timeout=_LAST)
            except (RedisUnavailable, RedisRefused) as error:  # then the lease ends by itself
                self._failed(error)

    def metrics(self) -> WorkerMetrics:
        core = self._core
        for runner in self._runners:
            runner.refresh()
        return WorkerMetrics(
            running=sum(pool.running for pool in self._pools),
            waiting=sum(len(pool.waiting) for pool in self._pools),
            leased=core.leased,
            done=core.completed,
            retried=core.retried,
            dead=core.dead,
            lost=core.refused,
            calls=core.calls,
            errors=self._errors,
            keepers=0 if self._keeping is None else self._keeping.started,
            keeper=None if self._keeping is None else self._keeping.pid,
            wait=timing(core.waited),
            run=timing(self._ends.run),
        )
