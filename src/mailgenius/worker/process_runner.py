"""Runs plain handlers that need the processor, in processes of their own: as many as the pool has places, made when they
are needed. One whose job is overdue, removed, or not ours any more is killed."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from time import monotonic
from typing import Any

import msgspec

from mailgenius.errors import JobCancelled, JobFailed, JobRetry, JobTimeout
from mailgenius.queue.frames import parse

from .batch import Batch, Entry, id_of
from .ends import Ends, unreadable
from .handlers import define
from .job import Job
from .like import Like
from .pool import Pool
from .states import BEGUN

__all__ = ["ProcessRunner"]


class RemoteError(Exception):
    """An error of another process, whose text is its traceback there."""


class Child:
    """A process, and what it runs."""

    __slots__ = ("began", "entry", "job", "life", "pipe", "process", "reason")

    def __init__(self, process: BaseProcess, pipe: Connection[Any, Any], life: Connection[Any, Any]) -> None:
        self.process, self.pipe, self.life = process, pipe, life
        self.entry: Entry | None = None
        self.job: Job | None = None
        self.began = 0.0
        self.reason: Exception | None = None  # why it was killed; None: it was not


class GivenBack(Exception):
    """Another worker is to run it."""


class ProcessRunner:
    """``ends``: is told what becomes of jobs. ``functions``: by the names of jobs; found by their modules in processes."""

    def __init__(self, pool: Pool, ends: Ends, functions: dict[str, Callable[..., Any]]) -> None:
        self._pool, self._ends, self._functions = pool, ends, functions
        self._loop = asyncio.get_running_loop()
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        self._context: Any = multiprocessing.get_context(method)
        self._free: list[Child] = []
        self._busy: set[Child] = set()
        self._closed = False

    def refresh(self) -> None:
        self._pool.running = len(self._busy)

    def notify(self) -> None:
        """There are jobs."""
        waiting = self._pool.waiting
        while waiting and len(self._busy) < self._pool.limit and not self._closed:
            entry = waiting.popleft()
            batch, index, _, payload, _ = entry
            batch.state[index] = BEGUN
            try:
                child = self._free.pop() if self._free else self._start()
                child.pipe.send_bytes(_order(entry, payload))
            except Exception as error:  # it cannot be started, or died meanwhile
                self._ends.raised(entry, error, monotonic())
                continue
            child.entry, child.began, child.reason = entry, monotonic(), None
            child.job = Job(entry, self._ends.note, None)
            self._busy.add(child)
        self._pool.running = len(self._busy)

    def _start(self) -> Child:
        ours, theirs = self._context.Pipe()
        watched, life = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_serve, args=(theirs, watched, self._functions), daemon=True)
        process.start()
        theirs.close()
        watched.close()
        child = Child(process, ours, life)
        self._loop.add_reader(ours.fileno(), self._heard, child)
        return child

    def _heard(self, child: Child) -> None:
        try:
            kind, value = msgspec.msgpack.decode(child.pipe.recv_bytes(), type=tuple[str, Any])
        except (EOFError, OSError, msgspec.MsgspecError):
            self._died(child)
            return
        entry, job, now = child.entry, child.job, monotonic()
        if entry is None or job is None:
            return
        if kind == "note":
            job.touched = True
            self._ends.note(job.id, *value)
            return
        child.entry = child.job = None
        self._busy.discard(child)
        self._free.append(child)
        if kind == "done":
            self._ends.returned(entry, value, job, now - child.began, now)
        else:
            self._ends.raised(entry, _error(kind, value), now)
        self._next()

    def _died(self, child: Child) -> None:
        self._loop.remove_reader(child.pipe.fileno())
        child.pipe.close()
        child.life.close()
        self._busy.discard(child)
        if child in self._free:
            self._free.remove(child)
        entry, child.entry = child.entry, None
        if entry is not None:
            child.process.join(1.0)
            if isinstance(child.reason, GivenBack):
                self._ends.back(entry)
            else:
                code = child.process.exitcode
                why = child.reason or RuntimeError(f"its process ended while it ran, with exit code {code}")
                self._ends.raised(entry, why, monotonic())
        self._next()

    def _next(self) -> None:
        self.notify()
        self._ends.poke()

    # -- from outside --------------------------------------------------------------------------------------------

    def _kill(self, child: Child, reason: Exception) -> None:
        if child.reason is None:
            child.reason = reason
            child.process.kill()  # and it is heard of when its pipe ends

    def sweep(self, now: float) -> None:
        """Ends what is overdue, or not ours any more."""
        for child in list(self._busy):
            if child.entry is not None:
                batch, _, like = child.entry[:3]
                if batch.lost:
                    self._kill(child, GivenBack())
                elif like.timeout and now - child.began >= like.timeout:
                    self._kill(child, JobTimeout(f"it took longer than {like.timeout:g} s; its process was killed"))

    def cancel(self, ids: set[str]) -> None:
        """Jobs that were removed."""
        for child in list(self._busy):
            if child.job is not None and child.job.id in ids:
                self._kill(child, JobCancelled("it was removed while it ran"))

    def abandon(self) -> None:
        """All that runs is given back."""
        for child in list(self._busy):
            self._kill(child, GivenBack())

    def left(self) -> list[Entry]:
        """What still runs."""
        return [child.entry for child in self._busy if child.entry is not None]

    async def close(self) -> None:
        self._closed = True
        for child in [*self._free, *self._busy]:
            self._loop.remove_reader(child.pipe.fileno())
            child.pipe.close()
            child.life.close()  # at which it ends
        self._free.clear()
        self._busy.clear()


# -- what goes over the pipe: msgpack -----------------------------------------------------------------------------


def _order(entry: Entry, payload: bytes) -> bytes:
    _, _, like, _, frame = entry
    return msgspec.msgpack.encode((like.name, payload, id_of(entry), frame, bool(like.keep_result)))


def _error(kind: str, value: Any) -> BaseException:
    text = value["text"]
    if kind == "unreadable":
        return unreadable(ValueError(text))
    error: BaseException
    if kind == "failed":
        error = JobFailed(text)
    elif kind == "retry":
        error = JobRetry(text, after=value["after"], counts=value["counts"])
    else:
        error = type(value["type"], (RemoteError,), {})(text)
    error.__cause__ = RemoteError(value["trace"])
    return error


def _serve(pipe: Connection[Any, Any], life: Connection[Any, Any], functions: dict[str, Callable[..., Any]]) -> None:
    """A child's whole life. Signals that are for the worker reach it too: it ends when the worker lets it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_watch, args=(life,), daemon=True).start()
    handlers = {name: define(name, function) for name, function in functions.items()}
    sending = threading.Lock()

    def answer(kind: str, value: Any) -> None:
        message = msgspec.msgpack.encode((kind, value))
        with sending:
            pipe.send_bytes(message)

    def note(id: str, kind: str, what: bytes) -> None:
        answer("note", (kind, what))

    while True:
        try:
            order = msgspec.msgpack.decode(pipe.recv_bytes(), type=tuple[str, bytes, str, bytes, bool])
        except (EOFError, OSError):
            return
        name, payload, id, frame, keep = order
        handler = handlers[name]
        try:
            value = handler.decode(payload)
        except msgspec.MsgspecError as error:
            answer("unreadable", {"text": str(error)})
            continue
        try:
            if handler.takes_job:
                like = Like(msgspec.structs.replace(parse(frame), id=id), handler, Pool(1), b"")
                result = handler.function(
                    value, Job((Batch(b"0", "", 0, 0, bytearray()), 0, like, b"", frame), note, None)
                )
            else:
                result = handler.function(value)
            answer("done", result if keep else None)
        except BaseException as error:
            answer(*_told(error))


def _told(error: BaseException) -> tuple[str, dict[str, Any]]:
    found: dict[str, Any] = {
        "type": type(error).__name__,
        "text": str(error),
        "trace": "".join(traceback.format_exception(error)),
    }
    if isinstance(error, JobRetry):
        return "retry", found | {"after": error.after, "counts": error.counts}
    return "failed" if isinstance(error, JobFailed) else "error", found


def _watch(life: Connection[Any, Any]) -> None:
    """Ends with the worker: its jobs are somebody else's then."""
    with suppress(EOFError, OSError):
        life.recv_bytes()
    os._exit(1)
