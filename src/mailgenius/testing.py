"""For the tests of programs that use mailgenius: queues without Redis, a clock that stands still, servers to throw away.

An inline queue takes jobs as a real one does, through the same code: options are checked, payloads become the same bytes.
It runs them in this process when it is told to, with the worker's own handlers, retries and pauses.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Literal, NoReturn, cast

import msgspec

from mailgenius.config import RedisSettings
from mailgenius.errors import ConfigError, JobFailed, QueueFull
from mailgenius.queue import Added, AsyncQueue, Policy, Queue
from mailgenius.queue.frames import parse
from mailgenius.queue.options import Options
from mailgenius.queue.policy import policy_for
from mailgenius.worker import Job, Worker
from mailgenius.worker.batch import Batch, Entry
from mailgenius.worker.ends import unreadable
from mailgenius.worker.handlers import Handler
from mailgenius.worker.like import Like
from mailgenius.worker.pool import Pool
from mailgenius.worker.verdict import Retry, verdict

__all__ = [
    "ANYTHING",
    "AsyncInlineQueue",
    "FakeClock",
    "InlineJob",
    "InlineQueue",
    "assert_enqueued",
    "throwaway_postgres",
    "throwaway_redis",
]

ANYTHING: Any = type("Anything", (), {"__repr__": lambda self: "ANYTHING", "__eq__": lambda self, other: True})()
_MOST = 10_000  # jobs that one run_jobs() runs: then something adds or retries for ever
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class FakeClock:
    """Stands still until ``advance(seconds)``."""

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self.now = now

    def advance(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError(f"a clock goes forward, not by {seconds} s")
        self.now += timedelta(seconds=seconds)

    def __repr__(self) -> str:
        return f"<FakeClock {self.now.isoformat()}>"


class InlineJob(msgspec.Struct, kw_only=True, dict=True):
    """A job of an inline queue, with what became of it. ``error``: what its last attempt raised."""

    id: str
    name: str
    payload: Any
    options: Options
    added_at: datetime
    due_at: datetime
    state: Literal["waiting", "delayed", "active", "done", "failed"] = "waiting"
    attempts: int = 0
    result: Any = None
    error: BaseException | None = None
    progress: Any = None
    log: list[str] = []


class _NoRedis:
    """Where a real queue has its connection."""

    settings = RedisSettings()

    def script(self, text: str) -> Callable[..., NoReturn]:
        return self._missing

    def __getattr__(self, name: str) -> NoReturn:
        self._missing()

    def _missing(self, *words: object, **more: object) -> NoReturn:
        raise NotImplementedError("an inline queue has no Redis: it takes and runs jobs; for more use a real queue")


class _Jobs:
    """What both inline queues have: jobs, a clock, and what is next."""

    def __init__(self, name: str, policy: Policy, worker: Worker | None, clock: FakeClock) -> None:
        self.name, self.policy, self.clock = name, policy, clock
        self.every: list[InlineJob] = []
        self.handlers: dict[str, Handler] = {} if worker is None else worker._handlers
        self._frames: dict[str, bytes] = {}
        self._unique: dict[str, tuple[InlineJob, datetime | None]] = {}
        self._batches: dict[str, list[str]] = {}
        self._numbers = count()

    def add(self, frame: bytes, due: datetime | None = None) -> InlineJob:
        self._room(1)
        parsed = parse(frame)
        job = InlineJob(
            id=f"{(parsed.options or Options()).priority}-{next(self._numbers)}",
            name=parsed.name,
            payload=_decode(parsed.payload),
            options=parsed.options or Options(),
            added_at=self.clock.now,
            due_at=due or self.clock.now,
        )
        job.state = "delayed" if job.due_at > self.clock.now else "waiting"
        self._frames[job.id] = frame
        self.every.append(job)
        return job

    def put(self, words: tuple[Any, ...]) -> tuple[str, bool]:
        """What put.lua does."""
        _, wait, at, _, key, window, _, _, keep, frame = words
        now = self.clock.now
        if key and key in self._unique:
            other, until = self._unique[key]
            if (until is not None and until > now) or (until is None and other.state not in ("done", "failed")):
                if keep == "keep" or other.state != "delayed":
                    return other.id, False
                self.every.remove(other)
        due = datetime.fromtimestamp(at / 1000, UTC) if at else now + timedelta(milliseconds=wait)
        job = self.add(frame, due)
        if key:
            self._unique[key] = job, now + timedelta(milliseconds=window) if window else None
        return job.id, True

    def put_many(self, frames: Sequence[bytes], batch: str) -> list[str]:
        if batch and batch in self._batches:
            return self._batches[batch]
        self._room(len(frames))
        ids = [self.add(frame).id for frame in frames]
        if batch:
            self._batches[batch] = ids
        return ids

    def reply(self, args: Sequence[Any], batch: str) -> list[Any]:
        """What add.lua says to ``add_many``."""
        lane, _, first = self.put_many(args[6:], batch)[0].partition("-")
        return [0, lane.encode(), int(first)]

    def _room(self, more: int) -> None:
        waiting = sum(job.state in ("waiting", "delayed") for job in self.every)
        if 0 < self.policy.max_waiting < waiting + more:
            raise QueueFull(f"{waiting:,} jobs wait in {self.name!r}, which takes {self.policy.max_waiting:,}")

    def next(self) -> InlineJob | None:
        """What is to be run now, by priority, then age."""
        due = [job for job in self.every if job.state in ("waiting", "delayed") and job.due_at <= self.clock.now]
        return min(due, key=lambda job: (job.options.priority, job.due_at), default=None)

    def skip(self) -> bool:
        """Goes on to the time at which the next job is due; False: there is none."""
        due = [job.due_at for job in self.every if job.state == "delayed"]
        if not due:
            return False
        self.clock.now = max(self.clock.now, min(due))
        return True

    def begin(self, job: InlineJob) -> tuple[Handler, tuple[Any, ...]]:
        """The handler of a job, and its arguments. Raises what makes the attempt a failed one."""
        job.state = "active"
        handler = self.handlers.get(job.name)
        if handler is None:
            raise JobFailed(f"there is no handler for {job.name!r}")
        frame = parse(self._frames[job.id])
        frame.id, frame.attempts = job.id, job.attempts
        try:
            value = handler.decode(frame.payload)
        except msgspec.MsgspecError as error:
            raise unreadable(error) from error
        if not handler.takes_job:
            return handler, (value,)
        raw = bytearray(self._frames[job.id])
        raw[3:9] = int(job.added_at.timestamp() * 1000).to_bytes(6, "big")
        batch = Batch(b"0", "0", 0, 1, bytearray(1))
        entry: Entry = (batch, 0, Like(frame, handler, Pool(1), b""), frame.payload, bytes(raw))

        def note(id: str, kind: str, what: bytes) -> None:
            if kind == "progress":
                job.progress = _decode(what)
            else:
                job.log.append(what.decode())

        return handler, (value, Job(entry, note, None))

    def returned(self, job: InlineJob, result: Any) -> None:
        try:
            job.result = _decode(_encode(result))
        except (TypeError, ValueError, OverflowError) as error:
            handler = self.handlers[job.name]
            if job.options.keep_result or handler.keep_result:
                self.raised(job, JobFailed(f"what it returned cannot be kept as msgpack: {error}"))
                return
        job.attempts += 1
        job.state, job.error = "done", None

    def raised(self, job: InlineJob, error: Exception) -> None:
        decided = verdict(error, job.attempts, job.options, self.policy, 0.5)  # 0.5: no jitter
        job.error = error
        if isinstance(decided, Retry):
            job.attempts += decided.counts
            job.due_at = self.clock.now + timedelta(seconds=decided.after)
            job.state = "delayed" if decided.after else "waiting"
        else:
            job.attempts += 1
            job.state = "failed"


def _jobs_of(worker: Worker | None, name: str, policy: Policy | None, clock: FakeClock | None) -> _Jobs:
    if worker is not None:
        given = worker._given
        name = name or (given if isinstance(given, str) else given.name)
        policy = policy or (None if isinstance(given, str) else given.policy)
    if not name:
        raise ConfigError("$.testing: give a worker, or the name of the queue")
    return _Jobs(name, policy_for(name, policy), worker, clock or FakeClock())


def _endless() -> NoReturn:
    raise AssertionError(f"{_MOST:,} jobs were run and there are still more: something adds or retries for ever")


class InlineQueue(Queue):
    """``InlineQueue(worker)``, for code that is given a ``Queue``. ``at_once``: a job that is due runs within ``add``; else
    jobs wait for ``run_jobs()``. Without a worker it takes jobs and runs none. ``name``, ``policy``: those of the worker's
    queue if left out. Timeouts, limits, pauses, groups and ``connection`` mean nothing here."""

    def __init__(
        self,
        worker: Worker | None = None,
        *,
        name: str = "",
        policy: Policy | None = None,
        clock: FakeClock | None = None,
        at_once: bool = False,
    ) -> None:
        self._jobs = _jobs_of(worker, name, policy, clock)
        self.clock, self.at_once = self._jobs.clock, at_once
        super().__init__(cast("Any", _NoRedis()), self._jobs.name, policy=self._jobs.policy, unsafe=True)

    @property
    def jobs(self) -> list[InlineJob]:
        """All that were added, in that order."""
        return list(self._jobs.every)

    def run_jobs(self, *, advance: bool = False) -> list[InlineJob]:
        """Runs the jobs that are due, and those that they add; each once for each time that it was run. ``advance``: puts
        the clock forward until nothing is left, delayed or to be tried again. Async handlers run in an event loop of their
        own. What they raise is kept as ``error`` of the job."""
        ran: list[InlineJob] = []
        while True:
            job = self._jobs.next()
            if job is not None:
                self._run(job)
                ran.append(job)
                if len(ran) >= _MOST:
                    _endless()
            elif not advance or not self._jobs.skip():
                return ran

    def _run(self, job: InlineJob) -> None:
        try:
            handler, words = self._jobs.begin(job)
            result = handler.function(*words)
            if handler.kind == "loop":
                result = asyncio.run(result)
        except Exception as error:
            self._jobs.raised(job, error)
        else:
            self._jobs.returned(job, result)

    def add(self, name: str, payload: Any = None, **options: Any) -> str:
        """As ``Queue.add``."""
        id = super().add(name, payload, **options | {"connection": None})
        if self.at_once:
            self.run_jobs()
        return id

    def add_many(self, name: str, payloads: Iterable[Any], **options: Any) -> Added:
        """As ``Queue.add_many``."""
        added = super().add_many(name, payloads, **options | {"connection": None})
        if self.at_once:
            self.run_jobs()
        return added

    # -- what a real queue sends to its server -------------------------------------------------------------------

    def _send(self, jobs: list[tuple[str, str, bytes]]) -> list[str]:
        return self._jobs.put_many([frame for _, _, frame in jobs], "")

    def _send_puts(self, jobs: list[tuple[Any, ...]]) -> list[tuple[str, bool]]:
        return [self._jobs.put(job) for job in jobs]

    def _sure(self, do: Any, args: Sequence[Any], caller: str = "") -> Any:
        return self._jobs.reply(args, caller)

    def _server(self) -> str:
        return ""

    def _synced(self, server: str) -> None:
        return None

    def __repr__(self) -> str:
        return f"<InlineQueue {self.name!r}: {len(self._jobs.every)} jobs>"


class AsyncInlineQueue(AsyncQueue):
    """The same for code that is given an ``AsyncQueue``; async handlers run in the test's own event loop."""

    def __init__(
        self,
        worker: Worker | None = None,
        *,
        name: str = "",
        policy: Policy | None = None,
        clock: FakeClock | None = None,
        at_once: bool = False,
    ) -> None:
        self._jobs = _jobs_of(worker, name, policy, clock)
        self.clock, self.at_once = self._jobs.clock, at_once
        super().__init__(cast("Any", _NoRedis()), self._jobs.name, policy=self._jobs.policy, unsafe=True)

    @property
    def jobs(self) -> list[InlineJob]:
        """All that were added, in that order."""
        return list(self._jobs.every)

    async def run_jobs(self, *, advance: bool = False) -> list[InlineJob]:
        """As ``InlineQueue.run_jobs``."""
        ran: list[InlineJob] = []
        while True:
            job = self._jobs.next()
            if job is not None:
                await self._run(job)
                ran.append(job)
                if len(ran) >= _MOST:
                    _endless()
            elif not advance or not self._jobs.skip():
                return ran

    async def _run(self, job: InlineJob) -> None:
        try:
            handler, words = self._jobs.begin(job)
            result = handler.function(*words)
            if handler.kind == "loop":
                result = await result
        except Exception as error:
            self._jobs.raised(job, error)
        else:
            self._jobs.returned(job, result)

    async def add(self, name: str, payload: Any = None, **options: Any) -> str:
        """As ``AsyncQueue.add``."""
        id = await super().add(name, payload, **options | {"connection": None})
        if self.at_once:
            await self.run_jobs()
        return id

    async def add_many(self, name: str, payloads: Iterable[Any], **options: Any) -> Added:
        """As ``AsyncQueue.add_many``."""
        added = await super().add_many(name, payloads, **options | {"connection": None})
        if self.at_once:
            await self.run_jobs()
        return added

    async def _send(self, jobs: list[tuple[str, str, bytes]]) -> list[str]:
        return self._jobs.put_many([frame for _, _, frame in jobs], "")

    async def _send_puts(self, jobs: list[tuple[Any, ...]]) -> list[tuple[str, bool]]:
        return [self._jobs.put(job) for job in jobs]

    async def _sure(self, do: Any, args: Sequence[Any], caller: str = "") -> Any:
        return self._jobs.reply(args, caller)

    async def _server(self) -> str:
        return ""

    async def _synced(self, server: str) -> None:
        return None

    def __repr__(self) -> str:
        return f"<AsyncInlineQueue {self.name!r}: {len(self._jobs.every)} jobs>"


