# Made from changes_async.py by `python -m tools.twin`: edit that one.
"""Changing what becomes of jobs. Every call to the server is bounded, however many jobs it takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from mailgenius.errors import ConfigError
from mailgenius.queue.base_sync import Base
from mailgenius.queue.frames import UnknownFormat, fresh, parse
from mailgenius.queue.limits import Limit
from mailgenius.queue.options import Options, lane
from mailgenius.queue.records import unpack_done

__all__ = ["Changes"]

PART = 20  # jobs of one call by their ids, up to 25 µs each: the server does nothing else meanwhile
OLDEST = 40  # jobs of one call that forgets them
_PRIORITIES = "0123456789A"


class Changes(Base):
    """The part of a queue that removes, retries, pauses and limits."""

    # -- jobs by id ----------------------------------------------------------------------------------------------

    def remove(self, ids: Iterable[str]) -> dict[str, str]:
        """Takes jobs out of the queue, and forgets what was kept of ended ones; of each the state that it was in, ``""``
        if it was done or there was none. One that is being worked on (``"active"``) is cancelled by its worker: soon,
        not yet. A removed child counts as failed for its parent."""
        states: dict[str, str] = {}
        for part in _parts(ids):
            found = self._do("remove", *part)
            states |= {id: state.decode() for id, state in zip(part, found, strict=True)}
        return states

    def retry(self, ids: Iterable[str] | None = None, *, reset: bool = True) -> int:
        """Lets failed jobs (all of them if left out) start anew; how many. ``reset``: with as many attempts as a new job,
        else with those that it has left, at least one."""
        if ids is not None:
            return sum([self._retry(part, reset) for part in _parts(ids)])
        begun, count = self._now(), 0
        key = self.prefix + "dead"
        while part := self.redis.call("ZRANGEBYSCORE", key, "-inf", begun, "LIMIT", 0, PART):
            retried = self._retry([id.decode() for id in part], reset)
            if not retried:
                break  # another one was faster
            count += retried
        return count

    def _retry(self, ids: list[str], reset: bool) -> int:
        args: list[Any] = []
        for id, record in zip(ids, self.redis.call("HMGET", self.prefix + "jobs", *ids), strict=True):
            if record is None:
                continue
            frame = record.partition(b"\n")[2]
            try:
                options = parse(frame).options or Options()
            except UnknownFormat:  # its bytes are left alone: a newer worker may know them
                args += id, "", ""
            else:
                args += id, lane(options.priority, options.group), fresh(frame) if reset else ""
        return int(self._do("again", "failed", *args)) if args else 0

    def promote(self, ids: Iterable[str]) -> int:
        """Lets delayed jobs start now; how many."""
        count = 0
        for part in _parts(ids):
            args: list[str] = []
            for id in part:
                args += id, "", ""
            count += self._do("again", "delayed", *args)
        return count

    # -- the queue and its groups --------------------------------------------------------------------------------

    def pause(self, group: str = "") -> bool:
        """From now on no job of the queue, or of a group of it, is started; whether that changed anything. Those that are
        being worked on go on, and new ones can be added."""
        return bool(self._do("pause", "pause", _group(group)))

    def resume(self, group: str = "") -> bool:
        """Ends a pause; whether there was one."""
        return bool(self._do("pause", "resume", _group(group)))

    def limit(self, rate: float | None, per: float = 1.0, burst: float | None = None, *, group: str = "") -> None:
        """Starts at most ``rate`` jobs in ``per`` seconds, of the queue; of a group, such as a domain; or of each group
        that has no limit of its own (``group="*"``). ``burst``: most at once after a pause; ``rate`` if left out. A rate of
        None ends the limit. It counts at once, for all workers. Raises ``ConfigError``."""
        text = "" if rate is None else Limit(rate, per, max(1.0, rate) if burst is None else burst).text
        while self._do("limit", _group(group, "*"), text):
            pass

    def limits(self) -> dict[str, Limit]:
        """The rate limits by group; ``""`` is that of the queue, ``"*"`` that of each group."""
        found = self.redis.call("HGETALL", self.prefix + "limits")
        pairs = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
        return {group.decode(): Limit.of(text) for group, text in pairs}

    # -- many jobs -----------------------------------------------------------------------------------------------

    def drain(self, delayed: bool = False) -> int:
        """Removes the jobs that wait, and with ``delayed`` those that wait for their time; how many. Those that are being
        worked on stay, and those that are added meanwhile may."""
        rings = [("LRANGE", f"{self.prefix}ring:{priority}", 0, -1) for priority in _PRIORITIES]
        *lanes, waiting = self.redis.calls(
            [*rings, ("ZRANGE", self.prefix + "held", 0, -1), ("HGET", self.prefix + "q", "waiting")]
        )
        count, most = 0, int(waiting or 0)
        for number in {number for numbers in lanes for number in numbers}:
            more = 1
            while more and count < most:
                removed, more = self._do("drain", number)
                count += removed
        if delayed:
            count += self.clean("delayed")
        return count

    def clean(
        self, state: Literal["failed", "done", "delayed"], older_than: float = 0.0, limit: int = 1_000_000
    ) -> int:
        """Forgets failed or done jobs, or removes delayed ones, the oldest first; how many. ``older_than``: seconds since
        they ended; a delayed one's age does not count, so that all are removed. Raises ``ConfigError``."""
        if state not in ("failed", "done", "delayed"):
            raise ConfigError(
                f"$.queue.clean.state: {state!r} is none of failed, done, delayed; drain() is for waiting ones"
            )
        before = self._now() - round(older_than * 1000)
        if state == "done":
            return self._clean_done(before, limit)
        count = 0
        until = "+inf" if state == "delayed" else before
        while count < limit:
            part = min(OLDEST, limit - count)
            cleaned = self._do("clean", state, until, part)
            count += cleaned
            if cleaned < part:
                break
        return count

    def _clean_done(self, before: int, limit: int) -> int:
        """They are few: as many as the policy keeps."""
        while True:
            records = self.redis.call("LRANGE", self.prefix + "kept", -limit, -1)
            old = [record for record in records if unpack_done(record).ended_at <= before]
            if not old:
                return 0
            # All that are at least as old as the newest of these.
            count = len(records) - int(records.index(old[0]))
            if self._do("clean", "done", count, old[0]) >= 0:
                return count


def _parts(ids: Iterable[str]) -> Iterator[list[str]]:
    """One id is taken for a list of it."""
    every = [ids] if isinstance(ids, str) else list(ids)
    for at in range(0, len(every), PART):
        yield every[at : at + PART]


def _group(group: str, also: str = "") -> str:
    if group and group != also:
        lane(1, group)  # raises if it is none
    return group
