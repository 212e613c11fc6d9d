# Made from looking_async.py by `python -m tools.twin`: edit that one.
"""Looking at the jobs of all shards."""

from __future__ import annotations

from typing import Any

import msgspec

from mailgenius.errors import ConfigError
from mailgenius.queue.inspection_sync import MOST
from mailgenius.queue.sharded.base_sync import Base
from mailgenius.queue.shards import summed
from mailgenius.queue.states import StateName
from mailgenius.queue.views import Counts, JobInfo, Page

__all__ = ["Looking"]


class Looking(Base):
    """The part of a sharded queue that tells of its jobs."""

    def counts(self) -> Counts:
        """As ``Queue.counts``, of all shards together, each at its own moment."""
        self._agree("ask")
        return summed(self._all([shard.counts for shard in self.shards]))

    def page(self, state: StateName, limit: int = 100, *, after: str | None = None, name: str = "") -> Page:
        """As ``Queue.page``: one shard after another, each in that order."""
        self._agree("ask")
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
            page = shard.page(state, limit - len(jobs), after=inner, name=name)
            jobs += [msgspec.structs.replace(job, id=shard.ids + job.id) for job in page.jobs]
            inner = page.after
            if inner is not None:
                return Page(jobs, f"{number}.{inner}")
            number += 1
            if len(jobs) == limit and number < len(self.shards):
                return Page(jobs, f"{number}.")
        return Page(jobs, None)

    def show(self, id: str) -> JobInfo | None:
        """As ``Queue.show``."""
        self._agree("ask")
        shard, inner = self.shard_of(id)
        job = shard.show(inner)
        return None if job is None else msgspec.structs.replace(job, id=id)

    def progress(self, id: str) -> Any:
        """As ``Queue.progress``."""
        shard, inner = self.shard_of(id)
        return shard.progress(inner)

    def log(self, id: str, limit: int = 100) -> list[str]:
        """As ``Queue.log``."""
        shard, inner = self.shard_of(id)
        return shard.log(inner, limit)

    def result(self, id: str, wait: float = 0.0) -> Any:
        """As ``Queue.result``."""
        shard, inner = self.shard_of(id)
        return shard.result(inner, wait)
