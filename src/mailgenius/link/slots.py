"""What the nodes of a Cluster say of one another: who serves which slots, and where else a command has to go. Pure.

Source: Redis Cluster specification, "MOVED Redirection", "ASK redirection", and the documentation of CLUSTER SLOTS.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from mailgenius.errors import RedisUnavailable

__all__ = ["SLOTS", "Place", "Shard", "redirection", "shards"]

SLOTS = 16384
Place: TypeAlias = tuple[str, int]  # host and port


class Shard(NamedTuple):
    """Slots in a row, the node that serves them, and its replicas."""

    first: int
    last: int
    master: Place
    replicas: tuple[Place, ...]


def shards(reply: Any, host: str) -> list[Shard]:
    """Of CLUSTER SLOTS, as the node at ``host`` answers it. Raises ``RedisUnavailable`` if it knows of no slot."""
    try:
        found = [
            Shard(first, last, _place(master, host), tuple(_place(node, host) for node in replicas))
            for first, last, master, *replicas in reply
            if 0 <= first <= last < SLOTS
        ]
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise RedisUnavailable(f"what it says of the Cluster's slots cannot be understood: {error}") from error
    if not found:
        raise RedisUnavailable("no slot of the Cluster is served yet")
    return found


def _place(node: list[Any], host: str) -> Place:
    """A node that does not know its own address, or its name, is where we found it."""
    known = node[0].decode() if node[0] else ""
    return (host if known in ("", "?") else known, int(node[1]))


def redirection(refusal: str, host: str) -> tuple[int, Place]:
    """The slot, and the node to turn to, of ``MOVED 3999 127.0.0.1:6381`` or ASK. Raises ValueError."""
    _, slot, where = refusal.split(" ")[:3]
    name, _, port = where.rpartition(":")
    if not 0 <= int(slot) < SLOTS:
        raise ValueError(f"there is no slot {slot}")
    return int(slot), (host if name in ("", "?") else name, int(port))
