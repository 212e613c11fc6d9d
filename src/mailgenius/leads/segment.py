"""``Segment``: a set of leads of one workspace, described. Pure.

An application builds it from keywords and operators, prints it, stores it (JSON, msgpack, a dict) and hands it to
whatever reads leads; ``segment_sql.compile`` makes the SQL. Invariants: whatever exists is valid, because every way to
make one ends in ``__post_init__``; values are kept in one form (``segment_check``), so equal segments look equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from mailgenius.errors import ConfigError

from .attribute import Attribute
from .segment_check import CHECKS, contradictions, members
from .segment_text import describe, show

__all__ = ["GROUPS", "MAX_CONDITIONS", "MAX_DEPTH", "Attribute", "Segment", "describe"]

MAX_DEPTH = 16  # groups within groups
MAX_CONDITIONS = 500  # of a segment with all its groups
GROUPS = ("all_of", "any_of", "none_of")
_AT = re.compile(r"(.*) - at `(\$[^`]*)`", re.S)  # how msgspec ends a message: where it happened


class Segment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Leads for which all that is given holds; ``Segment()`` is all leads. Raises ``ConfigError`` with the path.

    Text compares exactly, as it is stored; ``email_domain`` in any spelling. ``…_within`` counts days back from now.
    ``a & b``, ``a | b`` and ``~a`` combine segments.
    """

    tags_any: Sequence[str] | None = None
    tags_all: Sequence[str] | None = None
    tags_none: Sequence[str] | None = None
    # One or a list: any of them.
    country: str | Sequence[str] | None = None
    city: str | Sequence[str] | None = None
    company: str | Sequence[str] | None = None
    status: str | Sequence[str] | None = None
    email_domain: str | Sequence[str] | None = None
    score_min: int | None = None
    score_max: int | None = None
    # With a time zone; kept in UTC. From: at or after. Before: not at.
    created_from: datetime | None = None
    created_before: datetime | None = None
    updated_from: datetime | None = None
    updated_before: datetime | None = None
    attributes: Sequence[Attribute] | None = None
    # Numbers of campaigns, one or a list: any of them, for not_…: none of them.
    sent_in: int | Sequence[int] | None = None
    not_sent_in: int | Sequence[int] | None = None
    opened_in: int | Sequence[int] | None = None
    not_opened_in: int | Sequence[int] | None = None
    clicked_in: int | Sequence[int] | None = None
    not_clicked_in: int | Sequence[int] | None = None
    # Days, in any campaign.
    sent_within: int | None = None
    not_sent_within: int | None = None
    opened_within: int | None = None
    not_opened_within: int | None = None
    clicked_within: int | None = None
    not_clicked_within: int | None = None
    all_of: Sequence[Segment] | None = None
    any_of: Sequence[Segment] | None = None
    none_of: Sequence[Segment] | None = None

    def __post_init__(self) -> None:
        for name, value in self.given().items():
            path = f"$.{name}"
            if name in CHECKS:
                checked = CHECKS[name](path, value)
            else:
                checked = members(path, value, Attribute if name == "attributes" else Segment)
            msgspec.structs.force_setattr(self, name, checked)
        contradictions(self.given())
        for name in GROUPS:
            for number, group in enumerate(getattr(self, name) or ()):
                if _depth(group) >= MAX_DEPTH:
                    raise ConfigError(f"$.{name}[{number}]: is nested too deeply; at most {MAX_DEPTH} levels")
        if (count := _conditions(self)) > MAX_CONDITIONS:
            raise ConfigError(f"$: has {count} conditions; at most {MAX_CONDITIONS}")

    def given(self) -> dict[str, Any]:
        """The keywords that say something, in order."""
        values = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return {name: value for name, value in values if value is not None}

    def __repr__(self) -> str:
        return f"Segment({', '.join(f'{name}={show(name, value)}' for name, value in self.given().items())})"

    def __str__(self) -> str:
        return describe(self)

    def __and__(self, other: Segment) -> Segment:
        if not isinstance(other, Segment):
            return NotImplemented
        if not self.given() or not other.given():
            return self if self.given() else other
        return _joined("all_of", self, other)

    def __or__(self, other: Segment) -> Segment:
        if not isinstance(other, Segment):
            return NotImplemented
        return _joined("any_of", self, other) if self.given() and other.given() else Segment()

    def __invert__(self) -> Segment:
        given = self.given()
        if list(given) == ["none_of"] and len(given["none_of"]) == 1:
            inner: Segment = given["none_of"][0]
            return inner
        return Segment(none_of=[self])

    def to_json(self) -> str:
        return msgspec.json.encode(self).decode()

    def to_msgpack(self) -> bytes:
        return msgspec.msgpack.encode(self)

    def to_dict(self) -> dict[str, Any]:
        """Of what JSON has: for a ``jsonb`` column, or as part of a larger document."""
        made: dict[str, Any] = msgspec.json.decode(self.to_json())
        return made

    @classmethod
    def from_json(cls, data: str | bytes) -> Segment:
        return _decoded(lambda: msgspec.json.decode(data, type=cls))

    @classmethod
    def from_msgpack(cls, data: bytes) -> Segment:
        return _decoded(lambda: msgspec.msgpack.decode(data, type=cls))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Segment:
        return _decoded(lambda: msgspec.convert(data, cls))


def _joined(name: str, *segments: Segment) -> Segment:
    """One group instead of groups in groups: long chains of operators stay flat."""
    parts: list[Segment] = []
    for segment in segments:
        given = segment.given()
        parts += given[name] if list(given) == [name] else [segment]
    group: dict[str, Any] = {name: parts}
    return Segment(**group)


def _groups(segment: Segment) -> list[Segment]:
    return [group for name in GROUPS for group in getattr(segment, name) or ()]


def _depth(segment: Segment) -> int:
    return 1 + max(map(_depth, _groups(segment)), default=0)


def _conditions(segment: Segment) -> int:
    given = segment.given()
    own = len(given.keys() - {"attributes", *GROUPS}) + len(given.get("attributes", ()))
    return own + sum(max(_conditions(group), 1) for group in _groups(segment))


def _decoded(decode: Callable[[], Segment]) -> Segment:
    """Mistakes found while decoding, as those found while building: the path first."""
    try:
        return decode()
    except RecursionError:
        raise ConfigError(f"$: is nested too deeply; at most {MAX_DEPTH} levels") from None
    except ValueError as error:
        message, path = str(error), "$"
        if found := _AT.fullmatch(message):
            message, path = found.groups()
        if message.startswith(("$.", "$:")):
            raise ConfigError(path + message[1:]) from error
        raise ConfigError(f"{path}: {message}") from error
