"""querystats.pxi: nothing is lost, memory is bounded, heavy statements stay; against a dict that keeps everything."""

import gc
import math
import random
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailgenius._native import Histogram, QueryCounters
from mailgenius.pool.statements import QueryStat, QueryStats, SlowCall, normalise

CALLS = st.lists(
    st.tuples(
        st.sampled_from([f"select {name}" for name in "abcdefghij"]),
        st.floats(0, 100),
        st.integers(-1, 1000),
        st.booleans(),
    ),
    max_size=150,
)
Call = tuple[str, float, int, bool]


def fed(stats: QueryStats, calls: Iterable[Call]) -> QueryStats:
    for call in calls:
        stats.record(*call)
    return stats


def summary(statement: str, calls: list[Call]) -> QueryStat:
    histogram = Histogram()
    for _, seconds, _, _ in calls:
        histogram.observe(seconds)
    assert histogram.max is not None
    p50, p95, p99 = histogram.quantiles([0.5, 0.95, 0.99])
    return QueryStat(
        statement=statement,
        calls=len(calls),
        errors=sum(error for *_, error in calls),
        rows=sum(max(rows, 0) for _, _, rows, _ in calls),
        total=pytest.approx(histogram.sum, rel=1e-15),
        mean=pytest.approx(histogram.sum / len(calls), rel=1e-15),
        p50=p50 or 0.0,
        p95=p95 or 0.0,
        p99=p99 or 0.0,
        max=histogram.max,
    )


@settings(max_examples=200)
@given(CALLS)
def test_statements_with_room_for_all(calls: list[Call]) -> None:
    stats = fed(QueryStats(), calls)
    by_statement: dict[str, list[Call]] = {}
    for call in calls:
        by_statement.setdefault(call[0], []).append(call)
    wanted = [summary(*item) for item in by_statement.items()]
    assert sorted(stats.top(100), key=lambda stat: stat.statement) == sorted(wanted, key=lambda stat: stat.statement)
    if calls:
        assert stats.totals() == summary("(all)", calls)
    for by in ("total", "calls", "mean", "p99", "errors"):
        got = [getattr(stat, by) for stat in stats.top(100, by)]
        assert got == sorted(got, reverse=True)
        assert stats.top(3, by) == stats.top(100, by)[:3]


@settings(max_examples=300)
@given(CALLS, st.integers(1, 6))
def test_too_many_statements(calls: list[Call], capacity: int) -> None:
    """Sums are exact, and Space-Saving keeps its promise."""
    stats = fed(QueryStats(capacity), calls)
    found = {stat.statement: stat for stat in stats.top(100)}
    other = found.pop("(other)", None)
    assert len(found) <= capacity
    totals = stats.totals()
    if calls:
        assert totals == summary("(all)", calls)
    for name in ("calls", "errors", "rows"):
        assert sum(getattr(stat, name) for stat in stats.top(100)) == getattr(totals, name)
    counts = Counter(text for text, *_ in calls)
    limit = len(calls) / capacity
    for text, count in counts.items():
        if count > limit:
            assert text in found
        if text in found:
            assert count - limit <= found[text].calls <= count
    assert other is not None or len(found) == len(counts)


def test_texts_with_other_literals_are_one_statement() -> None:
    asked: list[str] = []

    def noted(text: str) -> str:
        asked.append(text)
        return normalise(text)

    stats = QueryStats(2, normalise=noted)
    texts = [f"select * from t where id = {i}" for i in range(5)]
    for text in texts * 3:
        stats.record(text, 0.001)
    assert asked == texts
    [stat] = stats.top()
    assert (stat.statement, stat.calls) == ("select * from t where id = ?", 15)
    stats.record("select a", 1)
    stats.record("select b", 1)  # "select a" gives way
    stats.record("select a", 1)  # and comes back, for "select b", without being normalised again
    assert asked == [*texts, "select a", "select b"]
    assert {stat.statement: stat.calls for stat in stats.top()} == {stat.statement: 15, "select a": 1, "(other)": 2}
    for i in range(8):
        stats.record(f"select * from t where id = {i + 10}", 1)
    stats.record(texts[0], 1)
    assert asked.count(texts[0]) == 2
    long = "select '" + "x" * 70_000 + "'"
    for _ in range(3):
        stats.record(long, 1)
    assert asked.count(long) == 3
    assert sum(stat.calls for stat in stats.top()) == stats.totals().calls == 15 + 3 + 8 + 1 + 3


def test_the_name_of_the_other_is_taken() -> None:
    stats = QueryStats(1)
    for text in ("(other)", "select a", "select b"):
        stats.record(text, 1)
    assert {stat.statement: stat.calls for stat in stats.top()} == {"(other)": 2, "select b": 1}


def test_memory_is_bounded() -> None:
    stats = QueryStats(16, slow_seconds=0, slow_kept=10, normalise=str)

    def many(count: int) -> None:
        for i in range(count):
            stats.record(f"{i:0200}", 1, detail=[i])

    many(1000)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        many(20_000)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 100_000
    assert stats.totals().calls == 21_000


