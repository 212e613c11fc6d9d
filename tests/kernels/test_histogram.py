"""histogram.c: exact where it says so, within 1.6 % of exact quantiles elsewhere, and merged as if observed in one."""

import copy
import math
import pickle
import threading
import time
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailgenius._native import Histogram

LIMIT = 2**42  # ns
ERROR = 0.016
# All sizes alike, and the ends of buckets.
NS = st.one_of(
    st.integers(0, 200),
    st.tuples(st.integers(0, 62), st.integers(32, 63), st.sampled_from([-1, 0])).map(lambda t: (t[1] << t[0]) + t[2]),
    st.floats(0, math.log(LIMIT)).map(lambda x: int(math.exp(x))),
).filter(lambda ns: ns < 2**63)
QS = st.lists(st.floats(0, 1), max_size=8)


def made_of(values: Iterable[int]) -> Histogram:
    histogram = Histogram()
    for ns in values:
        histogram.observe_ns(ns)
    return histogram


def state(histogram: Histogram) -> object:
    return histogram.__reduce__()[2]


def exact(ordered: list[int], q: float) -> int:
    return ordered[max(math.ceil(q * len(ordered)), 1) - 1]


@settings(max_examples=400)
@given(st.lists(NS, min_size=1, max_size=200), QS)
def test_quantiles(values: list[int], qs: list[float]) -> None:
    histogram = made_of(values)
    ordered = sorted(values)
    assert histogram.count == len(values)
    assert histogram.sum == sum(values) / 10**9
    assert histogram.min == ordered[0] / 1e9
    assert histogram.max == ordered[-1] / 1e9
    assert histogram.overflow == sum(ns >= LIMIT for ns in values)
    assert histogram.quantiles([0, 1]) == [histogram.min, histogram.max]
    for q, got in zip(qs, histogram.quantiles(qs), strict=True):
        wanted = exact(ordered, q)
        assert got == histogram.quantile(q)
        assert got is not None
        assert histogram.min <= got <= histogram.max
        if wanted < LIMIT:
            assert abs(got * 1e9 - wanted) <= ERROR * wanted
        else:
            assert got >= LIMIT / 1e9


@given(st.lists(NS, max_size=100))
def test_buckets(values: list[int]) -> None:
    buckets = made_of(values).buckets()
    assert [bound for bound, _ in buckets] == sorted({bound for bound, _ in buckets})
    for bound, count in buckets:
        assert count == sum(ns / 1e9 <= bound for ns in values)
    assert len({count for _, count in buckets} | {0}) == len(buckets) + 1  # none is empty
    assert not values or buckets[-1][1] == len(values)


@given(st.lists(NS, max_size=60), st.lists(NS, max_size=60))
def test_merged_is_observed_in_one(left: list[int], right: list[int]) -> None:
    merged, other = made_of(left), made_of(right)
    merged.merge(other)
    assert state(merged) == state(made_of(left + right))
    assert state(other) == state(made_of(right))


@given(st.lists(NS, max_size=60))
def test_copies_and_forgetting(values: list[int]) -> None:
    histogram = made_of(values)
    for twin in (pickle.loads(pickle.dumps(histogram)), copy.copy(histogram)):  # noqa: S301
        assert type(twin) is Histogram
        assert state(twin) == state(histogram)
        twin.observe(1)
        assert state(histogram) == state(made_of(values))
    histogram.merge(histogram)
    assert state(histogram) == state(made_of(values * 2))
    histogram.reset()
    assert state(histogram) == state(Histogram())


@given(st.floats(0, 9.2e9))
def test_seconds_are_rounded_to_nanoseconds(seconds: float) -> None:
    histogram = Histogram()
    histogram.observe(seconds)
    assert histogram.max == pytest.approx(seconds, rel=1e-15, abs=0.5e-9)


def test_empty() -> None:
    histogram = Histogram()
    assert (histogram.count, histogram.sum, histogram.overflow) == (0, 0, 0)
    assert histogram.min is histogram.max is histogram.quantile(0.5) is None
    assert histogram.quantiles([0, 1]) == [None, None]
    assert histogram.quantiles([]) == histogram.buckets() == []
    assert repr(histogram) == "<Histogram, empty>"


def test_limits() -> None:
    histogram = Histogram()
    for seconds in (3600, 2**42 / 1e9, 9.2e9):
        histogram.observe(seconds)
    assert histogram.overflow == 2
    assert histogram.max == 9.2e9
    assert histogram.sum == 3600 + 2**42 / 1e9 + 9.2e9
    assert histogram.quantile(0.3) == 3600
    [below, above] = histogram.buckets()
    assert 3600 <= below[0] <= 3600 * (1 + 1 / 32)
    assert below[1] == 1
    assert above == (math.inf, 3)
    for _ in range(4):
        histogram.observe_ns(2**63 - 1)
    assert histogram.sum > 4 * 9.2e9  # beyond 64 bits
    assert repr(made_of([0, 2_000_000, 2_000_000])) == "<Histogram of 3: p50 0.002 s, p99 0.002 s, max 0.002 s>"


def test_what_is_refused() -> None:
    histogram = Histogram()
    for bad in (math.nan, math.inf, -math.inf, -1e-9, -1, 9.3e9):
        with pytest.raises(ValueError, match="number of seconds from 0"):
            histogram.observe(bad)
    for ns in (-1, 2**63, -(2**70), 2**70):
        with pytest.raises(ValueError, match="number of nanoseconds from 0"):
            histogram.observe_ns(ns)
    for q in (-0.1, 1.01, math.nan, math.inf):
        with pytest.raises(ValueError, match="number from 0 to 1"):
            histogram.quantile(q)
    with pytest.raises(ValueError, match="64"):
        histogram.quantiles([0.5] * 65)
    for wrong in ("1", None, [1.0]):
        with pytest.raises(TypeError):
            histogram.observe(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            histogram.observe_ns(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            histogram.merge(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        histogram.observe_ns(1.5)  # type: ignore[arg-type]
    for damaged in ((0, 0, 0, 0, [(1216, 1)]), (0, 0, 0, 1, [(3, 1)])):
        with pytest.raises(ValueError, match="pickled"):
            histogram.__setstate__(damaged)
    assert state(histogram) == state(Histogram())


def test_threads_share_a_histogram() -> None:
    shared, parts = Histogram(), [Histogram() for _ in range(4)]

    def work(own: Histogram) -> None:
        for ns in range(20_000):
            shared.observe_ns(ns)
            own.observe_ns(ns)
            if ns % 1000 == 0:
                own.merge(Histogram())
                shared.merge(made_of([ns]))

    threads = [threading.Thread(target=work, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for part in parts[1:]:
        parts[0].merge(part)
    parts[0].merge(made_of(list(range(0, 20_000, 1000)) * 4))
    assert state(shared) == state(parts[0])


def test_what_ends_now() -> None:
    histogram = Histogram()
    for _ in range(1000):
        histogram.observe_since(time.monotonic())
    histogram.observe_since(time.perf_counter() - 3)
    assert histogram.count == 1001
    assert histogram.max is not None
    assert 3 <= histogram.max < 60
    with pytest.raises(ValueError, match="duration"):
        histogram.observe_since(time.monotonic() + 60)
