"""What the values of a ``Segment`` must be, and the one form in which they are kept. Pure.

Each check takes the path for its message and the value, and returns the value in that form: lists as tuples without
repeats, times in UTC. So equal segments compare, print and serialise alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from mailgenius.errors import ConfigError

from .model import STATUSES

T = TypeVar("T")

MAX_VALUES = 10_000  # of one list
MAX_DAYS = 36_500
_INT32 = 1 << 31


def text(path: str, value: Any, *, empty: bool = False) -> str:
    """A str that PostgreSQL can hold."""
    if not isinstance(value, str):
        raise ConfigError(f"{path}: expected str, got {type(value).__name__}")
    if not empty and not value.strip():
        raise ConfigError(f"{path}: is empty")
    if "\0" in value:
        raise ConfigError(f"{path}: {value!r} holds a NUL, which PostgreSQL cannot store")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{path}: {value!r} holds half of a surrogate pair") from None
    return str.__str__(value)  # of subclasses, such as enumerations, the plain value: it prints and is sent alike


def integer(path: str, value: Any, *, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(f"{path}: expected int, got {type(value).__name__}")
    if not low <= value <= high:
        raise ConfigError(f"{path}: {value} is out of range; give a value between {low} and {high}")
    return int(value)


def moment(path: str, value: Any) -> datetime:
    if not isinstance(value, datetime):
        raise ConfigError(f"{path}: expected datetime, got {type(value).__name__}")
    if value.utcoffset() is None:
        raise ConfigError(f"{path}: {value.isoformat()} has no time zone; add one, such as tzinfo=datetime.UTC")
    try:
        utc = value.astimezone(UTC)
    except OverflowError:
        raise ConfigError(f"{path}: {value.isoformat()} is out of range in UTC") from None
    return datetime.combine(utc.date(), utc.time().replace(fold=0), UTC)


def status(path: str, value: Any) -> str:
    if value not in STATUSES:
        raise ConfigError(f"{path}: {value!r} is none of {', '.join(STATUSES)}")
    return text(path, value)


def domain(path: str, value: Any) -> str:
    """A domain as addresses are stored with it: lower case, A-labels."""
    from mailgenius.address import validate_email  # imported late: it loads numpy

    check = validate_email(f"a@{text(path, value)}", allow_special_use=True)
    if check.normalized is None:
        raise ConfigError(f"{path}: {value!r} is no e-mail domain, such as example.com")
    return check.normalized.rpartition("@")[2]


def members(path: str, value: Any, kind: type[T]) -> tuple[T, ...]:
    """A list that is not empty, of ``kind`` alone."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise ConfigError(f"{path}: expected a list, got {type(value).__name__}")
    if not value:
        raise ConfigError(f"{path}: is an empty list; leave it out, or name something")
    if len(value) > MAX_VALUES:
        raise ConfigError(f"{path}: has {len(value)} values; give at most {MAX_VALUES}")
    for number, item in enumerate(value):
        if not isinstance(item, kind):
            raise ConfigError(f"{path}[{number}]: expected {kind.__name__}, got {type(item).__name__}")
    return tuple(value)


def many(check: Callable[[str, Any], T], path: str, value: Any) -> tuple[T, ...]:
    items = members(path, value, object)
    return tuple(dict.fromkeys(check(f"{path}[{number}]", item) for number, item in enumerate(items)))


def one_or_many(check: Callable[[str, Any], T], path: str, value: Any) -> tuple[T, ...]:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return many(check, path, value)
    return (check(path, value),)


_campaigns = partial(one_or_many, partial(integer, low=1, high=(1 << 63) - 1))
_days = partial(integer, low=1, high=MAX_DAYS)
_score = partial(integer, low=-_INT32, high=_INT32 - 1)
_tags = partial(many, text)
_texts = partial(one_or_many, text)

CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "tags_any": _tags,
    "tags_all": _tags,
    "tags_none": _tags,
    "country": _texts,
    "city": _texts,
    "company": _texts,
    "status": partial(one_or_many, status),
    "email_domain": partial(one_or_many, domain),
    "score_min": _score,
    "score_max": _score,
    "created_from": moment,
    "created_before": moment,
    "updated_from": moment,
    "updated_before": moment,
    **{f"{no}{verb}_in": _campaigns for no in ("", "not_") for verb in ("sent", "opened", "clicked")},
    **{f"{no}{verb}_within": _days for no in ("", "not_") for verb in ("sent", "opened", "clicked")},
}


def contradictions(values: dict[str, Any]) -> None:
    """Refuses what no lead can be: all conditions must hold at once. ``values``: those given, already checked."""

    def both(one: str, other: str, clash: Callable[[Any, Any], bool], why: str) -> None:
        if one in values and other in values and clash(values[one], values[other]):
            raise ConfigError(f"$.{one}: {why} $.{other}, so no lead could match")

    both("score_min", "score_max", lambda low, high: low > high, "is more than")
    both("created_from", "created_before", lambda start, end: start >= end, "is not before")
    both("updated_from", "updated_before", lambda start, end: start >= end, "is not before")
    both("tags_all", "tags_none", lambda wanted, none: bool(set(wanted) & set(none)), "shares a tag with")
    both("tags_any", "tags_none", lambda wanted, none: set(wanted) <= set(none), "has only tags of")
    for verb in ("sent", "opened", "clicked"):
        both(f"{verb}_in", f"not_{verb}_in", lambda yes, no: set(yes) <= set(no), "has only campaigns of")
        both(f"{verb}_within", f"not_{verb}_within", lambda yes, no: yes <= no, "is not more than")
