"""Ids of jobs that were added together: places that follow one another, so that a million cost nothing."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import overload

__all__ = ["Added"]


class Added(Sequence[str]):
    """The ids of jobs, in the order in which they were given to ``add_many``. ``then``: that of the job that waits for
    them, if there is one."""

    def __init__(self, ranges: Sequence[tuple[str, int, int]], then: str = "") -> None:
        """``ranges``: of each, the lane's number, the first position, how many."""
        self.ranges, self.then = ranges, then
        self._ends = list(accumulate(count for _, _, count in ranges))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        if at < 0:
            at += len(self)
        if not 0 <= at < len(self):
            raise IndexError(f"there are {len(self):,} jobs")
        which = bisect_right(self._ends, at)
        lane, first, count = self.ranges[which]
        return f"{lane}-{first + at - (self._ends[which] - count)}"

    def __iter__(self) -> Iterator[str]:
        for lane, first, count in self.ranges:
            for position in range(first, first + count):
                yield f"{lane}-{position}"

    def __repr__(self) -> str:
        return f"<{len(self):,} jobs added>"
