"""What is known of jobs, as values. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from .frames import Frame, UnknownFormat, parse
from .records import failure_of, unpack_done
from .states import StateName

__all__ = [
    "Counts",
    "JobInfo",
    "NameCounts",
    "Page",
    "counted",
    "decoded",
    "error_text",
    "info",
    "info_done",
    "traceback_of",
    "when",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class JobInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it was when it was looked at."""

    id: str
    name: str
    state: StateName
    payload: Any = None  # of a done job only if its worker kept it
    attempts: int = 0  # that have ended
    stalls: int = 0  # times that its worker was gone
    priority: int = 5
    group: str = ""
    added_at: datetime | None = None
    due_at: datetime | None = None  # of a delayed one
    ended_at: datetime | None = None  # of a failed or done one
    took: float = 0.0  # seconds, of a done one
    error: str = ""  # of a failed one
    traceback: str = ""  # and where it was raised, the end of it if that is long
    worker: str = ""  # of an active or done one
    progress: Any = None
    result: Any = None  # if it was to be kept
    log: tuple[str, ...] = ()
    children_left: int = 0  # of a blocked one
    children_failed: int = 0


class Page(msgspec.Struct, frozen=True):
    """Some jobs of a state. ``after``: give this to ``page`` for those that follow; None: these were the last. With a name
    asked for, a page may hold fewer jobs than could be had, and still others follow."""

    jobs: list[JobInfo]
    after: str | None

    def __len__(self) -> int:
        return len(self.jobs)


class NameCounts(msgspec.Struct, frozen=True):
    """How many jobs there have been. One that failed and is retried is not counted as failed any more: what was added has
    ended in one of the other ways, or is ``open``."""

    added: int = 0
    done: int = 0
    failed: int = 0
    removed: int = 0

    @property
    def open(self) -> int:
        """Those that have not ended."""
        return self.added - self.done - self.failed - self.removed


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs there are now, by state, of ended ones (``done``, ``failed``) those that are still kept; and how many
    there have been, by name. ``retried``: attempts that failed and were not the last; ``stalled``: those whose worker
    died."""

    waiting: int
    active: int
    delayed: int
    blocked: int
    failed: int
    done: int
    retried: int
    stalled: int
    paused: bool
    paused_groups: tuple[str, ...]
    names: dict[str, NameCounts]

    @property
    def total(self) -> NameCounts:
        """Of all names together."""
        every = self.names.values()
        return NameCounts(
            sum(one.added for one in every),
            sum(one.done for one in every),
            sum(one.failed for one in every),
            sum(one.removed for one in every),
        )


_unpack = msgspec.msgpack.Decoder().decode


def when(milliseconds: float) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def decoded(data: bytes) -> Any:
    """What msgpack stands for; the bytes themselves if they are something else."""
    if not data:
        return None
    try:
        return _unpack(data)
    except msgspec.DecodeError:
        return data


def error_text(raw: bytes) -> str:
    """Of what ``errors`` holds for a job, as people read it."""
    if not raw:
        return ""
    try:
        found = failure_of(raw)
    except msgspec.MsgspecError:
        return raw.decode(errors="replace")
    return f"{found.type}: {found.message}"


def traceback_of(raw: bytes) -> str:
    """Of the same, if there is one."""
    try:
        return failure_of(raw).traceback if raw else ""
    except msgspec.MsgspecError:
        return ""


def info(id: str, state: StateName, frame: bytes, at: bytes = b"", **more: Any) -> JobInfo:
    """Of a job's bytes. ``at``: when it is due, or failed."""
    if at and state == "delayed":
        more["due_at"] = when(float(at))
    elif at and state == "failed":
        more["ended_at"] = when(float(at))
    try:
        job: Frame = parse(frame)
    except UnknownFormat as error:
        return JobInfo(id=id, name="", state=state, payload=frame, error=more.pop("error", "") or str(error), **more)
    if job.options is not None:
        more["priority"], more["group"] = job.options.priority, job.options.group
    return JobInfo(
        id=id,
        name=job.name,
        state=state,
        payload=decoded(job.payload),
        attempts=job.attempts,
        stalls=job.stalls,
        added_at=when(job.added_at),
        **more,
    )


def info_done(record: bytes, **more: Any) -> JobInfo:
    """Of a worker's record."""
    done = unpack_done(record)
    return JobInfo(
        id=done.id,
        name=done.name,
        state="done",
        payload=decoded(done.payload),
        attempts=done.attempts + 1,
        added_at=when(done.added_at),
        ended_at=when(done.ended_at),
        took=done.took,
        worker=done.worker,
        **more,
    )


def counted(reply: Sequence[Any]) -> Counts:
    """Of replies: HGETALL q, ZCARD delayed, parents, dead, LLEN kept, SMEMBERS paused, HGETALL names."""
    totals, delayed, blocked, failed, done, groups, names = reply
    total = {name.decode(): value for name, value in _pairs(totals)}

    def number(name: str) -> int:
        return int(total.get(name, 0))

    by_name: dict[str, dict[str, int]] = {}
    field = {"a": "added", "d": "done", "x": "failed", "r": "removed"}
    for key, value in _pairs(names):
        by_name.setdefault(key[1:].decode(), {})[field[chr(key[0])]] = int(value)
    return Counts(
        waiting=number("waiting"),
        active=number("active"),
        delayed=delayed,
        blocked=blocked,
        failed=failed,
        done=done,
        retried=number("retried"),
        stalled=number("stalled"),
        paused="paused" in total,
        paused_groups=tuple(sorted(group.decode() for group in groups)),
        names={name: NameCounts(**by_name[name]) for name in sorted(by_name)},
    )


def _pairs(reply: Any) -> list[tuple[bytes, bytes]]:
    """Of a hash, in RESP2 or RESP3."""
    if isinstance(reply, dict):
        return list(reply.items())
    return list(zip(reply[::2], reply[1::2], strict=True))
