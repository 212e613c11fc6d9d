"""What a queue's keys are called on the server: a table of them stands in docs/design/queue.md. Pure."""

from __future__ import annotations

from functools import cache
from itertools import count

from mailgenius._native import key_slot
from mailgenius.errors import ConfigError

__all__ = ["keys", "prefix", "split", "tag", "written"]

_LONGEST = 100
_SLOTS = 16384  # of a Cluster
_NEAR = 16  # slots that a shard may be away from its place


def prefix(queue: str, shard: int = 0) -> str:
    """What the names of all its keys begin with, or those of a shard of it. They live in one slot of a Cluster. Raises
    ``ConfigError``."""
    if not queue or len(queue) > _LONGEST or not queue.isprintable() or set(queue) & set("{} "):
        raise ConfigError(
            f"$.queue.name: {queue!r} is no name for a queue: give 1 to {_LONGEST} characters without spaces and braces"
        )
    return f"mg:{{{tag(queue, shard)}}}:"


def keys(prefix: str) -> tuple[str, str]:
    """What scripts are called with: the first says where all others are. The second never is: while a slot of a Cluster
    moves key by key, the server refuses calls of which one key is here and another is not (TRYAGAIN), before they begin.
    With the first alone a script would begin, and be broken off where it touches a key that has moved."""
    return prefix + "q", prefix + "never"


@cache
def tag(queue: str, shard: int = 0) -> str:
    """What stands in braces: the queue's name; of its other shards, that and after a space, which no name has, ``2.417``:
    the shard and the first number with which its slot is where it should be. This must never change: jobs are there.

    Masters have most often ranges of slots of about the same length, so shards are put into the ring of slots at equal
    distances: any 3 that follow one another a third of it, then halves of that. So 3, 6 or 12 shards are shared evenly by 3
    masters, and 6 or 12 by 6, wherever the first one is."""
    if not shard:
        return queue
    wanted = key_slot(queue) + _place(shard)
    for number in count():
        name = f"{queue} {shard}.{number}"
        if (key_slot(name) - wanted + _NEAR) % _SLOTS <= 2 * _NEAR:
            return name
    raise AssertionError("unreachable")


def written(queue: str, shard: int, shards: int) -> str:
    """A shard as the outbox names it, with how many there are."""
    return f"{queue} {shard}/{shards}"


def split(text: str) -> tuple[str, int, int]:
    """Queue, shard and how many there are (0: it is no shard), of what ``written`` gives or a queue's name."""
    queue, _, rest = text.partition(" ")
    shard, _, shards = rest.partition("/")
    return queue, int(shard or 0), int(shards or 0)


def _place(shard: int) -> int:
    """Slots from the first shard to this one: a van der Corput sequence whose first base is 3 and all others 2."""
    place, width, base = 0.0, float(_SLOTS), 3
    while shard:
        width /= base
        place += shard % base * width
        shard, base = shard // base, 2
    return round(place)
