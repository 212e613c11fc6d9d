"""A ``Segment`` as a condition of PostgreSQL. Pure.

Invariants: everything the caller says travels as a parameter; every parameter is cast, because psycopg sends a small
int as smallint, which an index of int4 does not serve; the condition is true or not, also where columns are NULL, so
that a segment and its opposite are all leads. Negations are pushed down to the single conditions: only a NOT EXISTS
that stands on its own becomes an anti-join.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from mailgenius.errors import ConfigError

from .attribute import Attribute
from .segment import Segment
from .segment_check import moment

_TAGS = {"tags_any": "&&", "tags_all": "@>", "tags_none": "&&"}
_RANGES = {
    "score_min": ("score >=", "int4"),
    "score_max": ("score <=", "int4"),
    "created_from": ("created_at >=", "timestamptz"),
    "created_before": ("created_at <", "timestamptz"),
    "updated_from": ("updated_at >=", "timestamptz"),
    "updated_before": ("updated_at <", "timestamptz"),
}
_EVENTS = {
    "sent": ("email_sends", ""),
    "opened": ("lead_activities", "kind = 'open'"),
    "clicked": ("lead_activities", "kind = 'click'"),
}
# What counts as a number in text: nothing that could make the cast fail, or take long.
_NUMBER = "^-?[0-9]+([.][0-9]+)?$"
_NUMBER_LENGTH = 400


def compile(segment: Segment, now: datetime, alias: str = "l") -> tuple[str, dict[str, Any]]:
    """A boolean expression over ``mailgenius.leads`` under the name ``alias``, and its parameters.

    The caller adds ``l.workspace_id = %(workspace)s::int4`` and the parameter ``workspace``, which sub-queries need
    too. ``now`` (with a time zone): "within N days" counts back from its day in UTC.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,30}", alias):
        raise ConfigError(f"alias: {alias!r} is not a plain SQL name")
    writer = _Writer(moment("now", now), alias)
    return writer.segment(segment, True), writer.params


def first_day(now: datetime, days: int) -> datetime:
    """Where "within N days" begins: N days (UTC) before today. Whole days, so that an answer holds all day."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days)


class _Writer:
    def __init__(self, now: datetime, alias: str) -> None:
        self.now = now
        self.alias = alias
        self.params: dict[str, Any] = {}

    def bind(self, value: Any, kind: str) -> str:
        name = f"p{len(self.params) + 1}"
        self.params[name] = list(value) if isinstance(value, tuple) else value
        return f"%({name})s::{kind}"

    def segment(self, segment: Segment, wanted: bool) -> str:
        """The segment if ``wanted``, else its opposite: not (a and b) is (not a) or (not b)."""
        return _joined(self.terms(segment, wanted), all_of=wanted)

    def terms(self, segment: Segment, wanted: bool) -> Iterator[str]:
        for name, value in segment.given().items():
            if name == "attributes":
                yield from (self.attribute(attribute, wanted) for attribute in value)
            elif name == "all_of":
                yield from (self.segment(group, wanted) for group in value)
            elif name == "none_of":
                yield from (self.segment(group, not wanted) for group in value)
            elif name == "any_of":
                yield _joined((self.segment(group, wanted) for group in value), all_of=not wanted)
            elif name in _TAGS:
                tags = f"{self.alias}.tags {_TAGS[name]} {self.bind(value, 'text[]')}"
                yield _signed(tags, wanted is (name != "tags_none"))
            elif name in _RANGES:
                column, kind = _RANGES[name]
                yield _signed(f"{self.alias}.{column} {self.bind(value, kind)}", wanted)
            elif name in ("country", "city", "company", "status"):
                same = self.equals(f"{self.alias}.{name}", value, "text")
                yield _signed(same, wanted, nullable=name != "status")
            elif name == "email_domain":
                yield _signed(self.equals(f"split_part({self.alias}.email, '@', -1)", value, "text"), wanted)
            else:
                yield self.event(name, value, wanted)

    def equals(self, what: str, values: tuple[Any, ...], kind: str) -> str:
        if len(values) == 1:
            return f"{what} = {self.bind(values[0], kind)}"
        return f"{what} = any({self.bind(values, f'{kind}[]')})"

    def event(self, name: str, value: Any, wanted: bool) -> str:
        verb, kind = name.removeprefix("not_").split("_")
        table, fixed = _EVENTS[verb]
        inner = f"{self.alias}_{verb}"  # never the caller's alias
        conditions = [f"{inner}.workspace_id = %(workspace)s::int4", f"{inner}.lead_id = {self.alias}.id"]
        if fixed:
            conditions.append(f"{inner}.{fixed}")
        if kind == "in":
            conditions.append(self.equals(f"{inner}.campaign_id", value, "int8"))
        else:
            since = self.bind(first_day(self.now, value), "timestamptz")
            conditions.append(f"{inner}.created_at >= {since}")
        exists = f"exists (select from mailgenius.{table} {inner} where {' and '.join(conditions)})"
        return exists if wanted is not name.startswith("not_") else f"not {exists}"

    def attribute(self, attribute: Attribute, wanted: bool) -> str:
        make = _ATTRIBUTES.get(attribute.op, _Writer.compared)
        nullable = make is _Writer.compared
        return _signed(make(self, attribute), wanted is (attribute.op != "!="), nullable=nullable)

    def equal(self, attribute: Attribute) -> str:
        """Containment, which a GIN index on attributes serves. A number may have been imported as text."""
        values = [attribute.value]
        if (number := attribute.number_text) is not None:
            values.append(number)
        pairs = (msgspec.json.encode({attribute.name: value}).decode() for value in values)
        return _joined((f"{self.alias}.attributes @> {self.bind(pair, 'jsonb')}" for pair in pairs), all_of=False)

    def exists(self, attribute: Attribute) -> str:
        column, key = f"{self.alias}.attributes", self.bind(attribute.name, "text")
        return f"({column} ? {key} and {column} -> {key} <> 'null')"

    def compared(self, attribute: Attribute) -> str:
        column, key = f"{self.alias}.attributes", self.bind(attribute.name, "text")
        value, found = attribute.value, f"({column} ->> {key})"
        if isinstance(value, str):
            bound = self.bind(value, "text")
            text = f'{found} collate "C" {attribute.op} {bound}'
            return f"(jsonb_typeof({column} -> {key}) = 'string' and {text})"
        # Only CASE promises that the cast is not tried on anything else.
        number = (
            f"jsonb_typeof({column} -> {key}) = 'number'"
            f" or {found} collate \"C\" ~ '{_NUMBER}' and length({found}) <= {_NUMBER_LENGTH}"
        )
        bound = self.bind(Decimal(repr(value)), "numeric")
        return f"case when {number} then {found}::numeric {attribute.op} {bound} else false end"


_ATTRIBUTES: dict[str, Callable[[_Writer, Attribute], str]] = {
    "=": _Writer.equal,
    "!=": _Writer.equal,
    "exists": _Writer.exists,
}


def _joined(terms: Iterator[str], *, all_of: bool) -> str:
    found = list(terms)
    if not found:
        return "true" if all_of else "false"
    return found[0] if len(found) == 1 else f"({(' and ' if all_of else ' or ').join(found)})"


def _signed(term: str, wanted: bool, *, nullable: bool = False) -> str:
    """The term or its opposite, which holds where the term is NULL: a lead without a country is not from Brazil."""
    if wanted:
        return term
    return f"({term}) is not true" if nullable else f"not ({term})"
