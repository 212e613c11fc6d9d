# Made from scripts_async.py by `python -m tools.twin`: edit that one.
"""Lua scripts, by their hash; a server that does not have one is given its text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mailgenius.errors import RedisRefused
from mailgenius.rt import threads as rt

__all__ = ["Script"]


class Script:
    """Made by ``Redis.script``. ``sha`` is its name on servers."""

    def __init__(self, call: Callable[..., rt.Awaits[Any]], source: str | Path) -> None:
        self.source = source.read_text("utf-8") if isinstance(source, Path) else source
        self.sha = hashlib.sha1(self.source.encode()).hexdigest()  # noqa: S324 - the name that Redis gives it
        self._call = call

    def __call__(self, keys: Sequence[Any] = (), args: Iterable[Any] = (), *, timeout: float | None = None) -> Any:
        """Its reply. Errors as those of ``Redis.call``."""
        args = tuple(args)
        try:
            return self._call("EVALSHA", self.sha, len(keys), *keys, *args, timeout=timeout)
        except RedisRefused as error:
            if error.code != "NOSCRIPT":
                raise
        return self._call("EVAL", self.source, len(keys), *keys, *args, timeout=timeout)

    def command(self, keys: Sequence[Any] = (), args: Iterable[Any] = ()) -> tuple[Any, ...]:
        """For ``Redis.calls``; ``load()`` it first, and again when a reply is ``NOSCRIPT``."""
        return ("EVALSHA", self.sha, len(keys), *keys, *args)

    def load(self) -> None:
        """Gives the server its text."""
        self._call("SCRIPT", "LOAD", self.source)
