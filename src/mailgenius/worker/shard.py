"""What a worker has for each shard of its queue, most often the only one: what it knows of its leases, and the one task
that speaks with its server.

Invariants:
- Calls that change leases are made one at a time, by one task.
- Every wait for the server has a deadline.
- Shards wait for nobody: while the server of one is away, jobs of the others run.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any, Protocol

from mailgenius.errors import RedisRefused, RedisUnavailable
from mailgenius.queue import AsyncQueue
from mailgenius.queue.names import keys
from mailgenius.queue.scripts import script

from .batch import Ack, Settle
from .core import Core
from .memory import SharedStates

__all__ = ["LAST", "Shard"]

_TIMEOUT = 5.0  # seconds of a call
_FAR = 0.0007  # seconds of a round trip from where on a server is far away
_BLOCK = 5.0  # seconds that the server may hold an idle worker's question
_SOON = 0.05  # seconds that it may hold one beyond the time when something is due
_LATE = 4.0  # seconds after that, until the connection counts as lost
_FIRST, _LONGEST = 0.01, 0.5  # seconds between two tries of a call
_BEAT = 2.0  # seconds between two beats at most, so that cancelled jobs are heard of
_LINES, _LOG_KEPT = 1000, 86_400_000  # lines of a job's log; milliseconds that it is kept
LAST = 5.0  # seconds to give back what is left
_ALLOW_OOM = "#!lua flags=allow-oom\n"  # known since Redis 7.0


class Host(Protocol):
    """The run that it is of."""

    stops: int  # how often it was told to stop
    until: float  # when running jobs are not waited for any more

    def refresh(self) -> None:
        """Pools are counted."""

    def leased(self) -> None:
        """There may be jobs."""

    def tell(self) -> None:
        """Those who listen hear what the cores have to say."""

    def failed(self, error: BaseException) -> None:
        """A call did."""

    def heard(self, shard: Shard, lost: list[bytes], cancelled: set[str]) -> None:
        """These leases are lost; these jobs are to be cancelled."""

    def kept(self, shard: Shard) -> bool:
        """A keeper renews its leases."""


class Shard:
    """``begin()``, ``work()``, ``end()``. ``name``: that of the worker. ``eager``: jobs that come while it is idle are
    leased at once; else it is found out first how many there is room for."""

    def __init__(
        self, host: Host, queue: AsyncQueue, core: Core, states: SharedStates, name: str, *, eager: bool
    ) -> None:
        self.queue, self.core, self.states = queue, core, states
        self.notes: deque[tuple[str, str, bytes]] = deque()  # what jobs say of themselves; threads add to it
        self.notes_ready = False
        self.begun = False
        self.tried = asyncio.Event()  # it has begun, or its server is away
        self._host, self._name, self._eager = host, name, eager
        self._loop = asyncio.get_running_loop()
        self._redis, self._policy = queue.redis, queue.policy
        self._keys = keys(queue.prefix)
        self._scripts = {
            name: (self._redis.script(script(name)), self._redis.script(_ALLOW_OOM + script(name)))
            for name in ("work", "settle", "note", "beat", "back")
        }
        self._waker: asyncio.Future[None] | None = None
        self._listener: asyncio.Task[None] | None = None
        self._beater: asyncio.Task[None] | None = None
        self._configured = True

    async def begin(self) -> None:
        """Raises ``ConfigError`` if jobs are not safe on this server, ``RedisRefused`` if it does not let us in. Waits for
        one that is away, and begins on one that is full: who else is to empty it?"""
        try:
            await self._begin()
        finally:
            self.tried.set()

    async def _begin(self) -> None:
        pause = _FIRST
        while True:
            try:
                await self.queue.check()
                await self.queue.configure()
                await self._measure()
                break
            except RedisRefused as error:
                if error.code != "OOM":
                    raise
                self._host.failed(error)
                self._configured = False  # somebody has to make room before
                break
            except RedisUnavailable as error:
                self._host.failed(error)
                self.core.away = True
            self.tried.set()
            if self._host.stops:
                return
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - so that not all come at once
            pause = min(2 * pause, _LONGEST)
        self.core.away = False
        self.begun = True
        self._beater = self._loop.create_task(self._beat())

    async def _measure(self) -> None:
        """How far away the server is, while nothing else is done: the shortest of three round trips."""
        trips = []
        for _ in range(3):
            began = monotonic()
            await self.queue._now()
            trips.append(monotonic() - began)
        self.core.far = min(trips) > _FAR

    # -- the one task that calls ---------------------------------------------------------------------------------

    async def work(self) -> None:
        """Until the run was stopped, and all was said, or nobody wants to wait any longer."""
        try:
            await self._work()
        except (RedisUnavailable, RedisRefused):
            if not self._host.stops:
                raise

    async def _work(self) -> None:
        core, host = self.core, self._host
        while True:
            host.refresh()
            if core.cron:
                core.cron = False
                await self._tick()
            now = monotonic()
            todo = core.plan(now)
            if type(todo) is Ack:
                reply, _ = await self._sure("work", todo.words)
                self._answered(todo, reply)
            elif type(todo) is Settle:
                if self.notes:
                    await self._note()  # before the job is gone
                reply, tries = await self._sure("settle", todo.words)
                # If a try whose reply was lost has settled the last ones, the lease is gone, as it should.
                core.settled(todo, bool(reply[1]) or tries > 1)
                host.tell()
            elif self.notes and self.notes_ready:
                await self._note()
            elif host.stops and ((core.idle and core.over) or now >= host.until):
                return
            else:
                if core.listening and (self._listener is None or self._listener.done()):
                    self._listener = self._loop.create_task(self._listen(core.ask(now) if self._eager else None))
                assert isinstance(todo, float)  # noqa: S101 - for the type checker
                await self._sleep(min(todo, host.until - now))

    def _answered(self, call: Ack, reply: list[Any]) -> None:
        self.core.answered(call, reply, monotonic())
        self._host.leased()

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
        args = (self.queue._clock, self._name, *words)
        pause, tries = _FIRST, 0
        while True:
            tries += 1
            try:
                reply = await run(self._keys, args, timeout=_TIMEOUT)
            except (RedisUnavailable, RedisRefused) as error:
                if isinstance(error, RedisRefused) and error.code == "OOM":
                    run, always = always, run  # what waits must be able to leave a server that is full
                self.core.away = True
                self._host.failed(error)
                if monotonic() >= self._host.until + _TIMEOUT:
                    raise
            else:
                self.core.away = False
                return reply, tries
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - so that not all come at once
            pause = min(2 * pause, _LONGEST)

    async def _tick(self) -> None:
        """Cron jobs are due, as the server said."""
        try:
            if await self.queue.tick():
                self.core.woken()
        except (RedisUnavailable, RedisRefused) as error:  # the server will say so again
            self._host.failed(error)

    async def _listen(self, call: Ack | None) -> None:
        """Waits, on the server, until there is something to do, and has it leased then and there: the call stands behind
        the command that waits, so that it needs no round trip of its own. None: it is made when it is known that there is
        something."""
        core = self.core
        # What is due before is asked for in time; and a server of 6.2 would take 1 ms for no limit at all.
        wait = min(_BLOCK, max(0.0, core.due - monotonic()) + _SOON)
        words = ("BLPOP", self.queue.prefix + "wake", wait)
        try:
            if call is None:
                await self._redis.blocking(*words, timeout=wait + _LATE)
                core.woken()
            else:
                then = self._scripts["work"][0].command(self._keys, (self.queue._clock, self._name, *call.words))
                _, reply = await self._redis.blocking(*words, timeout=wait + _LATE, then=then)
                if not isinstance(reply, RedisRefused):  # else it does not know the script, or is full
                    self._answered(call, reply)
                if isinstance(reply, RedisRefused) or not core.latest(call):  # so it changed nothing
                    core.woken()
        except (RedisUnavailable, RedisRefused) as error:
            self._host.failed(error)
            await asyncio.sleep(random.uniform(_LONGEST / 2, _LONGEST))  # noqa: S311 - so that not all come at once
            core.woken()
        self.poke()

    async def _note(self) -> None:
        """What jobs said of themselves; of each the last progress."""
        self.notes_ready = False
        words: list[Any] = []
        latest: dict[str, bytes] = {}
        for _ in range(len(self.notes)):
            id, kind, what = self.notes.popleft()
            if kind == "progress":
                latest[id] = what
            else:
                words += id, kind, what
        for id, what in latest.items():
            words += id, "progress", what
        try:
            await self._scripts["note"][0](self._keys, (self.queue._clock, _LINES, _LOG_KEPT, *words), timeout=_TIMEOUT)
        except (RedisUnavailable, RedisRefused) as error:  # they are no promise
            self._host.failed(error)

    # -- leases --------------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        """Renews the leases, while there is no keeper that does."""
        every = min(self._policy.lease / 3, _BEAT)
        while True:
            await asyncio.sleep(every)
            if not self._configured:
                with suppress(RedisUnavailable, RedisRefused):
                    await self.queue.configure()
                    self._configured = True
            tokens = [token for token, batch in self.core.batches.items() if not batch.lost]
            if tokens and not self._host.kept(self):
                words = self.queue._clock, self._name, round(self._policy.lease * 1000), *tokens
                try:
                    _, lost, cancelled = await self._scripts["beat"][0](self._keys, words, timeout=every)
                except (RedisUnavailable, RedisRefused) as error:
                    self._host.failed(error)
                else:
                    self._host.heard(self, lost, {id.decode() for id in cancelled})

    async def end(self) -> None:
        """Nothing is asked any more."""
        for task in (self._listener, self._beater):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])

    async def give_back(self) -> None:
        """What the keeper would do."""
        back, _ = self._scripts["back"]
        for lease in (*self.states.leases(), None):
            words = (b"", b"", b"") if lease is None else (lease.token, lease.begun, lease.done)
            try:
                await back(self._keys, (self.queue._clock, self._name, *words), timeout=LAST)
            except (RedisUnavailable, RedisRefused) as error:  # then the lease ends by itself
                self._host.failed(error)
