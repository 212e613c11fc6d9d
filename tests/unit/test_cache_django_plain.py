"""Plain values to bytes and back: what comes back is what went in, types included."""

import datetime as dt
import enum
import math
import zoneinfo
from collections import OrderedDict, namedtuple
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailgenius.cache.django.plain import Plain

PLAIN = Plain()
NEPAL = dt.timezone(dt.timedelta(hours=5, minutes=45, microseconds=1), "X")
ZONES = st.sampled_from([None, dt.UTC, zoneinfo.ZoneInfo("America/Sao_Paulo"), NEPAL])
HASHABLE = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.dates()
    | st.timedeltas()
    | st.times(timezones=ZONES)
    | st.datetimes(timezones=ZONES)
)
KEYS = HASHABLE | st.tuples(HASHABLE, HASHABLE)
VALUES = st.recursive(
    HASHABLE | st.complex_numbers(allow_nan=False) | st.binary().map(bytearray),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.sets(KEYS, max_size=4)
        | st.frozensets(KEYS, max_size=4)
    ),
    max_leaves=12,
)


def exact(value: Any) -> Any:
    """Two are equal only if they are the same in type too, at every depth."""
    kind = type(value)
    if kind is dict:
        return kind, [(exact(key), exact(one)) for key, one in value.items()]  # the order is kept as well
    if kind in (list, tuple):
        return kind, [exact(one) for one in value]
    if kind in (set, frozenset):
        return kind, sorted(repr(exact(one)) for one in value)
    if kind in (dt.datetime, dt.time):
        return kind, value.replace(tzinfo=None), value.fold, repr(value.tzinfo)
    return kind, repr(value)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(VALUES)
def test_it_comes_back(value: Any) -> None:
    assert exact(PLAIN.loads(PLAIN.dumps(value))) == exact(value)


@pytest.mark.parametrize("value", [1 << 63, 1 << 64, -(1 << 63) - 1, -(1 << 200), {1 << 64: 1}, {True: {1 << 63: ()}}])
def test_large_numbers(value: Any) -> None:
    assert exact(PLAIN.loads(PLAIN.dumps(value))) == exact(value)


def test_what_is_not_equal_to_itself() -> None:
    assert math.isnan(PLAIN.loads(PLAIN.dumps(math.nan)))
    assert str(PLAIN.loads(PLAIN.dumps(Decimal("sNaN12")))) == "sNaN12"
    assert str(PLAIN.loads(PLAIN.dumps(Decimal("-0.00")))) == "-0.00"


def test_the_hour_that_comes_twice() -> None:
    second = dt.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
    back = PLAIN.loads(PLAIN.dumps(second))
    assert (back.fold, back.utcoffset()) == (1, dt.timedelta(hours=1))
    assert PLAIN.loads(PLAIN.dumps(second.replace(tzinfo=dt.UTC))).tzinfo is dt.UTC


class Colour(enum.StrEnum):
    RED = "red"


class Local(dt.tzinfo):
    def utcoffset(self, _: dt.datetime | None) -> dt.timedelta:
        return dt.timedelta(0)


class Own:
    pass


@pytest.mark.parametrize(
    ("value", "mend"),
    [
        (Own(), "Own is none of the types that are stored: cache plain values"),
        ([{"a": (Own,)}], "builtins.type is none"),
        (Colour.RED, r"Colour would come back as str: cache str\(value\)"),
        (OrderedDict(a=1), r"collections.OrderedDict would come back as dict: cache dict\(value\)"),
        (namedtuple("Point", "x y")(1, 2), r"cache tuple\(value\)"),
        (dt.datetime(2026, 1, 1, tzinfo=Local()), "time zone of type .*Local cannot be cached: use zoneinfo"),
        ({Own(): 1}, "Own is none"),
    ],
)
def test_other_types_are_named(value: Any, mend: str) -> None:
    with pytest.raises(TypeError, match=mend):
        PLAIN.dumps(value)


def test_what_contains_itself() -> None:
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(ValueError, match="contains itself"):
        PLAIN.dumps(ring)
    with pytest.raises(ValueError, match="surrogates"):
        PLAIN.dumps("\ud800")


@given(st.binary(max_size=60))
def test_rubbish_runs_nothing(data: bytes) -> None:
    """It is an error, or one of the types that are stored."""
    try:
        value = PLAIN.loads(data)
    except Exception:
        return
    assert exact(PLAIN.loads(PLAIN.dumps(value))) == exact(value)


def test_uuid_and_bytes() -> None:
    value = {"id": UUID(int=5), "raw": bytearray(b"\0\xff")}
    assert exact(PLAIN.loads(PLAIN.dumps(value))) == exact(value)
