"""Which shard has a job, and what the shards of a queue are together. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from math import ceil

import msgspec

from mailgenius.errors import ConfigError

from .limits import Limit
from .policy import Policy
from .views import Counts, NameCounts

__all__ = ["MOST", "count_of", "cursors", "home", "part", "place", "policy_of", "share", "summed", "whole"]

MOST = 100  # shards of a queue


def count_of(shards: int) -> int:
    if not 1 <= shards <= MOST:
        raise ConfigError(f"$.queue.shards: {shards} is out of range; give 1 to {MOST}")
    return shards


def home(key: str, shards: int) -> int:
    """The shard of all jobs that have this in common. The same for ever: jump consistent hash (Lamping and Veach, 2014),
    by which a larger number of shards moves keys to the new ones alone."""
    number = int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big")
    found, next = 0, 0
    while next < shards:
        found = next
        number = (number * 2862933555777941757 + 1) & 0xFFFFFFFFFFFFFFFF
        next = int((found + 1) * (1 << 31) / ((number >> 33) + 1))
    return found


def place(id: str, shards: int) -> tuple[int, str]:
    """Of a job: its shard, and its id there. One that cannot be is looked for, in vain, in the first."""
    number, dot, inner = id.partition(".")
    if dot and number.isascii() and number.isdigit() and 0 < int(number) < shards:
        return int(number), inner
    return 0, id


def part(batch: str, number: int) -> str:
    """What a part of a batch is called in its shard."""
    return f"part {number} of {batch}"


def policy_of(policy: Policy, shards: int) -> Policy:
    """For each of them, so that they keep and take together about as much as one queue would."""

    def each(value: int) -> int:
        return ceil(value / shards) if value > 0 else value

    return msgspec.structs.replace(
        policy,
        keep_done=each(policy.keep_done),
        keep_failed=each(policy.keep_failed),
        max_waiting=each(policy.max_waiting),
        events=each(policy.events),
    )


def share(limit: Limit, shards: int) -> Limit:
    """What each of them may do of a limit of all."""
    return Limit(limit.rate / shards, limit.per, max(1.0, limit.burst / shards))


def whole(limits: Sequence[Limit]) -> Limit:
    """What shards may do together."""
    return Limit(sum(one.rate for one in limits), limits[0].per, sum(one.burst for one in limits))


def summed(counts: Sequence[Counts]) -> Counts:
    """``paused``: all of them are."""
    names: dict[str, list[NameCounts]] = {}
    for one in counts:
        for name, found in one.names.items():
            names.setdefault(name, []).append(found)
    return Counts(
        waiting=sum(one.waiting for one in counts),
        active=sum(one.active for one in counts),
        delayed=sum(one.delayed for one in counts),
        blocked=sum(one.blocked for one in counts),
        failed=sum(one.failed for one in counts),
        done=sum(one.done for one in counts),
        retried=sum(one.retried for one in counts),
        stalled=sum(one.stalled for one in counts),
        paused=all(one.paused for one in counts),
        paused_groups=tuple(sorted({group for one in counts for group in one.paused_groups})),
        names={name: _together(names[name]) for name in sorted(names)},
    )


def _together(counts: Iterable[NameCounts]) -> NameCounts:
    every = [msgspec.structs.astuple(one) for one in counts]
    return NameCounts(*map(sum, zip(*every, strict=True)))


def cursors(since: str, shards: int) -> list[str]:
    """A cursor of events of all shards, for each. A shard that was not there yet is read from its beginning. Raises
    ``ConfigError``."""
    found = since.split(",")
    if len(found) > shards:
        raise ConfigError(f"$.queue.events.since: {since!r} is of {len(found)} shards, and the queue has {shards}")
    return found + ["0-0"] * (shards - len(found))
