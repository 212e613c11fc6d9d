"""A cache against a dict: two clients, both layers, a clock that the test moves. What it gives is what the dict says, or a
miss where the dict has nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from mailgenius import Cache
from mailgenius.cache import MISS
from mailgenius.servers import ValkeyServer
from tests.waiting_sync import coherent, until

KEYS = st.sampled_from(["a", "b", 3, ("a", 1), "{x}"])
VALUES = st.one_of(st.none(), st.integers(-5, 5), st.text(max_size=3))
TAGS = st.sets(st.sampled_from(["t", "u"]))
WHO = st.integers(0, 1)
TENANTS = st.sampled_from(["acme", "other"])


def test_a_cache_is_a_dict(redis_server: ValkeyServer) -> None:
    class Model(RuleBasedStateMachine):
        @initialize()
        def start(self) -> None:
            redis_server.ask("FLUSHALL")
            self.now = 1.7e9
            self.caches = [Cache(redis_server.url, clock=lambda: self.now, budget=5) for _ in range(2)]
            for cache in self.caches:
                cache.start()
            regions = [cache.region("lead", tenant=True, ttl=100, jitter=0, negative_ttl=10) for cache in self.caches]
            self.views: dict[Any, Any] = {
                (who, tenant): regions[who].tenant(tenant) for who in range(2) for tenant in ("acme", "other")
            }
            for cache in self.caches:
                coherent(cache)
            self.model: dict[Any, tuple[Any, float, frozenset[Any]]] = {}

        def teardown(self) -> None:
            for cache in getattr(self, "caches", ()):
                cache.close()

        def there(self, tenant: str, key: Any) -> Any:
            value, ends, _ = self.model.get((tenant, key), (MISS, 0.0, frozenset()))
            return value if ends > self.now else MISS

        def put(self, tenant: str, key: Any, value: Any, ttl: float, tags: Iterable[str]) -> None:
            ends = self.now + (min(ttl, 10) if value is None else ttl)
            self.model[tenant, key] = (value, ends, frozenset((tenant, tag) for tag in tags))

        @rule(who=WHO, tenant=TENANTS, key=KEYS, value=VALUES, ttl=st.integers(1, 300), tags=TAGS)
        def set(self, who: int, tenant: str, key: Any, value: Any, ttl: int, tags: set[str]) -> None:
            assert self.views[who, tenant].set(key, value, ttl=ttl, tags=tags)
            self.put(tenant, key, value, ttl, tags)
            self.settle()

        @rule(who=WHO, tenant=TENANTS, key=KEYS)
        def get(self, who: int, tenant: str, key: Any) -> None:
            assert self.views[who, tenant].get(key) == self.there(tenant, key)

        @rule(who=WHO, tenant=TENANTS)
        def get_many(self, who: int, tenant: str) -> None:
            keys: list[Any] = ["a", "b", 3, ("a", 1), "{x}"]
            wanted = {key: value for key in keys if (value := self.there(tenant, key)) is not MISS}
            assert self.views[who, tenant].get_many(keys) == wanted

        @rule(who=WHO, tenant=TENANTS, key=KEYS)
        def peek(self, who: int, tenant: str, key: Any) -> None:
            assert self.views[who, tenant].peek(key, MISS) in (MISS, self.there(tenant, key))

        @rule(who=WHO, tenant=TENANTS, key=KEYS, value=VALUES, tags=TAGS)
        def get_or_load(self, who: int, tenant: str, key: Any, value: Any, tags: set[str]) -> None:
            was = self.there(tenant, key)
            given = self.views[who, tenant].get_or_load(key, lambda key: value, tags=tags)
            assert given == (value if was is MISS else was)
            if was is MISS:
                self.put(tenant, key, value, 100, tags)
                self.settle()

        @rule(who=WHO, tenant=TENANTS, key=KEYS)
        def delete(self, who: int, tenant: str, key: Any) -> None:
            self.views[who, tenant].delete(key)
            self.model.pop((tenant, key), None)
            self.settle()

        @rule(who=WHO, tenant=TENANTS, key=KEYS)
        def touch(self, who: int, tenant: str, key: Any) -> None:
            value = self.there(tenant, key)
            assert self.views[who, tenant].touch(key) is (value is not MISS)
            if value is not MISS:
                tags = {tag for _, tag in self.model[tenant, key][2]}
                self.put(tenant, key, value, 100, tags)
            self.settle()

        @rule(who=WHO, tenant=TENANTS, key=KEYS, value=VALUES, fails=st.booleans())
        def write_through(self, who: int, tenant: str, key: Any, value: Any, fails: bool) -> None:
            def write(value: Any) -> None:
                if fails:
                    raise ValueError

            try:
                stored = self.views[who, tenant].write_through(key, value, write)
            except ValueError:
                assert fails
                self.model.pop((tenant, key), None)
            else:
                assert stored
                assert not fails
                self.put(tenant, key, value, 100, frozenset())
            self.settle()

        @rule(who=WHO, tenant=TENANTS, tag=st.sampled_from(["t", "u"]))
        def invalidate(self, who: int, tenant: str, tag: str) -> None:
            self.views[who, tenant].invalidate_tag(tag)
            self.model = {key: entry for key, entry in self.model.items() if (tenant, tag) not in entry[2]}
            self.settle()

        @precondition(lambda self: hasattr(self, "now"))
        @rule(seconds=st.sampled_from([0.5, 9, 11, 99, 200]))
        def later(self, seconds: float) -> None:
            self.now += seconds

        @rule()
        def flush(self) -> None:
            redis_server.ask("FLUSHALL")
            self.model.clear()
            self.settle()

        def settle(self) -> None:
            """Until both have been told of what was changed up to now: a change on the server that comes after it."""
            before = [cache.metrics().invalidations for cache in self.caches]
            redis_server.ask("SET", "lead:%@marker:m", str(sum(before)))
            for cache, count in zip(self.caches, before, strict=True):
                until(lambda cache=cache, count=count: cache.metrics().invalidations > count)

    run_state_machine_as_test(
        Model,
        settings=settings(
            max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
