"""What is measured. Each module has ``measure(room, options, results)``."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Options(msgspec.Struct):
    program: str  # the command, a module of benchmarks
    rows: int = 2_000_000
    runs: int = 3
    seconds: float = 1.0  # of a run that asks for a time instead of doing a piece of work
    quick: bool = False
    scale: bool = False
    large: bool = False  # 10M leads and 50M sends instead of 2M and 10M
    peers: bool = True
    say: Callable[[str], None] = print

    def command(self, only: str) -> str:
        """How to get the figure again."""
        parts = [f"python -m benchmarks.{self.program} --only {only}"]
        if self.rows != 2_000_000:
            parts.append(f"--rows {self.rows}")
        if self.seconds != 1.0:
            parts.append(f"--seconds {self.seconds:g}")
        if self.large:
            parts.append("--large")
        return " ".join(parts)