# -- what was added ------------------------------------------------------------------------------------------------


def assert_enqueued(
    queue: InlineQueue | AsyncInlineQueue,
    name: str,
    payload: Any = ANYTHING,
    *,
    times: int | None = None,
    where: Callable[[InlineJob], bool] = lambda job: True,
) -> list[InlineJob]:
    """The jobs of this name that were added, whatever became of them; at least one, or exactly ``times``, else
    ``AssertionError``. ``payload``: which they have, as a handler gets it untyped (a struct equals its dict). ``where``:
    more to ask of them, such as ``lambda job: job.options.priority == 1``."""
    wanted = payload if payload is ANYTHING else _decode(_encode(payload))
    named = [job for job in queue.jobs if job.name == name]
    found = [job for job in named if (wanted is ANYTHING or job.payload == wanted) and where(job)]
    if (found and times is None) or times == len(found):
        return found
    how = "" if payload is ANYTHING else f" with the payload {wanted!r}"
    others = "\n".join(f"  {job.name} {job.payload!r}" for job in (named or queue.jobs)[:20]) or "  nothing"
    expected = "none" if times is None else f"{len(found)}, not {times},"
    raise AssertionError(f"of {name!r}{how} {expected} in {queue.name!r}; there are\n{others}")


# -- real servers --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def throwaway_redis() -> Iterator[str]:
    """The URL of a new, empty Valkey of its own, which is gone at the end. It starts in some tenths of a second."""
    from mailgenius.servers import valkey

    with tempfile.TemporaryDirectory(prefix="mg-", ignore_cleanup_errors=True) as folder, valkey(folder) as server:
        yield server.url


@contextlib.contextmanager
def throwaway_postgres() -> Iterator[str]:
    """The connection string of a new PostgreSQL of its own with mailgenius' schema, which is gone at the end. It starts in
    one or two seconds and keeps nothing over a crash."""
    from mailgenius.leads import migrate
    from mailgenius.pool import Pool
    from mailgenius.servers import postgres

    with (
        tempfile.TemporaryDirectory(prefix="mg-", ignore_cleanup_errors=True) as folder,
        postgres(folder, settings={"fsync": "off"}) as server,
    ):
        with Pool(server.dsn, min_size=0, max_size=1) as pool:
            migrate(pool)
        yield server.dsn
