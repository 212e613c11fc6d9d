"""Whether what a server has answered stays: what it is set to, and waiting until it is on its disk (WAITAOF)."""

from __future__ import annotations

from time import monotonic

from mailgenius.errors import RedisOutcomeUnknown, RedisRefused
from mailgenius.link._async import AsyncRedis
from mailgenius.link.calls_async import Calls
from mailgenius.link.safety import parsed_info, refusals
from mailgenius.rt import aio as rt

__all__ = ["Disk"]


class Disk:
    """That of the server which has ``key``. ``marker``: a key of the same slot, to write to.

    ``server`` is its run id, another one after each start: who writes, notes it before, and gives it to ``synced`` after.
    """

    def __init__(self, redis: AsyncRedis, key: str, marker: str) -> None:
        self._redis, self._key, self._marker = redis, key, marker
        self.server = ""
        self.always = False  # it syncs before it answers
        self._lock = rt.Lock()
        self._begun = self._done = 0  # rounds of WAITAOF

    async def refusals(self, durable: bool) -> list[str]:
        """Why what waits there is not safe, each with what to set. ``durable``: writes are to be waited for by ``synced``.
        Raises the errors of ``AsyncRedis.call``."""
        node = await self._redis.node_of(self._key)
        memory, persistence = await node.calls([("INFO", "memory"), ("INFO", "persistence")])
        info = parsed_info(memory) | parsed_info(persistence)
        fsync, waitaof = None, False
        if durable:
            fsync = await _setting(node, "appendfsync")
            waitaof = bool((await node.call("COMMAND", "INFO", "WAITAOF"))[0])
            self.always = fsync == "always"
            self.server = parsed_info(await node.call("INFO", "server"))["run_id"]
        return refusals(info, fsync, durable, waitaof)

    async def synced(self, server: str, deadline: float) -> None:
        """Until all that this run of the server has answered is on its disk. Callers of one moment share a round."""
        if self.always:
            return
        wanted = self._begun + 1
        async with self._lock:
            if self._done < wanted:
                self._begun += 1
                this = self._begun
                left = max(deadline - monotonic(), 0.001)
                async with (await self._redis.node_of(self._key)).dedicated() as own:
                    # A write of this connection that comes after all of theirs: what WAITAOF waits for is its own.
                    info, _ = await own.calls([("INFO", "server"), ("SET", self._marker, this)])
                    local, _ = await own.call("WAITAOF", 1, 0, max(1, int(left * 1000)), timeout=left + 1.0)
                if not local:
                    raise RedisOutcomeUnknown("it was accepted, and was not on the disk in time")
                self.server, self._done = parsed_info(info)["run_id"], this
            if self.server != server:
                raise RedisOutcomeUnknown("it was accepted, and then the server was started anew")


async def _setting(node: Calls, name: str) -> str | None:
    try:
        found = await node.call("CONFIG", "GET", name)
    except RedisRefused:  # hosted ones refuse it
        return None
    values = list(found.values()) if isinstance(found, dict) else found[1::2]
    return values[0].decode() if values else None
