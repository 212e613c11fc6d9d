"""When a process that crashed is started again, and when that is given up. Pure."""

from __future__ import annotations

import msgspec

from mailgenius.errors import ConfigError

__all__ = ["RestartPolicy", "Restarts"]


class RestartPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """``limit`` restarts in a row, each of which lived for less than ``min_uptime`` seconds, are the last ones. Before each
    there is a pause: ``base`` seconds, doubled with each up to ``cap``."""

    limit: int = 5
    min_uptime: float = 10.0
    base: float = 0.25
    cap: float = 15.0

    def __post_init__(self) -> None:
        for name in ("limit", "min_uptime", "base", "cap"):
            if getattr(self, name) < 0:
                raise ConfigError(f"$.worker.restarts.{name}: {getattr(self, name)} is out of range; give at least 0")


class Restarts:
    """Of the processes that follow one another in one place."""

    def __init__(self, policy: RestartPolicy) -> None:
        self.policy = policy
        self.short = 0  # lives in a row that were too short
        self.total = 0

    def crashed(self, uptime: float) -> float | None:
        """After a life of ``uptime`` seconds: those to wait before the next; None: there is to be none."""
        if uptime >= self.policy.min_uptime:
            self.short = 0
        elif self.short >= self.policy.limit:
            return None
        else:
            self.short += 1
        self.total += 1
        return min(self.policy.cap, self.policy.base * 2.0 ** max(0, min(self.short, 60) - 1))

    def forget(self) -> None:
        """What crashed was mended: there is new code."""
        self.short = 0
