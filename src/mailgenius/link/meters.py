"""What happened on the connections to one server, in numbers. Pure."""

from __future__ import annotations

import msgspec

from mailgenius._native import Histogram

__all__ = ["Meters", "RedisMetrics", "RedisTiming"]


class RedisTiming(msgspec.Struct, frozen=True):
    """Seconds; quantiles within 1.6 %. Zeros if nothing was measured yet."""

    count: int
    p50: float
    p95: float
    p99: float
    max: float


class RedisMetrics(msgspec.Struct, frozen=True):
    """Of now: ``available``, ``connections``, ``pending``; all others since the client was made."""

    available: bool
    connections: int  # open: the shared one, and those of blocking and dedicated calls
    connects: int  # connections that were made
    lost: int  # connections that ended without our doing
    refused: int  # attempts to connect that failed
    pending: int  # requests that wait for their replies
    commands: int  # sent
    errors: dict[str, int]  # refusals of the server, by code
    timeouts: int  # calls whose deadline passed
    unknown: int  # calls whose reply was lost, so that nobody knows
    shed: int  # calls that failed at once: the server was down, or too many waited
    latency: RedisTiming  # of requests (a batch counts as one), from their writing to their reply


class Meters:
    """Of one client. Threads may share it; counts may then miss a few."""

    def __init__(self) -> None:
        self.latency = Histogram()
        self.connections = self.connects = self.lost = self.refused = 0
        self.commands = self.timeouts = self.unknown = self.shed = 0
        self.errors: dict[str, int] = {}

    def error(self, code: str) -> None:
        self.errors[code] = self.errors.get(code, 0) + 1

    def metrics(self, available: bool, pending: int) -> RedisMetrics:
        return RedisMetrics(
            available=available,
            connections=self.connections,
            connects=self.connects,
            lost=self.lost,
            refused=self.refused,
            pending=pending,
            commands=self.commands,
            errors=dict(self.errors),
            timeouts=self.timeouts,
            unknown=self.unknown,
            shed=self.shed,
            latency=_timing(self.latency),
        )


def _timing(histogram: Histogram) -> RedisTiming:
    if not histogram.count:
        return RedisTiming(0, 0.0, 0.0, 0.0, 0.0)
    p50, p95, p99, most = (value or 0.0 for value in histogram.quantiles([0.5, 0.95, 0.99, 1.0]))
    return RedisTiming(histogram.count, p50, p95, p99, most)
