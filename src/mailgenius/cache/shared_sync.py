# Made from shared_async.py by `python -m tools.twin`: edit that one.
"""What the views of one region share: its policy, its values in this process, how values are read and kept."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, log
from random import random
from typing import TYPE_CHECKING, Any

import msgspec

from mailgenius._native import LocalStore
from mailgenius.cache.behind_sync import WriteBehind
from mailgenius.cache.codec import Codec, Found
from mailgenius.cache.freshness import Verdict, jittered, lifetime, verdict
from mailgenius.cache.marks import HEAD, LEASE, MISS, WRITERS
from mailgenius.cache.meters import Meters
from mailgenius.cache.owed import DROP, Wish
from mailgenius.cache.policy import Region
from mailgenius.cache.server_sync import DOWN, Server
from mailgenius.cache.tags_sync import TagBook
from mailgenius.cache.threads import Flights
from mailgenius.errors import ConfigError
from mailgenius.rt import threads as rt

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ALONE", "PENDING", "Shared", "Sight"]

#: Seconds that a value is kept in the process while the server is down, and nobody tells of changes.
ALONE = 1.0
#: Seconds that a load or a write may take and still be stored, if the policy has no hard timeout.
FENCE = 60.0
#: Seconds that a value written behind says it is fresh. The server ends it, a ttl after the database has it.
PENDING = inf
UNKNOWN = 1024  # bytes that a value is taken for whose size is not known
SMALLEST = 4096  # bytes of a local store that nothing is put into


class Sight(msgspec.Struct, frozen=True, gc=False):
    """What was seen of a name. ``seen``: what a store may replace; empty: nothing was there; None: it may not store."""

    verdict: Verdict
    value: Any
    seen: bytes | None
    ticket: int = 0  # of the local store, from before it was looked at


class Shared:
    """Made by ``Cache``."""

    def __init__(
        self, policy: Region, server: Server, tags: TagBook, local: bool, clock: Callable[[], float], fake: bool
    ) -> None:
        self.policy, self.server, self.tags, self.clock = policy, server, tags, clock
        self.codec = Codec(policy)
        self._open = self.codec.plain.one
        self.meters = Meters()
        self.flights = Flights()
        self.owed = server.owed
        self.fence = policy.hard_timeout or FENCE
        self.fence_ms = int((self.fence + 1.0) * 1000)  # a load that ends in time is stored a little later
        self.coherent = False
        self.keeps = local and policy.local_size > 0
        # Seconds that a value is fresh in the process at most, and kept there after its end.
        self.most, self.kept = policy.local_ttl or inf, policy.kept
        self.watched: dict[str, list[rt.Event]] = {}  # who waits for a change of a name
        self._fake = fake
        self._behind: WriteBehind | None = None
        self.spares = () if policy.behind is None else (1,)  # for the script that deletes: values that wait stay
        self.local = self._store()
        self.before: LocalStore | None = None  # what was there when we lost touch: for fail_safe alone

    def _store(self) -> LocalStore:
        size = self.policy.local_size if self.keeps else SMALLEST
        return LocalStore(size, clock=self.clock) if self._fake else LocalStore(size)

    # -- touch with the server: called by the keeper -----------------------------------------------------------------

    def begin(self) -> None:
        """From now on we are told of changes. What was read before that is not to be kept."""
        self.local.clear()
        self.before = None
        self.coherent = True

    def end(self) -> None:
        """We are no longer told."""
        if self.coherent:
            self.coherent = False
            if self.policy.fail_safe:
                self.before, self.local = self.local, self._store()
            self.local.clear()

    def changed(self, name: bytes) -> None:
        self.local.pop(name)
        if self.watched:
            for event in self.watched.get(name.decode("utf-8", "replace"), ()):
                event.set()

    def forked(self) -> None:
        self.flights, self.watched, self._behind = Flights(), {}, None

    # -- reading -----------------------------------------------------------------------------------------------------

    def wanted(self, name: str) -> Any:
        """When writes are owed: the value that the server will be told; ``DOWN``: do not ask the server, ``MISS``: do."""
        wish = self.owed.wishes.get(name)
        if wish is None:
            return DOWN if self.owed.region(self.policy.prefix) else MISS
        return DOWN if wish.kind == DROP or wish.ends <= self.clock() else wish.value

    def plain(self, name: str, data: Any, local: LocalStore, ticket: int) -> Any:
        """The server's reply as a value, kept as by ``keep``, if it is fresh and as most are. ``MISS``: ``read`` it."""
        store = local if self.keeps and self.coherent else None
        return self._open(name, data, self.clock(), MISS, store, ticket, self.most, self.kept)

    def read(self, name: str, data: Any) -> Found | None:
        """The server's reply as a value, however old, whatever its tags."""
        if type(data) is not bytes:
            return None
        found = self.codec.decode(name, data)
        if found is None and self.codec.strange(name, data):
            self.server.check(name)
        return found

    def usable(self, name: str, data: Any) -> Found | None:
        """The server's reply as a value, however old, whose tags are valid."""
        found = self.read(name, data)
        if found is not None and found.tags and not self.tags.valid(found.tags):
            return None
        return found

    def left(self, found: Found, now: float | None = None) -> float:
        """Seconds that it is fresh; 0 or less: it is not."""
        if now is None:
            now = self.clock()
        return found.made + found.fresh - now if found.made < now else found.fresh

    def keep(self, local: LocalStore, ticket: int, name: str, found: Found, size: int, fresh: float) -> None:
        """In the process, if we are told of changes since before it was read (``ticket``)."""
        if not (self.coherent and self.keeps) or fresh <= 0:
            return
        if fresh == PENDING:
            fresh = self.policy.ttl
        keep = fresh + self.kept
        fresh = min(fresh, self.most)
        tags: Iterable[str] = [tag for tag, _ in found.tags] if found.tags else ()
        local.put_if(ticket, name, found.value, size, fresh, keep, tags)

    def keep_alone(
        self, local: LocalStore, ticket: int, name: str, value: Any, size: int, fresh: float, tags: Iterable[str] = ()
    ) -> None:
        """In the process, for a moment, while the server is down. ``ticket``: from before it was loaded."""
        if self.keeps and self.server.out:
            local.put_if(ticket, name, value, size, min(fresh, ALONE), fresh + self.kept, tags)

    def hold(self, name: str, sight: Sight) -> None:
        """A stale value for a moment, so that what failed to load it is not asked again by every caller."""
        if self.keeps and (self.coherent or self.server.out):
            self.local.put_if(sight.ticket, name, sight.value, UNKNOWN, ALONE, ALONE + self.kept)

    def look(self, name: str) -> Sight:
        """What is at a name, and what is to be done about it. It is kept in the process if it may be."""
        if self.owed.any and (value := self.wanted(name)) is not MISS:
            return self.reserve(name) if value is DOWN else Sight(Verdict.FRESH, value, None)
        local = self.local
        ticket = local.begin()
        data = self.server.ask("GET", name)
        if data is DOWN:
            self.meters.unavailable += 1
            return self.reserve(name)
        return self.judge(name, data, local, ticket)

    def judge(self, name: str, data: Any, local: LocalStore, ticket: int) -> Sight:
        """``look`` at what was read already."""
        if type(data) is not bytes:  # nothing, or no reply to what was asked
            self.meters.misses += 1
            return Sight(Verdict.EXPIRED, MISS, b"" if data is None else None)
        policy = self.policy
        if not policy.early and (value := self.plain(name, data, local, ticket)) is not MISS:
            self.meters.hits += 1
            return Sight(Verdict.FRESH, value, data[:HEAD], ticket)
        mark = data[:2]
        seen = data if mark == LEASE else None if mark == WRITERS else data[:HEAD] or None
        found = self.usable(name, data)
        if found is None:
            self.meters.misses += 1
            return Sight(Verdict.EXPIRED, MISS, seen)
        self.meters.hits += 1
        chance = 1.0 - random()  # noqa: S311
        how = verdict(
            self.clock(),
            found.made,
            found.fresh,
            stale_for=policy.stale_for,
            fail_safe=policy.fail_safe,
            load=found.load,
            beta=policy.early,
            chance=chance,
        )
        if how is Verdict.EXPIRED:
            return Sight(how, MISS, seen)
        if how is Verdict.FRESH:
            self.keep(local, ticket, name, found, len(data), self.soon(found, chance))
        return Sight(how, found.value, seen, ticket)

    def soon(self, found: Found, chance: float) -> float:
        """Seconds until this process should look at it again: with early refresh, chance has it look before the end."""
        left = self.left(found)
        return left if not self.policy.early else left + self.policy.early * found.load * log(chance)

    def reserve(self, name: str) -> Sight:
        """Without the server: a stale value of this process, for when it cannot be loaded either."""
        if self.policy.fail_safe:
            for store in (self.local, self.before):
                there = store.look(name) if store is not None else None
                if there is not None:
                    return Sight(Verdict.RESERVE, there[0], None, self.local.begin())
        return Sight(Verdict.EXPIRED, MISS, None)

    # -- writing -----------------------------------------------------------------------------------------------------

    def lasts(self, value: Any, ttl: float | None) -> float:
        """Seconds that a value to be stored is fresh; 0: it is not to be stored."""
        policy = self.policy
        if value is None and policy.negative_ttl is not None:
            if policy.negative_ttl == 0:
                return 0.0
            ttl = policy.negative_ttl if ttl is None else min(ttl, policy.negative_ttl)
        fresh = jittered(policy.ttl if ttl is None else ttl, policy.jitter, random())  # noqa: S311
        return max(fresh, 0.001)

    def life(self, fresh: float) -> int:
        """Milliseconds that the server keeps it."""
        return int(lifetime(fresh, self.policy.stale_for, self.policy.fail_safe) * 1000) + 1

    @property
    def behind(self) -> WriteBehind:
        """Where writes wait for the database. Raises ``ConfigError`` if the policy has none."""
        behind, policy = self._behind, self.policy
        if behind is None:
            if policy.behind is None:
                raise ConfigError(
                    f"$.cache.{policy.name}.behind: nothing is written behind in this region; set behind=Behind()"
                )
            behind = WriteBehind(self.server.redis, policy, **msgspec.structs.asdict(policy.behind))
            self._behind = behind
        return behind

    def directly(self, what: str) -> None:
        """Raises ``ConfigError`` if values come from write_behind: another write could not be put in order with those that
        wait."""
        if self.policy.behind is not None:
            raise ConfigError(
                f"$.cache.{self.policy.name}.behind: the values of this region are written behind, so {what} is not for it;"
                " use write_behind or delete_behind to change a value, get_or_load to cache what the database has"
            )

    def owe(self, name: str, wish: Wish) -> None:
        self.owed.add(name, wish)
        self.forget(name)

    def forget(self, name: str) -> None:
        """It was changed: no value of before is to be served, not even for want of another one."""
        self.local.pop(name)
        if (before := self.before) is not None:
            before.pop(name)

    def forget_tag(self, tag: str | bytes) -> None:
        self.local.pop_tag(tag)
        if (before := self.before) is not None:
            before.pop_tag(tag)
