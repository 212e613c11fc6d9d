"""The threads' half of ``aio``: one load for each key, however many threads ask for it.

The invariants are those of ``aio``, with two differences. Whoever comes first and has no time limit loads in his own
thread, since a thread cannot be cancelled. And a load that took longer than its limit cannot be stopped: those who wait are
told so, the next caller may begin anew, and what the old one gives is for nobody.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from mailgenius.errors import LoadFailed, LoadTimeout

__all__ = ["Flights", "StillLoading"]

_T = TypeVar("_T")


class StillLoading(Exception):
    """The caller did not want to wait any longer; the load goes on."""


class Flight:
    """A load under way. ``done`` is there if anybody but its own thread waits for it."""

    __slots__ = ("done", "error", "owner", "result", "until")

    def __init__(self, until: float, owner: int) -> None:
        self.until = until
        self.owner = owner
        self.done: threading.Event | None = None
        self.result: Any = None
        self.error: BaseException | None = None


class Flights:
    """Loads under way, by key."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, Flight] = {}
        self._waiting: dict[int, Flight] = {}  # what a thread waits for
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._flights)

    def load(self, key: Hashable, do: Callable[[], _T], *, wait: float | None = None, limit: float | None = None) -> _T:
        """What ``do`` gives, or what the load gives that is under way.

        ``wait``: seconds that this caller waits before ``StillLoading``; the load goes on. ``limit``: seconds that a load
        which begins now may take; then all who wait get ``LoadTimeout``. ``LoadFailed``: the thread that loaded was
        interrupted, or loads wait for one another.
        """
        caller = threading.get_ident()
        alone = wait is None and limit is None
        with self._lock:
            flight = self._current(key)
            mine = flight is None
            if flight is None:
                flight = self._flights[key] = Flight(_until(limit), caller if alone else 0)
            else:
                self._check(caller, flight)
            if not mine or not alone:
                flight.done = flight.done or threading.Event()
                self._waiting[caller] = flight
        if mine and alone:
            return self._fly(key, flight, do)
        try:
            if mine:
                self._thread(key, flight, do)
            given: _T = self._wait(key, flight, wait)
            return given
        finally:
            del self._waiting[caller]

    def start(self, key: Hashable, do: Callable[[], Any], *, limit: float | None = None) -> bool:
        """Begins a load that nobody waits for; its error is nobody's. False: one is under way."""
        with self._lock:
            if self._current(key) is not None:
                return False
            flight = self._flights[key] = Flight(_until(limit), 0)
        self._thread(key, flight, do)
        return True

    def close(self) -> None:
        """Waits for nothing: threads cannot be cancelled, and do not keep the program from ending."""
        with self._lock:
            self._flights.clear()

    def _current(self, key: Hashable) -> Flight | None:
        flight = self._flights.get(key)
        if flight is not None and flight.until != _NEVER and time.monotonic() >= flight.until:
            return None
        return flight

    def _thread(self, key: Hashable, flight: Flight, do: Callable[[], Any]) -> None:
        def fly() -> None:
            flight.owner = threading.get_ident()
            with contextlib.suppress(Exception):  # those who wait get it
                self._fly(key, flight, do)

        try:
            threading.Thread(target=fly, name="mailgenius-load", daemon=True).start()
        except RuntimeError as error:  # there are no more threads, or the interpreter ends
            self._land(key, flight, None, LoadFailed(f"No thread could be started to load in: {error}"))

    def _fly(self, key: Hashable, flight: Flight, do: Callable[[], _T]) -> _T:
        try:
            result = do()
        except Exception as error:
            self._land(key, flight, None, error)
            raise
        except BaseException:  # an interrupt is for its own thread
            self._land(key, flight, None, LoadFailed("The thread that loaded was interrupted."))
            raise
        self._land(key, flight, result, None)
        return result

    def _land(self, key: Hashable, flight: Flight, result: Any, error: BaseException | None) -> None:
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]
            done = flight.done
            if done is not None:  # else the error would keep its own frames alive for nobody
                flight.result, flight.error = result, error
        if done is not None:
            done.set()

    def _wait(self, key: Hashable, flight: Flight, wait: float | None) -> Any:
        assert flight.done is not None  # noqa: S101
        left = flight.until - time.monotonic()
        seconds = left if wait is None else min(wait, left)
        if flight.done.wait(None if seconds == _NEVER else max(seconds, 0.0)):
            if flight.error is not None:
                raise flight.error
            return flight.result
        if seconds < left:
            raise StillLoading
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]
        raise LoadTimeout("The load took longer than its hard timeout; what it gives is not waited for.")

    def _check(self, caller: int, flight: Flight) -> None:
        """Refuses to wait for what waits for the caller. Under the lock."""
        after: Flight | None = flight
        while after is not None:
            if after.owner == caller:
                raise LoadFailed("Loads wait for one another: a load asks for a key whose load needs its own.")
            after = self._waiting.get(after.owner)


_NEVER = float("inf")


def _until(limit: float | None) -> float:
    return _NEVER if limit is None else time.monotonic() + limit
