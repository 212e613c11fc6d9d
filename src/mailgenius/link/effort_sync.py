# Made from effort_async.py by `python -m tools.twin`: edit that one.
"""Something that is tried in the background until it is done, and callers who wait for it, or fail at once.

Invariants:
- At most one attempt is under way.
- ``down`` says why the last one failed, or why what was done did not last. While it does, callers fail at once with it
  (the breaker is open), but as many as ``RedisSettings.offline_queue`` allows, and those who saw it go down.
- Whatever changes, whoever waits looks again.
"""

from __future__ import annotations

import logging
import os
import random
import weakref
from collections.abc import Callable
from time import monotonic

from mailgenius.config import RedisSettings
from mailgenius.errors import MailgeniusError, RedisUnavailable
from mailgenius.link.meters import Meters
from mailgenius.link.replies import Lost
from mailgenius.rt import threads as rt

__all__ = ["Effort", "tell"]

_log = logging.getLogger("mailgenius.link")


class Attempt:
    """``done`` is set when it is over, whatever came of it."""

    def __init__(self) -> None:
        self.done = rt.Event()


class Effort:
    """``_try`` makes one attempt."""

    def __init__(self, settings: RedisSettings, meters: Meters) -> None:
        self.settings, self.meters = settings, meters
        self.down: str | None = None
        self.closed = False
        # The attempt under way, if any: a dict, whose steps no thread comes between.
        self._attempts: dict[str, Attempt] = {}
        self._trying: rt.Spawned | None = None
        self._stop = rt.Event()
        self._waiting = 0
        _efforts.add(self)

    @property
    def where(self) -> str:
        """For people."""
        raise NotImplementedError

    def refusal(self) -> str | None:
        """Why a call need not wait, nor look any further."""
        return self.down if self._attempts and not self.settings.offline_queue else None

    def _try(self) -> float:
        """Once. Seconds until it is to be done again, though it succeeded; 0: it is not. Raises ``MailgeniusError`` and
        ``Lost``."""
        raise NotImplementedError

    def _rest(self, pause: float) -> None:
        rt.wait(self._stop, pause)

    def _failed(self, error: Exception) -> None:
        self.down = f"{self.where} is down: {error}"

    def wait(self, deadline: float, patient: bool) -> None:
        """For an attempt. ``patient``: though the breaker is open. Raises ``RedisUnavailable``."""
        if self.closed:
            raise RedisUnavailable(f"The client of {self.where} is closed.")
        attempt = self._attempts.get("now") or self.begin()
        if self.down is not None and not patient and self._waiting >= self.settings.offline_queue:
            self.meters.shed += 1
            raise RedisUnavailable(self.down)
        left = deadline - monotonic()
        self._waiting += 1
        try:
            came = left > 0 and rt.wait(attempt.done, min(left, 1e6))
        finally:
            self._waiting -= 1
        if not came:
            self.meters.timeouts += 1
            self.down = self.down or f"{self.where} is down: no connection in time; still trying"
            raise RedisUnavailable(self.down)

    def begin(self) -> Attempt:
        """An attempt, if none is under way."""
        attempt = Attempt()
        if (found := self._attempts.setdefault("now", attempt)) is attempt:
            self._trying = rt.spawn(self._keep_trying, attempt)
        return found

    def _keep_trying(self, attempt: Attempt) -> None:
        failures = 0
        settings = self.settings
        try:
            while not self.closed:
                try:
                    pause = self._try()
                    if not pause:
                        return
                    failures = 0
                except (MailgeniusError, Lost) as error:
                    self._failed(error)
                    failures += 1
                    pause = random.uniform(  # noqa: S311 - so that clients do not come together
                        0, min(settings.backoff_max, settings.backoff * 2.0 ** min(failures, 32))
                    )
                over, attempt = attempt, Attempt()
                self._attempts["now"] = attempt
                over.done.set()
                self._rest(pause)
        finally:
            self._attempts.pop("now", None)
            attempt.done.set()

    def _end(self) -> None:
        """Nothing is tried any more, and nobody waits."""
        self.closed = True
        self._stop.set()
        if (attempt := self._attempts.get("now")) is not None:
            attempt.done.set()

    def _forked(self) -> None:
        """In a child process: the parent's attempts are not ours. Kept, so that nothing of them is finalised here."""
        _inherited.extend((self._trying, self._attempts))
        self.down = self._trying = None
        self._attempts, self._stop, self._waiting = {}, rt.Event(), 0
        self.meters.connections = 0


def tell(listener: Callable[[], object] | None) -> None:
    """Calls it, if there is one. What goes wrong there is not ours: it is logged."""
    if listener is not None:
        try:
            listener()
        except Exception:
            _log.exception("%r failed", listener)


_efforts: weakref.WeakSet[Effort] = weakref.WeakSet()
_inherited: list[object] = []


def _after_fork_in_child() -> None:
    for effort in _efforts:
        effort._forked()


os.register_at_fork(after_in_child=_after_fork_in_child)
