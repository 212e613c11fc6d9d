# Made from base_async.py by `python -m tools.twin`: edit that one.
"""What all parts of a queue have in common: its server, names, policy and scripts."""

from __future__ import annotations

from typing import Any

from mailgenius.errors import RedisOutcomeUnknown
from mailgenius.link import Redis
from mailgenius.link.scripts_sync import Script
from mailgenius.queue.names import prefix
from mailgenius.queue.policy import Policy, policy_for
from mailgenius.queue.scripts import script

__all__ = ["Base"]


class Base:
    """``timeout``: seconds after which adding gives up."""

    def __init__(self, redis: Redis, name: str, policy: Policy | None, timeout: float) -> None:
        self.redis, self.name, self.timeout = redis, name, timeout
        self.policy = policy_for(name, policy)
        self.prefix = prefix(name)
        self._keys = (self.prefix + "q",)
        self._scripts: dict[str, Script] = {}
        self._clock = ""  # another time than the server's, for tests

    def _script(self, name: str) -> Script:
        found = self._scripts.get(name)
        if found is None:
            found = self._scripts[name] = self.redis.script(script(name))
        return found

    def _do(self, name: str, *args: Any) -> Any:
        """The reply of a script."""
        return self._script(name)(self._keys, (self._clock, *args))

    def _look(self, name: str, *args: Any) -> Any:
        """The same of one that changes nothing, and can be run again if its reply was lost."""
        try:
            return self._do(name, *args)
        except RedisOutcomeUnknown:
            return self._do(name, *args)
