"""A ``Segment`` as bits: which leads are in it, from the bitmap indexes alone (migrations 0004, 0008). Pure.

A condition becomes a source, a sub-query that gives blocks of bits, and a segment an expression over the blocks of its
sources, ``c0 & (c1 | ~c2)``. Bits of leads that are not there say nothing: all is taken with ``c0``, those that are.
Limits: conditions that no bitmap knows (a city, a date) make the whole segment one that is counted row by row, and so does
one with more than ``MAX_SOURCES`` sources. Whether an attribute is indexed, the statement itself finds out, in the snapshot
in which it reads the bits: if one is not, it gives no row, and the segment must be counted row by row as well.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from .attribute import Attribute
from .model import STATUSES
from .segment import Segment
from .segment_check import moment
from .segment_sql import first_day

MAX_SOURCES = 64
OWN_INDEX = frozenset({"city", "company", "created_from", "created_before"})  # conditions that an index of leads serves
_NONE = "0::bit(1024)"
_LEADS = "from mailgenius.lead_bitmaps b where b.workspace_id = %(workspace)s::int4 and b.facet ="
_EVENTS = "from mailgenius.event_bitmaps b where b.workspace_id = %(workspace)s::int4 and b.facet ="
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # of bitmap_day
_LONGEST = 200  # bytes of a value that bitmap_key leaves as it is
_SLICES = 32  # of a score
_USUAL = 7  # that scores of 0 to 127 have
# The others are joined: in most workspaces there are none, and then they cost nothing.
_HIGH = f"left join (select b.block, {{columns}} {_LEADS} 'score_high' group by b.block) high using (block)"
_NAMED = "from mailgenius.lead_attributes where name = any"
_VALUES = "from mailgenius.attribute_values(%(workspace)s::int4, {}) v"
# Keys as in migration 0008: texts behind a '"' in the order of their bytes, up to '#'; long keys are hashes, without order.
_TEXTS = "b.value >= '\"' and b.value < '#'"
_HASHES = "b.value >= 'sha256:' and b.value < 'sha256;'"
# A number, or a text that spells one. Only CASE promises that the cast is not tried on anything else.
_NUMBER = '^"?-?[0-9]+([.][0-9]+)?$'


class Bits(msgspec.Struct, frozen=True):
    """What goes into ``lead_count_bits.sql``."""

    parts: dict[str, str]
    params: dict[str, Any]


def compile_bits(segment: Segment, now: datetime) -> Bits | None:
    """The segment as bits, or None if it must be counted row by row."""
    writer = _Writer(moment("now", now))
    try:
        condition = writer.segment(segment)
    except _RowByRowError:
        return None
    columns = ", ".join(
        f"coalesce(bit_or(bits) filter (where source = {n}), {_NONE}) as c{n}" for n in sorted(writer.columns)
    )
    sources = "\n        union all\n        ".join(writer.sources)
    parts = {
        "sources": sources,
        "columns": columns,
        "high": writer.high,
        "condition": condition,
        "known": writer.told(),
    }
    return Bits(parts, writer.params)


def compile_candidates(segment: Segment, now: datetime) -> Bits | None:
    """Bits of all leads that can be in the segment: of the conditions of which each lead needs all, those that bitmaps
    know. None if there is none."""
    given = segment.given().items()
    known = {name: value for name, value in given if compile_bits(Segment(**{name: value}), now) is not None}
    return compile_bits(Segment(**known), now) if known else None


class _RowByRowError(Exception):
    pass


class _Writer:
    def __init__(self, now: datetime) -> None:
        self.now = now
        self.params: dict[str, Any] = {}
        self.sources: list[str] = []
        self.columns: set[int] = {0}
        self.known: dict[str, str] = {}  # source -> its column: what is asked twice is read once
        self.next = 0
        self.high = ""
        self.names: dict[str, str] = {}  # of attributes -> the parameter with their facet
        self.ordered: set[str] = set()  # facets whose values are compared, which hashes cannot be
        self.source("", f"{_LEADS} 'lead' and b.value = ''", "bit_xor")

    def bind(self, value: Any, kind: str) -> str:
        name = f"b{len(self.params) + 1}"
        self.params[name] = value
        return f"%({name})s::{kind}"

    def source(self, key: str, rows: str, merge: str) -> str:
        """The column of a source's blocks, which are its rows put together by ``merge``."""
        if key not in self.known:
            if len(self.sources) == MAX_SOURCES:
                raise _RowByRowError
            self.sources.append(
                f"select {self.next} as source, b.block, {merge}(b.bits) as bits {rows} group by b.block"
            )
            self.known[key] = f"c{self.next}"
            self.columns.add(self.next)
            self.next += 1
        return self.known[key]

    def segment(self, segment: Segment) -> str:
        return _all([self.term(name, value) for name, value in segment.given().items()])

    def term(self, name: str, value: Any) -> str:
        if name == "all_of":
            return _all([self.segment(group) for group in value])
        if name == "any_of":
            return _any([self.segment(group) for group in value])
        if name == "none_of":
            return _not(_any([self.segment(group) for group in value]))
        if name == "country":
            return self.one_of("country", value)
        if name == "status":
            return self.status(value)
        if name == "tags_all":
            return _all([self.tags((tag,)) for tag in value])
        if name == "tags_any":
            return self.tags(value)
        if name == "tags_none":
            return _not(self.tags(value))
        if name == "attributes":
            return _all([self.attribute(attribute) for attribute in value])
        if name == "score_min":
            return self.score_from(value)
        if name == "score_max":
            return _all([]) if value == (1 << 31) - 1 else _not(self.score_from(value + 1))
        if name.endswith(("_in", "_within")):
            positive = name.removeprefix("not_")
            bits = self.event(positive, value)
            return bits if positive == name else _not(bits)
        raise _RowByRowError

    def one_of(self, facet: str, values: tuple[str, ...]) -> str:
        """A lead has one value, so those of several exclude one another, and XOR puts them together."""
        key = f"{facet} {sorted(values)}"
        if key in self.known:
            return self.known[key]
        wanted = self.bind([_key(value) for value in values], "text[]")
        return self.source(key, f"{_LEADS} '{facet}' and b.value = any ({wanted})", "bit_xor")

    def status(self, values: tuple[str, ...]) -> str:
        if "active" not in values:
            return self.one_of("status", values)
        others = tuple(status for status in STATUSES if status not in values)
        return _not(self.one_of("status", others)) if others else _all([])

    def tags(self, values: tuple[str, ...]) -> str:
        key = f"tag {sorted(values)}"
        if key in self.known:
            return self.known[key]
        if len(values) == 1:
            wanted = self.bind(_key(values[0]), "text")
            return self.source(key, f"{_LEADS} 'tag' and b.value = {wanted}", "bit_xor")
        wanted = self.bind([_key(value) for value in values], "text[]")
        each = f"select b.block, bit_xor(b.bits) as bits {_LEADS} 'tag' and b.value = any ({wanted})"
        return self.source(key, f"from ({each} group by b.value, b.block) b", "bit_or")

    def score_from(self, low: int) -> str:
        """score >= low. A block without high slices has scores of 0 to 127 alone."""
        if low == -(1 << 31):
            return _all([])
        base = self.slices()
        columns = [f"c{base + number}" for number in range(_USUAL)]
        usual = _all([]) if low <= 0 else _NONE if low >= 1 << _USUAL else _at_least(low, columns)
        columns += [f"coalesce(high.s{number}, {_NONE})" for number in range(_USUAL, _SLICES)]
        columns[-1] = f"~{columns[-1]}"  # of two's complement, the sign's bit counts the other way round
        return f"case when high.block is null then {usual} else {_at_least(low + (1 << 31), columns)} end"

    def slices(self) -> int:
        if "score" not in self.known:
            if len(self.sources) == MAX_SOURCES:
                raise _RowByRowError
            base = self.next
            high = (f"bit_xor(b.bits) filter (where b.value = '{n}') as s{n}" for n in range(_USUAL, _SLICES))
            self.sources.append(
                f"select {base} + b.value::int4 as source, b.block, bit_xor(b.bits) as bits "
                f"{_LEADS} 'score' group by b.value, b.block"
            )
            self.columns |= set(range(base, base + _USUAL))
            self.next += _USUAL
            self.known["score"] = str(base)
            self.high = _HIGH.format(columns=", ".join(high))
        return int(self.known["score"])

    def attribute(self, attribute: Attribute) -> str:
        name, op, value = attribute.name, attribute.op, attribute.value
        key = f"attribute {name!r} {op} {value!r}"
        if op == "!=":
            return _not(self.attribute(Attribute(name, "=", value)))
        if key in self.known:
            return self.known[key]
        if name not in self.names:
            self.names[name] = self.bind(f"attribute:{_key(name)}", "text")
        facet = self.names[name]
        if op == "exists":
            wanted = "b.value = ''"
        elif op == "=":
            wanted = f"b.value = any ({self.bind(_keys(attribute), 'text[]')})"
        elif isinstance(value, str):
            self.ordered.add(facet)
            wanted = f"{_TEXTS} and b.value {op} {self.bind(_text(value), 'text')}"
        else:
            self.ordered.add(facet)
            bound = self.bind(Decimal(repr(value)), "numeric")
            fits = f"case when v collate \"C\" ~ '{_NUMBER}' then ltrim(v, '\"')::numeric {op} {bound} else false end"
            wanted = f"b.value = any (array(select v {_VALUES.format(facet)} where {fits}))"
        return self.source(key, f"{_LEADS} {facet} and {wanted}", "bit_xor")

    def told(self) -> str:
        """The condition that the bits know what was asked: the attributes are indexed, and what is compared is no hash."""
        if not self.names:
            return "true"
        wanted = self.bind(list(self.names), "text[]")
        terms = [f"(select count(*) {_NAMED} ({wanted})) = {len(self.names)}"]
        terms += [f"not exists (select {_LEADS} {facet} and {_HASHES})" for facet in sorted(self.ordered)]
        return " and ".join(terms)

    def event(self, name: str, value: Any) -> str:
        verb, kind = name.split("_")
        key = f"{name} {value}"
        if key in self.known:
            return self.known[key]
        if kind == "in":
            wanted = f"'{verb}' and b.value = any ({self.bind(list(value), 'int8[]')})"
        else:
            since = (first_day(self.now, value) - _EPOCH).days
            wanted = f"'{verb}_on' and b.value >= {self.bind(since, 'int8')}"
        return self.source(key, f"{_EVENTS} {wanted}", "bit_or")


def _at_least(low: int, columns: list[str]) -> str:
    """The bits of numbers >= low, given their bits by significance, the least one first: where low has a 1, a number must
    have it too or be more by a higher bit; where it has a 0, a 1 is enough."""
    bits = _all([])
    for number, column in enumerate(columns):
        bits = f"({column} {'&' if low >> number & 1 else '|'} {bits})"
    return bits


def _text(value: str) -> str:
    return f'"{value}'


def _keys(attribute: Attribute) -> list[str]:
    """``mailgenius.attribute_key`` of what equals the value: a number may have been imported as text."""
    value, number = attribute.value, attribute.number_text
    if number is not None:
        return [_key(number), _key(_text(number))]
    return [_key(_text(value))] if isinstance(value, str) else [str(value).lower()]


def _key(value: str) -> str:
    """``mailgenius.bitmap_key``."""
    data = value.encode()
    if len(data) <= _LONGEST and not value.startswith("sha256:"):
        return value
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _all(terms: list[str]) -> str:
    return f"({' & '.join(terms)})" if terms else f"~{_NONE}"


def _any(terms: list[str]) -> str:
    return f"({' | '.join(terms)})" if terms else _NONE


def _not(term: str) -> str:
    return f"(~{term})"
