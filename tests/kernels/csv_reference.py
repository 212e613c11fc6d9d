"""What csv.c promises, written down a second time, slowly: byte after byte, with the whole input in hand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailgenius._native import REASONS, Batch, CsvScanner

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True)
class Row:
    line: int
    raw: bytes
    fields: tuple[bytes, ...]
    error: str = "ok"
    column: int = 0


@dataclass(frozen=True)
class Dialect:
    delimiter: bytes = b","
    quote: bytes = b'"'
    trim: bool = True
    max_field: int = 1 << 20
    max_row: int = 16 << 20
    max_columns: int = 4096

    def scanner(self) -> CsvScanner:
        return CsvScanner(
            delimiter=self.delimiter,
            quote=self.quote,
            trim=self.trim,
            max_field=self.max_field,
            max_row=self.max_row,
            max_columns=self.max_columns,
        )


def reference(data: bytes, d: Dialect) -> Iterator[Row]:
    """Byte by byte over the whole input, so that nothing can depend on how it is cut."""
    i, line = 0, 1
    while i < len(data):
        row, i, line = record(data, i, line, d)
        if row is not None:
            yield row
        found = LINE_END.match(data, i)
        if found:
            i = found.end()
            line += 1


def record(data: bytes, start: int, line: int, d: Dialect) -> tuple[Row | None, int, int]:
    """(the record at `start` or None for an empty line, its end, the line it ends on)."""
    delimiter, quote = d.delimiter[0], d.quote[0] if d.quote else -1
    blank = {c for c in b" \t" if d.trim} - {delimiter, quote}
    max_field = min(d.max_field, d.max_row)
    fields: list[bytes] = []
    error, column, cut = "ok", 0, -1  # cut: where raw ends, when the record goes on behind its limit
    begin, state, value, kept = start, "blank", bytearray(), 0  # kept: bytes of value that are not to be trimmed
    opened = limit = 0
    i = start

    def fail(name: str) -> None:
        nonlocal error, column
        if error == "ok":
            error, column = name, len(fields)

    def take(at: int) -> None:
        """The byte at `at` is part of the record."""
        nonlocal cut
        if at - start >= d.max_row and cut < 0:
            fail("row.too_long")
            cut = start + d.max_row

    def unclosed() -> tuple[Row, int, int]:
        fail("row.quote_unclosed")
        before = count_lines(data, start, opened)
        found = LINE_END.search(data, opened)
        end = found.start() if found else len(data)
        return result(line + before * (error == "row.quote_unclosed"), min(end, limit)), end, line + before

    def result(first: int, end: int) -> Row:
        return Row(first, data[start : cut if cut >= 0 else end], tuple(fields) if error == "ok" else (), error, column)

    while True:
        c = data[i] if i < len(data) else -1
        if state == "quoted":
            doubled = c == quote and data[i + 1 : i + 2] == d.quote
            if c >= 0:
                take(i)
            if doubled and i < limit:
                take(i + 1)
            if c < 0 or i + doubled >= limit + (c == quote and not doubled):
                return unclosed()
            if c == quote and not doubled:
                state, kept = "closed", len(value)
            else:
                value.append(c)
            i += 1 + doubled
            continue
        at_end = c in (10, 13, -1)
        if at_end or c == delimiter:
            if not at_end:
                take(i)
            if state != "closed" and i - begin > max_field:
                fail("field.too_long")
            while len(value) > kept and value[-1] in blank:
                value.pop()
            if len(fields) == d.max_columns:
                fail("row.too_many_columns")
            if at_end:
                inside = count_lines(data, start, i)
                if not fields and not value and state in ("blank", "plain") and error == "ok":
                    return None, i, line
                fields.append(bytes(value))
                return result(line, i), i, line + inside
            fields.append(bytes(value))
            begin, state, value, kept = i + 1, "blank", bytearray(), 0
        else:
            take(i)
            if state == "blank" and c == quote:
                state, opened, limit = "quoted", i, i + 1 + max_field
            elif state == "closed" and c in blank:
                value.append(c)
            elif state == "closed" and error == "ok" and count_lines(data, opened, i):
                return unclosed()  # not its closing quote, but the next stray one, lines below
            elif state != "blank" or c not in blank:
                value.append(c)
                state = "plain"
                if i - begin >= max_field:
                    fail("field.too_long")
        i += 1


def count_lines(data: bytes, start: int, end: int) -> int:
    return sum(1 for found in LINE_END.finditer(data, start) if found.start() < end)


def scan(data: bytes, d: Dialect, cuts: list[int] | None = None, max_rows: int = 65536) -> list[Row]:
    """Reads data with CsvScanner, handing out the bytes up to each cut in turn."""
    scanner, batch = d.scanner(), Batch()
    rows: list[Row] = []
    start = 0
    for end in [*(cuts or []), len(data)]:
        eof = end == len(data)
        while True:
            used = scanner.scan(batch, data, start, end, eof, max_rows)
            for i in range(len(batch)):
                reason, column = batch.error(i)
                rows.append(Row(batch.line(i), batch.raw(i), tuple(batch.row(i)), REASONS[reason], column))
            start += used
            if len(batch) < max_rows:
                break
    assert start == len(data)
    return rows
