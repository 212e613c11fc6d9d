"""How long connections are waited for, held and made. Pure."""

from __future__ import annotations

import msgspec

from mailgenius._native import Histogram

__all__ = ["Timing", "timing"]


class Timing(msgspec.Struct, frozen=True):
    """Seconds; quantiles within 1.6 %. Zeros if nothing was measured yet."""

    count: int
    p50: float
    p95: float
    p99: float
    max: float


def timing(histogram: Histogram) -> Timing:
    if not histogram.count:
        return Timing(0, 0.0, 0.0, 0.0, 0.0)
    p50, p95, p99, most = (value or 0.0 for value in histogram.quantiles([0.5, 0.95, 0.99, 1.0]))
    return Timing(histogram.count, p50, p95, p99, most)
