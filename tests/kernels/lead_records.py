"""What the tests of records share: a reader of the binary form, and a plain Python account of what it should hold."""

import json
import re
import struct
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from mailgenius import _native

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
EMAIL, FIRST_NAME, LAST_NAME, PHONE, COMPANY, CITY, COUNTRY, TAGS, ATTRIBUTES, STATUS, SCORE, CREATED_AT = range(12)
STATUSES = ("active", "unsubscribed", "bounced", "complained", "pending")


class Problem(NamedTuple):
    row: int
    column: int
    reason: str
    at: int


def text_array(data: bytes) -> list[str]:
    dimensions, nulls, oid, count, bound = struct.unpack_from(">5i", data)
    assert (dimensions, nulls, oid, bound) == (1, 0, 25, 1)
    assert count > 0
    at, items = 20, []
    for _ in range(count):
        (size,) = struct.unpack_from(">i", data, at)
        assert size > 0
        items.append(data[at + 4 : at + 4 + size].decode())
        at += 4 + size
    assert at == len(data)
    return items


def field(number: int, data: bytes) -> Any:
    match number:
        case _ if number == TAGS:
            return text_array(data)
        case _ if number == ATTRIBUTES:
            assert data[:1] == b"\x01"
            return json.loads(data[1:])
        case _ if number == SCORE:
            return struct.unpack(">i", data)[0]
        case _ if number == CREATED_AT:
            return EPOCH + struct.unpack(">q", data)[0] * MICROSECOND
        case _:
            return data.decode()


def decode(data: bytes) -> list[dict[str, Any]]:
    """Records as {field name: value, ..., "line": …}; fields that are NULL are left out."""
    found, at = [], 0
    while at < len(data):
        size, line = struct.unpack_from("=IQ", data, at)
        end, at = at + size, at + 12
        record: dict[str, Any] = {"line": line}
        for number, name in enumerate(_native.LEAD_FIELDS):
            (length,) = struct.unpack_from(">i", data, at)
            at += 4
            if length >= 0:
                record[name] = field(number, data[at : at + length])
                at += length
        assert at == end
        found.append(record)
    return found


def problems(records: _native.Records) -> list[Problem]:
    return [Problem(row, column, _native.REASONS[why], at) for row, column, why, at in records.take_problems()]


def as_csv(rows: list[list[bytes]], quote_all: bool = False) -> bytes:
    def one(value: bytes) -> bytes:
        if quote_all or re.search(rb'[",\r\n]', value) or value != value.strip(b" \t"):
            return b'"' + value.replace(b'"', b'""') + b'"'
        return value

    return b"".join([b",".join([one(value) for value in row]) + b"\n" for row in rows])


def scanned(data: bytes, **dialect: Any) -> _native.Batch:
    batch = _native.Batch()
    assert _native.CsvScanner(**dialect).scan(batch, data, 0, len(data), True) == len(data)
    return batch


# ---- the reference ----


class Refused(Exception):
    """The field that is being looked at cannot be stored; the text is the reason."""


def expect_text(value: str, limit: int) -> str:
    if "\0" in value:
        raise Refused("field.nul")
    if len(value) > limit:
        raise Refused("field.too_long")
    return value


def expect_tags(value: str, limit: int, separator: str, own: list[str]) -> list[str]:
    if "\0" in value:
        raise Refused("field.nul")
    separator = separator or next((s for s in ";,|" if s in value), ";")
    tags = list(dict.fromkeys([tag for part in value.split(separator) if (tag := part.strip(" \t"))]))
    if any(len(tag) > limit for tag in tags) or len(tags) > 1000:
        raise Refused("field.too_long")
    return list(dict.fromkeys(tags + own)) if tags else []


def expect_score(value: str) -> int:
    if not re.fullmatch("[+-]?[0-9]+", value):
        raise Refused("int.syntax")
    if not -(2**31) <= int(value) < 2**31:
        raise Refused("int.range")
    return int(value)


