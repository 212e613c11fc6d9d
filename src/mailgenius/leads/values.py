"""What may be written into a lead: checks, and the SQL that writes it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import msgspec

from mailgenius.errors import ConfigError

from .segment import Segment
from .segment_check import integer, many, members, status, text

_MAX_SCORE = (1 << 31) - 1


def _name(path: str, value: Any) -> str | None:
    return None if value is None else text(path, value, empty=True)


def _tags(path: str, value: Any) -> list[str]:
    return list(many(text, path, value)) if value != [] else []


def _attributes(path: str, value: Any) -> dict[str, Any]:
    """A JSON object that PostgreSQL can hold."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{path}: expected a dict, got {type(value).__name__}")
    for key in value:
        text(f"{path}.{key}", key, empty=True)
    try:
        encoded = msgspec.json.encode(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be JSON: {error}") from error
    if b"\\u0000" in encoded:
        raise ConfigError(f"{path}: holds a NUL, which PostgreSQL cannot store")
    made: dict[str, Any] = msgspec.json.decode(encoded)
    return made


#: column -> (its check, its type)
COLUMNS: dict[str, tuple[Callable[[str, Any], Any], str]] = {
    "first_name": (_name, "text"),
    "last_name": (_name, "text"),
    "phone": (_name, "text"),
    "company": (_name, "text"),
    "city": (_name, "text"),
    "country": (_name, "text"),
    "tags": (_tags, "text[]"),
    "attributes": (_attributes, "jsonb"),
    "status": (status, "text"),
    "score": (partial(integer, low=-_MAX_SCORE - 1, high=_MAX_SCORE), "int4"),
}
#: What a column becomes where the new value does not just replace the old one: as in an import.
_MERGED = {
    "tags": "case when {new} <@ l.tags then l.tags"
    " else l.tags || array(select tag from unnest({new}) as tag where tag <> all (l.tags)) end",
    "attributes": "l.attributes || {new}",
}
# who opted out, complained or bounced stays so: a list that says "active" is older news
_STATUS = (
    "case when l.status in ('unsubscribed', 'complained', 'bounced') and {new} in ('active', 'pending')"
    " then l.status else {new} end"
)


def checked(path: str, values: Any, *, others: tuple[str, ...] = ()) -> dict[str, Any]:
    """``values`` for columns of a lead, in the form in which they are sent. ``others``: keys that are left alone."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path}: expected a dict, got {type(values).__name__}")
    made = {}
    for name, value in values.items():
        if name in COLUMNS:
            made[name] = COLUMNS[name][0](f"{path}.{name}", value)
        elif name not in others:
            raise ConfigError(f"{path}.{name}: cannot be written; known are {', '.join((*others, *COLUMNS))}")
    return made


def changes(values: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """SET of an UPDATE, the condition that it changes anything, and the parameters."""
    if "tags" in values:
        raise ConfigError("$.tags: use tag and untag, which do not overwrite what others add meanwhile")
    if not values:
        raise ConfigError("$: names no column to change")
    new = {name: _becomes(name, f"%(new_{name})s::{COLUMNS[name][1]}") for name in values}
    params = {
        f"new_{name}": msgspec.json.encode(value).decode() if name == "attributes" else value
        for name, value in values.items()
    }
    return (
        ", ".join(f"{name} = {value}" for name, value in new.items()),
        " or ".join(f"l.{name} is distinct from ({value})" for name, value in new.items()),
        params,
    )


def upsert_parts(columns: Iterable[str]) -> dict[str, str]:
    """What ``lead_upsert.sql`` leaves open, for leads that give these columns."""
    names = list(columns)
    new = {name: _becomes(name, f"excluded.{name}") for name in names}
    if "status" in new:
        new["status"] = _STATUS.format(new="excluded.status")
    differs = " or ".join(f"l.{name} is distinct from ({value})" for name, value in new.items()) or "false"
    sets = [f"{name} = {value}" for name, value in new.items()]
    return {
        "columns": "".join(f", {name}" for name in names),
        "values": "".join(f", given.{name}" for name in names),
        "changes": ", ".join([*sets, f"updated_at = case when {differs} then now() else l.updated_at end"]),
    }


def addresses(path: str, given: str | Iterable[str]) -> list[str]:
    """E-mail addresses as leads are stored with them. What is no valid address is kept as it is."""
    from mailgenius.address import validate_email  # imported late: it loads numpy

    found = [given] if isinstance(given, str) else list(given)
    made = []
    for number, email in enumerate(found):
        check = validate_email(text(f"{path}[{number}]", email), allow_quoted=True, allow_special_use=True)
        made.append(check.normalized or email)
    return list(dict.fromkeys(made))


def tag_list(tags: Any) -> list[str]:
    return list(many(text, "tags", [tags] if isinstance(tags, str) else tags))


def lead_list(leads: Any) -> tuple[Any, ...]:
    return members("$", leads, object) if leads != [] else ()


def is_segment(path: str, segment: Any) -> Segment:
    if not isinstance(segment, Segment):
        raise ConfigError(f"{path}: expected Segment, got {type(segment).__name__}")
    return segment


def _becomes(name: str, new: str) -> str:
    return _MERGED.get(name, "{new}").format(new=new)
