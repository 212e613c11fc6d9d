"""Those who want to hear what happens in a worker. Pure."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Literal, get_args

from mailgenius.errors import ConfigError

__all__ = ["Event", "Hooks"]

_log = logging.getLogger("mailgenius.worker")

Event = Literal["ready", "completed", "failed", "retried", "stalled", "lost", "error"]


class Hooks:
    """Functions by what they want to hear."""

    def __init__(self) -> None:
        self._all: dict[str, list[Callable[..., object]]] = {}

    def add(self, event: str, function: Callable[..., object]) -> None:
        if event not in get_args(Event):
            raise ConfigError(f"$.worker.on: there is no {event!r}; there are {', '.join(get_args(Event))}")
        self._all.setdefault(event, []).append(function)

    def __contains__(self, event: str) -> bool:
        return event in self._all

    def fire(self, event: Event, *args: Any) -> None:
        """A hook that fails is told of as an error. Errors that nobody wants to hear are logged."""
        if event == "error" and event not in self._all:
            _log.warning("%s", args[0])
        for function in self._all.get(event, ()):
            try:
                function(*args)
            except Exception as error:
                if event == "error":
                    _log.warning("a hook for errors failed", exc_info=error)
                else:
                    self.fire("error", error)