def expect_status(value: str) -> str:
    lower = value.lower() if value.isascii() else value
    if lower not in STATUSES:
        raise Refused("status.unknown")
    return lower


DATE = {
    0: [rf"(?P<y>\d{{4}}){s}(?P<m>\d\d){s}(?P<d>\d\d)" for s in ("-", "/", "")],
    1: [r"(?P<d>\d\d?)(?P<s>[-/.])(?P<m>\d\d?)(?P=s)(?P<y>\d{4})"],
    2: [r"(?P<m>\d\d?)(?P<s>[-/.])(?P<d>\d\d?)(?P=s)(?P<y>\d{4})"],
}
ZONE = r"( *(?P<z>Z|UTC|GMT|(?P<sign>[-+])(?P<zh>\d\d)(:?(?P<zm>\d\d))?))?"
TIME = r"([Tt]| +)(?P<H>\d{LOW,2}):(?P<M>\d\d)(:(?P<S>\d\d)([.,](?P<f>\d+))?)?HALF" + ZONE


def expect_timestamp(value: str, order: int) -> datetime:
    """What a date should be read as, by regular expressions and datetime."""
    low, half = ("1", "( *(?P<half>AM|PM))?") if order else ("2", "(?P<half>x{99})?")
    time = TIME.replace("LOW", low).replace("HALF", half)
    for form in DATE[0] + (DATE[order] if order else []):
        if found := re.fullmatch(rf"{form}({time})?", value, re.ASCII | re.IGNORECASE):
            break
    else:
        raise Refused("date.syntax")
    got = found.groupdict()
    hour, minute, second = int(got["H"] or 0), int(got["M"] or 0), int(got["S"] or 0)
    try:
        if got["half"]:
            if not 1 <= hour <= 12:
                raise ValueError
            hour = hour % 12 + (12 if got["half"].upper() == "PM" else 0)
        if hour > 23 or minute > 59 or second > 60 or int(got["zh"] or 0) > 23 or int(got["zm"] or 0) > 59:
            raise ValueError
        zone = timedelta(hours=int(got["zh"] or 0), minutes=int(got["zm"] or 0)) * (-1 if got["sign"] == "-" else 1)
        day = date(int(got["y"]), int(got["m"]), int(got["d"]))
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
        micros = int(((got["f"] or "") + "000000")[:6])
        return moment + timedelta(hours=hour, minutes=minute, seconds=second, microseconds=micros) - zone
    except (ValueError, OverflowError):
        raise Refused("date.range") from None


def expect(
    targets: list[int],
    limits: list[int],
    names: list[str],
    row: list[bytes],
    *,
    dates: int = 0,
    separator: str = "",
    tags: list[str] | None = None,
) -> dict[str, Any] | tuple[int, str]:
    """The record (without its line) or the (column, reason) that this row of valid UTF-8 should become.

    Addresses here are simple: the rules of addresses have their own tests.
    """
    record: dict[str, Any] = {}
    attributes: dict[str, str] = {}
    values = [value.decode().strip(" \t") for value in row]
    email = targets.index(EMAIL)
    if not values[email]:
        return email, "email.empty"
    record["email"] = values[email].lower()
    for column, (target, limit, value) in enumerate(zip(targets, limits, values, strict=True)):
        if not value or target in (EMAIL, _native.IGNORE):
            continue
        try:
            if target == _native.ATTRIBUTE:
                attributes[names[column]] = expect_text(value, limit)
            elif target == TAGS:
                if found := expect_tags(value, limit, separator, tags or []):
                    record["tags"] = found
            elif target == SCORE:
                record["score"] = expect_score(value)
            elif target == STATUS:
                record["status"] = expect_status(value)
            elif target == CREATED_AT:
                record["created_at"] = expect_timestamp(value, dates)
            else:
                record[_native.LEAD_FIELDS[target]] = expect_text(value, limit)
        except Refused as refused:
            return column, str(refused)
    if attributes:
        record["attributes"] = attributes
    return record
