"""When a value is fresh, and who loads it anew."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgenius.cache.freshness import Verdict, early, jittered, lifetime, verdict


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (-5, Verdict.FRESH),  # another machine's clock is ahead
        (0, Verdict.FRESH),
        (9.9, Verdict.FRESH),
        (10, Verdict.STALE),
        (14.9, Verdict.STALE),
        (15, Verdict.RESERVE),
        (29.9, Verdict.RESERVE),
        (30, Verdict.EXPIRED),
    ],
)
def test_ages(age: float, expected: Verdict) -> None:
    assert verdict(1000 + age, 1000, 10, stale_for=5, fail_safe=20) is expected


def test_without_leniency() -> None:
    assert verdict(1010, 1000, 10) is Verdict.EXPIRED
    assert verdict(1012, 1000, 10, stale_for=5) is Verdict.STALE
    assert verdict(1012, 1000, 10, fail_safe=5) is Verdict.RESERVE
    assert lifetime(10, 0, 0) == 10
    assert lifetime(10, 5, 20) == 30


@given(st.floats(0, 1e9), st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6))
def test_no_value_outlives_its_lifetime(age: float, fresh: float, stale_for: float, fail_safe: float) -> None:
    found = verdict(age, 0, fresh, stale_for=stale_for, fail_safe=fail_safe)
    assert (found is Verdict.EXPIRED) == (age >= lifetime(fresh, stale_for, fail_safe))


def test_early_refresh_is_as_likely_as_its_authors_say() -> None:
    """-load * beta * ln(u) is exponential, so that ``left`` seconds before the end it is exp(-left / (load * beta))."""
    rng = random.Random(3)
    for left, load, beta in ((1.0, 1.0, 1.0), (2.0, 1.0, 1.0), (1.0, 0.5, 2.0), (3.0, 1.0, 2.0)):
        share = sum(early(left, load, beta, 1.0 - rng.random()) for _ in range(20_000)) / 20_000
        assert share == pytest.approx(math.exp(-left / (load * beta)), abs=0.015)


def test_early_refresh_needs_a_load_time_and_haste() -> None:
    assert not early(0.001, 0.0, 1.0, 1e-300)
    assert not early(0.001, 1.0, 0.0, 1e-300)
    assert verdict(9.0, 0, 10, load=1.0, beta=1.0, chance=1e-9) is Verdict.EARLY
    assert verdict(9.0, 0, 10, load=1.0, beta=1.0, chance=1.0) is Verdict.FRESH


@given(st.floats(0.001, 1e6), st.floats(0, 0.5), st.floats(0, 1))
def test_jitter(ttl: float, jitter: float, chance: float) -> None:
    assert ttl * (1 - jitter) * 0.999999 <= jittered(ttl, jitter, chance) <= ttl * (1 + jitter) * 1.000001
    assert jittered(ttl, 0, chance) == ttl
