"""local.pxi: bounded, coherent, and better than LRU at keeping what is asked for."""

import gc
import random
import sys
import threading
import tracemalloc
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mailgenius._native import LocalStore, Namer

ENTRY = 272  # bytes of an entry without its key and value


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Value:
    """Something with an identity that can be watched."""

    def __init__(self, other: object = None) -> None:
        self.other = other


def test_none_is_a_value() -> None:
    store = LocalStore(1 << 20)
    assert store.get("a", "none") == "none"
    store.put("a", None, 0, 60)
    assert store.get("a", "none") is None
    assert store.look("b") is None


def test_named_is_get_of_the_name() -> None:
    store = LocalStore(1 << 20)
    store.put("r:5", "five", 10, 60)
    store.put("r:a", "letter", 10, 60)
    names: list[Callable[[Any], str]] = [Namer("r:", str), lambda key: f"r:{key}"]
    for name in names:
        assert store.named(name, 5) == "five"
        assert store.named(name, "a", 1) == "letter"
        assert store.named(name, 6) is None
        assert store.named(name, "b", "other") == "other"
    with pytest.raises(ZeroDivisionError):
        store.named(lambda key: str(1 // key), 0)
    with pytest.raises(TypeError):
        store.named(lambda key: key, 1)
    assert store.stats()["hits"] == 4


def test_keys_are_text_or_its_bytes() -> None:
    store = LocalStore(1 << 20)
    store.put("é", 1, 0, 60)
    assert store.get("é".encode()) == 1
    assert store.get(b"\xff") is None
    assert store.pop("é".encode())

    class Odd(str):
        __slots__ = ()

    for key in (1, None, Odd("é")):
        with pytest.raises(TypeError, match="a key of a local store is a str"):
            store.get(key)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="a key of a local store is a str"):
            store.put(key, 1, 0, 60)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "put",
    [
        lambda store: store.put("a", 1, -1, 60),
        lambda store: store.put("a", 1, 0, 0),
        lambda store: store.put("a", 1, 0, float("nan")),
        lambda store: store.put("a", 1, 0, 60, float("nan")),
        lambda store: store.put("a", 1, 0, 60, 0, [1]),
        lambda store: store.put("a", 1, 1 << 64, 60),
        lambda store: store.put_if(-1, "a", 1, 0, 60),
    ],
)
def test_refusals_change_nothing(put: Callable[[LocalStore], object]) -> None:
    store = LocalStore(1 << 20)
    store.put("a", "before", 0, 60)
    with pytest.raises((ValueError, TypeError, OverflowError)):
        put(store)
    assert store.get("a") == "before"


def test_arguments() -> None:
    with pytest.raises(ValueError, match="at least 4096"):
        LocalStore(100)
    with pytest.raises(TypeError, match="gives seconds"):
        LocalStore(1 << 20, clock=3)  # type: ignore[arg-type]


def test_what_is_too_large_drives_out_nothing_but_its_predecessor() -> None:
    store = LocalStore(1 << 20)
    store.put("a", "old", 0, 60)
    store.put("b", "other", 0, 60)
    assert not store.put("a", "new", 1 << 30, 60)
    assert store.get("a") is None
    assert store.get("b") == "other"
    assert store.stats()["too_large"] == 1


def test_a_load_that_began_before_an_invalidation_is_not_stored() -> None:
    """The race that makes local caches lie: read from the server, the news that it has changed, then the old value."""
    store = LocalStore(1 << 20)
    ticket = store.begin()
    store.pop(b"lead:1")  # though it is not there
    assert not store.put_if(ticket, "lead:1", "old", 3, 60)
    assert store.put_if(store.begin(), "lead:1", "new", 3, 60)
    ticket = store.begin()
    store.pop_tag("acme")
    assert not store.put_if(ticket, "lead:2", "old", 3, 60, tags=["acme"])
    ticket = store.begin()
    store.clear()
    assert not store.put_if(ticket, "lead:3", "old", 3, 60)
    ticket = store.begin()
    store.put("lead:4", "written here", 12, 60)
    assert not store.put_if(ticket, "lead:4", "read before", 11, 60)
    assert store.get("lead:4") == "written here"
    assert store.stats()["refused"] == 4


