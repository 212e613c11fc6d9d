# Made from waiting_async.py by `python -m tools.twin`: edit that one.
"""Waiting for what is expected, up to a deadline."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from mailgenius import Cache
from mailgenius.rt import threads as rt

__all__ = ["coherent", "until"]


def until(holds: Callable[[], rt.Awaits[bool]], seconds: float = 10.0) -> None:
    """Until it holds."""
    end = monotonic() + seconds
    while not holds():
        assert monotonic() < end, "it did not come about"
        rt.wait(rt.Event(), 0.001)


def coherent(cache: Cache) -> None:
    """Until the server tells it of changes in all its regions."""

    def told() -> bool:
        return cache.coherent and all(shared.coherent for shared in cache._regions.values())

    until(told)
