"""The threads' half: see the package."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from queue import SimpleQueue
from typing import Annotated, Any, ClassVar, Generic, TypeVar

__all__ = [
    "LINGER",
    "Awaits",
    "Event",
    "Lock",
    "Opening",
    "Spawned",
    "Together",
    "blocking",
    "limit",
    "opening",
    "sleep",
    "spawn",
    "together",
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


class _Helper:
    """A thread that does what it is given, again and again. As many as are needed; a few are kept."""

    idle: ClassVar[deque[_Helper]] = deque()
    KEPT = 16

    def __init__(self) -> None:
        self.given: SimpleQueue[Callable[[], None]] = SimpleQueue()
        threading.Thread(target=self._run, name="mailgenius", daemon=True).start()

    def _run(self) -> None:
        while True:
            self.given.get()()
            if len(self.idle) >= self.KEPT:
                return
            self.idle.append(self)


os.register_at_fork(after_in_child=_Helper.idle.clear)  # no thread but one is there


def together(calls: Sequence[Callable[[], _T]]) -> list[_T | Exception]:
    """What all of them give, or the error of each, made at once: the first here, the others in threads."""
    found: list[Any] = [None] * len(calls)
    ended: SimpleQueue[None] = SimpleQueue()

    def make(at: int) -> None:
        try:
            found[at] = calls[at]()
        except Exception as error:
            found[at] = error
        finally:
            ended.put(None)

    for at in range(1, len(calls)):
        try:
            helper = _Helper.idle.pop()
        except IndexError:
            helper = _Helper()
        helper.given.put(partial(make, at))
    if calls:
        make(0)
    for _ in calls:
        ended.get()
    return found


class Request(Generic[_T]):
    """One of those that go together."""

    __slots__ = ("done", "error", "item", "reply")

    def __init__(self, item: Any) -> None:
        self.item = item
        self.done = False
        self.error: Exception | None = None
        self.reply: _T


class Together(Generic[_T]):
    """Requests that come while others are under way go together: ``send(items)`` gets up to ``most`` of them, in order, and
    gives as many replies. Its error is everybody's."""

    def __init__(self, send: Callable[[list[Any]], list[_T]], most: int) -> None:
        self._send, self._most = send, most
        self._waiting: deque[Request[_T]] = deque()
        self._lead = Lock()

    def __call__(self, item: Any) -> _T:
        """The reply to ``item``."""
        own: Request[_T] = Request(item)
        self._waiting.append(own)
        with self._lead:
            while not own.done:
                self._carry([self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))])
        if own.error is not None:
            raise own.error
        return own.reply

    def _carry(self, batch: list[Request[_T]]) -> None:
        try:
            for request, reply in zip(batch, self._send([request.item for request in batch]), strict=True):
                request.reply = reply
        except BaseException as error:
            for request in batch:
                request.error = (
                    error
                    if isinstance(error, Exception)
                    else RuntimeError(
                        "the thread that sent this was interrupted; whether it was carried out is not known"
                    )
                )
            if not isinstance(error, Exception):
                raise
        finally:
            for request in batch:
                request.done = True


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
