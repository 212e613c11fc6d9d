"""Runs async handlers: as many tasks as the pool has places, each of which runs jobs back to back.

A job that does not wait costs no task, no timer and no turn of the event loop. One millisecond of each turn is theirs. A
task in which a job left something behind (context variables, a cancellation) is replaced by a new one.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from time import monotonic

import msgspec

from mailgenius.errors import JobCancelled, JobFailed, JobTimeout

from .batch import Entry, id_of
from .ends import Ends, unreadable
from .job import Job
from .pool import Pool
from .states import BEGUN

__all__ = ["LoopRunner"]

_SHARE = 0.001  # seconds of a turn of the loop


class Slot:
    """A place, and what runs there."""

    __slots__ = ("began", "entry", "job", "reason", "task")

    def __init__(self) -> None:
        self.entry: Entry | None = None
        self.job: Job | None = None
        self.began = 0.0
        self.reason: BaseException | None = None  # why it was cancelled by us
        self.task: asyncio.Task[None] | None = None


class Back(Exception):
    """Somebody else is to run it, or runs it already."""


class LoopRunner:
    """``ends``: is told what becomes of jobs."""

    def __init__(self, pool: Pool, ends: Ends) -> None:
        self._pool, self._ends = pool, ends
        self._loop = asyncio.get_running_loop()
        self._slots: set[Slot] = set()
        self._asleep: list[asyncio.Future[None]] = []
        self._until = 0.0  # when the others have their turn
        self._resets = False
        self._closed = False

    def refresh(self) -> None:
        """Nothing to do: what has ended was told."""

    def left(self) -> list[Entry]:
        """What still runs."""
        return [slot.entry for slot in self._slots if slot.entry is not None]

    def notify(self) -> None:
        """There are jobs."""
        for _ in range(min(len(self._pool.waiting), self._pool.limit - self._pool.running)):
            if self._asleep:
                sleeper = self._asleep.pop()
                if not sleeper.done():
                    sleeper.set_result(None)
            elif len(self._slots) < self._pool.limit:
                self._start()
            else:
                break

    def _start(self) -> None:
        slot = Slot()
        self._slots.add(slot)
        slot.task = self._loop.create_task(self._run(slot))
        slot.task.add_done_callback(lambda task: self._ended(slot, task))

    def _ended(self, slot: Slot, task: asyncio.Task[None]) -> None:
        self._slots.discard(slot)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._ends.broke(error)
        if not self._closed:
            self.notify()

    async def _run(self, slot: Slot) -> None:
        pool, ends = self._pool, self._ends
        waiting, clean, note, done = pool.waiting, copy_context(), ends.note, ends.done
        while not self._closed:
            if not waiting:
                sleeper = self._loop.create_future()
                self._asleep.append(sleeper)
                await sleeper
                continue
            pool.running += 1
            now = monotonic()
            try:
                while waiting:
                    slot.entry = entry = waiting.popleft()
                    batch, index, like, payload, _ = entry
                    batch.state[index] = BEGUN
                    slot.began = now
                    handler = like.handler
                    try:
                        value = handler.decode(payload)
                    except msgspec.MsgspecError as error:
                        slot.entry = None
                        ends.raised(entry, unreadable(error), now)
                        continue
                    job = None
                    try:
                        if handler.takes_job:
                            slot.job = job = Job(entry, note, now + like.timeout if like.timeout else None)
                            result = await handler.function(value, job)
                        else:
                            result = await handler.function(value)
                    except Exception as error:
                        now = monotonic()
                        ends.raised(entry, error, now)
                    except asyncio.CancelledError as error:
                        now = monotonic()
                        self._cancelled(slot, error, now)
                    except BaseException:
                        ends.back(entry)
                        raise
                    else:
                        now = monotonic()
                        if like.plain and (job is None or not job.touched):
                            done(entry, now - slot.began, now)
                        else:
                            ends.returned(entry, result, job, now - slot.began, now)
                    slot.entry = slot.job = None
                    if slot.reason is not None or copy_context() != clean:
                        return
                    if now >= self._until:
                        await self._turn()
                        now = monotonic()
            finally:
                pool.running -= 1
                ends.poke()

    async def _turn(self) -> None:
        """Lets the loop do what else there is to do."""
        if not self._resets:
            self._resets = True
            self._loop.call_soon(self._reset)
        await asyncio.sleep(0)

    def _reset(self) -> None:
        self._resets = False
        self._until = monotonic() + _SHARE

    def _cancelled(self, slot: Slot, error: asyncio.CancelledError, now: float) -> None:
        entry, reason = slot.entry, slot.reason
        assert entry is not None  # noqa: S101 - for the type checker
        assert slot.task is not None  # noqa: S101
        if isinstance(reason, Back):
            self._ends.back(entry)
        elif reason is not None:
            self._ends.raised(entry, reason, now)
        elif slot.task.cancelling():  # the whole program is ending
            self._ends.back(entry)
            raise error
        else:  # it is the handler's own
            self._ends.raised(entry, JobFailed("it was cancelled from within"), now)

    # -- from outside --------------------------------------------------------------------------------------------

    def _cancel(self, slot: Slot, reason: Exception) -> None:
        if slot.reason is None and slot.entry is not None and slot.task is not None:
            slot.reason = reason
            if slot.job is not None:
                slot.job.cancelled = True
            slot.task.cancel()

    def sweep(self, now: float) -> None:
        """Ends what is overdue, or not ours any more."""
        for slot in list(self._slots):
            if slot.entry is not None:
                batch, _, like = slot.entry[:3]
                if batch.lost:
                    self._cancel(slot, Back())
                elif like.timeout and now - slot.began >= like.timeout:
                    self._cancel(slot, JobTimeout(f"it took longer than {like.timeout:g} s"))

    def cancel(self, ids: set[str]) -> None:
        """Jobs that were removed."""
        for slot in list(self._slots):
            if slot.entry is not None and id_of(slot.entry) in ids:
                self._cancel(slot, JobCancelled("it was removed while it ran"))

    def abandon(self) -> None:
        """All that runs is given back."""
        for slot in list(self._slots):
            self._cancel(slot, Back())

    async def close(self) -> None:
        self._closed = True
        tasks = [slot.task for slot in self._slots if slot.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
