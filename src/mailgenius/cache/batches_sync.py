# Made from batches_async.py by `python -m tools.twin`: edit that one.
"""Many values with one load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, TypeVar

from mailgenius.cache.freshness import Verdict
from mailgenius.cache.marks import MISS, lease
from mailgenius.cache.server_sync import DOWN
from mailgenius.cache.shared_sync import Shared, Sight
from mailgenius.errors import RedisRefused, RedisUnavailable
from mailgenius.rt import threads as rt

__all__ = ["obtain_many"]

_K = TypeVar("_K")
_T = TypeVar("_T")
_SERVED = (Verdict.FRESH, Verdict.EARLY)  # a stale one is loaded with the others


def obtain_many(
    shared: Shared,
    wanted: dict[_K, str],
    load_many: Callable[[list[_K]], rt.Awaits[Mapping[_K, _T]]],
    ttl: float | None,
) -> dict[_K, Any]:
    """The values of ``wanted``, names by key."""
    found: dict[_K, Any] = {}
    reserves: dict[_K, Sight] = {}
    asked: dict[_K, str] = {}
    for key, name in wanted.items():
        value = shared.local.get(name, MISS)
        if value is MISS:
            asked[key] = name
        else:
            found[key] = value
    sights = _look(shared, asked)
    for key, sight in sights.items():
        if sight.verdict in _SERVED:
            found[key] = sight.value
        else:
            reserves[key] = sight
    if not reserves:
        return {key: found[key] for key in wanted}

    def fly() -> dict[_K, Any]:
        return _load(shared, {key: asked[key] for key in reserves}, reserves, load_many, ttl)

    flight = ("many", frozenset(asked[key] for key in reserves))
    try:
        found |= shared.flights.load(flight, fly, limit=shared.policy.hard_timeout)
    except Exception:
        if any(sight.value is MISS for sight in reserves.values()):
            raise
        shared.meters.stale += len(reserves)
        found |= {key: sight.value for key, sight in reserves.items()}
    return {key: found[key] for key in wanted}


def _look(shared: Shared, asked: dict[_K, str]) -> dict[_K, Sight]:
    if not asked:
        return {}
    sights: dict[_K, Sight] = {}
    if shared.owed.any:
        return {key: shared.look(name) for key, name in asked.items()}
    local = shared.local
    ticket = local.begin()
    replies = shared.server.ask_many(list(asked.values()))
    if replies is DOWN:
        shared.meters.unavailable += len(asked)
        return {key: shared.reserve(name) for key, name in asked.items()}
    for (key, name), data in zip(asked.items(), replies, strict=True):
        if data is DOWN:
            shared.meters.unavailable += 1
            sights[key] = shared.reserve(name)
        else:
            sights[key] = shared.judge(name, data, local, ticket)
    return sights


def _load(
    shared: Shared,
    asked: dict[_K, str],
    sights: dict[_K, Sight],
    load_many: Callable[[list[_K]], rt.Awaits[Mapping[_K, _T]]],
    ttl: float | None,
) -> dict[_K, Any]:
    server, meters, local = shared.server, shared.meters, shared.local
    ticket = local.begin()
    seen: dict[_K, bytes | None] = {key: sight.seen for key, sight in sights.items()}
    leases = {key: lease() for key, was in seen.items() if was == b""}
    replies = _tell(
        shared, [server.lease.command((asked[key],), (mine, shared.fence_ms)) for key, mine in leases.items()]
    )
    found: dict[_K, Any] = {}
    for (key, mine), there in zip(leases.items(), replies, strict=True):
        if there is None:
            seen[key] = mine
        elif isinstance(there, bytes):  # somebody else's lease, or what he stored
            sight = shared.judge(asked[key], there, local, ticket)
            seen[key] = sight.seen
            if sight.verdict in _SERVED:
                found[key] = sight.value
        else:
            seen[key] = None
    keys = [key for key in asked if key not in found]
    began = monotonic()
    meters.loads += 1
    try:
        loaded = load_many(keys) if keys else {}
    except BaseException:
        meters.load_errors += 1
        raise
    took = (monotonic() - began) / max(len(keys), 1)
    commands: list[tuple[Any, ...]] = []
    alone: list[tuple[str, Any, int, float]] = []
    for key in keys:
        value, name = loaded.get(key), asked[key]
        found[key] = value
        if not (fresh := shared.lasts(value, ttl)):
            continue
        data = shared.codec.encode(name, value, made=shared.clock(), fresh=fresh, load=took)
        alone.append((name, value, len(data), fresh))
        if (was := seen[key]) is not None:
            commands.append(server.put.command((name,), (was, data, shared.life(fresh))))
    stored = _tell(shared, commands)
    meters.not_stored += len(alone) - sum(reply == 1 for reply in stored)
    for item in alone:
        shared.keep_alone(local, ticket, *item)
    return found


def _tell(shared: Shared, commands: list[tuple[Any, ...]]) -> list[Any]:
    """Their replies; ``DOWN`` for each that got none."""
    if not commands:
        return []
    try:
        replies = shared.server.tell_all(commands)
    except RedisUnavailable:
        return [DOWN] * len(commands)
    return [DOWN if isinstance(reply, RedisRefused | RedisUnavailable) else reply for reply in replies]
