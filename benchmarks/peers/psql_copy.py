"""psql \\copy of the clean file: PostgreSQL's own client, nothing to parse, check or account for.

``files`` go over one connection each, at the same time; ``binary`` says which format they are in.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from benchmarks.data import COLUMNS

from . import Counts


def load(path: str, conninfo: str, *, psql: str, binary: bool = False, table: str = "mailgenius.leads") -> Counts:
    """``path``: one file, or several separated by ``:``."""
    form = " with (format binary)" if binary else ""
    running = [
        subprocess.Popen(
            [psql, conninfo, "-qX", "-v", "ON_ERROR_STOP=1", "-c", f"\\copy {table} ({COLUMNS}) from '{file}'{form}"]
        )
        for file in path.split(":")
    ]
    codes = [process.wait() for process in running]
    if any(codes):
        raise RuntimeError(f"psql ended with {codes} for {Path(path).name}")
    return Counts(inserted=-1)
