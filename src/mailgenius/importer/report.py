"""What an import says about itself: the report, its problems, progress, preview and undo. Values only."""

from __future__ import annotations

from typing import Literal

import msgspec

from mailgenius._native import REASON_TEXTS, REASONS

__all__ = ["ImportPreview", "ImportReport", "PreviewRow", "Problem", "Progress", "UndoReport", "reason_text"]

#: How many problems and duplicates a report carries itself; the files named by ``rejects`` and ``duplicates`` hold all.
SAMPLE = 100

_TEXTS = dict(zip(REASONS, REASON_TEXTS, strict=True))


def reason_text(code: str) -> str:
    """The words for a reason code, such as ``"has no @"`` for ``email.no_at``. KeyError for an unknown code."""
    return _TEXTS[code]


class Problem(msgspec.Struct, frozen=True):
    """One rejected row."""

    line: int  #: 1-based line of the file on which the record begins (Arrow: row number)
    column: str  #: header name of the column, or "" when the record as a whole is the problem
    reason: str  #: code, such as ``email.no_at``
    value: str  #: the field as read, shortened to 200 characters

    @property
    def message(self) -> str:
        """The problem in words."""
        return reason_text(self.reason)


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Where an import stands; given to ``on_progress`` about ten times a second and once at the end of each phase."""

    phase: Literal["read", "load"]
    bytes_done: int  #: of the source as it is stored (compressed bytes, if it is)
    bytes_total: int | None  #: None: a stream of unknown length
    rows_read: int
    rows_loaded: int  #: rows whose outcome is final in the database
    rows_total: int | None  #: rows that will be loaded; None while reading
    rejected: int
    seconds: float


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """The account of one import. ``rows`` is always the sum of the six outcomes; ``run`` checks that."""

    import_id: int | None  #: None for a dry run
    workspace: str
    source: str
    state: Literal["done", "dry_run"]
    rows: int  #: records read, the header and empty lines not counted
    inserted: int
    updated: int
    existing: int  #: already there, and left as they were
    duplicates: int  #: same address as an earlier row of this source
    suppressed: int  #: on the workspace's suppression list, so not imported
    rejected: int
    reasons: dict[str, int]  #: how many rows were rejected for each reason
    problems: list[Problem]  #: the first 100 rejected rows in file order
    duplicate_lines: list[tuple[int, int]]  #: (line, line of its first) of the first 100 duplicates found
    warnings: list[str]
    mapping: dict[str, str]  #: header name -> lead field, ``attributes`` or ``ignore``
    encoding: str
    delimiter: str
    bytes: int  #: bytes read from the source as it is stored
    seconds: float
    phases: dict[str, float]  #: seconds by phase: read, load
    rejects: str | None  #: path of the rejects file, if one was asked for

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds if self.seconds else 0.0


class PreviewRow(msgspec.Struct, frozen=True):
    """One of the first rows, as an import would read it."""

    line: int
    outcome: Literal["accepted", "rejected"]
    reason: str  #: "ok", or why it would be rejected
    column: str  #: the column the reason is about
    values: dict[str, str]  #: header name -> field as read


class ImportPreview(msgspec.Struct, frozen=True, kw_only=True):
    """How a source would be read, without touching the database."""

    source: str
    encoding: str
    delimiter: str
    quote: str
    has_header: bool
    header: list[str]
    mapping: dict[str, str]
    dates: str
    warnings: list[str]
    rows: list[PreviewRow]


class UndoReport(msgspec.Struct, frozen=True, kw_only=True):
    """What ``undo`` did. Leads that changed after the import are kept as they are (unless ``force`` was given)."""

    import_id: int
    deleted: int  #: leads this import had inserted
    restored: int  #: leads this import had updated, now as they were before
    kept: int  #: leads left alone because somebody changed them since
