"""When schedules are due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgenius.errors import ConfigError
from mailgenius.queue.cron import Cron


def due(text: str, tz: str, after: str, count: int = 1) -> list[str]:
    """The next times, as the clocks there show them."""
    cron, at = Cron(text, tz), datetime.fromisoformat(after)
    if at.tzinfo is None:
        at = at.replace(tzinfo=ZoneInfo(tz))
    found = []
    for _ in range(count):
        at = cron.next_after(at)
        found.append(at.strftime("%Y-%m-%d %H:%M %z"))
    return found


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("* * * * *", "2026-01-01 00:00:30", ["2026-01-01 00:01", "2026-01-01 00:02"]),
        ("0 9 * * 1-5", "2026-01-02 09:00", ["2026-01-05 09:00", "2026-01-06 09:00"]),  # a Friday
        ("0 9 * * MON,wed", "2026-01-02 09:00", ["2026-01-05 09:00", "2026-01-07 09:00"]),
        ("*/20 8-9 * * *", "2026-01-01 08:30", ["2026-01-01 08:40", "2026-01-01 09:00"]),
        ("5/25 0 * * *", "2026-01-01 00:05", ["2026-01-01 00:30", "2026-01-01 00:55"]),
        ("0 0 13 * 5", "2026-01-01 00:00", ["2026-01-02 00:00", "2026-01-09 00:00", "2026-01-13 00:00"]),  # either
        ("0 0 31 * *", "2026-01-31 00:00", ["2026-03-31 00:00", "2026-05-31 00:00"]),
        ("0 0 29 feb *", "2096-03-01 00:00", ["2104-02-29 00:00"]),
        ("0 0 * * 7", "2026-01-01 00:00", ["2026-01-04 00:00"]),
        ("0 0 * * fri-sun", "2026-01-01 00:00", ["2026-01-02 00:00", "2026-01-03 00:00", "2026-01-04 00:00"]),
        ("59 23 31 12 *", "2026-12-31 23:59", ["2027-12-31 23:59"]),
        ("0 0 1 jan-mar/2 *", "2026-01-15 00:00", ["2026-03-01 00:00", "2027-01-01 00:00"]),
    ],
)
def test_fields(text: str, after: str, expected: list[str]) -> None:
    assert due(text, "UTC", after, len(expected)) == [f"{at} +0000" for at in expected]


def test_a_time_in_a_gap_runs_at_its_end() -> None:
    berlin = "2026-03-28 12:00"  # in the night clocks go from 2:00 to 3:00
    assert due("30 2 * * *", "Europe/Berlin", berlin, 2) == ["2026-03-29 03:00 +0200", "2026-03-30 02:30 +0200"]
    assert due("15,45 2 * * *", "Europe/Berlin", berlin, 2) == ["2026-03-29 03:00 +0200", "2026-03-30 02:15 +0200"]
    # Midnight itself was left out in Brazil.
    assert due("0 0 * * *", "America/Sao_Paulo", "2018-11-03 12:00") == ["2018-11-04 01:00 -0200"]
    # Samoa left out a whole day.
    samoa = due("0 9 * * *", "Pacific/Apia", "2011-12-29 09:00", 2)
    assert samoa == ["2011-12-31 00:00 +1400", "2011-12-31 09:00 +1400"]


def test_a_time_that_comes_twice_runs_once() -> None:
    berlin = "2026-10-24 12:00"  # in the night clocks go from 3:00 back to 2:00
    assert due("30 2 * * *", "Europe/Berlin", berlin, 2) == ["2026-10-25 02:30 +0200", "2026-10-26 02:30 +0100"]
    assert due("30 23 * * *", "America/Sao_Paulo", "2018-02-17 12:00", 2) == [
        "2018-02-17 23:30 -0200",
        "2018-02-18 23:30 -0300",
    ]


def test_every_hour_means_the_hours_that_pass() -> None:
    assert due("0 * * * *", "Europe/Berlin", "2026-03-29 00:30", 3) == [
        "2026-03-29 01:00 +0100",
        "2026-03-29 03:00 +0200",
        "2026-03-29 04:00 +0200",
    ]
    assert due("*/30 * * * *", "Europe/Berlin", "2026-10-25 02:15:00+02:00", 4) == [
        "2026-10-25 02:30 +0200",
        "2026-10-25 02:00 +0100",
        "2026-10-25 02:30 +0100",
        "2026-10-25 03:00 +0100",
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("* * * *", "has 4 fields; give five"),
        ("60 * * * *", "the minute in '60 .*' is 60; give 0 to 59"),
        ("* * 0 * *", "the day of month .* is 0; give 1 to 31"),
        ("* * * foo *", "the month .* is 'foo'; give numbers from 1 to 12"),
        ("* * * * 5-1", "the day of week .* goes backwards: 5-1"),
        ("*/0 * * * *", "has the step '0'; give a number from 1"),
        ("1,,2 * * * *", "is ''"),
        ("-1 * * * *", "is ''"),
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 4,6 *", "never comes"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=rf"^\$\.queue\.schedule\.cron: .*{why}"):
        Cron(text)


def test_unknown_zones_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^\$\.queue\.schedule\.tz: 'Mars/Base' is no time zone"):
        Cron("* * * * *", "Mars/Base")


ZONES = ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"]
FIELDS = st.tuples(
    st.sampled_from(["*", "0", "30", "*/7", "5,50"]),
    st.sampled_from(["*", "0", "2", "1-3", "*/5", "23"]),
    st.sampled_from(["*", "1", "15-20", "31"]),
    st.sampled_from(["*", "3", "jan-jun/5", "10"]),
    st.sampled_from(["*", "0", "1-5", "7"]),
)


@given(FIELDS, st.sampled_from(ZONES), st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1)))
def test_nothing_is_due_between_now_and_the_next_time(fields: tuple[str, ...], tz: str, after: datetime) -> None:
    text = " ".join(fields)
    if fields[2] == "31" and fields[3] == "3,4":
        return
    cron, after = Cron(text, tz), after.replace(tzinfo=UTC)
    at = cron.next_after(after)
    assert at > after
    middle = after + (at - after) / 2
    assert cron.next_after(middle) == at
    assert cron.next_after(at.astimezone(UTC) - timedelta(microseconds=1)) == at
    local = at.astimezone(ZoneInfo(tz))
    if local.fold == 0 and (local - timedelta(minutes=60)).utcoffset() == local.utcoffset():  # clocks were left alone
        assert fields[0] != "30" or local.minute == 30
        assert fields[1] != "2" or local.hour in (2, 3)
