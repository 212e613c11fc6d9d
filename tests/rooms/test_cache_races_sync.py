# Made from test_cache_races_async.py by `python -m tools.twin`: edit that one.
"""The races of a cache, each stopped at its critical point: what is old is not stored, and not served."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from mailgenius import Cache, Redis
from mailgenius.cache import MISS
from mailgenius.cache.marks import LEASE, WRITERS
from mailgenius.errors import OutcomeUnknown
from mailgenius.rt import threads as rt
from mailgenius.servers import ValkeyServer
from tests.waiting_sync import coherent, until


class Gate:
    """Where a participant stops, and waits to be let on."""

    def __init__(self) -> None:
        self.reached, self.open = rt.Event(), rt.Event()

    def stop(self) -> None:
        self.reached.set()
        assert rt.wait(self.open, 10)

    def there(self) -> None:
        assert rt.wait(self.reached, 10)


class Database:
    """One row, with a version."""

    def __init__(self, value: str) -> None:
        self.value, self.version = value, 1
        self.reads = 0

    def read(self, key: Any) -> str:
        self.reads += 1
        return self.value

    def write(self, value: str) -> int:
        self.value, self.version = value, self.version + 1
        return self.version


@contextlib.contextmanager
def processes(server: ValkeyServer, count: int = 2, **policy: Any) -> Iterator[list[Any]]:
    """The same region as so many processes have it."""
    with contextlib.ExitStack() as stack:
        caches = [stack.enter_context(Cache(server.url, budget=5)) for _ in range(count)]
        regions = [cache.region("lead", jitter=0, **policy) for cache in caches]
        for cache in caches:
            coherent(cache)
        yield regions


def raw(server: ValkeyServer) -> bytes | None:
    with Redis(server.url) as redis:
        return redis.get("lead:a")


@pytest.mark.parametrize("change", ["delete", "delete_many", "set", "write_through", "tag"])
def test_a_slow_loader_does_not_bring_back_what_changed_meanwhile(redis_versions: ValkeyServer, change: str) -> None:
    database, gate = Database("old"), Gate()

    def slow(key: str) -> str:
        value = database.read(key)
        gate.stop()
        return value

    with processes(redis_versions) as (loader, other):
        loading = rt.spawn(_load, loader, slow)
        gate.there()
        if change == "write_through":
            other.write_through("a", "new", database.write)
        else:
            database.write("new")
            if change == "delete":
                other.delete("a")
            elif change == "delete_many":
                other.delete_many(["a"])
            elif change == "set":
                other.set("a", "new", tags=["t"])
            else:
                other.invalidate_tag("t")
        gate.open.set()
        assert loading.join() == "old"  # it had asked before
        if change == "tag":  # of which he hears a moment later
            until(partial(_reads, loader, MISS))
        for region in (loader, other, loader):
            assert region.get_or_load("a", database.read) == "new"
        assert loader.peek("a") in (None, "new")


def _reads(region: Any, value: Any) -> bool:
    return region.get("a") is value


def _load(region: Any, load: Any) -> Any:
    return region.get_or_load("a", load, tags=["t"])


def test_a_lease_that_expired_stores_nothing(redis_versions: ValkeyServer) -> None:
    gate = Gate()

    def slow(key: str) -> str:
        gate.stop()
        return "old"

    with processes(redis_versions) as (one, _):
        loading = rt.spawn(_load, one, slow)
        gate.there()
        assert (raw(redis_versions) or b"").startswith(LEASE)
        redis_versions.ask("DEL", "lead:a")
        gate.open.set()
        assert loading.join() == "old"
        assert raw(redis_versions) is None


def test_two_processes_that_load_store_once(redis_versions: ValkeyServer) -> None:
    gates = Gate(), Gate()

    def first(key: str) -> str:
        gates[0].stop()
        return "first"

    def second(key: str) -> str:
        gates[1].stop()
        return "second"

    with processes(redis_versions) as (one, other):
        loads = rt.spawn(_load, one, first), rt.spawn(_load, other, second)
        for gate in gates:
            gate.there()
        gates[1].open.set()
        assert loads[1].join() == "second"
        gates[0].open.set()
        assert loads[0].join() == "first"
        assert one.get("a") == other.get("a") == "second"


def test_an_invalidation_between_reading_and_keeping(redis_versions: ValkeyServer) -> None:
    gate = Gate()
    with processes(redis_versions) as (one, other):
        other.set("a", "old")
        ask = one._ask

        def delayed(*command: Any) -> Any:
            reply = ask(*command)
            gate.stop()
            return reply

        one._ask = delayed
        reading = rt.spawn(one.get, "a")
        gate.there()
        seen = one._shared.local.stats()["refused"]
        before = one._shared.local.begin()
        other.set("a", "new")

        def told() -> bool:
            return one._shared.local.begin() > before

        until(told)
        gate.open.set()
        assert reading.join() == "old"
        assert one.peek("a") is None
        assert one._shared.local.stats()["refused"] == seen + 1
        one._ask = ask
        assert one.get("a") == "new"


@pytest.mark.parametrize("versions", [True, False])
def test_a_slow_writer_does_not_leave_an_older_value(redis_versions: ValkeyServer, versions: bool) -> None:
    database, gate = Database("start"), Gate()

    def slow(value: str) -> int | None:
        version = database.write(value)
        gate.stop()
        return version if versions else None

    def quick(value: str) -> int | None:
        version = database.write(value)
        return version if versions else None

    with processes(redis_versions) as (one, other):
        writing = rt.spawn(_write, one, "older", slow)
        gate.there()
        assert other.get("a") is MISS
        other.write_through("a", "newer", quick)
        assert other.get("a", "newer") == "newer"
        gate.open.set()
        assert writing.join() is False
        for region in (one, other, one):
            assert region.get("a", "newer") == "newer"
            assert region.get_or_load("a", database.read) == "newer"
        assert one.write_through("a", "last", quick)
        until(lambda: _is(other, "last"))


def _is(region: Any, value: str) -> bool:
    return bool(region.get("a") == value)


def _write(region: Any, value: str, write: Any) -> Any:
    return region.write_through("a", value, write)


def test_nothing_is_stored_while_a_writer_is_at_work(redis_versions: ValkeyServer) -> None:
    database, gate = Database("old"), Gate()

    def slow(value: str) -> int:
        gate.stop()
        return database.write(value)

    with processes(redis_versions) as (one, other):
        one.set("a", "old")
        writing = rt.spawn(_write, one, "new", slow)
        gate.there()
        assert (raw(redis_versions) or b"").startswith(WRITERS)
        assert other.get_or_load("a", database.read) == "old"
        assert other.get("a") is MISS
        gate.open.set()
        assert writing.join() is True
        assert other.get_or_load("a", database.read) == "new"


def test_a_deletion_while_a_writer_is_at_work(redis_versions: ValkeyServer) -> None:
    database, gate = Database("old"), Gate()

    def slow(value: str) -> None:
        gate.stop()

    with processes(redis_versions) as (one, other):
        writing = rt.spawn(_write, one, "new", slow)
        gate.there()
        other.delete("a")
        assert other.get_or_load("a", database.read) == "old"
        assert other.get("a") is MISS  # it was not stored: the writer may come to the database any moment
        gate.open.set()
        assert writing.join() is False
        assert raw(redis_versions) is None


def test_a_write_that_failed_leaves_no_trace(redis_versions: ValkeyServer) -> None:
    def refuse(value: str) -> None:
        raise ValueError("no such lead")

    def lost(value: str) -> None:
        raise OutcomeUnknown("gone")

    with processes(redis_versions) as (one, other):
        one.set("a", "old")
        with pytest.raises(ValueError, match="no such lead"):
            one.write_through("a", "new", refuse)
        assert raw(redis_versions) is None
        assert other.get("a") is MISS
        with pytest.raises(OutcomeUnknown):
            one.write_through("a", "new", lost)
        # It may still come about: nothing is stored until the mark's time is over.
        assert (raw(redis_versions) or b"").startswith(WRITERS)
        with pytest.raises(TypeError):
            one.write_through("a", object(), refuse)


def test_a_writer_whose_time_was_over_does_not_replace_a_newer_version(redis_versions: ValkeyServer) -> None:
    database, gate = Database("start"), Gate()

    def slow(value: str) -> int:
        version = database.write(value)
        gate.stop()
        return version

    with processes(redis_versions) as (one, other):
        writing = rt.spawn(_write, one, "older", slow)
        gate.there()
        redis_versions.ask("DEL", "lead:a")  # as if its time were over
        assert other.write_through("a", "newer", database.write)
        gate.open.set()
        assert writing.join() is False
        assert one.get("a") == other.get("a") == "newer"


def test_the_news_of_a_change_that_comes_before_tracking_is_on(redis_server: ValkeyServer) -> None:
    with Cache(redis_server.url, budget=5) as cache:
        region = cache.region("lead")
        ticket = region._shared.local.begin()
        coherent(cache)
        assert not region._shared.local.put_if(ticket, "lead:a", 1, 1, 10)
