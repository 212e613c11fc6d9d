# Made from keeper_async.py by `python -m tools.twin`: edit that one.
"""Touch with the server: a connection on which it tells of changes (CLIENT TRACKING), and what happens without one. In a
Cluster, one with every primary.

Invariants:
- Values stay in the process only while each of these connections has answered a PING at most ``heartbeat`` seconds ago, and
  another is answered within as long. So with a network that has gone silent, a value is at most 2 × ``heartbeat`` behind.
- When a primary without such a connection is met, all values are put aside, and none is kept until it has one.

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
from mailgenius.errors import MailgeniusError, RedisRefused, RedisUnavailable
from mailgenius.link.dedicated_sync import Dedicated
from mailgenius.rt import threads as rt

__all__ = ["Keeper"]

_log = logging.getLogger("mailgenius.cache")
_DAMAGED = "what the server tells of changes arrives damaged"
_TAGS = TAGS.encode()
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
        self._lines: list[Dedicated] = []
        self._unwatch: Callable[[], None] | None = None
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
        lines = self._lines
        if lines and self._local:
            with contextlib.suppress(RuntimeError):  # another thread than the loop's: the next connection covers it
                self._spawn(self._cover_later, lines)

    def start(self) -> None:
        if self._running is None and not self._stop.is_set():
            if self._unwatch is None:
                self._unwatch = self._server.redis.watch_nodes(self._nodes_changed)
            self._running = rt.spawn(self._run)

    def close(self) -> None:
        self._stop.set()
        if self._unwatch is not None:
            self._unwatch()
        self._hang_up(self._lines)
        if self._running is not None:
            self._running.join()
        self._end("the cache is closed")

    # -- in the background -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            why = "it ended"
            try:
                self._server.redis.nodes()  # until they are known
                with contextlib.ExitStack() as stack:
                    self._lines = [
                        stack.enter_context(node.dedicated(on_push=self._pushed, on_lost=self._lost))
                        for node in self._server.redis.primaries()
                    ]
                    self._live(self._lines)
            except MailgeniusError as error:
                why = str(error)
            except Exception as error:
                why = repr(error)
                _log.exception("keeping in touch with Redis failed; it is tried again")
            finally:
                failures = 0 if self.coherent else failures + 1
                self._lines = []
                self._end(why)
            if self._server.clustered and self._server.owed.any and not self._stop.is_set():
                with contextlib.suppress(MailgeniusError):
                    self._repay()  # the nodes that are there
            pause = min(PAUSES[1], PAUSES[0] * 2.0 ** min(failures, 16))
            rt.wait(self._stop, random.uniform(0.0, pause))  # noqa: S311 - so that clients do not come together

    def _live(self, lines: list[Dedicated]) -> None:
        if self._local:
            self._cover(lines)
            if self._strangers(lines):
                raise RedisUnavailable("other servers are primaries now")
            self.coherent = True
            self._say("coherent", "")
        clustered = self._server.clustered
        others = [rt.spawn(self._listen, line, lines) for line in lines[1:]]
        if clustered:
            others.append(rt.spawn(self._repay_beside, lines))
        try:
            beat = self._heartbeat
            while not self._stop.is_set():
                if self._server.owed.any and not clustered:
                    self._repay()
                lines[0].next_push(beat)
                lines[0].call("PING", timeout=beat)
                if self._local and not self.coherent:  # somebody has ended it
                    return
        except MailgeniusError as error:
            self._end(str(error))  # before anything is waited for
            raise
        finally:
            self._hang_up(lines)
            for other in others:
                other.join()

    def _listen(self, line: Dedicated, lines: list[Dedicated]) -> None:
        """To one more primary of a Cluster. When one is silent, all are left, and met anew."""
        try:
            while not self._stop.is_set():
                line.next_push(self._heartbeat)
                line.call("PING", timeout=self._heartbeat)
        except MailgeniusError as error:
            self._end(str(error))
        finally:
            self._hang_up(lines)

    def _repay_beside(self, lines: list[Dedicated]) -> None:
        """A node that does not answer is not to keep us from hearing the others."""
        while not (self._stop.is_set() or lines[0].lost):
            if self._server.owed.any:
                with contextlib.suppress(MailgeniusError):
                    self._repay()
            rt.wait(self._stop, min(self._heartbeat, PAUSES[1] / 4))

    def _hang_up(self, lines: list[Dedicated]) -> None:
        for line in lines:
            line.close()

    def _strangers(self, lines: list[Dedicated]) -> bool:
        """Is there a primary that does not tell us of changes?"""
        there = {line.where for line in lines}
        return any(node.where not in there for node in self._server.redis.primaries())

    def _nodes_changed(self) -> None:
        if self._lines and self._strangers(self._lines):
            self._leave("other servers are primaries now")

    def _leave(self, why: str) -> None:
        """These connections are not used any more."""
        lines, self._lines = self._lines, []
        self._end(why)
        with contextlib.suppress(RuntimeError):  # another thread than the loop's: it is seen after the next PING
            self._spawn(self._hang_up, lines)

    def _spawn(self, do: Callable[..., rt.Awaits[None]], lines: list[Dedicated]) -> None:
        beside = [one for one in self._beside if one.running]
        self._beside = [*beside, rt.spawn(do, lines)]

    def _repay(self) -> None:
        try:
            self._server.repay()
        except RedisUnavailable:
            return  # next time
        self._say("repaid", "")

    def _cover_later(self, lines: list[Dedicated]) -> None:
        with contextlib.suppress(MailgeniusError):  # the connection is gone; the next one covers all regions
            self._cover(lines)

    def _cover(self, lines: list[Dedicated]) -> None:
        """Has the server tell of changes in all regions."""
        with self._covering:
            wanted = {prefix: shared for prefix, shared in self._regions.items() if prefix not in self._covered}
            tags = () if self._covered else (_TAGS,)
            if not wanted and not tags:
                return
            words: list[bytes | str] = ["CLIENT", "TRACKING", "ON", "BCAST"]
            for prefix in (*tags, *wanted):
                words += ["PREFIX", prefix]
            for line in lines:
                line.call(*words, timeout=self._heartbeat)
                self._understood(line, {*self._covered, *tags, *wanted})
            if lines is not self._lines:
                return
            self._covered |= {*tags, *wanted}
            if tags:
                self._tags.begin()
            for shared in wanted.values():
                shared.begin()
            if any(line.lost for line in lines):  # while we got here, and who was told so may have been too early
                self._end("the connection was lost at once")

    def _understood(self, line: Dedicated, prefixes: set[bytes]) -> None:
        """Raises ``RedisUnavailable`` if the server watches other names: the command came damaged."""
        try:
            known = line.call("CLIENT", "TRACKINGINFO", timeout=self._heartbeat)
        except RedisRefused:  # its user may not ask
            return
        if type(known) is not dict or b"bcast" not in known[b"flags"] or set(known[b"prefixes"]) != prefixes:
            raise RedisUnavailable("the server understood something else than what it was told to watch")

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
        if len(push) != 2 or push[0] != b"invalidate" or not (push[1] is None or type(push[1]) is list):
            self._leave(_DAMAGED)
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
                if type(name) is bytes and name.startswith(prefix):
                    shared.changed(name)
                    break
            else:
                if type(name) is not bytes or not name.startswith(_TAGS):
                    self._leave(_DAMAGED)
                    return
                self._forget_tag(name)

    def _forget_tag(self, name: str | bytes) -> None:
        self._tags.store.pop(name)
        for shared in self._regions.values():
            shared.forget_tag(name)

    def _forked(self) -> None:
        """In a child process: nobody tells us of changes, and the threads that loaded are not ours."""
        running, self._running, self._lines = self._running, None, []
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
