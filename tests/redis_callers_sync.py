# Made from redis_callers_async.py by `python -m tools.twin`: edit that one.
"""Callers of Redis who check each reply, while servers come, go and change places."""

from __future__ import annotations

from collections import Counter
from time import monotonic
from typing import Any, Self

from mailgenius import Redis
from mailgenius.errors import RedisOutcomeUnknown, RedisTimeout, RedisUnavailable
from mailgenius.rt import threads as rt
from mailgenius.servers._valkey_group import Group

SLACK = 1.0  # seconds that a busy machine may add to a deadline


def cluster_url(cluster: Group[Any]) -> str:
    hosts = ",".join(f"127.0.0.1:{node.port}" for node in cluster.nodes[:3])
    return f"redis+cluster://:{cluster.password}@{hosts}"


def sentinel_url(group: Any) -> str:
    hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in group.sentinels)
    return f"redis+sentinel://:{group.password}@{hosts}/{group.name}"


class Callers:
    """``count`` of them. Each counts under a key of its own, and reads what all of them are called.

    ``wrong``: replies of somebody else, or counts that show a command repeated or lost. ``lossy``: a new primary may not
    know what the old one had acknowledged, since replication is asynchronous; counts may go back then, never ahead.
    """

    def __init__(self, redis: Redis, count: int = 30, *, lossy: bool = False) -> None:
        self.redis, self.lossy = redis, lossy
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.late: list[float] = []
        self.rounds = [0] * count  # that went well, of each
        self._limit = redis.settings.timeout + SLACK
        self._ending, self._stepped = rt.Event(), rt.Event()
        self._running: list[rt.Spawned] = []

    def __enter__(self) -> Self:
        names = [("SET", f"name:{me}", me) for me in range(len(self.rounds))]
        assert self.redis.calls(names) == [b"OK"] * len(names)
        self._running = [rt.spawn(self._run, me) for me in range(len(self.rounds))]
        self.progress()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for one in self._running:
            one.join()

    def progress(self, seconds: float = 30.0) -> None:
        """Until each of them has gone all the way round twice from now on, the second time surely begun since."""
        wanted, until = [done + 2 for done in self.rounds], monotonic() + seconds
        while any(done < goal for done, goal in zip(self.rounds, wanted, strict=True)):
            assert monotonic() < until, f"no progress: {self.outcomes}"
            self._stepped.clear()
            rt.wait(self._stepped, 0.1)

    def _run(self, me: int) -> None:
        at_least = at_most = 0  # what the count may be
        while not self._ending.is_set():
            began, well = monotonic(), True
            try:
                found = self.redis.call("INCR", f"count:{me}")
                if not (self.lossy or at_least < found) or found > at_most + 1:
                    self.wrong.append(f"{me} counted {found} instead of {at_least + 1} to {at_most + 1}")
                at_least, at_most = found, max(at_most, found) if self.lossy else found
            except (RedisTimeout, RedisOutcomeUnknown) as error:
                at_most += 1
                well = self._failed(began, error)
            except RedisUnavailable as error:
                well = self._failed(began, error)
            began = monotonic()
            who = [(me + step) % len(self.rounds) for step in range(10)]
            try:
                names = self.redis.calls([("GET", f"name:{one}") for one in who])
                if names != [b"%d" % one for one in who]:
                    self.wrong.append(f"{names} instead of {who}")
            except RedisUnavailable as error:
                well = self._failed(began, error)
            if well:
                self.outcomes["well"] += 1
                self.rounds[me] += 1
                self._stepped.set()
            else:
                rt.wait(self._ending, 0.01)

    def _failed(self, began: float, error: RedisUnavailable) -> bool:
        self.outcomes[type(error).__name__] += 1
        took = monotonic() - began
        if took > self._limit:
            self.late.append(took)
        return False
