"""Histogram: nanoseconds for an observation from Python, a quantile and a merge; beside prometheus_client if installed.

    python -m benchmarks.kernels.histogram

Durations are spread as those of queries are: most around a millisecond, a few much longer. Each figure is the least of
several rounds, which other users of the machine disturb the least; the loop itself is measured and taken off.
"""

from __future__ import annotations

import random
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from mailgenius._native import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MANY = 100_000
ROUNDS = 15


def durations(count: int) -> list[float]:
    """Seconds."""
    rng = random.Random(7)
    return [rng.lognormvariate(-7, 1.5) for _ in range(count)]


def each(call: Callable[[Any], object], values: Sequence[Any]) -> float:
    """Nanoseconds a call."""
    best = empty = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter_ns()
        for value in values:  # noqa: B007
            pass
        middle = time.perf_counter_ns()
        for value in values:
            call(value)
        ended = time.perf_counter_ns()
        empty = min(empty, middle - began)
        best = min(best, ended - middle)
    return (best - empty) / len(values)


def measure() -> dict[str, float]:
    values = durations(MANY)
    histogram, other = Histogram(), Histogram()
    figures = {
        "observe, ns": each(histogram.observe, values),
        "observe_ns, ns": each(histogram.observe_ns, [round(value * 1e9) for value in values]),
    }
    few = values[:2000]
    figures["quantile, ns"] = each(lambda _: histogram.quantile(0.99), few)
    figures["merge, ns"] = each(lambda _: other.merge(histogram), few)
    if find_spec("prometheus_client"):
        import prometheus_client

        rival = prometheus_client.Histogram("seconds", "Durations.", registry=None)
        figures["observe, ns, prometheus_client"] = each(rival.observe, values)
    return figures


if __name__ == "__main__":
    for figure, value in measure().items():
        print(f"{figure:<40}{value:12,.1f}")
