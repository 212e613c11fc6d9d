"""Changing what becomes of the jobs of all shards."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Literal

from mailgenius.queue.limits import Limit
from mailgenius.queue.options import DEFAULT_PRIORITY, Backoff
from mailgenius.queue.schedule import Schedule
from mailgenius.queue.sharded.adding_async import Adding
from mailgenius.queue.sharded.shard_async import AsyncShard
from mailgenius.queue.shards import share, whole

__all__ = ["Changing"]


class Changing(Adding):
    """The part of a sharded queue that removes, retries, pauses, limits and schedules. What is for all shards is said to
    each; if one of them is away, that raises, and the others have done it: it can be said again."""

    # -- jobs by id ----------------------------------------------------------------------------------------------

    async def remove(self, ids: Iterable[str]) -> dict[str, str]:
        """As ``AsyncQueue.remove``."""
        await self._agree()
        ids = [ids] if isinstance(ids, str) else list(ids)
        states: dict[str, str] = dict.fromkeys(ids, "")
        for shard, inner in self._by_shard(ids):
            states |= {shard.ids + id: state for id, state in (await shard.remove(inner)).items()}
        return states

    async def retry(self, ids: Iterable[str] | None = None, *, reset: bool = True) -> int:
        """As ``AsyncQueue.retry``."""
        await self._agree()
        if ids is None:
            return sum(await self._all([partial(shard.retry, reset=reset) for shard in self.shards]))
        return sum([await shard.retry(inner, reset=reset) for shard, inner in self._by_shard(ids)])

    async def promote(self, ids: Iterable[str]) -> int:
        """As ``AsyncQueue.promote``."""
        await self._agree()
        return sum([await shard.promote(inner) for shard, inner in self._by_shard(ids)])

    # -- the queue and its groups --------------------------------------------------------------------------------

    async def pause(self, group: str = "") -> bool:
        """As ``AsyncQueue.pause``."""
        await self._agree()
        return any(await self._all([partial(shard.pause, group) for shard in self._of(group)]))

    async def resume(self, group: str = "") -> bool:
        """As ``AsyncQueue.resume``."""
        await self._agree()
        return any(await self._all([partial(shard.resume, group) for shard in self._of(group)]))

    async def limit(self, rate: float | None, per: float = 1.0, burst: float | None = None, *, group: str = "") -> None:
        """As ``AsyncQueue.limit``. That of a group is exact, since its jobs are in one shard. That of the queue is divided
        evenly: a shard that has nothing to do leaves its part to nobody, and each may start at least one at once."""
        await self._agree()
        if rate is not None:
            every = Limit(rate, per, max(1.0, rate) if burst is None else burst)
            if not group:
                every = share(every, len(self.shards))
            rate, burst = every.rate, every.burst
        shards = self.shards if group == "*" else self._of(group)
        await self._all([partial(shard.limit, rate, per, burst, group=group) for shard in shards])

    async def limits(self) -> dict[str, Limit]:
        """As ``AsyncQueue.limits``."""
        await self._agree("ask")
        found = await self._all([shard.limits for shard in self.shards])
        together = {group: limit for one in found for group, limit in one.items() if group}
        own = [one[""] for one in found if "" in one]
        return together | ({"": whole(own)} if own else {})

    def _of(self, group: str) -> list[AsyncShard]:
        number = self._home(group)
        return list(self.shards) if number is None else [self.shards[number]]

    # -- many jobs -----------------------------------------------------------------------------------------------

    async def drain(self, delayed: bool = False) -> int:
        """As ``AsyncQueue.drain``."""
        await self._agree()
        return sum(await self._all([partial(shard.drain, delayed) for shard in self.shards]))

    async def clean(
        self, state: Literal["failed", "done", "delayed"], older_than: float = 0.0, limit: int = 1_000_000
    ) -> int:
        """As ``AsyncQueue.clean``: one shard after another."""
        await self._agree()
        count = 0
        for shard in self.shards:
            if count < limit:
                count += await shard.clean(state, older_than, limit - count)
        return count

    # -- schedules -----------------------------------------------------------------------------------------------

    async def schedule(
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
        """As ``AsyncQueue.schedule``. It is kept in the first shard, or in that of its group."""
        await self._agree()
        home = self.shards[self._home(group) or 0]
        changed = await home.schedule(
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
        return any(await self._all(others)) or changed  # it may have had another group

    async def unschedule(self, name: str) -> bool:
        """As ``AsyncQueue.unschedule``."""
        await self._agree()
        return any(await self._all([partial(shard.unschedule, name) for shard in self.shards]))

    async def schedules(self) -> list[Schedule]:
        """As ``AsyncQueue.schedules``."""
        await self._agree("ask")
        found = [one for some in await self._all([shard.schedules for shard in self.shards]) for one in some]
        return sorted(found, key=lambda one: (one.due_at is None, one.due_at, one.name))

    async def tick(self) -> int:
        """As ``AsyncQueue.tick``."""
        await self._agree()
        return sum(await self._all([shard.tick for shard in self.shards]))