def test_two_threads_and_the_race() -> None:
    """A reader stores what it read, a writer changes it and then invalidates: what is found is never older than that."""
    store = LocalStore(1 << 20)
    server = {"n": 0}
    wrong: list[tuple[int, int]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            ticket = store.begin()
            store.put_if(ticket, "n", server["n"], 8, 60)

    readers = [threading.Thread(target=read) for _ in range(3)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for reader in readers:
            reader.start()
        for n in range(1, 3000):
            server["n"] = n
            store.pop("n")
            found = store.get("n", n)
            if found < n:
                wrong.append((found, n))
    finally:
        done.set()
        sys.setswitchinterval(interval)
        for reader in readers:
            reader.join()
    assert wrong == []


def test_threads_may_share_a_store() -> None:
    store = LocalStore(200_000)

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(20_000):
            key = f"lead:{rng.randrange(2000)}"
            match rng.randrange(10):
                case 0:
                    store.pop(key)
                case 1 | 2 | 3:
                    store.put(key, [key], rng.randrange(500), 60, tags=[f"t{rng.randrange(5)}"])
                case 4 if rng.randrange(100) == 0:
                    store.clear()
                case 5 if rng.randrange(20) == 0:
                    store.pop_tag(f"t{rng.randrange(5)}")
                case _:
                    found = store.get(key)
                    assert found is None or found == [key]

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while store.sweep():
        pass
    assert store.stats()["bytes"] <= 200_000
    store.clear()
    store.sweep(1 << 30)
    assert store.stats()["bytes"] == store.stats()["tags"] == 0


# -- eviction


def zipf(count: int, keys: int, exponent: float, seed: int) -> list[int]:
    rng = random.Random(seed)
    weights = [1 / (rank + 1) ** exponent for rank in range(keys)]
    return rng.choices(range(keys), weights, k=count)


def with_scans(trace: list[int], every: int, length: int) -> Iterator[int]:
    """Every ``every`` requests, a scan over ``length`` keys that nobody asks for again."""
    fresh = 1_000_000_000
    for i, key in enumerate(trace):
        if i % every == 0:
            yield from range(fresh, fresh + length)
            fresh += length
        yield key


def hit_ratio_of_lru(trace: Iterator[int], capacity: int) -> float:
    kept: OrderedDict[int, None] = OrderedDict()
    hits = asked = 0
    for key in trace:
        wanted = key < 1_000_000_000
        asked += wanted
        if key in kept:
            hits += wanted
            kept.move_to_end(key)
        else:
            kept[key] = None
            if len(kept) > capacity:
                kept.popitem(last=False)
    return hits / asked


def hit_ratio_of_store(trace: Iterator[int], capacity: int) -> float:
    store = LocalStore(capacity * (ENTRY + 10 + 100))  # keys have ten characters, values 100 bytes
    hits = asked = 0
    for key in trace:
        wanted = key < 1_000_000_000
        asked += wanted
        text = f"{key:010}"
        if store.get(text) is not None:
            hits += wanted
        else:
            store.put(text, key, 100, 3600)
    return hits / asked


@pytest.mark.parametrize(
    ("exponent", "every", "length", "least"),
    [(1.0, 10**9, 0, 1.05), (0.7, 10**9, 0, 1.15), (1.0, 2000, 2000, 1.3), (0.7, 2000, 2000, 1.5)],
)
def test_it_keeps_more_of_what_is_asked_for_than_lru(exponent: float, every: int, length: int, least: float) -> None:
    """20,000 keys, room for a tenth of them; with and without scans of as many keys that nobody asks for again."""
    trace = zipf(100_000, 20_000, exponent, seed=11)
    ours = hit_ratio_of_store(with_scans(trace, every, length), 2000)
    lru = hit_ratio_of_lru(with_scans(trace, every, length), 2000)
    print(f"zipf {exponent}, scans of {length}: {ours:.3f}, LRU {lru:.3f}")
    assert ours >= lru * least


def test_one_eviction_looks_at_a_bounded_number() -> None:
    """Everything was asked for several times: still somebody has to go, and soon."""
    store = LocalStore(1000 * (ENTRY + 4))
    for i in range(1000):
        store.put(f"{i:04}", i, 0, 60)
    for _ in range(5):
        for i in range(1000):
            store.get(f"{i:04}")
    store.put("more", 1, 0, 60)
    assert store.get("more") == 1
    assert store.stats()["evicted"] == 1


def test_what_is_gone_leaves_first_and_counts_as_expired() -> None:
    clock = Clock()
    store = LocalStore(10 * (ENTRY + 1 + 500), clock=clock)
    for key in "abcdefghij":
        store.put(key, key, 500, 1)
    clock.now += 2
    store.put("k", "k", 500, 1)
    assert store.stats()["expired"] == 1
    assert store.get("b") is None
    assert store.stats()["expired"] == 2
    assert store.stats()["evicted"] == 0


def test_the_size_of_an_entry_is_true() -> None:
    keys = [f"lead:{i:07}" for i in range(100_000)]  # their text counts with the entry, but is there already
    tracemalloc.start()
    try:
        store = LocalStore(1 << 30)
        before = tracemalloc.get_traced_memory()[0]
        for key in keys:
            store.put(key, None, 0, 3600)
        used = (tracemalloc.get_traced_memory()[0] - before) / len(keys)
    finally:
        tracemalloc.stop()
    assert 0.6 * ENTRY < used + sys.getsizeof("") < 1.1 * ENTRY


# -- objects


def test_values_are_let_go() -> None:
    stores = [LocalStore(1 << 20)]
    store = stores[0]
    watched = []

    def put(key: str) -> None:
        value = Value()
        watched.append(weakref.ref(value))
        stores[0].put(key, value, 0, 60, tags=["t"])

    put("popped")
    store.pop("popped")
    put("replaced")
    store.put("replaced", 1, 0, 60)
    put("tagged")
    store.pop_tag("t")
    put("cleared")
    store.clear()
    store.sweep()
    put("left")
    del store
    stores.clear()
    assert [ref() for ref in watched] == [None] * 5


def test_cycles_are_collected() -> None:
    watched = []
    for clear in (False, True):
        store = LocalStore(1 << 20)
        for i in range(10):
            value = Value(store)
            watched.append(weakref.ref(value))
            store.put(f"{i}", value, 0, 60, tags=["t"])
        if clear:
            store.clear()
        del store, value
    gc.collect()
    assert [ref() for ref in watched] == [None] * 20


def test_finalizers_may_use_the_store() -> None:
    store = LocalStore(16 * 1024)
    said: list[str] = []

    class Loud:
        def __init__(self, key: str) -> None:
            self.key = key

        def __del__(self) -> None:
            said.append(self.key)
            store.put(f"ghost of {self.key}"[-40:], 1, 100, 60, tags=["t"])
            store.get("0")
            if len(said) % 7 == 0:
                store.pop_tag("t")
            if len(said) % 31 == 0:
                store.clear()

    for i in range(500):
        store.put(f"{i % 40}", Loud(f"{i}"), 300, 60, tags=["t", f"u{i % 3}"])
        store.sweep(1)
    store.clear()
    store.sweep(10_000)
    assert sorted(map(int, said)) == list(range(500))


def test_a_million_entries() -> None:
    """An invalidation does not depend on how many there are; a clear neither."""
    store = LocalStore(1 << 30)
    for i in range(300_000):
        store.put(f"{i}", i, 0, 3600, tags=["all"] if i < 1000 else ())
    assert store.pop("250000")
    assert store.pop_tag("all") == 1000
    store.clear()
    assert store.stats()["bytes"] > 300_000 * 200
    store.put("new", 1, 0, 60)
    assert store.sweep(1_000_000) is False
    assert store.stats()["bytes"] == ENTRY + 3
    assert store.get("new") == 1
