"""mailgenius: the raw file, everything reported."""

from __future__ import annotations

from typing import Any

import msgspec

from mailgenius.config import ImporterSettings
from mailgenius.importer import Importer
from mailgenius.pool import Pool

from . import Counts


class Report(Counts):
    phases: dict[str, float] = msgspec.field(default_factory=dict)


def load(path: str, conninfo: str, *, settings: dict[str, Any] | None = None, **options: Any) -> Report:
    with Pool(conninfo) as pool:
        report = Importer(pool, ImporterSettings(**(settings or {}))).run(path, workspace="bench", **options)
    return Report(
        inserted=report.inserted,
        updated=report.updated,
        duplicates=report.duplicates,
        rejected=report.rejected,
        phases=report.phases | {"total": report.seconds},
    )
