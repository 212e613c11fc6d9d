"""Leads as CSV (RFC 4180) and as lines of JSON. Pure.

A spreadsheet runs a cell that begins with certain characters as a formula, and names come from strangers. So such text
gets an apostrophe in front of it in CSV, as OWASP advises ("CSV Injection"); numbers and dates cannot begin so.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from mailgenius.errors import ConfigError

from .model import COLUMNS

EXPORTED = tuple(name for name in COLUMNS if name != "workspace_id")
FORMATS = ("csv", "jsonl")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_TAGS = EXPORTED.index("tags")
_ATTRIBUTES = EXPORTED.index("attributes")


class Lines:
    """Rows of the columns ``EXPORTED`` to bytes. ``safe``: no cell can be a formula."""

    def __init__(self, format: str, safe: bool) -> None:
        if format not in FORMATS:
            raise ConfigError(f"format: {format!r} is none of {', '.join(FORMATS)}")
        self._csv = format == "csv"
        self._safe = safe
        self._json = msgspec.json.Encoder()

    def head(self) -> bytes:
        return (",".join(EXPORTED) + "\r\n").encode() if self._csv else b""

    def rows(self, rows: Iterable[Sequence[Any]]) -> bytes:
        if self._csv:
            made = io.StringIO(newline="")
            csv.writer(made).writerows(map(self._cells, rows))
            return made.getvalue().encode()
        return self._json.encode_lines([dict(zip(EXPORTED, map(_utc, row), strict=True)) for row in rows])

    def _cells(self, row: Sequence[Any]) -> list[Any]:
        cells = list(row)
        cells[_TAGS] = ";".join(cells[_TAGS])  # the separator that the importer tries first
        cells[_ATTRIBUTES] = self._json.encode(cells[_ATTRIBUTES]).decode()
        return [self._cell(cell) for cell in cells]

    def _cell(self, cell: Any) -> Any:
        if isinstance(cell, str):
            return f"'{cell}" if self._safe and cell.startswith(FORMULA) else cell
        return cell.astimezone(UTC).isoformat() if isinstance(cell, datetime) else cell


def _utc(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) else value
