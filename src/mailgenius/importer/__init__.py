"""Files and streams of leads into PostgreSQL, with an exact account of every row."""

from mailgenius.importer.aio import AsyncImporter
from mailgenius.importer.report import (
    ImportPreview,
    ImportReport,
    PreviewRow,
    Problem,
    Progress,
    UndoReport,
    reason_text,
)
from mailgenius.importer.run import Importer

__all__ = [
    "AsyncImporter",
    "ImportPreview",
    "ImportReport",
    "Importer",
    "PreviewRow",
    "Problem",
    "Progress",
    "UndoReport",
    "reason_text",
]
