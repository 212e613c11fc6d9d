"""What is kept of jobs that ended, as bytes: records of done ones, errors of those that failed. Pure."""

from __future__ import annotations

import msgspec

__all__ = ["DoneRecord", "Failure", "failure_of", "pack_done", "pack_failure", "unpack_done"]


class DoneRecord(msgspec.Struct, frozen=True, array_like=True):
    """Times are milliseconds since 1970, ``took`` is seconds."""

    id: str
    name: str
    attempts: int  # that failed before
    added_at: int
    ended_at: int
    took: float
    worker: str
    payload: bytes  # msgpack; empty if it was longer than 16 KiB


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """Why a job failed. ``at``: milliseconds since 1970."""

    type: str
    message: str
    traceback: str
    attempts: int  # with this one
    worker: str
    at: int


_encode = msgspec.msgpack.Encoder().encode
_done = msgspec.msgpack.Decoder(DoneRecord).decode
_failure = msgspec.msgpack.Decoder(Failure).decode
_STALLED = 1  # leases.lua: its worker died, and is named after it
_CHILDREN = 2  # dead.lua: how many of its children failed


def pack_done(record: DoneRecord) -> bytes:
    return _encode(record)


def unpack_done(data: bytes) -> DoneRecord:
    return _done(data)


def pack_failure(failure: Failure) -> bytes:
    return _encode(failure)


def failure_of(data: bytes) -> Failure:
    """Of what ``errors`` holds for a job."""
    if data[:1] == bytes((_STALLED,)):
        worker = data[1:].decode("utf-8", "replace")
        return Failure("Stalled", "its worker died while it ran, too many times", "", 0, worker, 0)
    if data[:1] == bytes((_CHILDREN,)):
        return Failure("ChildrenFailed", f"{data[1:].decode()} of its children failed", "", 0, "", 0)
    return _failure(data)
