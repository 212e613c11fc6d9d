"""The threads' half: see the package."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any, TypeVar

__all__ = [
    "LINGER",
    "Awaits",
    "Event",
    "Lock",
    "Opening",
    "Spawned",
    "blocking",
    "limit",
    "opening",
    "sleep",
    "spawn",
    "wait",
]

#: How often something that looks again and again may find nothing before it ends: a task is cheap to start, a thread not.
LINGER = 250

_T = TypeVar("_T")
Awaits = Annotated[_T, "at once"]  # what a plain function gives
Opening = Annotated[_T, "open"]  # what ``opening`` gives
Lock = threading.Lock
Event = threading.Event
sleep = time.sleep


class Spawned:
    """Something that runs beside its caller. Its error, if any, comes out of ``join``."""

    def __init__(self, do: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._do, self._args = do, args
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="mailgenius", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._do(*self._args)
        except BaseException as error:
            self._error = error

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> Any:
        """Waits for its end; its result."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result


def spawn(do: Callable[..., Any], *args: Any) -> Spawned:
    """Starts ``do(*args)``. It does not keep the program from ending."""
    return Spawned(do, args)


def wait(event: Event, seconds: float) -> bool:
    """Until it is set, ``seconds`` at most; whether it was."""
    return event.wait(seconds)


def limit(seconds: float) -> AbstractContextManager[Any]:
    """``with``: nothing here, since what blocks in a thread has time limits of its own."""
    return nullcontext()


def blocking(do: Callable[..., _T], *args: Any) -> _T:
    """``do(*args)``: a thread may wait."""
    return do(*args)


def opening(do: Callable[..., _T], *args: Any) -> _T:
    """``do(*args)`` opens something: at once."""
    return do(*args)
