# Made from loading_async.py by `python -m tools.twin`: edit that one.
"""From a miss to a value: one load for each key, and nothing is stored that may be old.

A loader may store only what he began to load when the name was in the state in which it still is: he leaves a lease where
nothing was, or remembers which old value was there, and a script on the server compares. Whoever deletes or writes
meanwhile replaces it, and then the value goes to those who asked, and no further.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any

from mailgenius.cache.freshness import Verdict
from mailgenius.cache.marks import MISS, lease, token
from mailgenius.cache.server_sync import DOWN
from mailgenius.cache.shared_sync import Shared, Sight
from mailgenius.cache.threads import StillLoading
from mailgenius.rt import threads as rt

__all__ = ["obtain"]

LOCK = "mg:l:"
#: Seconds that the lock of a holder who died keeps others waiting, if the policy has no hard timeout.
HELD = 10.0
#: Seconds until who waits for another process looks again, if nobody told him of the change.
PAUSE = 0.02
_SERVED = (Verdict.FRESH, Verdict.EARLY, Verdict.STALE)


def obtain(
    shared: Shared,
    name: str,
    load: Callable[[], rt.Awaits[Any]],
    tags: Iterable[str] = (),
    ttl: float | None = None,
) -> Any:
    """The value at ``name``, which is not in the process."""
    sight = shared.look(name)
    if sight.verdict is Verdict.FRESH:
        return sight.value
    policy, flights, meters = shared.policy, shared.flights, shared.meters

    def fly() -> Any:
        return _fly(shared, name, load, tags, ttl, sight)

    if sight.verdict in _SERVED:
        meters.stale += sight.verdict is Verdict.STALE
        meters.refreshes += flights.start(name, fly, limit=policy.hard_timeout)
        return sight.value
    if sight.value is MISS:
        return flights.load(name, fly, limit=policy.hard_timeout)
    try:
        return flights.load(name, fly, wait=policy.soft_timeout, limit=policy.hard_timeout)
    except StillLoading:
        pass
    except Exception:
        shared.hold(name, sight)
    meters.stale += 1
    return sight.value


def _fly(
    shared: Shared,
    name: str,
    load: Callable[[], rt.Awaits[Any]],
    tags: Iterable[str],
    ttl: float | None,
    sight: Sight,
) -> Any:
    if not shared.policy.lock:
        return _load(shared, name, load, tags, ttl, sight)
    held, sight = _lock(shared, name, sight)
    try:
        if sight.verdict is Verdict.FRESH or (held is None and sight.verdict in _SERVED):
            return sight.value
        return _load(shared, name, load, tags, ttl, sight)
    finally:
        if held is not None:
            shared.server.run(shared.server.release, LOCK + name, held)


def _lock(shared: Shared, name: str, sight: Sight) -> tuple[bytes | None, Sight]:
    """The lock of all processes, and what is there then. None: somebody else has stored a value meanwhile, or is about to
    replace one that can still be served; or the server is down, and everybody loads for himself."""
    mine = token()
    limit = int((shared.policy.hard_timeout or HELD) * 1000)
    changed = rt.Event()
    shared.watched.setdefault(name, []).append(changed)
    try:
        while True:
            got = shared.server.ask("SET", LOCK + name, mine, "NX", "PX", limit)
            if got is DOWN:
                return None, sight
            if got is not None:
                return mine, shared.look(name)
            if sight.verdict in _SERVED:
                return None, sight
            rt.wait(changed, PAUSE)
            changed.clear()
            sight = shared.look(name)
    finally:
        others = [event for event in shared.watched.pop(name, ()) if event is not changed]
        if others:
            shared.watched.setdefault(name, []).extend(others)


def _load(
    shared: Shared,
    name: str,
    load: Callable[[], rt.Awaits[Any]],
    tags: Iterable[str],
    ttl: float | None,
    sight: Sight,
) -> Any:
    server, meters, local = shared.server, shared.meters, shared.local
    if sight.value is MISS and (value := local.get(name, MISS)) is not MISS:
        return value  # it came while we got here
    if sight.value is MISS and sight.seen:  # one was being loaded, perhaps by those whom we came too late to wait with
        sight = shared.look(name)
        if sight.verdict in _SERVED:
            return sight.value
    ticket = local.begin()
    tokens = shared.tags.tokens(tags) if tags else ()
    seen = sight.seen if tokens is not None else None
    mine = None
    if seen == b"":
        seen = mine = lease()
        there = server.run(server.lease, name, mine, shared.fence_ms)
        if there is DOWN:
            seen = None
        elif there is not None:
            sight = shared.judge(name, there, local, ticket)
            if sight.verdict in _SERVED:
                return sight.value
            seen, mine = sight.seen, None
    began = monotonic()
    meters.loads += 1
    try:
        value = load()
    except BaseException:
        meters.load_errors += 1
        raise
    fresh = shared.lasts(value, ttl)
    if not fresh:
        if mine is not None:
            server.run(server.release, name, mine)
        return value
    took = monotonic() - began
    data = shared.codec.encode(name, value, made=shared.clock(), fresh=fresh, load=took, tags=tokens or ())
    stored = DOWN if seen is None else server.run(server.put, name, seen, data, shared.life(fresh))
    if stored != 1:
        meters.not_stored += 1
        if stored is DOWN:
            shared.keep_alone(local, ticket, name, value, len(data), fresh, tags)
    return value
