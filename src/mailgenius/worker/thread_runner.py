"""Runs plain handlers in threads, which take jobs from the pool's row and put what became of them into another.

How many threads run follows from how long jobs take: short ones run in one, because threads that fight for the interpreter
are slower than one, and longer ones in as many as there are places. A thread that has been busy for a while makes room
for the event loop, which else would have to wait for the interpreter's own turn (5 ms).
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import suppress
from time import monotonic
from typing import Any

import msgspec

from .batch import Entry
from .ends import Ends, unreadable
from .job import Job
from .pool import Pool
from .states import BEGUN, DONE

__all__ = ["ThreadRunner"]

_TICK = 0.001  # seconds between two looks of the loop at what has ended
_SHORT = 0.0002  # seconds up to which jobs run in one thread
_GATE = 0.05  # seconds that a thread waits at most for the loop to have had its turn


class Place:
    """A thread, and what it runs."""

    __slots__ = ("began", "entry", "job", "lock", "thread")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.lock.acquire()
        self.entry: Entry | None = None
        self.job: Job | None = None
        self.began = 0.0
        self.thread: threading.Thread | None = None


class ThreadRunner:
    """``ends``: is told what becomes of jobs, in the event loop."""

    def __init__(self, pool: Pool, ends: Ends) -> None:
        self._pool, self._ends = pool, ends
        self._loop = asyncio.get_running_loop()
        self._places: list[Place] = []
        self._parked: list[Place] = []
        self._gated: list[Place] = []
        self._ended: deque[tuple[Entry, Any, Job | None, float, float, BaseException | None]] = deque()
        self._took = 0.0  # seconds of a job, lately
        self._drained = 0  # jobs that have ended since the last tick
        self._expected = False  # the loop will look without being told
        self._timer: asyncio.TimerHandle | None = None
        self._gate_at = 0.0
        self._closed = False

    @property
    def _busy(self) -> int:
        return len(self._places) - len(self._parked)

    def refresh(self) -> None:
        """What runs is counted, and what has ended since is told."""
        self._pool.running = self._busy
        self._drain()

    def notify(self) -> None:
        """There are jobs."""
        waiting = len(self._pool.waiting)
        if waiting:
            self._grow(1 if self._took < _SHORT else self._busy + waiting)
            if not self._expected:
                self._look_soon()

    def _grow(self, wanted: int) -> None:
        """So many threads are to be busy."""
        for _ in range(min(wanted, self._pool.limit) - self._busy):
            try:
                place = self._parked.pop()
            except IndexError:
                place = Place()
                self._places.append(place)
                name = f"mailgenius-worker-{len(self._places)}"
                place.thread = threading.Thread(target=self._run, args=(place,), name=name, daemon=True)
                place.thread.start()
            else:
                place.lock.release()
        self._pool.running = self._busy

    # -- in the loop ---------------------------------------------------------------------------------------------

    def _look_soon(self) -> None:
        self._expected = True
        if self._timer is not None:
            self._timer.cancel()
        else:
            self._gate_at = monotonic() + _TICK
        self._timer = self._loop.call_later(_TICK, self._tick)

    def _heard(self) -> None:
        """A thread calls."""
        if not self._closed:
            self._tick()

    def _tick(self) -> None:
        self.refresh()
        ended, self._drained = self._drained, 0
        if self._pool.waiting and not ended:  # all of them take their time
            self._grow(2 * self._busy + 1)
        self._ends.poke()
        if self._gated:
            self._loop.call_soon(self._loop.call_soon, self._open)  # after calls to the server were made and written
        if ended or (self._pool.waiting and self._busy < self._pool.limit):
            self._look_soon()
            return
        self._expected = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ended:  # by a thread that took it for granted that we would look
            self._look_soon()

    def _open(self) -> None:
        self._gate_at = monotonic() + _TICK
        while self._gated:
            with suppress(RuntimeError):  # it has not waited so long
                self._gated.pop().lock.release()

    def _drain(self) -> None:
        count = len(self._ended)
        if not count:
            return
        self._drained += count
        total, done = 0.0, self._ends.done
        for _ in range(count):
            entry, result, job, took, now, error = self._ended.popleft()
            total += took
            if error is not None:
                self._ends.raised(entry, error, now)
            elif job is None and entry[2].plain:
                done(entry, took, now)
            else:
                self._ends.returned(entry, result, job, took, now)
        self._took = 0.7 * self._took + 0.3 * total / count if self._took else total / count

    # -- in threads ----------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        if not self._expected:
            self._expected = True
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._heard)

    def _run(self, place: Place) -> None:
        waiting, ended, note = self._pool.waiting, self._ended, self._ends.note
        now = monotonic()
        while True:
            try:
                entry = waiting.popleft()
            except IndexError:
                if not self._park(place):
                    return
                now = monotonic()
                continue
            batch, index, like, payload, _ = entry
            batch.state[index] = BEGUN
            place.began, place.entry = now, entry
            handler = like.handler
            result = job = None
            error: BaseException | None = None
            try:
                value = handler.decode(payload)
            except msgspec.MsgspecError as why:
                error = unreadable(why)
            else:
                try:
                    if handler.takes_job:
                        place.job = job = Job(entry, note, now + like.timeout if like.timeout else None)
                        result = handler.function(value, job)
                    else:
                        result = handler.function(value)
                except BaseException as why:  # SystemExit too: it is the handler's, not the worker's
                    error = why
            began, now = now, monotonic()
            if error is None and like.plain and (job is None or not job.touched):
                batch.state[index] = DONE
            place.entry = place.job = None
            ended.append((entry, result, job, now - began, now, error))
            if now >= self._gate_at and now - began < _SHORT:
                self._pass(place)
                now = monotonic()
            elif not self._expected:
                self._tell()

    def _pass(self, place: Place) -> None:
        """Lets the loop have a turn."""
        self._gate_at = monotonic() + _GATE
        self._gated.append(place)
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._heard)
        if not place.lock.acquire(timeout=_GATE):
            with suppress(ValueError):
                self._gated.remove(place)
                return
            place.lock.acquire()  # it is being released

    def _park(self, place: Place) -> bool:
        """Waits for jobs; False: there will be none."""
        self._parked.append(place)
        if self._pool.waiting:
            with suppress(ValueError):
                self._parked.remove(place)
                return True
        elif not self._closed:
            self._tell()
        place.lock.acquire()
        return not self._closed

    # -- from outside --------------------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """A thread cannot be ended: its job is told."""
        for place in self._places:
            entry, job = place.entry, place.job
            if entry is not None and job is not None and not job.cancelled:
                like = entry[2]
                job.cancelled = entry[0].lost or bool(like.timeout and now - place.began >= like.timeout)

    def cancel(self, ids: set[str]) -> None:
        """Jobs that were removed."""
        for place in self._places:
            job = place.job
            if job is not None and job.id in ids:
                job.cancelled = True

    def abandon(self) -> None:
        """Jobs are told that the worker will not wait for them."""
        for place in self._places:
            job = place.job
            if job is not None:
                job.cancelled = True

    def left(self) -> list[Entry]:
        """What still runs."""
        return [entry for place in self._places if (entry := place.entry) is not None]

    async def close(self) -> None:
        """Threads end when their jobs do; nobody waits for those."""
        self._closed = True
        while self._parked:
            self._parked.pop().lock.release()
