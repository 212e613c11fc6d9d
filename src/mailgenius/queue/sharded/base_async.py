"""What all parts of a sharded queue have in common: its shards, and how many there are by the server's word."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from time import monotonic
from typing import Literal, TypeVar

from mailgenius.errors import ConfigError, RedisUnavailable
from mailgenius.link import AsyncRedis
from mailgenius.queue.policy import Policy, policy_for
from mailgenius.queue.sharded.shard_async import AsyncShard
from mailgenius.queue.shards import count_of, place, policy_of, share, whole
from mailgenius.rt import aio as rt

__all__ = ["Base"]

_T = TypeVar("_T")
_PAUSE = 0.1  # seconds between two tries
_HELD = ("waiting", "active", "delayed", "blocked", "failed")  # states of jobs that a shard may not take with it


class Base:
    """``shards``: each a queue as others are, in order."""

    def __init__(
        self, redis: AsyncRedis, name: str, shards: int, policy: Policy | None, timeout: float, unsafe: bool
    ) -> None:
        self.redis, self.name, self.timeout = redis, name, timeout
        self.policy = policy_for(name, policy)
        self._unsafe = unsafe
        self.shards = [self._shard(number, shards) for number in range(count_of(shards))]
        self._agreed = False  # the server says that there are as many

    def _shard(self, number: int, shards: int, hurries: bool = False) -> AsyncShard:
        policy = policy_of(self.policy, shards)
        return AsyncShard(
            self.redis, self.name, number, shards, policy, self.timeout, unsafe=self._unsafe, hurries=hurries
        )

    # -- how many ------------------------------------------------------------------------------------------------

    async def check(self, durable: bool = False) -> None:
        """Raises ``ConfigError`` if the queue has another number of shards, or a server may evict or lose jobs, as
        ``AsyncQueue.check`` does. The first call that changes anything does the former."""
        await self._agree(again=True)
        await self._all([partial(shard.check, durable) for shard in self.shards])

    async def configure(self) -> None:
        """As ``AsyncQueue.configure``, of each shard."""
        await self._all([shard.configure for shard in self.shards])

    async def _agree(self, how: Literal["ask", "use"] = "use", *, again: bool = False) -> None:
        """``how``: ``"ask"`` writes nothing down. ``again``: the server may have been told another number meanwhile."""
        if self._agreed and not again:
            return
        found = await self._patiently(partial(self.shards[0]._count_shards, how, len(self.shards)))
        if found and found != len(self.shards):
            raise ConfigError(
                f"$.queue.{self.name}.shards: the queue has {found} on the server, not {len(self.shards)}; give"
                f" shards={found}, or change it there with resize()"
            )
        self._agreed = found > 0

    async def _patiently(self, do: Callable[[], rt.Awaits[_T]]) -> _T:
        """What can be done again. It is tried as long as adding is."""
        deadline = monotonic() + self.timeout
        while True:
            try:
                return await do()
            except RedisUnavailable:
                if monotonic() >= deadline:
                    raise
            await rt.sleep(random.uniform(_PAUSE / 2, _PAUSE))  # noqa: S311 - so that not all come at once

    async def resize(self) -> bool:
        """Says to the server that the queue has as many shards as this object; whether that is anything new.

        To make it larger: call this, then restart workers with the new number, then who adds. Limits and pauses
        hold in the new shards too. Keys (``unique``) and groups of which jobs are still in an old shard may have others in
        a new one: where that matters, let it run empty before.
        To make it smaller: end all who add, let the last shards run empty, and then call this; raises ``ConfigError``
        if they are not.
        """
        count = len(self.shards)
        before = await self.shards[0]._count_shards("ask", count) or count
        for number in range(count, before):
            counts = await self._shard(number, before).counts()
            if left := {state: getattr(counts, state) for state in _HELD if getattr(counts, state)}:
                raise ConfigError(
                    f"$.queue.{self.name}.shards: {count} are too few, as shard {number} still has jobs"
                    f" ({', '.join(f'{n:,} {state}' for state, n in left.items())}); let it run empty before"
                )
        if before < count:
            await self._carry_over(before)
        await self.shards[0]._count_shards("set", count)
        self._agreed = True
        return before != count

    async def _carry_over(self, before: int) -> None:
        """Limits and pauses of ``before`` shards become those of all."""
        old = self.shards[:before]
        limits = [await shard.limits() for shard in old]
        counts = [await shard.counts() for shard in old]
        if all("" in found for found in limits):
            limit = share(whole([found[""] for found in limits]), len(self.shards))
            for shard in self.shards:
                await shard.limit(limit.rate, limit.per, limit.burst)
        for shard in self.shards[before:]:
            for found in limits:
                for group, limit in found.items():
                    if group:
                        await shard.limit(limit.rate, limit.per, limit.burst, group=group)
            for group in {group for one in counts for group in one.paused_groups}:
                await shard.pause(group)
            if all(one.paused for one in counts):
                await shard.pause()

    # -- shards together -----------------------------------------------------------------------------------------

    async def _all(self, calls: Sequence[Callable[[], rt.Awaits[_T]]]) -> list[_T]:
        """What they give, made at once. The error of one keeps no other from being made."""
        found = await rt.together(calls)
        for one in found:
            if isinstance(one, Exception):
                raise one
        return found  # type: ignore[return-value]

    def shard_of(self, id: str) -> tuple[AsyncShard, str]:
        """Where a job is, and its id there."""
        number, inner = place(id, len(self.shards))
        return self.shards[number], inner

    def _by_shard(self, ids: Iterable[str]) -> list[tuple[AsyncShard, list[str]]]:
        found: dict[int, list[str]] = {}
        for id in [ids] if isinstance(ids, str) else ids:
            number, inner = place(id, len(self.shards))
            found.setdefault(number, []).append(inner)
        return [(self.shards[number], inner) for number, inner in found.items()]
