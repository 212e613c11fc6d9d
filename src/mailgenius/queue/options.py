"""What a job may ask for beyond its queue's policy, and when a failed one is tried again."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from mailgenius.errors import ConfigError

__all__ = ["DEFAULT_PRIORITY", "Backoff", "Options", "chosen", "lane"]

DEFAULT_PRIORITY = 5
_LONGEST_GROUP = 200


class Backoff(msgspec.Struct, frozen=True, array_like=True):
    """Pauses between attempts, in seconds: ``base``, doubled with each failure up to ``cap`` if ``kind`` is
    ``"exponential"``, each a random part of up to ``jitter`` (0 to 1) longer or shorter, so that what failed together does
    not come back together."""

    kind: Literal["exponential", "fixed"] = "exponential"
    base: float = 2.0
    cap: float = 3600.0
    jitter: float = 0.2

    def delay(self, attempts: int, chance: float) -> float:
        """Seconds to wait after that many attempts (at least 1); ``chance``: a random number from 0 to 1."""
        pause = self.base
        if self.kind == "exponential":
            pause = self.base * 2.0 ** min(attempts - 1, 60)
        return min(pause, self.cap) * (1 + self.jitter * (2 * chance - 1))


class Options(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """What stands in a job beside its name and payload. None: as the queue's policy says. New ones go to the end."""

    attempts: int | None = None
    backoff: Backoff | None = None
    timeout: float | None = None  # seconds
    keep_result: float | None = None  # seconds
    priority: int = DEFAULT_PRIORITY
    group: str = ""
    trace: str = ""  # W3C traceparent
    flow: bool = False  # it has a parent or children
    unique: bool = False
    meta: dict[str, Any] | None = None

    @property
    def own_id(self) -> bool:
        """It needs an id of its own."""
        return self.flow or self.unique


def lane(priority: int, group: str) -> str:
    """The name of the lane that a job waits in. Raises ``ConfigError``."""
    if not 1 <= priority <= 9:
        raise ConfigError(f"$.queue.priority: {priority} is out of range; give 1 (first) to 9 (last)")
    if not group:
        return str(priority)
    if len(group.encode()) > _LONGEST_GROUP or not group.isprintable() or " " in group:
        raise ConfigError(
            f"$.queue.group: {group!r} has spaces or characters that cannot be printed, or over {_LONGEST_GROUP} bytes"
        )
    return f"{priority}:{group}"


def chosen(
    attempts: int | None = None,
    backoff: Backoff | None = None,
    timeout: float | None = None,
    keep_result: float | None = None,
    priority: int = DEFAULT_PRIORITY,
    group: str = "",
    trace: str = "",
    *,
    flow: bool = False,
    unique: bool = False,
) -> Options | None:
    """What stands in a job; None if that is nothing. Raises ``ConfigError``."""
    if attempts is not None and not 1 <= attempts <= 255:
        raise ConfigError(f"$.queue.add.attempts: {attempts} is out of range; give 1 to 255")
    for name, value in (("timeout", timeout), ("keep_result", keep_result)):
        if value is not None and value <= 0:
            raise ConfigError(f"$.queue.add.{name}: {value} is out of range; give seconds above 0")
    options = Options(attempts, backoff, timeout, keep_result, priority, group, trace, flow, unique)
    return None if options == _NONE else options


_NONE = Options()
