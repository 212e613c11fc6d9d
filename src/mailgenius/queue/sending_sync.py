# Made from sending_async.py by `python -m tools.twin`: edit that one.
"""What is added goes to the server: many jobs in one call, and again until it is known that it came.

Invariants:
- A call returns once the server has the jobs, or raises, and says whether they may be there all the same.
- A call whose reply was lost is repeated with the same number, and the server adds nothing twice.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence
from time import monotonic, time
from typing import Any

import msgspec

from mailgenius.errors import (
    QueueFull,
    RedisOutcomeUnknown,
    RedisRefused,
    RedisTimeout,
    RedisUnavailable,
)
from mailgenius.link import Redis
from mailgenius.queue.base_sync import Base
from mailgenius.queue.frames import head
from mailgenius.queue.options import Options
from mailgenius.queue.policy import Policy
from mailgenius.rt import threads as rt

__all__ = ["AGAIN", "Sending"]

TOGETHER = 512  # jobs of concurrent add() in one call
REMEMBERED = 600_000  # milliseconds that the server knows what it answered a producer
BATCH_REMEMBERED = 86_400_000  # and a batch with a name
_FIRST, _LONGEST = 0.005, 0.5  # seconds between two tries
AGAIN = frozenset({"BUSY", "READONLY", "LOADING", "TRYAGAIN", "MASTERDOWN", "NOREPLICAS"})
_encode = msgspec.msgpack.Encoder().encode


class Sending(Base):
    """The part of a queue that gives jobs to the server."""

    def __init__(
        self, redis: Redis, name: str, policy: Policy | None, timeout: float, unsafe: bool, shard: int = 0
    ) -> None:
        super().__init__(redis, name, policy, timeout, unsafe, shard)
        self._attempt = redis.settings.timeout  # seconds of one try
        self._add, self._put = self._script("add"), self._script("put")
        self._together: rt.Together[str] = rt.Together(self._send, TOGETHER)
        self._puts: rt.Together[tuple[str, bool]] = rt.Together(self._send_puts, TOGETHER)
        self._callers: list[list[Any]] = []  # names of ours that no call is using, each with the number of its calls
        self._heads: dict[str, tuple[int, bytes]] = {}
        self._hurries = False  # another server takes the jobs if it is certain that this one did not
        self._ahead = 0.0  # what the server's clock is ahead of ours, in milliseconds

    # -- one call for many -----------------------------------------------------------------------------------------

    def _send(self, jobs: list[tuple[str, str, bytes]]) -> list[str]:
        """Adds jobs that need but a place; their ids."""
        place, name, _ = jobs[0]
        if all(job[0] == place and job[1] == name for job in jobs):  # most often
            n = len(jobs)
            _, number, first = self._sure(
                self._add, [self.policy.max_waiting, 1, name, n, place, n, *[job[2] for job in jobs]]
            )
            start, at = number.decode() + "-", int(first)
            return [start + str(position) for position in range(at, at + n)]
        names: dict[str, int] = {}
        lanes: dict[str, list[int]] = {}
        for i, (place, name, _) in enumerate(jobs):
            names[name] = names.get(name, 0) + 1
            lanes.setdefault(place, []).append(i)
        args: list[Any] = [self.policy.max_waiting, len(names)]
        for title, count in names.items():
            args += title, count
        for place, members in lanes.items():
            args += place, len(members)
            args += [jobs[i][2] for i in members]
        reply = self._sure(self._add, args)
        ids = [""] * len(jobs)
        at = 1
        for members in lanes.values():
            number, first = reply[at].decode(), int(reply[at + 1])
            for n, i in enumerate(members):
                ids[i] = f"{number}-{first + n}"
            at += 2
        return ids

    def _send_puts(self, jobs: list[tuple[Any, ...]]) -> list[tuple[str, bool]]:
        """Adds jobs that need more; of each its id and whether it is new."""
        args: list[Any] = [self.policy.max_waiting]
        for job in jobs:
            args += job
        reply = self._sure(self._put, args)
        return [(reply[i].decode(), reply[i + 1] == b"1") for i in range(1, len(reply), 2)]

    # -- the outbox ------------------------------------------------------------------------------------------------

    def _write_down(self, connection: Any, jobs: Sequence[tuple[Any, ...]]) -> str:
        """Jobs as ``_send_puts`` takes them, with what makes up their bytes at the end, become part of the caller's own
        transaction; what their ids begin with."""
        key, now = secrets.token_hex(8), self._now_here()
        words: list[Any] = []
        for n, (place, wait, due, *rest, name, options, payload) in enumerate(jobs):
            frame = head(name, options, added_at=now, id=f"{key}-{n}") + payload
            words += place, 0, due or (now + wait if wait else 0), name, *rest, frame
        with connection.cursor() as cursor:
            cursor.execute(
                "insert into mailgenius.outbox (queue, key, jobs) values (%s, %s, %s)",
                (self._written, key, _encode(words)),
            )
        return key

    def take(self, key: str, words: Sequence[Any]) -> None:
        """Adds what ``_write_down`` has written. A key that comes again adds nothing."""
        self._sure(self._put, [0, *words], f"o:{key}")

    def taken(self, keys: Sequence[str], milliseconds: int) -> None:
        """These will not come again; the server may forget them after so long."""
        ends = str(self._now() + milliseconds)
        callers = [word for key in keys for word in (ends, f"o:{key}")]
        self.redis.call("ZADD", self.prefix + "told_ends", "XX", *callers)

    # -- the server ------------------------------------------------------------------------------------------------

    def _server(self) -> str:
        """The server that is to take what comes next, and to put it on its disk; or a later run of it."""
        if not self._checked_durable:
            self.check(durable=True)
        return self._disk.server

    def _synced(self, server: str) -> None:
        """Until what this server has answered is on its disk."""
        deadline = monotonic() + self.timeout
        while True:
            try:
                self._disk.synced(server, deadline)
                return
            except RedisUnavailable as error:
                if self._disk.server != server or monotonic() >= deadline:
                    raise RedisOutcomeUnknown(
                        f"Jobs were added to {self.name!r}; whether they are on the server's disk is not known: {error}"
                    ) from error
            rt.sleep(_FIRST)

    def _sure(self, do: Any, args: Sequence[Any], caller: str = "") -> Any:
        """The reply of a script that adds, which may be called again and again with the same number."""
        own: list[Any] = self._callers.pop() if self._callers and not caller else [caller or secrets.token_hex(8), 0]
        own[1] += 1
        kept = BATCH_REMEMBERED if caller else REMEMBERED
        begun, pause, unknown = monotonic(), _FIRST, False
        while True:
            try:
                if not self._checked:
                    self.check()
                reply = do(self._keys, (self._clock, own[0], own[1], kept, *args), timeout=self._attempt)
                break
            except RedisRefused as error:
                if error.code not in AGAIN:
                    raise
                why: Exception = error
            except RedisUnavailable as error:
                unknown = unknown or isinstance(error, RedisTimeout | RedisOutcomeUnknown)
                why = error
            left = begun + self.timeout - monotonic()
            if left <= 0 or (self._hurries and not unknown):
                if unknown:
                    raise RedisOutcomeUnknown(f"Whether jobs were added to {self.name!r} is not known: {why}") from why
                raise why
            rt.sleep(min(left, random.uniform(pause / 2, pause)))  # noqa: S311 - so that not all come at once
            pause = min(2 * pause, _LONGEST)
        if not caller:
            self._callers.append(own)
        if reply[1] is None:
            raise QueueFull(
                f"{int(reply[2]):,} jobs wait in {self.name!r}, which takes {self.policy.max_waiting:,}: nothing was added."
                " Slow down, or start more workers."
            )
        self._ahead = int(reply[0]) - time() * 1000
        return reply

    def _now_here(self) -> int:
        """The server's clock by our own, in milliseconds since 1970."""
        return int(time() * 1000 + self._ahead)

    def _head(self, name: str, options: Options | None) -> bytes:
        """What stands before the payload; made once a millisecond for jobs that differ in nothing else."""
        now = self._now_here()
        if options is not None:
            return head(name, options, added_at=now)
        made = self._heads.get(name)
        if made is not None and made[0] == now:
            return made[1]
        if len(self._heads) > 1000:
            self._heads.clear()
        text = head(name, None, added_at=now)
        self._heads[name] = (now, text)
        return text
