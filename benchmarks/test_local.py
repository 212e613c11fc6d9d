"""A hit in the local layer of a cache, beside dict and rivals that are installed: `make bench`, or this file alone.

    python -m pytest benchmarks/test_local.py --benchmark-only

``python -m benchmarks.kernels.local`` measures puts and invalidations too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.kernels.local import KEYS
from mailgenius._native import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture


def of_ours() -> Callable[[str], Any]:
    store = LocalStore(1 << 30)
    for key in KEYS:
        store.put(key, key, 200, 3600)
    return store.get


def of_dict() -> Callable[[str], Any]:
    return {key: key for key in KEYS}.get


def of_cachebox() -> Callable[[str], Any]:
    cache = pytest.importorskip("cachebox").TTLCache(1 << 20, 3600)
    cache.update({key: key for key in KEYS})
    return cache.get  # type: ignore[no-any-return]


def of_cachetools() -> Callable[[str], Any]:
    cache = pytest.importorskip("cachetools").TTLCache(1 << 20, ttl=3600)
    cache.update({key: key for key in KEYS})
    return cache.get  # type: ignore[no-any-return]


@pytest.mark.benchmark(group="10,000 hits")
@pytest.mark.parametrize("made", [of_ours, of_dict, of_cachebox, of_cachetools], ids=lambda made: made.__name__[3:])
def test_hits(benchmark: BenchmarkFixture, made: Callable[[], Callable[[str], Any]]) -> None:
    get = made()
    found = benchmark(lambda: [get(key) for key in KEYS])
    assert found == KEYS
