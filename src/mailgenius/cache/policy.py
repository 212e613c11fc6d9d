"""What a region of a cache does: one Struct for each region, checked when it is made. Pure.

A contradiction raises ``ConfigError``; its text begins with the path, as in ``$.cache.lead.ttl``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec

from mailgenius.errors import ConfigError

from .keys import Key, namer
from .schema import fingerprint

__all__ = ["SOURCE_REGIONS", "Behind", "Region", "check_regions"]

MIB = 1 << 20
#: Names under it are ours: locks, tags, streams.
RESERVED = "mg:"
#: What a trained dictionary begins with (RFC 8878, section 5).
DICTIONARY = b"\x37\xa4\x30\xec"
_YEAR = 366 * 86400.0
_PREFIX = re.compile(r"[^\s{}%\x00-\x1f]+")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


class Behind(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a region's writes are accepted before the database has them."""

    # Most writes that may wait; beyond, a write waits for room.
    maxlen: int = 100_000
    # Seconds that a write waits, for room or for a connection that was lost on the way.
    timeout: float = 5.0
    # A write returns once it is on the server's disk (WAITAOF, or appendfsync always).
    durable: bool = False
    # Also on a server that may lose or evict what waits.
    unsafe: bool = False


class Region(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The policy of one region. Times are in seconds, sizes in bytes."""

    # Name in programs, metrics and errors.
    name: str
    # What the names of its values begin with on the server; empty: the name and a colon.
    prefix: str = ""
    # How long a value is fresh.
    ttl: float = 300.0
    # Up to this part (0.1: 10 %) a value's time is longer or shorter: what was stored together does not end together.
    jitter: float = 0.1
    # How long "there is none" (None) is remembered; 0: it is not; None: as long as a value.
    negative_ttl: float | None = None
    # Form of a value: "msgpack" and "json" of `type`, or "raw" bytes. JSON has no infinity and no NaN: they become null.
    serializer: Literal["msgpack", "json", "raw"] = "msgpack"
    # What values are: any type that msgspec knows. What is found in another form is a miss.
    type: Any = Any
    # From this size on a value is compressed (zstd 1), and kept so if that saves an eighth; None: never.
    compress_from: int | None = 2048
    # A dictionary trained on such values (codec.train), with which small ones are worth compressing.
    dictionary: bytes | None = None
    # Dictionaries of before, still needed to read what was stored with them.
    old_dictionaries: tuple[bytes, ...] = ()
    # Room for values in this process; 0: there is no local layer.
    local_size: int = 16 * MIB
    # How long a value is taken from this process without asking; None: as long as it is fresh. While the server tells of
    # changes, this is the bound for what it failed to tell.
    local_ttl: float | None = None
    # How long after its end a value is still served, while one caller loads it anew beside that.
    stale_for: float = 0.0
    # How long after its end a value is served when it cannot be loaded: the loader or the server fails, or takes too long.
    fail_safe: float = 0.0
    # How long a caller waits for a load if a stale value could be served; the load goes on. None: as long as it takes.
    soft_timeout: float | None = None
    # How long a load may take at all; None: as long as it takes.
    hard_timeout: float | None = None
    # Haste of early refresh (XFetch): 1 is what its authors advise; 0: no early refresh.
    early: float = 0.0
    # Every value belongs to a tenant, which has to be given and is part of its name.
    tenant: bool = False
    # Part of the name: a higher one leaves all that was stored before behind.
    version: int = 0
    # Values that live on one node of a Cluster: of a tenant, those whose keys begin with the same part, all of the
    # region, or each by itself.
    together: Literal["key", "tenant", "first", "region"] = "key"
    # One load in all processes, not only in each.
    lock: bool = False
    # Its values are written by write_behind, and come into the database later; None: they are not. In a Cluster this needs
    # together="region".
    behind: Behind | None = None
    # Writes while the server cannot be reached: "fail" raises; "keep" keeps them here and sends them when it is back.
    on_redis_down: Literal["fail", "keep"] = "fail"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"$.cache: {self.name!r} is no name of a region; it is a letter and up to 63 letters, digits, - and _"
            )
        self._check_types()
        if not self.prefix:
            msgspec.structs.force_setattr(self, "prefix", f"{self.name}:")
        if not _PREFIX.fullmatch(self.prefix):
            self._refuse("prefix", f"{self.prefix!r} holds a space, a brace, % or a control character")
        if self.prefix.startswith(RESERVED) or RESERVED.startswith(self.prefix):
            self._refuse("prefix", f"names that begin with {RESERVED!r} are for mailgenius itself")
        self._check_times()
        self._check_form()
        if self.together == "tenant" and not self.tenant:
            self._refuse("together", '"tenant" needs a tenant; set tenant=True')
        if self.behind is not None:
            self._within("behind.maxlen", self.behind.maxlen, 1, 1 << 53)
            self._within("behind.timeout", self.behind.timeout, 0, _YEAR)

    def _check_types(self) -> None:
        """msgspec checks what it decodes, not what is made by hand."""
        values = {f: getattr(self, f) for f in self.__struct_fields__ if f not in ("type", "name")}
        try:
            read = msgspec.convert({**values, "name": self.name}, _Fields)
        except msgspec.ValidationError as error:
            what, _, where = str(error).rpartition(" - at ")
            raise ConfigError(f"$.cache.{self.name}{where.strip('`').removeprefix('$')}: {what}") from None
        msgspec.structs.force_setattr(self, "old_dictionaries", read.old_dictionaries)

    def _check_times(self) -> None:
        self._within("ttl", self.ttl, 0.001, _YEAR)
        self._within("jitter", self.jitter, 0, 0.5)
        self._within("early", self.early, 0, 100)
        for name in ("stale_for", "fail_safe"):
            self._within(name, getattr(self, name), 0, _YEAR)
        for name, least in (
            ("negative_ttl", 0.0), ("local_ttl", 0.001), ("soft_timeout", 0.001), ("hard_timeout", 0.001),
        ):  # fmt: skip
            if getattr(self, name) is not None:
                self._within(name, getattr(self, name), least, _YEAR)
        if self.local_ttl is not None and self.local_ttl > self.ttl:
            self._refuse("local_ttl", f"{self.local_ttl:g} is more than ttl ({self.ttl:g})")
        if self.negative_ttl is not None and self.negative_ttl > self.ttl:
            self._refuse("negative_ttl", f"{self.negative_ttl:g} is more than ttl ({self.ttl:g})")
        if self.fail_safe and self.fail_safe < self.stale_for:
            self._refuse(
                "fail_safe", f"{self.fail_safe:g} is less than stale_for ({self.stale_for:g}); both begin at ttl"
            )
        if self.soft_timeout is not None:
            if not self.kept:
                self._refuse("soft_timeout", "there is no stale value to serve; set fail_safe or stale_for")
            if self.hard_timeout is not None and self.soft_timeout >= self.hard_timeout:
                self._refuse("soft_timeout", f"is not less than hard_timeout ({self.hard_timeout:g})")

    def _check_form(self) -> None:
        self._within("local_size", self.local_size, 0, 1 << 40)
        if 0 < self.local_size < 64 * 1024:
            self._refuse("local_size", f"{self.local_size} bytes hold too little; give at least 65,536, or 0 for none")
        if self.local_ttl is not None and not self.local_size:
            self._refuse("local_ttl", "there is no local layer (local_size is 0)")
        self._within("version", self.version, 0, 1 << 53)
        if self.compress_from is not None:
            self._within("compress_from", self.compress_from, 0, 1 << 40)
        elif self.dictionary is not None:
            self._refuse("dictionary", "nothing is compressed (compress_from is none)")
        for name, given in (("dictionary", (self.dictionary,)), ("old_dictionaries", self.old_dictionaries)):
            if any(data is not None and not data.startswith(DICTIONARY) for data in given):
                self._refuse(name, "is none that codec.train made")
        if self.serializer == "raw":
            if self.type not in (Any, bytes):
                self._refuse("type", f'"raw" values are bytes, not {self.type!r}')
        else:
            try:
                fingerprint(self.type)
            except TypeError as error:
                self._refuse("type", str(error))

    def _within(self, name: str, value: float, low: float, high: float) -> None:
        if not low <= value <= high:  # nor NaN
            self._refuse(name, f"{value:g} is out of range; give a value between {low:g} and {high:g}")

    def _refuse(self, name: str, why: str) -> None:
        raise ConfigError(f"$.cache.{self.name}.{name}: {why}")

    @property
    def kept(self) -> float:
        """Seconds that a value is kept after its end."""
        return max(self.stale_for, self.fail_safe)

    def namer(self, tenant: str | int | None = None) -> Callable[[Key], str]:
        """The function that makes names of keys, for one tenant."""
        return namer(self.prefix, self.version, tenant, self.together, self.name)

    def __repr__(self) -> str:
        changed = {
            field.name: value
            for field in msgspec.structs.fields(self)
            if (value := getattr(self, field.name)) != field.default and "dictionar" not in field.name
        }
        return f"Region({', '.join(f'{name}={value!r}' for name, value in changed.items())})"


# Region without what msgspec cannot check, and without the checks above.
_Fields: Any = msgspec.defstruct(
    "_Fields",
    [(name, kind) for name, kind in Region.__annotations__.items() if name != "type"],
    namespace={},
    kw_only=True,
    module=__name__,
)


def check_regions(regions: Iterable[Region]) -> dict[str, Region]:
    """Regions of one cache, by name. ``ConfigError`` if two have the same name, or if the prefix of one begins another's:
    names of the one could then be names of the other."""
    found: dict[str, Region] = {}
    for region in regions:
        if region.name in found:
            raise ConfigError(f"$.cache.{region.name}: there are two regions of this name")
        for other in found.values():
            if region.prefix.startswith(other.prefix) or other.prefix.startswith(region.prefix):
                raise ConfigError(
                    f"$.cache.{region.name}.prefix: one of {region.prefix!r} and {other.prefix!r} (of {other.name}) begins"
                    " the other, so their values could be taken for one another's; choose another prefix"
                )
        found[region.name] = region
    return found


#: Six regions that most e-mail platforms have, ready to use; ``msgspec.structs.replace`` changes what should differ.
SOURCE_REGIONS = check_regions(
    [
        Region(name="session", prefix="session:user:", ttl=3600.0),
        Region(name="api", prefix="api:response:", ttl=300.0, stale_for=30.0),
        Region(name="query", prefix="db:query:", ttl=600.0, stale_for=60.0),
        Region(name="template", prefix="template:", ttl=1800.0, fail_safe=3600.0),
        Region(name="lead", prefix="lead:", ttl=300.0),
        Region(name="stats", prefix="campaign:stats:", ttl=120.0, stale_for=60.0, early=1.0),
    ]
)
