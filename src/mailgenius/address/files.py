"""Lists from files, so that they can be renewed by a cron job instead of a release."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mailgenius.address.lists import Lists, use_lists

if TYPE_CHECKING:
    import os

NAMES = ("disposable", "free", "roles")


def load_lists(path: str | os.PathLike[str]) -> Lists:
    """Replaces the lists found in a folder: ``disposable.txt``, ``free.txt``, ``roles.txt``; those not there stay.

    One domain (roles: one local part) a line, UTF-8; empty lines and lines that start with # are skipped. Raises
    FileNotFoundError if the folder has none of them, ValueError for a line that is no such thing; then nothing changes.
    """
    folder = Path(path)
    found = {}
    for name in NAMES:
        file = folder / f"{name}.txt"
        if file.is_file():
            lines = (line.strip() for line in file.read_text("utf-8-sig").splitlines())
            found[name] = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise FileNotFoundError(f"{folder} has none of {', '.join(f'{name}.txt' for name in NAMES)}")
    return use_lists(**found, source=str(folder))