def test_calls_that_end_now() -> None:
    stats = QueryStats(slow_seconds=0.5, normalise=str)
    assert stats.record("a", 0.6) == 1
    assert stats.record("a", 0.4) == 0
    assert stats.record_since("b", time.perf_counter()) == 0
    assert stats.record_since("b", time.monotonic() - 2, [(1,), (2,)], True) == 2
    assert [(call.statement, call.rows, call.error) for call in stats.slow()] == [("a", 0, False), ("b", 2, True)]
    (b,) = (stat for stat in stats.top() if stat.statement == "b")
    assert (b.calls, b.rows, b.errors) == (2, 2, 1)
    assert 2 <= b.max < 60
    for _ in range(1000):
        stats.record_since("c", time.perf_counter())  # never less than nothing
    with pytest.raises(ValueError, match="duration"):
        stats.record_since("d", time.perf_counter() + 60)


def test_slow_calls() -> None:
    stats = QueryStats(slow_seconds=0.5, slow_kept=3)
    stats.record("select 1", 0.49, detail="never kept")
    for i in range(5):
        stats.record(f"select {i}", 0.5 + i, i - 1, i == 4, {"id": i} if i == 3 else None)
    assert stats.slow() == [
        SlowCall("select ?", 2.5, 1, False, 3),
        SlowCall("select ?", 3.5, 2, False, 4, {"id": 3}),
        SlowCall("select ?", 4.5, 3, True, 5),
    ]
    stats.reset()
    assert stats.slow() == stats.top() == []
    assert stats.totals() == QueryStat("(all)", 0, 0, 0, 0, 0, 0, 0, 0, 0)
    stats.record("select 1", 9)
    assert [call.number for call in stats.slow()] == [6]
    none = QueryStats(slow_seconds=math.inf)
    none.record("select 1", 1e6)
    assert none.slow() == []
    unkept = QueryStats(slow_kept=0)
    unkept.record("select 1", 1e6)
    assert unkept.slow() == []
    with pytest.raises(AttributeError):
        stats.slow()[0].rows = 1  # type: ignore[misc]
    assert msgspec.json.encode(stats.totals())


def test_what_is_refused() -> None:
    stats = QueryStats()
    for seconds in (math.nan, math.inf, -1e-9):
        with pytest.raises(ValueError, match="number of seconds"):
            stats.record("select 1", seconds)
    for text in (None, b"select 1", 1):
        with pytest.raises(TypeError):
            stats.record(text, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="by is one of"):
        stats.top(by="rows")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="n is"):
        stats.top(-1)
    with pytest.raises(ValueError, match="capacity"):
        QueryStats(0)
    for slow_seconds in (-1, math.nan):
        with pytest.raises(ValueError, match="slow_seconds"):
            QueryStats(slow_seconds=slow_seconds)
    with pytest.raises(ValueError, match="slow_kept"):
        QueryStats(slow_kept=1 << 21)
    with pytest.raises(TypeError, match="normalise"):
        QueryStats(normalise=None)  # type: ignore[arg-type]
    wrong = QueryStats(normalise=len)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must return a str"):
        wrong.record("select 1", 1)
    failing = QueryStats(normalise=lambda text: text[5])
    with pytest.raises(IndexError):
        failing.record("", 1)
    for counted in (stats, wrong, failing):
        assert counted.totals().calls == 0


def test_calls_from_inside() -> None:
    """normalise and finalizers of details may run anything, also what records."""
    stats: QueryStats

    def curious(text: str) -> str:
        if len(text) < 20:
            stats.record(text + " ", 0.1)
        return normalise(text)

    class Detail:
        def __del__(self) -> None:
            stats.record("select of_a_finalizer", 0.1)

    stats = QueryStats(3, slow_seconds=1, slow_kept=2, normalise=curious)
    for i in range(50):
        stats.record(f"select {'abcdef'[i % 6]}", 2, detail=Detail())
        assert stats.top()
    stats.reset()
    before = stats.totals().calls
    stats.record("select a", 1)
    assert stats.totals().calls > before


def test_threads_lose_nothing() -> None:
    stats = QueryStats(8, slow_seconds=0.9, slow_kept=100_000)
    each, workers = 20_000, 4
    sums: list[tuple[int, int, int]] = []
    stop = threading.Event()

    def work(seed: int) -> None:
        rng = random.Random(seed)
        errors = rows = slow = 0
        for _ in range(each):
            text, seconds = f"select {'abcdefghijklmnop'[int(rng.random() ** 2 * 16)]}", rng.random()
            error, count = rng.random() < 0.1, rng.randrange(10)
            stats.record(text, seconds, count, error)
            errors, rows, slow = errors + error, rows + count, slow + (seconds >= 0.9)
        sums.append((errors, rows, slow))

    def look() -> None:
        while not stop.is_set():
            assert sum(stat.calls for stat in stats.top(100)) <= stats.totals().calls
            stats.slow()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(workers)]
    watcher = threading.Thread(target=look)
    watcher.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    watcher.join()
    totals = stats.totals()
    assert totals.calls == each * workers
    assert (totals.errors, totals.rows) == (sum(s[0] for s in sums), sum(s[1] for s in sums))
    assert sum(stat.calls for stat in stats.top(100)) == totals.calls
    assert [call.number for call in stats.slow()] == list(range(1, sum(s[2] for s in sums) + 1))


def test_tuples_are_the_columns() -> None:
    counters = QueryCounters()
    counters.record("select 1", 2.0, 3, True)
    row = ("select 1", 1, 1, 3, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0)
    assert counters.top_rows() == [row]
    assert counters.total_row() == ("(all)", *row[1:])
    assert counters.slow_rows() == [("select 1", 2.0, 3, True, 1, None)]
    assert len(row) == len(QueryStat.__struct_fields__)
