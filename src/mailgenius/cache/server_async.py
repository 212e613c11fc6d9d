"""The server as a cache sees it: calls take no longer than the budget, and one that is down is no error but ``DOWN``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic, time
from typing import Any, Final

from mailgenius.cache.marks import lua
from mailgenius.cache.owed import DROP, RENEW, Owed, Wish
from mailgenius.errors import RedisRefused, RedisTimeout, RedisUnavailable
from mailgenius.link import AsyncRedis
from mailgenius.rt import aio as rt

__all__ = ["DOWN", "TAGS", "Server"]


class Down:
    """The type of ``DOWN``."""

    def __repr__(self) -> str:
        return "DOWN"


#: The reply of a server that gives none.
DOWN: Final[Any] = Down()
_DOWN = "Redis is down; nothing was written to the cache."
TAGS = "mg:t:"  # what names of tags begin with
SLOW = 3  # calls in a row beyond the budget after which it is out
REST = 0.25  # seconds until one is tried again
SCAN = 1000  # names looked at in one step
BATCH = 500  # writes told in one step


class Server:
    """Made by ``AsyncCache``."""

    def __init__(self, redis: AsyncRedis, budget: float, most: int, token: Callable[[], bytes]) -> None:
        self.redis = redis
        self.budget = budget
        self.owed = Owed(most)
        self.repaid = 0
        self._late = 0  # calls in a row that took longer than the budget
        self._again = 0.0  # when somebody may try again
        self._token = token
        self._call = redis.call
        self.put, self.lease, self.drop, self.release, self.begin, self.finish, self.newer, self.replay = (
            redis.script(lua(name))
            for name in ("put", "lease", "drop", "release", "begin", "finish", "newer", "replay")
        )
        self._scripts = (self.drop, self.put, self.replay, self.lease)

    @property
    def out(self) -> bool:
        """It does not answer, or too slowly to be of use."""
        return self._late >= SLOW or not self.redis.available

    def worth_asking(self) -> bool:
        """False while it is out; but of one that answers too slowly, somebody finds out now and then."""
        if self._late < SLOW:
            return self.redis.available
        now = monotonic()
        if now < self._again:
            return False
        self._again = now + REST
        return self.redis.available

    def _missed(self, error: RedisUnavailable) -> None:
        if isinstance(error, RedisTimeout):
            self._late += 1
            self._again = monotonic() + REST

    async def ask(self, *command: Any) -> Any:
        """The reply to what reads; ``DOWN`` also if it was refused."""
        if not self.worth_asking():
            return DOWN
        try:
            reply = await self._call(*command, timeout=self.budget)
        except RedisRefused:
            return DOWN
        except RedisUnavailable as error:
            self._missed(error)
            return DOWN
        if self._late:
            self._late = 0
        return reply

    async def run(self, script: Any, name: str, *args: Any) -> Any:
        """The reply to a script of one name; ``DOWN`` also if it was refused, or nobody knows whether it ran."""
        try:
            return await self.must(script, name, *args)
        except (RedisUnavailable, RedisRefused):
            return DOWN

    async def must(self, script: Any, name: str, *args: Any) -> Any:
        """The reply to a script of one name. Raises ``RedisUnavailable``, ``RedisRefused``."""
        return await self._within_budget(script, (name,), args)

    async def tell(self, *command: Any) -> Any:
        """The reply to what writes. Raises ``RedisUnavailable``, ``RedisRefused``."""
        return await self._within_budget(self._call, *command)

    async def _within_budget(self, do: Callable[..., rt.Awaits[Any]], *args: Any) -> Any:
        if not self.worth_asking():
            raise RedisUnavailable(_DOWN)
        try:
            reply = await do(*args, timeout=self.budget)
        except RedisUnavailable as error:
            self._missed(error)
            raise
        self._late = 0
        return reply

    async def tell_all(self, commands: Sequence[tuple[Any, ...]], timeout: float | None = None) -> list[Any]:
        """The replies to many, refusals among them; scripts that the server does not have are given to it."""
        if not self.worth_asking():
            raise RedisUnavailable(_DOWN)
        try:
            replies = await self.redis.calls(commands, timeout=timeout or self.budget, errors="return")
        except RedisUnavailable as error:
            self._missed(error)
            raise
        self._late = 0
        lacking = [i for i, reply in enumerate(replies) if type(reply) is RedisRefused and reply.code == "NOSCRIPT"]
        if lacking:
            for script in self._scripts:
                await script.load()
            again = await self.redis.calls(
                [commands[i] for i in lacking], timeout=self.redis.settings.timeout, errors="return"
            )
            for i, reply in zip(lacking, again, strict=True):
                replies[i] = reply
        return replies

    async def repay(self) -> None:
        """Tells what is owed. Raises ``RedisUnavailable``; what was told until then is no longer owed."""
        owed = self.owed
        patience = self.redis.settings.timeout
        for prefix, since in list(owed.regions.items()):
            await self.clear(prefix, patience)
            owed.cleared(prefix, since)
        while owed.wishes:
            batch = list(owed.wishes.items())[:BATCH]
            replies = await self.tell_all([self._command(name, wish) for name, wish in batch], patience)
            for (name, wish), _ in zip(batch, replies, strict=True):
                owed.done(name, wish)
            self.repaid += len(batch)

    def _command(self, name: str, wish: Wish) -> tuple[Any, ...]:
        if wish.kind == RENEW:
            return ("SET", name, self._token(), "PX", wish.data)
        left = wish.ends - time()
        if wish.kind == DROP or left <= 0:
            return self.drop.command((name,))
        return self.replay.command((name,), (wish.data, int(left * 1000) + 1))

    async def clear(self, prefix: str, patience: float) -> None:
        """Deletes all values whose names begin with ``prefix``; ``patience``: seconds for each step. Raises
        ``RedisUnavailable``."""
        cursor: Any = b"0"
        pattern = "".join(f"\\{char}" if char in "*?[]^\\-" else char for char in prefix) + "*"
        while True:
            cursor, names = await self._call("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN, timeout=patience)
            if names:
                drop = [("UNLINK", name) if prefix == TAGS else self.drop.command((name,)) for name in names]
                await self.tell_all(drop, patience)
            if int(cursor) == 0:
                return
