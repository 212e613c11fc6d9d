"""What a hostile file is, rows to make one of, and a slow reader to count rows with."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

COLUMNS = (
    "email", "first_name", "last_name", "phone", "company", "city", "country", "tags", "status", "score", "created_at",
    "note",
)  # fmt: skip
HEADER = (",".join(COLUMNS) + "\n").encode()


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    source: bytes | Callable[[Path], Any]  # the data, or what makes the source in a folder
    accepted: int = 0
    rejected: Mapping[int, str] = dataclasses.field(default_factory=dict)  # line -> reason
    duplicates: int = 0
    error: str | None = None  # a pattern: the whole ends in a SourceError
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def good(i: int, **changes: bytes) -> bytes:
    """A row that is accepted, but for what is changed."""
    values = {
        "email": b"user%d@example.com" % i,
        "first_name": "Zoë".encode(),
        "last_name": b"Souza",
        "phone": b"+55 11 91234-5678",
        "company": b"Acme",
        "city": "São Paulo".encode(),
        "country": b"BR",
        "tags": b"vip;new",
        "status": b"active",
        "score": b"7",
        "created_at": b"2024-01-31",
        "note": b"x",
    }
    return b",".join({**values, **changes}.values()) + b"\n"


def table(*rows: bytes) -> bytes:
    return HEADER + b"".join(rows)


def count_rows(data: bytes, delimiter: bytes = b",", quote: bytes = b'"') -> list[tuple[int, bool]]:
    """(line, whether its quotes close) of each record, by the rules in csv.c, a byte at a time and with nothing of its
    code. Limits are not looked at."""
    rows: list[tuple[int, bool]] = []
    blank = b" \t".replace(delimiter, b"")
    at, line, n = 0, 1, len(data)

    def end_of_line(i: int) -> int:
        while i < n and data[i] not in b"\r\n":
            i += 1
        return i

    def behind(i: int) -> int:
        return i + 2 if data[i : i + 2] == b"\r\n" else min(i + 1, n)

    while at < n:
        end = end_of_line(at)
        if not data[at:end].strip(blank):
            at, line = behind(end), line + 1
            continue
        begun, i, opened_on = line, at, 0
        while True:  # a field
            while i < n and data[i] in blank:
                i += 1
            if quote and data[i : i + 1] == quote:
                k, passed = i + 1, 0
                while k < n:
                    if data[k : k + 1] == quote:
                        if data[k + 1 : k + 2] != quote:
                            break
                        k += 1
                    elif data[k] in b"\r\n" and data[k : k + 2] != b"\r\n":
                        passed += 1
                    k += 1
                text = k + 1
                while text < n and data[text] in blank:
                    text += 1
                stray = passed and text < n and data[text] not in b"\r\n" and data[text : text + 1] != delimiter
                if k >= n or stray:
                    opened_on = line
                    i = end_of_line(i)
                    break
                i, line = k + 1, line + passed
            while i < n and data[i] not in b"\r\n" and data[i : i + 1] != delimiter:
                i += 1
            if data[i : i + 1] != delimiter:
                break
            i += 1
        rows.append((opened_on or begun, not opened_on))
        at, line = behind(i), line + 1
    return rows
