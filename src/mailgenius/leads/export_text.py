"""Leads as CSV (RFC 4180) and as lines of JSON. Pure.

A spreadsheet runs a cell that begins with certain characters as a formula, and names come from strangers. So such text
gets an apostrophe in front of it in CSV, as OWASP advises ("CSV Injection"); numbers and dates cannot begin so.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC
from typing import Any

import msgspec

from mailgenius.errors import ConfigError

from .model import COLUMNS

EXPORTED = tuple(name for name in COLUMNS if name != "workspace_id")
FORMATS = ("csv", "jsonl")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class Lines:
    """Rows of the columns ``EXPORTED`` (attributes as JSON text) to bytes. ``safe``: no cell can be a formula."""

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
        return self._json.encode_lines([_object(row) for row in rows])

    def _cells(self, row: Sequence[Any]) -> list[Any]:
        number, *texts, tags, attributes, status, score, created, updated, import_id = row
        texts.append(";".join(tags))  # the separator that the importer tries first
        if self._safe:
            texts = [f"'{text}" if text is not None and text.startswith(FORMULA) else text for text in texts]
        created, updated = created.astimezone(UTC).isoformat(), updated.astimezone(UTC).isoformat()
        return [number, *texts, attributes, status, score, created, updated, import_id]


def _object(row: Sequence[Any]) -> dict[str, Any]:
    made = dict(zip(EXPORTED, row, strict=True))
    made["attributes"] = msgspec.Raw(made["attributes"].encode())
    for name in ("created_at", "updated_at"):
        made[name] = made[name].astimezone(UTC)
    return made
