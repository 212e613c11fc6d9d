# Made from server_async.py by `python -m tools.twin`: edit that one.
"""The server as a cache sees it: calls take no longer than the budget, and one that is down is no error but ``DOWN``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from time import monotonic, time
from typing import Any, Final

from mailgenius.cache.marks import lua
from mailgenius.cache.owed import DROP, RENEW, Owed, Wish
from mailgenius.errors import RedisRefused, RedisTimeout, RedisUnavailable
from mailgenius.link import Redis
from mailgenius.link.calls_sync import Calls
from mailgenius.rt import threads as rt

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
PASSES = 3  # over a Cluster that is emptied
NODES = 1000  # of a Cluster, whose slowness is remembered


_FOUND = frozenset((bytes, type(None)))
#: What replies are to commands that are asked. Another one is the reply to another question.
REPLIES = {"GET": _FOUND, "SET": _FOUND, "MGET": frozenset((list,)), "PTTL": frozenset((int,))}


class Slow:
    """A server that answers too slowly, or does not answer at all, as far as calls have shown."""

    __slots__ = ("again", "late")

    def __init__(self) -> None:
        self.late = 0  # calls in a row that took longer than the budget
        self.again = 0.0  # when somebody may try again

    def worth_asking(self) -> bool:
        """Of one that is too slow, somebody finds out now and then."""
        if self.late < SLOW:
            return True
        now = monotonic()
        if now < self.again:
            return False
        self.again = now + REST
        return True

    def missed(self, error: RedisUnavailable) -> None:
        if isinstance(error, RedisTimeout):
            self.late += 1
            self.again = monotonic() + REST


class Server:
    """Made by ``Cache``."""

    def __init__(self, redis: Redis, budget: float, most: int, token: Callable[[], bytes]) -> None:
        self.redis = redis
        self.budget = budget
        self.owed = Owed(most)
        self.repaid = 0
        self.clustered = redis.clustered
        self._all = Slow()  # unless it is a Cluster: then each of its nodes is one
        self._slow: dict[object, Slow] = {}
        self._token = token
        self._call = redis.call
        self.put, self.lease, self.drop, self.release, self.begin, self.finish, self.newer, self.replay = (
            redis.script(lua(name))
            for name in ("put", "lease", "drop", "release", "begin", "finish", "newer", "replay")
        )
        self._scripts = (self.drop, self.put, self.replay, self.lease)

    @property
    def out(self) -> bool:
        """It does not answer, or too slowly to be of use; one node of a Cluster is enough for that."""
        if not self.redis.available:
            return True
        if not self.clustered:
            return self._all.late >= SLOW
        since = monotonic() - 1.0  # of a node that is no more, nothing is heard
        return self.redis.troubled or any(one.late >= SLOW and one.again > since for one in list(self._slow.values()))

    def _of(self, name: Any) -> Slow:
        """Whoever serves a name."""
        if not self.clustered:
            return self._all
        home = self.redis.home(name)
        one = self._slow.get(home)
        if one is None:
            if len(self._slow) > NODES:  # of long ago
                self._slow.clear()
            one = self._slow.setdefault(home, Slow())
        return one

    def ask(self, *command: Any) -> Any:
        """The reply to what reads a name, or several of one node; ``DOWN`` also if it was refused."""
        of = self._of(command[1]) if self.clustered else self._all
        if not (self.redis.available and (of.late < SLOW or of.worth_asking())):
            return DOWN
        try:
            reply = self._call(*command, timeout=self.budget)
        except RedisRefused:
            return DOWN
        except RedisUnavailable as error:
            of.missed(error)
            return DOWN
        if of.late:
            of.late = 0
        if type(reply) not in REPLIES[command[0]]:
            self._distrust()
            return DOWN
        return reply

    def ask_many(self, names: Sequence[str]) -> Any:
        """What is at each of these names, ``DOWN`` where nobody knows; ``DOWN`` if that is all."""
        if not self.clustered:
            replies = self.ask("MGET", *names)
            if replies is not DOWN and len(replies) != len(names):
                self._distrust()
                return DOWN
            return replies
        try:
            replies = self.tell_all([("GET", name) for name in names])
        except RedisUnavailable:
            return DOWN
        return [reply if type(reply) in _FOUND else DOWN for reply in replies]

    def run(self, script: Any, name: str, *args: Any) -> Any:
        """The reply to a script of one name; ``DOWN`` also if it was refused, or nobody knows whether it ran."""
        try:
            return self.must(script, name, *args)
        except (RedisUnavailable, RedisRefused):
            return DOWN

    def must(self, script: Any, name: str, *args: Any) -> Any:
        """The reply to a script of one name. Raises ``RedisUnavailable``, ``RedisRefused``."""
        return self._within_budget(name, script, (name,), args)

    def tell(self, *command: Any) -> Any:
        """The reply to what writes a name. Raises ``RedisUnavailable``, ``RedisRefused``."""
        return self._within_budget(command[1] if len(command) > 1 else "", self._call, *command)

    def _within_budget(self, name: Any, do: Callable[..., rt.Awaits[Any]], *args: Any) -> Any:
        of = self._of(name)
        if not (self.redis.available and of.worth_asking()):
            raise RedisUnavailable(_DOWN)
        try:
            reply = do(*args, timeout=self.budget)
        except RedisUnavailable as error:
            of.missed(error)
            raise
        of.late = 0
        return reply

    def check(self, name: str) -> None:
        """What came for a name is not its value. Was the value damaged, or are replies those to other questions? Then the
        connection is given up."""
        mine = self._token()
        try:
            node = self.redis.node_of(name) if self.clustered else self.redis
            reply = node.call("PING", mine, timeout=self.budget)
        except (RedisRefused, RedisUnavailable):
            return
        if reply != mine:
            self._distrust()

    def _distrust(self) -> None:
        with contextlib.suppress(RedisUnavailable):
            self.redis.distrust("it gave the replies to other questions")

    def tell_all(self, commands: Sequence[tuple[Any, ...]], timeout: float | None = None) -> list[Any]:
        """The replies to many, refusals among them; scripts that the server does not have are given to it. In a Cluster,
        ``RedisUnavailable`` stands for what nodes that are down would have said."""
        if self.clustered:
            replies = self._tell_nodes(commands, timeout or self.budget)
        else:
            of = self._all
            if not (self.redis.available and of.worth_asking()):
                raise RedisUnavailable(_DOWN)
            try:
                replies = self.redis.calls(commands, timeout=timeout or self.budget, errors="return")
            except RedisUnavailable as error:
                of.missed(error)
                raise
            of.late = 0
        lacking = [i for i, reply in enumerate(replies) if type(reply) is RedisRefused and reply.code == "NOSCRIPT"]
        if lacking:
            once_more = [commands[i] for i in lacking]
            if self.clustered:  # a node that is down is not to be asked for this
                texts = {script.sha: script.source for script in self._scripts}
                once_more = [("EVAL", texts[command[1]], *command[2:]) for command in once_more]
            else:
                for script in self._scripts:
                    script.load()
            again = self.redis.calls(once_more, timeout=self.redis.settings.timeout, errors="return")
            for i, reply in zip(lacking, again, strict=True):
                replies[i] = reply
        return replies

    def _tell_nodes(self, commands: Sequence[tuple[Any, ...]], timeout: float) -> list[Any]:
        if not self.redis.available:
            raise RedisUnavailable(_DOWN)
        nodes = [self._of(command[3] if command[0] == "EVALSHA" else command[1]) for command in commands]
        worth = {one: one.worth_asking() for one in dict.fromkeys(nodes)}
        asked = [i for i, one in enumerate(nodes) if worth[one]]
        replies: list[Any] = [RedisUnavailable(_DOWN)] * len(commands)
        failed: dict[Slow, RedisUnavailable] = {}
        for i, reply in zip(
            asked, self.redis.calls([commands[i] for i in asked], timeout=timeout, errors="return"), strict=True
        ):
            replies[i] = reply
            if isinstance(reply, RedisUnavailable):
                failed[nodes[i]] = reply
        for one, asks in worth.items():
            if asks and one in failed:
                one.missed(failed[one])
            elif asks:
                one.late = 0
        return replies

    def repay(self) -> None:
        """Tells what is owed. Raises ``RedisUnavailable``; what was told until then is no longer owed."""
        owed = self.owed
        patience = self.redis.settings.timeout
        for prefix, since in list(owed.regions.items()):
            self.clear(prefix, patience)
            owed.cleared(prefix, since)
        failed = None
        while owed.wishes and failed is None:
            wishes = list(owed.wishes.items())
            for at in range(0, len(wishes), BATCH):
                batch = wishes[at : at + BATCH]
                replies = self.tell_all([self._command(name, wish) for name, wish in batch], patience)
                for (name, wish), reply in zip(batch, replies, strict=True):
                    if isinstance(reply, RedisUnavailable):
                        failed = reply
                    else:
                        owed.done(name, wish)
                        self.repaid += 1
        if failed is not None:
            raise failed

    def _command(self, name: str, wish: Wish) -> tuple[Any, ...]:
        if wish.kind == RENEW:
            return ("SET", name, self._token(), "PX", wish.data)
        left = wish.ends - time()
        if wish.kind == DROP or left <= 0:
            return self.drop.command((name,), (1,))
        return self.replay.command((name,), (wish.data, int(left * 1000) + 1))

    def clear(self, prefix: str, patience: float) -> None:
        """Deletes all that begins with a prefix, on every primary; again if keys may have moved from one to another."""
        pattern = "".join(f"\\{char}" if char in "*?[]^\\-" else char for char in prefix) + "*"
        for _ in range(PASSES if self.clustered else 1):
            found = 0
            for node in self.redis.nodes():
                if node.role == "primary":
                    found += self._clear_node(node, prefix, pattern, patience)
            if not found:
                return

    def _clear_node(self, node: Calls, prefix: str, pattern: str, patience: float) -> int:
        cursor: Any = b"0"
        found = 0
        while True:
            cursor, names = node.call("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN, timeout=patience)
            if names:
                found += len(names)
                drop = [("UNLINK", name) if prefix == TAGS else self.drop.command((name,), (1,)) for name in names]
                for reply in self.tell_all(drop, patience):
                    if isinstance(reply, RedisUnavailable):
                        raise reply
            if int(cursor) == 0:
                return found
