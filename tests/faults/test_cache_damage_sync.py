# Made from test_cache_damage_async.py by `python -m tools.twin`: edit that one.
"""Bytes that arrive changed, on the way to Redis or back, in values, names, lengths, news of changes: nobody is given a
value that was not written to that key of that tenant, nobody waits beyond the budget, and all is well again by itself.

``MG_FAULT_ROUNDS``: twice as many bytes are changed (20; 200 with ``make faults``), in each direction, with a layer in the
process and without.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
from collections import Counter
from functools import partial
from time import monotonic, perf_counter
from typing import Any

import msgspec
import pytest

from mailgenius import Cache
from mailgenius.cache import MISS
from mailgenius.errors import RedisRefused, RedisUnavailable
from mailgenius.rt import threads as rt
from mailgenius.servers import ValkeyServer
from tests.faults.proxy import FaultProxy, through
from tests.faults.test_cache_faults_sync import own_server, proxy
from tests.waiting_sync import until

__all__ = ["own_server", "proxy"]  # fixtures

pytestmark = pytest.mark.faults
ROUNDS = 2 * int(os.environ.get("MG_FAULT_ROUNDS", "10"))
TENANTS = ("acme", "acmf")  # one bit apart
KEYS = range(8)
BUDGET = 0.05
SLACK = 0.3  # seconds that a busy machine may be late
LENGTH = r"(?<=[$*>])\d|(?<=[$*>]\d)\d|(?<=[$*>]\d\d)\d"  # a digit of one
BEAT = 0.2
NEWS = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$6\r\nlead:a\r\n"


class Value(msgspec.Struct, frozen=True):
    """One that says whose it is."""

    tenant: str
    key: int
    number: int
    filler: str


class Callers:
    """Each reads all keys and writes those of his own. ``wrong``: what was never written there. ``old``: what is older
    than what he wrote himself. ``slow``: what took too long. ``raised``: errors."""

    def __init__(self, region: Any, old_counts: bool) -> None:
        self.region, self.old_counts = region, old_counts
        self.wrong: list[Any] = []
        self.old: list[Any] = []
        self.slow: list[float] = []
        self.raised: Counter[str] = Counter()
        self.seen = 0
        self.number = 0
        self._written: dict[tuple[str, int], int] = {}
        self._ever: dict[tuple[str, int], set[int]] = {(tenant, key): set() for tenant in TENANTS for key in KEYS}

    def work(self, calls: int) -> None:
        """Of each caller. What it found is to be looked at afterwards."""
        running = [rt.spawn(self._caller, mine, calls) for mine in range(4)]
        for one in running:
            one.join()

    def _caller(self, mine: int, calls: int) -> None:
        rng = random.Random()
        for _ in range(calls):
            tenant = rng.choice(TENANTS)
            view = self.region.tenant(tenant)
            began = perf_counter()
            try:
                rng.choice((self._get, self._get_many, self._load, self._set))(view, tenant, mine, rng)
            except (RedisUnavailable, RedisRefused) as error:
                self.raised[type(error).__name__] += 1
            took = perf_counter() - began
            if took > 3 * BUDGET + SLACK:  # a load asks three times
                self.slow.append(took)

    def _get(self, view: Any, tenant: str, mine: int, rng: random.Random) -> None:
        key = rng.choice(KEYS)
        before = self._written.get((tenant, key), 0)
        self._judge(tenant, key, view.get(key), before if key % 4 == mine else 0)

    def _get_many(self, view: Any, tenant: str, mine: int, rng: random.Random) -> None:
        for key, value in (view.get_many(KEYS)).items():
            self._judge(tenant, key, value, self._written.get((tenant, key), 0) if key % 4 == mine else 0)

    def _load(self, view: Any, tenant: str, mine: int, rng: random.Random) -> None:
        key = rng.choice(KEYS)

        def load(key: int) -> Value:
            return self._new(tenant, key)

        self._judge(tenant, key, view.get_or_load(key, load), 0)

    def _set(self, view: Any, tenant: str, mine: int, rng: random.Random) -> None:
        key = rng.choice(KEYS) // 4 * 4 + mine
        value = self._new(tenant, key)
        view.set(key, value)
        self._written[(tenant, key)] = value.number

    def _new(self, tenant: str, key: int) -> Value:
        self.number += 1
        number = self.number * 10 + key
        self._ever[(tenant, key)].add(number)
        return Value(tenant, key, number, "some text of it" * random.randrange(1, 130))

    def _judge(self, tenant: str, key: int, value: Any, least: int) -> None:
        if value is MISS:
            return
        self.seen += 1
        if (value.tenant, value.key) != (tenant, key) or value.number not in self._ever[(tenant, key)]:
            self.wrong.append((tenant, key, value))
        elif self.old_counts and value.number < least:
            self.old.append((tenant, key, value.number, least))


@pytest.mark.timeout(120 + 2 * ROUNDS)
@pytest.mark.parametrize("local", [True, False], ids=["local", "remote"])
@pytest.mark.parametrize("to_server", [True, False], ids=["asked", "answered"])
def test_any_byte(proxy: FaultProxy, local: bool, to_server: bool) -> None:
    rng = random.Random()
    changed = 0
    with Cache(through(proxy), local=local, budget=BUDGET, heartbeat=0.3) as cache:
        region = cache.region("lead", type=Value, tenant=True, compress_from=None)
        # What was asked may be another question: a write that never came to its key leaves what was there before.
        callers = Callers(region, old_counts=not to_server)
        for number in range(ROUNDS):
            where = {"where": LENGTH} if number % 2 else {}
            proxy.flip(to_server, rng.randrange(3000), 1 << rng.randrange(8 if not where else 4), **where)
            callers.work(10)
            changed += proxy.flipped is not None
            assert not callers.wrong, (proxy.flipped, callers.wrong)
            assert not callers.old, (proxy.flipped, callers.old)
            assert not callers.slow, (proxy.flipped, callers.slow)
            until(partial(_well, cache, region, number))
        assert changed > ROUNDS / 2
        assert callers.seen > ROUNDS
    print(f"{changed} bytes changed, {callers.seen:,} values read, {dict(callers.raised)}")


def _well(cache: Cache, region: Any, number: int) -> bool:
    """Values are written and read, and kept in the process if they may be."""
    view = region.tenant("well")
    value = Value("well", number, number, "")
    with contextlib.suppress(RedisUnavailable, RedisRefused):
        view.set(number, value)
        if view.get(number) == value and cache.metrics().available:
            return not cache.settings.local or bool(view.peek(number) == value)
    return False


def test_replies_that_have_shifted(proxy: FaultProxy) -> None:
    """One length says two replies instead of one: from then on each caller is given the next one's, and as they go on
    asking, none of them is ever late."""
    with Cache(through(proxy), local=False, budget=1.0) as cache:
        region = cache.region("raw", serializer="raw")
        values = {key: bytes([key]) * 152 for key in range(20)}  # with its envelope and length, 200 bytes
        region.set_many(values)
        found: Counter[str] = Counter()

        def caller(key: int) -> None:
            for _ in range(300):
                if not cache.metrics().available:
                    until(partial(_available, cache))
                value = region.get(key)
                found["right" if value == values[key] else "missed" if value is MISS else "wrong"] += 1

        proxy.flip(False, 0, ord("1") ^ ord("3"), r"(?s)(?<=\$)1(?=92\r\n.{192}\r\n\$192)")
        began = monotonic()
        running = [rt.spawn(caller, key) for key in values]
        for one in running:
            one.join()
        assert monotonic() - began < 5.0
        assert proxy.flipped is not None
        assert not found["wrong"]
        assert found["missed"], found  # and then it is over, however busy the machine was
        until(partial(_all_right, region, values))


def _all_right(region: Any, values: dict[int, bytes]) -> bool:
    return [region.get(key) for key in values] == list(values.values())


def test_news_of_a_change(own_server: ValkeyServer, proxy: FaultProxy) -> None:
    """Each byte of it but the key's own: a name that arrives as another one of the region can be told by nobody."""
    with (
        Cache(through(proxy), budget=BUDGET, heartbeat=BEAT) as cache,
        Cache(own_server.url, local=False, budget=5.0) as other,
    ):
        region, there = (one.region("lead") for one in (cache, other))
        places = set(range(len(NEWS))) - {NEWS.rindex(b"a")}
        for at in random.sample(sorted(places), min(ROUNDS, len(places))):
            there.set("a", at)
            until(partial(_kept, region, at))
            proxy.flip(False, 0, 1 << random.randrange(8), f"(?s)(?<={re.escape(NEWS[:at].decode())}).")
            there.set("a", -1)
            changed = monotonic()
            until(partial(_known, region, -1))
            assert monotonic() - changed < 2 * BEAT + SLACK, proxy.flipped
            assert proxy.flipped is not None


def test_what_it_is_to_tell_of(own_server: ValkeyServer, proxy: FaultProxy) -> None:
    """A prefix that arrived as another one would leave values in the process that nobody tells of."""
    with Cache(own_server.url, local=False, budget=5.0) as other:
        there = other.region("lead")
        for _ in range(ROUNDS):
            proxy.flip(True, 0, 1 << random.randrange(8), f"(?s)(?<=BCAST.{{{random.randrange(57)}}}).")
            with Cache(through(proxy), budget=BUDGET, heartbeat=BEAT) as cache:
                region = cache.region("lead")
                there.set("a", 1)
                until(partial(_kept, region, 1))
                there.set("a", 2)
                changed = monotonic()
                until(partial(_known, region, 2))
                assert monotonic() - changed < 2 * BEAT + SLACK, proxy.flipped


def _available(cache: Cache) -> bool:
    return cache.metrics().available


def _kept(region: Any, value: int) -> bool:
    region.get("a")
    return bool(region.peek("a") == value)


def _known(region: Any, value: int) -> bool:
    return bool(region.get("a") == value)
