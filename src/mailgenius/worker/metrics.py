"""A worker in numbers. Pure."""

from __future__ import annotations

import msgspec

from mailgenius._native import Histogram

__all__ = ["Timing", "WorkerMetrics", "timing"]


class Timing(msgspec.Struct, frozen=True):
    """Seconds; quantiles within 1.6 %. Zeros if nothing was measured yet."""

    count: int
    p50: float
    p95: float
    p99: float
    max: float


class WorkerMetrics(msgspec.Struct, frozen=True):
    """Of now: ``running`` and ``waiting``; all others since the worker began."""

    running: int
    waiting: int  # leased, and not begun
    leased: int
    done: int
    retried: int
    dead: int
    lost: int  # leases that ended, or were given to others, before they were done with
    calls: int  # to the server, of those that lease
    errors: int  # calls that failed, and were made again
    keepers: int  # that were started
    keeper: int | None  # the process id of the one there is
    wait: Timing  # of jobs, from being added to being leased, by the clocks of their producers
    run: Timing  # of jobs that returned


def timing(histogram: Histogram) -> Timing:
    if not histogram.count:
        return Timing(0, 0.0, 0.0, 0.0, 0.0)
    p50, p95, p99, most = (value or 0.0 for value in histogram.quantiles([0.5, 0.95, 0.99, 1.0]))
    return Timing(histogram.count, p50, p95, p99, most)
