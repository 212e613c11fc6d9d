# Made from queue_hand_async.py by `python -m tools.twin`: edit that one.
"""A worker by hand: leases jobs of a queue and says what became of them, step by step."""

from __future__ import annotations

from typing import Any

import msgspec

from mailgenius import Redis
from mailgenius.queue.frames import Frame, parse
from mailgenius.queue.names import prefix
from mailgenius.queue.options import lane
from mailgenius.queue.records import DoneRecord, Failure, pack_done, pack_failure
from mailgenius.queue.scripts import script

__all__ = ["Hand", "Leased"]

_encode = msgspec.msgpack.encode
AT = 1_700_000_000_000


class Leased(msgspec.Struct):
    """A job that is being worked on."""

    id: str
    frame: Frame
    data: bytes
    token: bytes
    index: int  # in its chunk

    @property
    def payload(self) -> Any:
        return msgspec.msgpack.decode(self.frame.payload)


class Hand:
    """One of the workers of a queue."""

    def __init__(self, redis: Redis, queue: str, name: str = "hand", shard: int = 0) -> None:
        self.redis, self.name = redis, name
        self.prefix = prefix(queue, shard)
        self.calls = 0
        self.cron = False  # as the last call said
        self.due = -1

    def run(self, name: str, *args: Any) -> Any:
        return self.redis.script(script(name))((self.prefix + "q",), ("", self.name, *args))

    def lease(self, want: int = 100, milliseconds: int = 30_000) -> list[Leased]:
        """The next jobs, of up to 16 lanes."""
        self.calls += 1
        reply = self.run("work", self.calls, self.calls, want, milliseconds, 1, 0, 100)
        self.due, self.cron = int(reply[1]), bool(int(reply[3]))
        found: list[Leased] = []
        at = 5
        while at < len(reply):
            token, number, _, first, count = reply[at : at + 5]
            lease = []
            for i, data in enumerate(reply[at + 5 : at + 5 + count], int(first)):
                if data:
                    frame = parse(data)
                    lease.append(Leased(frame.id or f"{number.decode()}-{i}", frame, data, token, i % 1024))
            if len(lease) < count:  # with places of removed jobs there is nothing to do
                left = b"".join(job.index.to_bytes(2, "big") for job in lease)
                self.calls += 1
                self.run("work", self.calls, self.calls, 0, milliseconds, 1, 1, token, left, "", 0, 100)
            found += lease
            at += 5 + count
        return found

    def done(self, *jobs: Leased, result: Any = None, keep: int = 0) -> None:
        for job in jobs:
            record = pack_done(DoneRecord(job.id, job.frame.name, 0, AT, AT, 0.5, self.name, job.frame.payload))
            self._settle(job, "done", job.id, job.frame.name, keep, _encode(result), record)

    def failed(self, *jobs: Leased, why: str = "no") -> None:
        """For good."""
        for job in jobs:
            error = pack_failure(Failure("ValueError", why, "", 1, self.name, AT))
            self._settle(job, "dead", job.id, job.frame.name, error, self._lane(job), job.data)

    def later(self, job: Leased, milliseconds: int) -> None:
        """It is tried again."""
        self._settle(job, "retry", job.id, job.frame.name, milliseconds, self._lane(job), job.data)

    def all(self) -> list[Any]:
        """Does all that wait; their payloads."""
        payloads = []
        while jobs := self.lease():
            payloads += [job.payload for job in jobs]
            self.done(*jobs)
        return payloads

    def _lane(self, job: Leased) -> str:
        options = job.frame.options
        return "5" if options is None else lane(options.priority, options.group)

    def _settle(self, job: Leased, kind: str, *rest: Any) -> None:
        reply = self.run("settle", job.token, 1000, job.index, kind, *rest)
        assert reply[1] == 1, "the lease is lost"
