# Made from changing_async.py by `python -m tools.twin`: edit that one.
"""Changing what becomes of the jobs of all shards."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Literal

from mailgenius.queue.limits import Limit
from mailgenius.queue.options import DEFAULT_PRIORITY, Backoff
from mailgenius.queue.schedule import Schedule
from mailgenius.queue.sharded.adding_sync import Adding
from mailgenius.queue.sharded.shard_sync import Shard
from mailgenius.queue.shards import share, whole

__all__ = ["Changing"]


class Changing(Adding):
    """The part of a sharded queue that removes, retries, pauses, limits and schedules. What is for all shards is said to
    each; if one of them is away, that raises, and the others have done it: it can be said again."""

    # -- jobs by id ----------------------------------------------------------------------------------------------

    def remove(self, ids: Iterable[str]) -> dict[str, str]:
        """As ``Queue.remove``."""
        self._agree()
        ids = [ids] if isinstance(ids, str) else list(ids)
        states: dict[str, str] = dict.fromkeys(ids, "")
        for shard, inner in self._by_shard(ids):
            states |= {shard.ids + id: state for id, state in (shard.remove(inner)).items()}
        return states

    def retry(self, ids: Iterable[str] | None = None, *, reset: bool = True) -> int:
        """As ``Queue.retry``."""
        self._agree()
        if ids is None:
            return sum(self._all([partial(shard.retry, reset=reset) for shard in self.shards]))
        return sum([shard.retry(inner, reset=reset) for shard, inner in self._by_shard(ids)])

    def promote(self, ids: Iterable[str]) -> int:
        """As ``Queue.promote``."""
        self._agree()
        return sum([shard.promote(inner) for shard, inner in self._by_shard(ids)])

    # -- the queue and its groups --------------------------------------------------------------------------------

    def pause(self, group: str = "") -> bool:
        """As ``Queue.pause``."""
        self._agree()
        return any(self._all([partial(shard.pause, group) for shard in self._of(group)]))

    def resume(self, group: str = "") -> bool:
        """As ``Queue.resume``."""
        self._agree()
        return any(self._all([partial(shard.resume, group) for shard in self._of(group)]))

    def limit(self, rate: float | None, per: float = 1.0, burst: float | None = None, *, group: str = "") -> None:
        """As ``Queue.limit``. That of a group is exact, since its jobs are in one shard. That of the queue is divided
        evenly: a shard that has nothing to do leaves its part to nobody, and each may start at least one at once."""
        self._agree()
        if rate is not None:
            every = Limit(rate, per, max(1.0, rate) if burst is None else burst)
            if not group:
                every = share(every, len(self.shards))
            rate, burst = every.rate, every.burst
        shards = self.shards if group == "*" else self._of(group)
        self._all([partial(shard.limit, rate, per, burst, group=group) for shard in shards])

    def limits(self) -> dict[str, Limit]:
        """As ``Queue.limits``."""
        self._agree("ask")
        found = self._all([shard.limits for shard in self.shards])
        together = {group: limit for one in found for group, limit in one.items() if group}
        own = [one[""] for one in found if "" in one]
        return together | ({"": whole(own)} if own else {})

    def _of(self, group: str) -> list[Shard]:
        number = self._home(group)
        return list(self.shards) if number is None else [self.shards[number]]

    # -- many jobs -----------------------------------------------------------------------------------------------

    def drain(self, delayed: bool = False) -> int:
        """As ``Queue.drain``."""
        self._agree()
        return sum(self._all([partial(shard.drain, delayed) for shard in self.shards]))

    def clean(
        self, state: Literal["failed", "done", "delayed"], older_than: float = 0.0, limit: int = 1_000_000
    ) -> int:
        """As ``Queue.clean``: one shard after another."""
        self._agree()
        count = 0
        for shard in self.shards:
            if count < limit:
                count += shard.clean(state, older_than, limit - count)
        return count

    # -- schedules -----------------------------------------------------------------------------------------------

    def schedule(
        self,
        name: str,
        *,
        job: str,
        payload: Any = None,
        cron: str = "",
        every: float = 0.0,
        tz: str = "UTC",
        priority: int = DEFAULT_PRIORITY,
        group: str = "",
        attempts: int | None = None,
        backoff: Backoff | None = None,
        timeout: float | None = None,
        keep_result: float | None = None,
    ) -> bool:
        """As ``Queue.schedule``. It is kept in the first shard, or in that of its group."""
        self._agree()
        home = self.shards[self._home(group) or 0]
        changed = home.schedule(
            name,
            job=job,
            payload=payload,
            cron=cron,
            every=every,
            tz=tz,
            priority=priority,
            group=group,
            attempts=attempts,
            backoff=backoff,
            timeout=timeout,
            keep_result=keep_result,
        )
        others = [partial(shard.unschedule, name) for shard in self.shards if shard is not home]
        return any(self._all(others)) or changed  # it may have had another group

    def unschedule(self, name: str) -> bool:
        """As ``Queue.unschedule``."""
        self._agree()
        return any(self._all([partial(shard.unschedule, name) for shard in self.shards]))

    def schedules(self) -> list[Schedule]:
        """As ``Queue.schedules``."""
        self._agree("ask")
        found = [one for some in self._all([shard.schedules for shard in self.shards]) for one in some]
        return sorted(found, key=lambda one: (one.due_at is None, one.due_at, one.name))

    def tick(self) -> int:
        """As ``Queue.tick``."""
        self._agree()
        return sum(self._all([shard.tick for shard in self.shards]))
