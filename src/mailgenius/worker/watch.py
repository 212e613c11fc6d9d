"""Which files of a program there are, and which of them changed."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

__all__ = ["Watch", "imported"]


def imported(error: BaseException | None = None) -> list[str]:
    """Files of the modules that were imported but for Python's own and installed ones. ``error``: what ended an import,
    with the files that it names."""
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    while error is not None:
        if isinstance(error, SyntaxError):
            files.add(error.filename)
        trace = error.__traceback__
        while trace is not None:
            files.add(trace.tb_frame.f_code.co_filename)
            trace = trace.tb_next
        error = error.__cause__ or error.__context__
    installed = tuple(
        path.rstrip(os.sep) + os.sep
        for path in {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    )
    ours = str(Path(__file__).parent.parent) + os.sep
    return sorted(
        file
        for file in files
        if isinstance(file, str) and Path(file).is_file() and not file.startswith((*installed, ours))
    )


class Watch:
    """Compares times of change, so that it works on any file system, mounted ones too."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def add(self, files: Iterable[str]) -> None:
        for file in files:
            if file not in self._seen:
                self._seen[file] = _changed_at(file)

    def changed(self) -> list[str]:
        """Those that are others than when this was asked last."""
        found = []
        for file, seen in self._seen.items():
            now = _changed_at(file)
            if now != seen:
                self._seen[file] = now
                if now:  # else it is just being replaced
                    found.append(file)
        return found


def _changed_at(file: str) -> int:
    """Nanoseconds since 1970; 0: it is not there."""
    try:
        return os.stat(file).st_mtime_ns  # noqa: PTH116
    except OSError:
        return 0
