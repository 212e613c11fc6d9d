"""Schedules, as values. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from mailgenius.errors import ConfigError

from .cron import Cron
from .frames import UnknownFormat, parse
from .views import decoded, when

__all__ = ["Plan", "Schedule"]


class Schedule(msgspec.Struct, frozen=True):
    """Of these either ``cron`` (in zone ``tz``) or ``every`` (seconds) says when the job is let in."""

    name: str
    job: str
    payload: Any
    cron: str
    every: float
    tz: str
    due_at: datetime | None


class Plan(msgspec.Struct, frozen=True, array_like=True):
    """What stands on the server. ``every``: milliseconds. New fields go to the end."""

    cron: str
    every: int
    tz: str
    lane: str
    job: str
    frame: bytes

    def __post_init__(self) -> None:
        if bool(self.cron) == bool(self.every):
            raise ConfigError("$.queue.schedule: give cron or every, one of them")
        if self.every and not 100 <= self.every <= 366 * 86_400_000:
            raise ConfigError(
                f"$.queue.schedule.every: {self.every / 1000:g} is out of range; give seconds from 0.1 to a year"
            )

    def next(self, due: int, now: int) -> int:
        """When it is due after it was, and after now: what was missed meanwhile does not count. Milliseconds since 1970."""
        if self.every:
            return max(due, now - (now - due) % self.every) + self.every
        return round(Cron(self.cron, self.tz).next_after(when(max(due, now))).timestamp() * 1000)

    def shown(self, name: str, due: float | None) -> Schedule:
        try:
            payload = decoded(parse(self.frame).payload)
        except UnknownFormat:
            payload = None
        due_at = None if due is None else when(due)
        return Schedule(name, self.job, payload, self.cron, self.every / 1000, self.tz, due_at)
