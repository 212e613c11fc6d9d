"""The queue's Lua scripts: a file each, and the parts they share, which a file names in its first line."""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["script"]

_FOLDER = Path(__file__).with_name("lua")


@cache
def script(name: str) -> str:
    """The text of a script with its parts before it."""
    text = (_FOLDER / f"{name}.lua").read_text("utf-8")
    first, _, body = text.partition("\n")
    if not first.startswith("--- include "):
        return text
    return "\n".join([(_FOLDER / f"{part}.lua").read_text("utf-8") for part in first.split()[2:]] + [body])
