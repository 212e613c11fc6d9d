"""What CACHES says of a cache. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from mailgenius.errors import ConfigError

__all__ = ["Options", "one_location", "read_options"]

_OTHERS: Final = {"MAX_ENTRIES", "CULL_FREQUENCY"}  # of backends that cull by themselves; Redis does it


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """OPTIONS. Times are in seconds, sizes in bytes."""

    # What a call may wait for Redis; then it goes on without.
    budget: float = 0.05
    # Without Redis, reads are misses and writes are dropped and counted; off: RedisUnavailable is raised.
    ignore_errors: bool = True
    # Names whose writes were dropped are deleted when Redis is back: at most so many; beyond, all of this KEY_PREFIX.
    keep: int = 100_000
    # An object, a class, or the dotted path of one, with dumps(value) and loads(data), for all values but ints of 64 bits.
    serializer: Any = None
    # Values from this size on are stored compressed (zstd), if that saves an eighth. None: never.
    compress_from: int | None = 2048
    # What all names in Redis begin with, before Django's KEY_PREFIX.
    namespace: str = "django"
    # What clear() does: "scan" deletes what this cache has written, "flushdb" empties the database of the server.
    clear: Literal["scan", "flushdb"] = "scan"
    # Fields of RedisSettings: time limits, TLS.
    redis: dict[str, Any] = {}


def read_options(options: Mapping[str, Any]) -> Options:
    """Raises ``ConfigError`` with the path of what is wrong."""
    ours = {name: value for name, value in options.items() if name not in _OTHERS}
    try:
        read = msgspec.convert(ours, Options)
    except msgspec.ValidationError as error:
        known = ", ".join(Options.__struct_fields__)
        raise ConfigError(f"$.CACHES.OPTIONS: {error}; the options are {known}") from None
    if read.budget <= 0:
        raise ConfigError(f"$.CACHES.OPTIONS.budget: {read.budget} is out of range; give seconds, such as 0.05")
    return read


def one_location(location: Any) -> str:
    """LOCATION: a URL, or a list of one. Raises ``ConfigError``."""
    places = [location] if isinstance(location, str) else list(location or ())
    if len(places) != 1 or not isinstance(places[0], str) or not places[0]:
        raise ConfigError("$.CACHES.LOCATION: give one URL, such as redis://localhost:6379/0")
    return places[0]
