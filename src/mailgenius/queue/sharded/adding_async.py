"""Adding jobs to shards. What has something in common that a shard must know of (a key, a group, a flow) goes to one; what
has not goes to each in turn, past those that are away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Any, TypeVar

import msgspec

from mailgenius.errors import ConfigError, QueueFull, RedisOutcomeUnknown, RedisRefused, RedisTimeout, RedisUnavailable
from mailgenius.link import AsyncRedis
from mailgenius.queue.added import Added
from mailgenius.queue.flows_async import PART as STEPS
from mailgenius.queue.options import DEFAULT_PRIORITY, Backoff
from mailgenius.queue.policy import Policy
from mailgenius.queue.producer_async import PART, parts
from mailgenius.queue.sending_async import AGAIN
from mailgenius.queue.sharded.base_async import Base
from mailgenius.queue.sharded.shard_async import AsyncShard
from mailgenius.queue.shards import home, part
from mailgenius.queue.step import Flow, Step, StepLike, steps, unfolded
from mailgenius.rt import aio as rt

__all__ = ["Adding"]

AWAY = 1.0  # seconds that a shard is passed over which could not take jobs
_T = TypeVar("_T")


class Adding(Base):
    """The part of a sharded queue that adds."""

    def __init__(
        self, redis: AsyncRedis, name: str, shards: int, policy: Policy | None, timeout: float, unsafe: bool
    ) -> None:
        super().__init__(redis, name, shards, policy, timeout, unsafe)
        self._hurried = [self._shard(number, shards, hurries=True) for number in range(shards)]
        self._away = [0.0] * shards  # until when it is passed over
        self._turn = 0

    async def add(
        self,
        name: str,
        payload: Any = None,
        *,
        delay: float = 0.0,
        at: datetime | None = None,
        priority: int = DEFAULT_PRIORITY,
        group: str = "",
        attempts: int | None = None,
        backoff: Backoff | None = None,
        timeout: float | None = None,
        keep_result: float | None = None,
        unique: str = "",
        unique_for: float | None = None,
        replace: bool = False,
        trace: str = "",
        durable: bool = False,
        connection: Any = None,
    ) -> str:
        """As ``AsyncQueue.add``. Jobs of a group are in one shard, and so are those of a ``unique`` key that have no group;
        a key counts within its group. All others go to each shard in turn."""

        def add(shard: AsyncShard) -> rt.Awaits[str]:
            return shard.add(
                name,
                payload,
                delay=delay,
                at=at,
                priority=priority,
                group=group,
                attempts=attempts,
                backoff=backoff,
                timeout=timeout,
                keep_result=keep_result,
                unique=unique,
                unique_for=unique_for,
                replace=replace,
                trace=trace,
                durable=durable,
                connection=connection,
            )

        number = self._home(group, unique)
        if connection is not None:
            number = self._next()[0] if number is None else number
            return self.shards[number].ids + await add(self.shards[number])
        await self._agree()
        if number is not None:
            return self.shards[number].ids + await add(self.shards[number])
        shard, id = await self._anywhere(add)
        return shard.ids + id

    async def add_many(
        self,
        name: str,
        payloads: Iterable[Any],
        *,
        priority: int = DEFAULT_PRIORITY,
        group: str = "",
        attempts: int | None = None,
        backoff: Backoff | None = None,
        timeout: float | None = None,
        keep_result: float | None = None,
        trace: str = "",
        batch: str = "",
        then: StepLike | None = None,
        durable: bool = False,
        connection: Any = None,
    ) -> Added:
        """As ``AsyncQueue.add_many``, a shard for each thousand or so; all in one with a ``group``, or a job that comes
        ``then``."""

        def add(shard: AsyncShard, payloads: Iterable[Any], batch: str = "") -> rt.Awaits[Added]:
            return shard.add_many(
                name,
                payloads,
                priority=priority,
                group=group,
                attempts=attempts,
                backoff=backoff,
                timeout=timeout,
                keep_result=keep_result,
                trace=trace,
                batch=batch,
                then=then,
                durable=durable,
                connection=connection,
            )

        number = self._home(group)
        if connection is not None:
            number = self._next()[0] if number is None else number
            return _seen(self.shards[number], await add(self.shards[number], payloads, batch))
        await self._agree()
        if then is not None:
            every = list(payloads)
            number = self._home_of((group, steps(then).group), batch)
            if number is None and len(every) < STEPS:
                shard, added = await self._anywhere(lambda shard: add(shard, every))
            else:
                shard = self.shards[self._next()[0] if number is None else number]
                added = await add(shard, every, batch)
            return _seen(shard, added)
        found: list[Added] = []
        for at, some in enumerate(parts(payloads, PART)):
            title = part(batch, at) if batch else ""
            where = home(title, len(self.shards)) if number is None and batch else number
            if where is None:
                shard, added = await self._anywhere(partial(add, payloads=some))
            else:
                shard = self.shards[where]
                added = await add(shard, some, title)
            found.append(_seen(shard, added))
        return Added([one for added in found for one in added.ranges])

    async def flow(self, parent: StepLike, children: Iterable[StepLike] = (), *, batch: str = "") -> Flow:
        """As ``AsyncQueue.flow``, all in one shard. Raises ``ConfigError`` if its jobs are of groups of several."""
        root = steps(parent)
        if children := [*root.children, *children]:
            root = msgspec.structs.replace(root, children=children)
        every: list[Step] = [step for step, _, _ in unfolded(root)]
        number = self._home_of([step.group for step in every], batch)
        await self._agree()
        if number is None and len(every) <= STEPS:
            shard, flow = await self._anywhere(lambda shard: shard.flow(root))
        else:
            shard = self.shards[self._next()[0] if number is None else number]
            flow = await shard.flow(root, batch=batch)
        return _named(shard.ids, flow)

    # -- where -----------------------------------------------------------------------------------------------------

    def _home(self, group: str, unique: str = "") -> int | None:
        """The shard of a job; None: any."""
        if group:
            return home(f"g:{group}", len(self.shards))
        return home(f"u:{unique}", len(self.shards)) if unique else None

    def _home_of(self, groups: Sequence[str], batch: str) -> int | None:
        """The same of jobs that belong together."""
        homes = {group: self._home(group) for group in groups if group}
        found = set(homes.values())
        if len(found) > 1:
            raise ConfigError(
                f"$.queue.{self.name}: these jobs must be in one shard, and their groups ({', '.join(sorted(homes))}) are"
                " in several; give them one group or none, or use a queue of one shard"
            )
        if found:
            return found.pop()
        return home(f"b:{batch}", len(self.shards)) if batch else None

    def _next(self) -> list[int]:
        """Shards, the one whose turn it is first; those that were away of late are the last."""
        self._turn, turn, now = self._turn + 1, self._turn, monotonic()
        count = len(self.shards)
        return sorted(((turn + k) % count for k in range(count)), key=lambda number: self._away[number] > now)

    async def _anywhere(self, do: Callable[[AsyncShard], rt.Awaits[_T]]) -> tuple[AsyncShard, _T]:
        """What one of the shards gives, and which one that was. Another one is asked only if it is certain that one has not
        taken anything."""
        order = self._next()
        full: QueueFull | None = None
        for number in order:
            if self._away[number] > monotonic():
                break  # and so are all that follow
            shard = self._hurried[number]
            try:
                return shard, await do(shard)
            except QueueFull as error:
                full = error
                continue
            except (RedisOutcomeUnknown, RedisTimeout):
                raise
            except RedisRefused as error:
                if error.code not in AGAIN:
                    raise
            except RedisUnavailable:
                if self.redis.closed:
                    raise
            self._away[number] = monotonic() + AWAY
        if full is not None:
            raise full
        shard = self.shards[order[0]]
        return shard, await do(shard)


def _seen(shard: AsyncShard, added: Added) -> Added:
    """The same jobs, as they are known outside of their shard."""
    then = shard.ids + added.then if added.then else ""
    return Added([(shard.ids + lane, first, count) for lane, first, count in added.ranges], then)


def _named(ids: str, root: Flow) -> Flow:
    """The same; no depth is too much for it."""
    made = Flow(ids + root.id, [])
    todo = [(root, made)]
    while todo:
        flow, copy = todo.pop()
        for child in flow.children:
            copy.children.append(Flow(ids + child.id, []))
            todo.append((child, copy.children[-1]))
    return made
