# Made from base_async.py by `python -m tools.twin`: edit that one.
"""What all parts of a queue have in common: its server, names, policy and scripts."""

from __future__ import annotations

from typing import Any, Literal

from mailgenius.errors import ConfigError, RedisOutcomeUnknown
from mailgenius.link import Redis
from mailgenius.link.durable_sync import Disk
from mailgenius.link.scripts_sync import Script
from mailgenius.queue.names import keys, prefix
from mailgenius.queue.policy import Policy, policy_for
from mailgenius.queue.scripts import script

__all__ = ["Base"]


class Base:
    """``timeout``: seconds after which adding gives up. ``unsafe``: also on a server that may lose or evict jobs.
    ``shard``: which one of its queue it is; if not the first, its jobs are known by their ids with ``ids`` before them."""

    def __init__(
        self, redis: Redis, name: str, policy: Policy | None, timeout: float, unsafe: bool, shard: int = 0
    ) -> None:
        self.redis, self.name, self.timeout = redis, name, timeout
        self.policy = policy_for(name, policy)
        self.prefix = prefix(name, shard)
        self.ids = f"{shard}." if shard else ""
        self._written = name  # as the outbox calls it
        self._keys = keys(self.prefix)
        self._scripts: dict[str, Script] = {}
        self._clock = ""  # another time than the server's, for tests
        self._disk = Disk(redis, self._keys[0], self.prefix + "synced")
        self._unsafe = unsafe
        self._checked, self._checked_durable = unsafe, False

    def _script(self, name: str) -> Script:
        found = self._scripts.get(name)
        if found is None:
            found = self._scripts[name] = self.redis.script(script(name))
        return found

    # -- the server ----------------------------------------------------------------------------------------------

    def check(self, durable: bool = False) -> None:
        """Raises ``ConfigError`` if the server may evict or lose jobs, with what to set; unless ``unsafe``. ``durable``: or
        if it cannot say what is on its disk. The first ``add`` does this, and a worker when it starts."""
        found = self._disk.refusals(durable)
        if found and not self._unsafe:
            raise ConfigError(
                f"$.queue.{self.name}: this Redis is not safe for jobs, since {'; and '.join(found)}. unsafe=True takes it"
                " all the same."
            )
        self._checked, self._checked_durable = True, self._checked_durable or durable

    def _count_shards(self, how: Literal["ask", "use", "set"], shards: int = 1) -> int:
        """How many shards the queue has, as the first of them knows; 0: nobody has used it yet. Whoever wants to ``use`` it
        first says how many there shall be."""
        return int(self._do("shards", how, shards))

    def configure(self) -> None:
        """Gives the server what its scripts need of the policy. A worker does this when it starts; what the server
        knows it is not told again, as it may be full."""
        policy = self.policy
        settings = {
            "max_stalled": policy.max_stalled,
            "keep_dead": policy.keep_failed,
            "keep_dead_ms": round(policy.keep_failed_for * 1000),
            "events": policy.events,
        }
        known = self.redis.call("HMGET", self._keys[0], *settings)
        if known != [b"%d" % value for value in settings.values()]:
            self.redis.call("HSET", self._keys[0], *[word for pair in settings.items() for word in pair])

    # -- scripts -------------------------------------------------------------------------------------------------

    def _do(self, name: str, *args: Any) -> Any:
        """The reply of a script."""
        return self._script(name)(self._keys, (self._clock, *args))

    def _look(self, name: str, *args: Any) -> Any:
        """The same of one that changes nothing, and can be run again if its reply was lost."""
        try:
            return self._do(name, *args)
        except RedisOutcomeUnknown:
            return self._do(name, *args)

    def _now(self) -> int:
        """The server's clock, in milliseconds since 1970."""
        if self._clock:
            return int(self._clock)
        seconds, microseconds = (self.redis.node_of(self._keys[0])).call("TIME")
        return int(seconds) * 1000 + int(microseconds) // 1000
