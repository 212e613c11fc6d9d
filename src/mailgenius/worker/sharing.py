"""How the cores of a worker's shards share its places. Pure.

Invariants:
- Together they ask for as many jobs as one core would.
- None is passed over. Where places are empty, each that may have jobs asks for the same part, and what cannot be divided
  goes to those who have not asked for the longest time. Where work is left, that one asks for all, as few calls are cheap.
- A job that must come alone is asked for by one core, while no other asks, nor has anything that runs.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .core import Core

__all__ = ["PATIENCE", "Sharing"]

PATIENCE = 0.25  # seconds for which what one has asked for is kept free


class Sharing:
    """``cores``: in the order of their shards."""

    def __init__(self) -> None:
        self.cores: list[Core] = []
        self.last = -inf  # when one has asked
        self._turns = 0

    def _asked(self, now: float) -> int:
        """Jobs that may come at any moment."""
        return sum(core.asked for core in self.cores if not core.away and now - core.asked_at < PATIENCE)

    @property
    def held(self) -> bool:
        """One has a job that must come alone, or makes room for it."""
        return any((core.yielding and not core.away) or core.solo is not None for core in self.cores)

    def alone(self, core: Core, now: float) -> bool:
        """It may ask for a job that must come alone, if nothing runs: it is the first that makes room for one."""
        first = next(other for other in self.cores if other is core or (other.yielding and not other.away))
        return first is core and not self._asked(now) and not any(other.solo is not None for other in self.cores)

    def clash(self, core: Core) -> bool:
        """It has got jobs that may not run now: its server was away for so long that nobody waited for it."""
        if any(other.solo is not None for other in self.cores if other is not core):
            return True
        return core.solo is not None and any(
            pool.running or any(entry[0].core is not core for entry in pool.waiting) for pool in core.pools
        )

    def part(self, core: Core, want: int, now: float) -> tuple[int, bool | None]:
        """How many jobs it may ask for, if all together want so many more than they have; and whether it is its turn (None:
        there is no other)."""
        want -= self._asked(now)
        if want <= 0:
            return 0, False
        rivals = [
            other
            for other in self.cores
            if other is core or not (other.away or other.asked or other.full or (other.dry and now < other.due))
        ]
        if len(rivals) == 1:
            return want, None
        before = sum(other.turn < core.turn for other in rivals)
        if any(pool.hungry for pool in core.pools):
            even, more = divmod(want, len(rivals))
            return even + (before < more), not before
        return 0 if before else want, not before

    def asks(self, core: Core, now: float) -> None:
        """Its turn was now."""
        self._turns += 1
        core.turn, core.asked_at, self.last = self._turns, now, now
