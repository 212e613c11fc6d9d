"""QueryStats: nanoseconds to record a call, its text known or new; beside prometheus_client if installed.

    python -m benchmarks.kernels.querystats

prometheus_client counts the same with a histogram and two counters that have the statement as their label, looked up at
each call. Every figure is the least of several rounds, which other users of the machine disturb the least; the loop
itself is measured and taken off.
"""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

from benchmarks.kernels.histogram import durations
from mailgenius.pool.statements import QueryStats, normalise

if TYPE_CHECKING:
    from collections.abc import Callable

MANY = 100_000
ROUNDS = 15
QUERY = "select id, email, column_{} from leads where workspace_id = %s and email = any(%s) order by {} limit 100"
TEXTS = [QUERY.format(i, "email") for i in range(50)]


def each(call: Callable[[str, float], object], pairs: list[tuple[str, float]]) -> float:
    """Nanoseconds a call."""
    best = empty = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter_ns()
        for _text, _seconds in pairs:
            pass
        middle = time.perf_counter_ns()
        for text, seconds in pairs:
            call(text, seconds)
        ended = time.perf_counter_ns()
        empty = min(empty, middle - began)
        best = min(best, ended - middle)
    return (best - empty) / len(pairs)


def all_of(stats: QueryStats) -> Callable[[str, float], None]:
    record = stats.record
    return lambda text, seconds: record(text, seconds, rows=1, error=False)


def prometheus() -> Callable[[str, float], None]:
    import prometheus_client

    durations_of = prometheus_client.Histogram("seconds", "Durations.", ["statement"], registry=None)
    rows_of = prometheus_client.Counter("rows", "Rows.", ["statement"], registry=None)
    errors_of = prometheus_client.Counter("errors", "Errors.", ["statement"], registry=None)

    def record(text: str, seconds: float) -> None:
        durations_of.labels(text).observe(seconds)
        rows_of.labels(text).inc(1)
        errors_of.labels(text).inc(0)

    return record


def measure() -> dict[str, float]:
    seconds = [min(value, 0.4) for value in durations(MANY)]
    one = [(TEXTS[0], value) for value in seconds]
    fifty = [(TEXTS[i % len(TEXTS)], value) for i, value in enumerate(seconds)]
    new = [(QUERY.format(i % 50, i), value) for i, value in enumerate(seconds[:4096])]  # more than are remembered
    slow = QueryStats(slow_seconds=0)
    figures = {
        "record, ns, one text": each(QueryStats().record, one),
        "record, ns, 50 texts": each(QueryStats().record, fifty),
        "record, ns, 50 texts, rows and error by keyword": each(all_of(QueryStats()), fifty),
        "record, ns, 50 texts, all slow": each(slow.record, fifty),
        "record, ns, new texts of 50 statements": each(QueryStats().record, new),
        "record, ns, new statements, one in, one out": each(QueryStats(normalise=str).record, new),
        "normalise, ns": each(lambda text, _: normalise(text), new),
    }
    stats = QueryStats()
    each(stats.record, fifty)
    figures["top, ns, 50 statements"] = each(lambda _, __: stats.top(20), fifty[:200])
    if find_spec("prometheus_client"):
        figures["record, ns, 50 texts, prometheus_client"] = each(prometheus(), fifty)
    return figures


if __name__ == "__main__":
    for figure, value in measure().items():
        print(f"{figure:<50}{value:12,.1f}")
