"""What a supervisor is to run, and how. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

from mailgenius.errors import ConfigError

from .restarts import RestartPolicy

__all__ = ["GIB", "Plan", "memory_each"]

GIB = 1 << 30
_LEAST = 256 << 20


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Times are in seconds."""

    # The worker, as module:attribute.
    target: str
    # Where its module is looked for first.
    folder: str
    processes: int = 1
    # Jobs at once in each process; None: as the worker says itself.
    concurrency: int | None = None
    # What running jobs are given to end when a process is to stop; then they are given back.
    grace: float = 30.0
    # Jobs after which a process is replaced; 0: none.
    max_jobs: int = 0
    # Bytes beyond which it is replaced; 0: none.
    max_memory: int = 0
    # A process whose event loop does not turn for so long is killed. None: the longest timeout of its handlers and
    # `grace`; if one has no timeout, no process is.
    hung_after: float | None = None
    # Processes are replaced when a file that they have imported changes.
    reload: bool = False
    log: Literal["json", "text"] = "json"
    restarts: RestartPolicy = RestartPolicy()
    # Between two looks at everything.
    tick: float = 0.5
    # Between two signs of life of a process.
    beat: float = 1.0
    # What a process is given beyond `grace` before it is killed.
    margin: float = 10.0

    def __post_init__(self) -> None:
        for name, value, least in (
            ("processes", self.processes, 1),
            ("grace", self.grace, 0),
            ("max_jobs", self.max_jobs, 0),
            ("max_memory", self.max_memory, 0),
        ):
            if value < least:
                raise ConfigError(f"$.worker.{name}: {value} is out of range; give at least {least}")
        if self.hung_after is not None and self.hung_after < 5:
            raise ConfigError(f"$.worker.hung_after: {self.hung_after} is out of range; give at least 5")


def memory_each(limit: int | None, processes: int) -> int:
    """Bytes that a process may have: 1 GiB, or its share of nine tenths of the control group's limit, but not so little
    that it could not even begin."""
    return GIB if limit is None else max(_LEAST, min(GIB, limit * 9 // 10 // processes))
