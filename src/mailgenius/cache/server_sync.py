# Made from server_async.py by `python -m tools.twin`: edit that one.
"""The server as a cache sees it: calls take no longer than the budget, and one that is down is no error but ``DOWN``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import time
from typing import Any, Final

from mailgenius.cache.marks import lua
from mailgenius.cache.owed import DROP, RENEW, Owed, Wish
from mailgenius.errors import RedisRefused, RedisUnavailable
from mailgenius.link import Redis

__all__ = ["DOWN", "TAGS", "Server"]


class Down:
    """The type of ``DOWN``."""

    def __repr__(self) -> str:
        return "DOWN"


#: The reply of a server that gives none.
DOWN: Final[Any] = Down()
_DOWN = "Redis is down; nothing was written to the cache."
TAGS = "mg:t:"  # what names of tags begin with
SCAN = 1000  # names looked at in one step
BATCH = 500  # writes told in one step


class Server:
    """Made by ``Cache``."""

    def __init__(self, redis: Redis, budget: float, most: int, token: Callable[[], bytes]) -> None:
        self.redis = redis
        self.budget = budget
        self.owed = Owed(most)
        self.repaid = 0
        self._token = token
        self._call = redis.call
        self.put, self.lease, self.drop, self.release, self.begin, self.finish, self.newer, self.replay = (
            redis.script(lua(name))
            for name in ("put", "lease", "drop", "release", "begin", "finish", "newer", "replay")
        )
        self._scripts = (self.drop, self.put, self.replay, self.lease)

    def ask(self, *command: Any) -> Any:
        """The reply to what reads; ``DOWN`` also if it was refused."""
        if not self.redis.available:
            return DOWN
        try:
            return self._call(*command, timeout=self.budget)
        except (RedisUnavailable, RedisRefused):
            return DOWN

    def run(self, script: Any, name: str, *args: Any) -> Any:
        """The reply to a script of one name; ``DOWN`` also if it was refused, or nobody knows whether it ran."""
        if not self.redis.available:
            return DOWN
        try:
            return script((name,), args, timeout=self.budget)
        except (RedisUnavailable, RedisRefused):
            return DOWN

    def must(self, script: Any, name: str, *args: Any) -> Any:
        """The reply to a script of one name. Raises ``RedisUnavailable``, ``RedisRefused``."""
        if not self.redis.available:
            raise RedisUnavailable(_DOWN)
        return script((name,), args, timeout=self.budget)

    def tell(self, *command: Any) -> Any:
        """The reply to what writes. Raises ``RedisUnavailable``, ``RedisRefused``."""
        if not self.redis.available:
            raise RedisUnavailable(_DOWN)
        return self._call(*command, timeout=self.budget)

    def tell_all(self, commands: Sequence[tuple[Any, ...]], timeout: float | None = None) -> list[Any]:
        """The replies to many, refusals among them; scripts that the server does not have are given to it."""
        if not self.redis.available:
            raise RedisUnavailable(_DOWN)
        replies = self.redis.calls(commands, timeout=timeout or self.budget, errors="return")
        lacking = [i for i, reply in enumerate(replies) if type(reply) is RedisRefused and reply.code == "NOSCRIPT"]
        if lacking:
            for script in self._scripts:
                script.load()
            again = self.redis.calls(
                [commands[i] for i in lacking], timeout=self.redis.settings.timeout, errors="return"
            )
            for i, reply in zip(lacking, again, strict=True):
                replies[i] = reply
        return replies

    def repay(self) -> None:
        """Tells what is owed. Raises ``RedisUnavailable``; what was told until then is no longer owed."""
        owed = self.owed
        patience = self.redis.settings.timeout
        for prefix in list(owed.regions):
            self._clear(prefix, patience)
            owed.cleared(prefix)
        while owed.wishes:
            batch = list(owed.wishes.items())[:BATCH]
            replies = self.tell_all([self._command(name, wish) for name, wish in batch], patience)
            for (name, wish), _ in zip(batch, replies, strict=True):
                owed.done(name, wish)
            self.repaid += len(batch)
        owed.done("")

    def _command(self, name: str, wish: Wish) -> tuple[Any, ...]:
        if wish.kind == RENEW:
            return ("SET", name, self._token(), "PX", wish.data)
        left = wish.ends - time()
        if wish.kind == DROP or left <= 0:
            return self.drop.command((name,))
        return self.replay.command((name,), (wish.data, int(left * 1000) + 1))

    def _clear(self, prefix: str, patience: float) -> None:
        cursor: Any = b"0"
        pattern = "".join(f"\\{char}" if char in "*?[]^\\-" else char for char in prefix) + "*"
        while True:
            cursor, names = self._call("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN, timeout=patience)
            if names:
                drop = [("UNLINK", name) if prefix == TAGS else self.drop.command((name,)) for name in names]
                self.tell_all(drop, patience)
            if int(cursor) == 0:
                return
