"""What a pool is like, in numbers: the names are those of HikariCP. Pure."""

from __future__ import annotations

import msgspec

from mailgenius._native import Histogram

__all__ = ["PoolMetrics", "Timing", "timing"]


class Timing(msgspec.Struct, frozen=True):
    """Seconds; quantiles within 1.6 %. Zeros if nothing was measured yet."""

    count: int
    p50: float
    p95: float
    p99: float
    max: float


class PoolMetrics(msgspec.Struct, frozen=True):
    """Connections and callers of a pool. Numbers of now: ``active``, ``idle``, ``pending``, ``shared``,
    ``shared_pending``; all others since the pool was made."""

    active: int  # connections that callers hold
    idle: int  # connections that wait for a caller
    pending: int  # callers that wait for a connection
    min_size: int
    max_size: int
    shared: int  # connections that short reads share
    shared_pending: int  # statements under way on those
    shared_evicted: int  # statements that were cancelled there because they kept others waiting, and ran elsewhere
    acquire: Timing  # how long callers waited for a connection of their own
    usage: Timing  # how long they held it
    creation: Timing  # how long a connection took to make, every one that the pool made
    timeouts: Timing  # how long those waited who got none
    refused: Timing  # how long attempts to connect took that failed
    closed: dict[str, Timing]  # connections that are gone, by reason; the times are their ages

    @property
    def opened(self) -> int:
        """Connections made; less those that are closed, these are open."""
        return self.creation.count


def timing(histogram: Histogram) -> Timing:
    if not histogram.count:
        return Timing(0, 0.0, 0.0, 0.0, 0.0)
    p50, p95, p99, most = (value or 0.0 for value in histogram.quantiles([0.5, 0.95, 0.99, 1.0]))
    return Timing(histogram.count, p50, p95, p99, most)
