"""What a queue's keys are called on the server: a table of them stands in docs/design/queue.md."""

from __future__ import annotations

from mailgenius.errors import ConfigError

__all__ = ["keys", "prefix"]

_LONGEST = 100


def prefix(queue: str) -> str:
    """What the names of all its keys begin with. They live in one slot of a Cluster. Raises ``ConfigError``."""
    if not queue or len(queue) > _LONGEST or not queue.isprintable() or set(queue) & set("{} "):
        raise ConfigError(
            f"$.queue.name: {queue!r} is no name for a queue: give 1 to {_LONGEST} characters without spaces and braces"
        )
    return f"mg:{{{queue}}}:"


def keys(prefix: str) -> tuple[str, str]:
    """What scripts are called with: the first says where all others are. The second never is: while a slot of a Cluster
    moves key by key, the server refuses calls of which one key is here and another is not (TRYAGAIN), before they begin.
    With the first alone a script would begin, and be broken off where it touches a key that has moved."""
    return prefix + "q", prefix + "never"
