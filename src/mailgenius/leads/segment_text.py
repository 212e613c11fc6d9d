"""Segments for people: one line in words, and the ``repr`` that evaluates back. Pure and deterministic."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .attribute import Attribute
    from .segment import Segment

_SINGLE = {"country", "city", "company", "status", "email_domain"}
_RANGES = {
    "score_min": "score at least",
    "score_max": "score at most",
    "created_from": "created from",
    "created_before": "created before",
    "updated_from": "updated from",
    "updated_before": "updated before",
}
_TAGS = {"tags_any": "any of", "tags_all": "all of", "tags_none": "none of"}


def describe(segment: Segment) -> str:
    """``tagged "vip" and country is "BR" and score at least 50``; ``all leads`` for the empty segment."""
    return " and ".join(_parts(segment)) or "all leads"


def show(name: str, value: Any) -> str:
    """A value of a segment as Python source; a list of one as that one where the keyword allows it."""
    if not isinstance(value, tuple):
        return repr(value)
    if len(value) == 1 and (name in _SINGLE or name.endswith("_in")):
        return repr(value[0])
    return repr(list(value))


def _parts(segment: Segment) -> Iterator[str]:
    for name, value in segment.given().items():
        if name in _TAGS:
            yield _tags(name, value)
        elif name in _SINGLE:
            label = name.replace("_", " ")
            yield f"{label} is {_one_of(value)}"
        elif name in _RANGES:
            yield f"{_RANGES[name]} {_plain(value)}"
        elif name == "attributes":
            yield from map(_attribute, value)
        elif name == "all_of":
            yield from map(_grouped, value)
        elif name == "any_of":
            yield _grouped(value[0]) if len(value) == 1 else f"({' or '.join(map(_grouped, value))})"
        elif name == "none_of":
            yield from (f"not ({describe(group)})" for group in value)
        else:
            yield _event(name, value)


def _grouped(segment: Segment) -> str:
    parts = list(_parts(segment))
    return f"({' and '.join(parts)})" if len(parts) > 1 else describe(segment)


def _tags(name: str, tags: tuple[str, ...]) -> str:
    if len(tags) == 1:
        return f"{'not ' if name == 'tags_none' else ''}tagged {_plain(tags[0])}"
    return f"tagged {_TAGS[name]} {_list(tags)}"


def _attribute(attribute: Attribute) -> str:
    value = "" if attribute.value is None else f" {_plain(attribute.value)}"
    return f"attribute {_plain(attribute.name)} {attribute.op}{value}"


def _event(name: str, value: Any) -> str:
    """``not_opened_within``, 30 -> ``not opened in the last 30 days``."""
    verb, _, kind = name.replace("not_", "not ").partition("_")
    if kind == "within":
        return f"{verb} in the last {f'{value} days' if value > 1 else 'day'}"
    return f"{verb} in {f'campaign {value[0]}' if len(value) == 1 else f'any of campaigns {_list(value)}'}"


def _one_of(values: tuple[Any, ...]) -> str:
    return _plain(values[0]) if len(values) == 1 else f"one of {_list(values)}"


def _list(values: tuple[Any, ...]) -> str:
    return ", ".join(map(_plain, values))


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bool):
        return str(value).lower()
    return _quoted(value) if isinstance(value, str) else repr(value)


def _quoted(text: str) -> str:
    """In double quotes, on one line: what does not print (line ends, marks that reverse the text) is escaped."""
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text) + '"'
