"""The process that fault tests kill: imports a file through a proxy, with steps so small that every step can be hit."""

from __future__ import annotations

import sys

from mailgenius.config import ImporterSettings
from mailgenius.importer import Importer, ImportReport
from mailgenius.pool import Pool

SETTINGS = ImporterSettings(
    threads=2, block_bytes=64 << 10, run_bytes=128 << 10, spill_bytes=1 << 20, chunk_rows=400, reconnect_seconds=20
)


def run_or_resume(pool: Pool, path: str, on_existing: str) -> ImportReport:
    """What an app does after a crash: go on with what is unfinished; start anew if nothing was begun."""
    importer = Importer(pool, SETTINGS)
    for entry in importer.imports("acme"):
        if entry.source == path and entry.state in ("loading", "failed", "done"):
            return importer.resume(entry.import_id)
    return importer.run(path, workspace="acme", on_existing=on_existing, tags=["new"])


if __name__ == "__main__":
    dsn, path, on_existing = sys.argv[1:]
    with Pool(dsn, min_size=1, max_size=4, timeout=20) as pool:
        print("ready", flush=True)
        run_or_resume(pool, path, on_existing)
