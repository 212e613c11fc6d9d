"""Looking at the jobs of all shards."""

from __future__ import annotations

from typing import Any

import msgspec

from mailgenius.errors import ConfigError
from mailgenius.queue.inspection_async import MOST
from mailgenius.queue.sharded.base_async import Base
from mailgenius.queue.shards import summed
from mailgenius.queue.states import StateName
from mailgenius.queue.views import Counts, JobInfo, Page

__all__ = ["Looking"]


class Looking(Base):
    """The part of a sharded queue that tells of its jobs."""

    async def counts(self) -> Counts:
        """As ``AsyncQueue.counts``, of all shards together, each at its own moment."""
        await self._agree("ask")
        return summed(await self._all([shard.counts for shard in self.shards]))

    async def page(self, state: StateName, limit: int = 100, *, after: str | None = None, name: str = "") -> Page:
        """As ``AsyncQueue.page``: one shard after another, each in that order."""
        await self._agree("ask")
        if not 1 <= limit <= MOST:
            raise ConfigError(f"$.queue.page.limit: {limit} is out of range; give 1 to {MOST:,}")
        number, inner = 0, after
        if after is not None:
            first, _, rest = after.partition(".")
            if not (first.isascii() and first.isdigit() and int(first) < len(self.shards)):
                raise ConfigError(f"$.queue.page.after: {after!r} is no cursor of a page of this queue")
            number, inner = int(first), rest or None
        jobs: list[JobInfo] = []
        while number < len(self.shards):
            shard = self.shards[number]
            page = await shard.page(state, limit - len(jobs), after=inner, name=name)
            jobs += [msgspec.structs.replace(job, id=shard.ids + job.id) for job in page.jobs]
            inner = page.after
            if inner is not None:
                return Page(jobs, f"{number}.{inner}")
            number += 1
            if len(jobs) == limit and number < len(self.shards):
                return Page(jobs, f"{number}.")
        return Page(jobs, None)

    async def show(self, id: str) -> JobInfo | None:
        """As ``AsyncQueue.show``."""
        await self._agree("ask")
        shard, inner = self.shard_of(id)
        job = await shard.show(inner)
        return None if job is None else msgspec.structs.replace(job, id=id)

    async def progress(self, id: str) -> Any:
        """As ``AsyncQueue.progress``."""
        shard, inner = self.shard_of(id)
        return await shard.progress(inner)

    async def log(self, id: str, limit: int = 100) -> list[str]:
        """As ``AsyncQueue.log``."""
        shard, inner = self.shard_of(id)
        return await shard.log(inner, limit)

    async def result(self, id: str, wait: float = 0.0) -> Any:
        """As ``AsyncQueue.result``."""
        shard, inner = self.shard_of(id)
        return await shard.result(inner, wait)
