# Made from keeper_async.py by `python -m tools.twin`: edit that one.
"""Touch with the server: a connection on which it tells of changes (CLIENT TRACKING), and what happens without one.

Invariant: values stay in the process only while this connection has answered a PING at most ``heartbeat`` seconds ago, and
another is answered within as long. So with a network that has gone silent, a value is at most 2 × ``heartbeat`` behind.

Tracking is by prefix (BCAST): the server remembers nothing of what was read here, so its memory does not grow with ours,
and there is nothing to tell it again when a value is let go. Changes by this process come back as well.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import weakref
from collections.abc import Callable
from typing import Any

from mailgenius.cache.server_sync import TAGS, Server
from mailgenius.cache.shared_sync import Shared
from mailgenius.cache.tags_sync import TagBook
from mailgenius.errors import MailgeniusError, RedisUnavailable
from mailgenius.link.dedicated_sync import Dedicated
from mailgenius.rt import threads as rt

__all__ = ["Keeper"]

_log = logging.getLogger("mailgenius.cache")
PAUSES = (0.05, 1.0)  # seconds between attempts to get in touch, the shortest and the longest


class Keeper:
    """Made by ``Cache``. ``on_event(name, why)`` is told "coherent", "incoherent" and "repaid"."""

    def __init__(
        self, server: Server, tags: TagBook, local: bool, heartbeat: float, on_event: Callable[[str, str], object]
    ) -> None:
        self._server, self._tags, self._local, self._heartbeat = server, tags, local, heartbeat
        self._on_event = on_event
        tags.forget = self._forget_tag
        self._regions: dict[bytes, Shared] = {}
        self._covered: set[bytes] = set()
        self._line: Dedicated | None = None
        self._covering = rt.Lock()
        self._stop = rt.Event()
        self._running: rt.Spawned | None = None
        self._beside: list[rt.Spawned] = []
        self.coherent = False
        self.invalidations = self.flushes = 0
        _keepers.add(self)

    def add(self, shared: Shared) -> None:
        """Values of one more region may be kept."""
        self._regions = {**self._regions, shared.policy.prefix.encode(): shared}
        line = self._line
        if line is not None and self._local:
            with contextlib.suppress(RuntimeError):  # another thread than the loop's: the next connection covers it
                beside = [one for one in self._beside if one.running]
                self._beside = [*beside, rt.spawn(self._cover_later, line)]

    def start(self) -> None:
        if self._running is None and not self._stop.is_set():
            self._running = rt.spawn(self._run)

    def close(self) -> None:
        self._stop.set()
        if self._line is not None:
            self._line.close()
        if self._running is not None:
            self._running.join()
        self._end("the cache is closed")

    # -- in the background -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            why = "it ended"
            try:
                with self._server.redis.dedicated(on_push=self._pushed, on_lost=self._lost) as line:
                    self._line = line
                    self._live(line)
            except MailgeniusError as error:
                why = str(error)
            except Exception as error:
                why = repr(error)
                _log.exception("keeping in touch with Redis failed; it is tried again")
            finally:
                failures = 0 if self.coherent else failures + 1
                self._line = None
                self._end(why)
            pause = min(PAUSES[1], PAUSES[0] * 2.0 ** min(failures, 16))
            rt.wait(self._stop, random.uniform(0.0, pause))  # noqa: S311 - so that clients do not come together

    def _live(self, line: Dedicated) -> None:
        beat = self._heartbeat
        if self._local:
            self._cover(line)
            self.coherent = True
            self._say("coherent", "")
        while not self._stop.is_set():
            if self._server.owed.any:
                self._repay()
            line.next_push(beat)
            line.call("PING", timeout=beat)

    def _repay(self) -> None:
        try:
            self._server.repay()
        except RedisUnavailable:
            return  # next time
        self._say("repaid", "")

    def _cover_later(self, line: Dedicated) -> None:
        with contextlib.suppress(MailgeniusError):  # the connection is gone; the next one covers all regions
            self._cover(line)

    def _cover(self, line: Dedicated) -> None:
        """Has the server tell of changes in all regions."""
        with self._covering:
            wanted = {prefix: shared for prefix, shared in self._regions.items() if prefix not in self._covered}
            tags = () if self._covered else (TAGS.encode(),)
            if not wanted and not tags:
                return
            words: list[bytes | str] = ["CLIENT", "TRACKING", "ON", "BCAST"]
            for prefix in (*tags, *wanted):
                words += ["PREFIX", prefix]
            line.call(*words, timeout=self._heartbeat)
            if line is not self._line:
                return
            self._covered |= {*tags, *wanted}
            if tags:
                self._tags.begin()
            for shared in wanted.values():
                shared.begin()
            if line.lost:  # while we got here, and who was told so may have been too early
                self._end("the connection was lost at once")

    def _end(self, why: str) -> None:
        was, self.coherent = self.coherent, False
        self._covered = set()
        for shared in self._regions.values():
            shared.end()
        self._tags.end()
        if was:
            self.flushes += 1
            self._say("incoherent", why)

    def _say(self, event: str, why: str) -> None:
        try:
            self._on_event(event, why)
        except Exception:
            _log.exception("on_event failed")  # of whoever wrote it; we go on

    def _lost(self) -> None:
        self._end("the connection on which the server tells of changes was lost")

    # -- what the server says ----------------------------------------------------------------------------------------

    def _pushed(self, push: Any) -> None:
        if push[0] != b"invalidate":
            return
        if push[1] is None:  # FLUSHALL, FLUSHDB
            self.flushes += 1
            self._tags.store.clear()
            for shared in self._regions.values():
                shared.local.clear()
            return
        self.invalidations += len(push[1])
        for name in push[1]:
            for prefix, shared in self._regions.items():
                if name.startswith(prefix):
                    shared.changed(name)
                    break
            else:
                self._forget_tag(name)

    def _forget_tag(self, name: str | bytes) -> None:
        self._tags.store.pop(name)
        for shared in self._regions.values():
            shared.forget_tag(name)

    def _forked(self) -> None:
        """In a child process: nobody tells us of changes, and the threads that loaded are not ours."""
        running, self._running, self._line = self._running, None, None
        self._covering, self._stop = rt.Lock(), rt.Event()
        self._end("a process was forked")
        for shared in self._regions.values():
            shared.forked()
        if running is not None:
            _inherited.append(running)
            with contextlib.suppress(RuntimeError):  # there is no event loop yet: start() again
                self.start()


_keepers: weakref.WeakSet[Keeper] = weakref.WeakSet()
_inherited: list[object] = []


def _after_fork_in_child() -> None:
    for keeper in _keepers:
        keeper._forked()


os.register_at_fork(after_in_child=_after_fork_in_child)
