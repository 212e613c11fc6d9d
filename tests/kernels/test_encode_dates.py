"""Dates and times against Python's datetime, and the forms that are refused."""

import random
from datetime import UTC, date, datetime, timedelta

import pytest

from mailgenius import _native
from tests.kernels.lead_records import EPOCH, MICROSECOND, Refused, expect_timestamp

ISO, DMY, MDY = range(3)


def parse(text: str, order: int = ISO) -> datetime | None:
    micros = _native.parse_timestamp(text.encode(), order)
    return None if micros is None else EPOCH + micros * MICROSECOND


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "order", "wanted"),
    [
        ("2000-01-01", ISO, "2000-01-01"),
        ("1970/12/31", ISO, "1970-12-31"),
        ("20240229", ISO, "2024-02-29"),
        ("0001-01-01", ISO, "0001-01-01"),
        ("9999-12-31T23:59:59.999999Z", ISO, "9999-12-31T23:59:59.999999"),
        ("2025-01-02t03:04", ISO, "2025-01-02T03:04"),
        ("2025-01-02 03:04:05.6", ISO, "2025-01-02T03:04:05.600000"),
        ("2025-01-02  03:04:05,123456789", ISO, "2025-01-02T03:04:05.123456"),
        ("2025-01-02T03:04:05+02:30", ISO, "2025-01-02T00:34:05"),
        ("2025-01-02T03:04:05-0230", ISO, "2025-01-02T05:34:05"),
        ("2025-01-02 03:04:05+00", ISO, "2025-01-02T03:04:05"),
        ("2025-01-02 03:04:05 UTC", ISO, "2025-01-02T03:04:05"),
        ("2025-01-02 03:04:05 -03:00", ISO, "2025-01-02T06:04:05"),
        ("2016-12-31T23:59:60Z", ISO, "2017-01-01T00:00:00"),
        ("31/12/2025", DMY, "2025-12-31"),
        ("1.2.2025", DMY, "2025-02-01"),
        ("01-02-2025 9:30", DMY, "2025-02-01T09:30"),
        ("1/2/2025 12:00 AM", MDY, "2025-01-02T00:00"),
        ("1/2/2025 12:00:01PM", MDY, "2025-01-02T12:00:01"),
        ("1/2/2025 1:05 pm", MDY, "2025-01-02T13:05"),
        ("2025-03-04", MDY, "2025-03-04"),
        ("20250304 05:06", DMY, "2025-03-04T05:06"),
    ],
)
def test_forms(text: str, order: int, wanted: str) -> None:
    assert parse(text, order) == moment(wanted)


@pytest.mark.parametrize("order", [ISO, DMY, MDY])
@pytest.mark.parametrize(
    "text",
    [
        "", " ", "2025", "2025-1-2", "2025-01", "25-01-02", "1/2/25", "2025-01-02T", "2025-01-02 ", "2025-01-02T3",
        "2025-01-02T03:", "2025-01-02T03:04:", "2025-01-02T03:04:05.", "2025-01-02T03:04:05.Z",
        "2025-01-02T03:04:05+1", "2025-01-02T03:04:05+01:0", "2025-01-02T03:04:05+01:", "2025-01-02T03:04:05ZZ",
        "2025-01-02T03:04 ", "2025-01-02T03:04x", "2025-01/02", "1/2-2025", "2025-01-02T24:00", "2025-01-02T23:60",
        "2025-01-02T23:59:61", "2025-02-29", "2025-13-01", "2025-00-01", "2025-01-00", "0000-01-01", "1900-02-29",
        "20250230", "202501020", "2025-01-02T03:04+24:00", "2025-01-02T03:04+01:60", "x2025-01-02", "2025-01-02\x00",
        "２０２５-01-02", "2025-W01-1", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "1/2/10000",
        "2025-01-02T13:00 PM", "2025-01-02T00:30 AM", "+2025-01-02", "2025-01-02T-3:04", "10:30", "2025.01.02",
    ],
)  # fmt: skip
def test_refused(text: str, order: int) -> None:
    assert parse(text, order) is None
    with pytest.raises(Refused):
        expect_timestamp(text, order)


def test_every_day() -> None:
    for day in range(1, date.max.toordinal() + 1, 13):
        assert parse(date.fromordinal(day).isoformat()) == datetime.fromordinal(day).replace(tzinfo=UTC)
    for year in range(1, 10000, 7):
        for tail in ("01-01", "02-28", "03-01", "12-31"):
            assert parse(f"{year:04}-{tail}") == moment(f"{year:04}-{tail}")
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        assert (parse(f"{year:04}-02-29") is not None) == leap


def test_random_text_against_datetime() -> None:
    rng = random.Random(7)
    pieces = ["2025", "1", "02", "31", "12", "-", "/", ".", ":", "T", " ", "Z", "+01:30", "AM", "pm", "59", "60", ",5"]
    pieces += ["UTC", "9", "-08"]
    good = 0
    for _ in range(40000):
        order = rng.randrange(3)
        if rng.random() < 0.5:
            text = "".join(rng.choices(pieces, k=rng.randrange(1, 10)))
        else:
            when = datetime(1, 1, 2) + timedelta(microseconds=rng.randrange(9990 * 365 * 86400 * 10**6))
            form = rng.choice(["%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%d/%m/%Y", "%m-%d-%Y", "%d.%m.%Y"])
            form += rng.choice(["", "T%H:%M", " %H:%M:%S", "T%H:%M:%S.%fZ", " %I:%M %p", " %I:%M:%S%p", "x"])
            text = when.strftime(form.replace("%Y", f"{when.year:04}"))
            if rng.random() < 0.2:
                at = rng.randrange(len(text))
                text = text[:at] + rng.choice("0123456789:-/ .") + text[at + 1 :]
        try:
            wanted = expect_timestamp(text, order)
        except Refused:
            wanted = None
        assert parse(text, order) == wanted, (text, order)
        good += wanted is not None
    assert good > 5000


def test_the_order_is_checked() -> None:
    with pytest.raises(ValueError, match="dates"):
        _native.parse_timestamp(b"2025-01-02", 3)
