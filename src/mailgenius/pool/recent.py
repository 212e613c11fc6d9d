"""What a block of code has to see: its own writes, or the primary's state. Pure.

A mark belongs to the context (``contextvars``) in which its block was entered, and to the tasks started in the block. It
says how fresh a replica must be to be read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

__all__ = ["ALWAYS", "Mark", "current", "floor", "marked"]

ALWAYS = float("inf")
NEVER = float("-inf")


class Mark:
    __slots__ = ("_outer", "_since", "_under_way")

    def __init__(self, since: float, outer: Mark | None) -> None:
        self._since = since
        self._under_way = 0  # borrowed connections that may be writing
        self._outer = outer

    def begins(self) -> None:
        mark: Mark | None = self
        while mark is not None:
            mark._under_way += 1
            mark = mark._outer

    def ended(self, now: float) -> None:
        mark: Mark | None = self
        while mark is not None:
            mark._under_way -= 1
            mark._since = max(mark._since, now)
            mark = mark._outer

    def floor(self) -> float:
        return ALWAYS if self._under_way else self._since


_mark: ContextVar[Mark | None] = ContextVar("mailgenius_reads", default=None)
current = _mark.get


def floor() -> float:
    """A replica may be read if it shows what was committed before this moment."""
    mark = _mark.get()
    return NEVER if mark is None else mark.floor()


@contextlib.contextmanager
def marked(since: float = NEVER) -> Iterator[None]:
    token = _mark.set(Mark(since, _mark.get()))
    try:
        yield
    finally:
        _mark.reset(token)
