"""The file of duplicates that ``run(duplicates=...)`` writes.

Lanes write it as they go, so it is in order of address, not of line: sorting it is left to whoever needs that.
"""

from __future__ import annotations

import csv
import threading

from mailgenius.errors import SourceError

__all__ = ["DuplicatesFile"]


class DuplicatesFile:
    """CSV of duplicates, written by all lanes: line, line of its first, address."""

    def __init__(self, path: str) -> None:
        try:
            self._file = open(path, "w", newline="", encoding="utf-8")  # noqa: SIM115, PTH123
        except OSError as error:
            raise SourceError(f"cannot write the duplicates file {path}: {error.strerror}") from error
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(["line", "first_line", "email"])
        self._lock = threading.Lock()

    def write(self, found: list[tuple[int, int, bytes]]) -> None:
        rows = [(line, first, email.decode()) for line, first, email in found]
        with self._lock:
            self._writer.writerows(rows)

    def close(self) -> None:
        self._file.close()
