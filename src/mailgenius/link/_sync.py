# Made from _async.py by `python -m tools.twin`: edit that one.
"""``Redis``: commands of all tasks of an event loop, over one connection.

Invariants: a call ends with its reply or with an error that says what the caller can do, at its deadline at the latest. A
command whose reply was lost is sent anew only if running twice does no more than running once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import inf
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Literal, Self

from mailgenius._native import pack_command, pack_commands
from mailgenius.config import RedisSettings
from mailgenius.errors import RedisOutcomeUnknown, RedisRefused, RedisTimeout, RedisUnavailable
from mailgenius.link import threads
from mailgenius.link.address import parse
from mailgenius.link.commands import WORDS, kind, name
from mailgenius.link.dedicated_sync import Dedicated
from mailgenius.link.meters import Meters, RedisMetrics
from mailgenius.link.node_sync import Node
from mailgenius.link.replies import Lost, whole
from mailgenius.link.scripts_sync import Script
from mailgenius.link.settings import chosen_settings
from mailgenius.rt import threads as rt

__all__ = ["Redis"]

_MULTI, _EXEC = pack_command(("MULTI",)), pack_command(("EXEC",))
KEPT = 8  # connections of blocking calls that are kept for the next ones


class Redis:
    """``Redis("redis://user:password@host:6379/0")``; ``rediss://`` for TLS, ``unix:///path?db=0`` for a socket.

    Keywords as in ``RedisSettings``; give ``settings`` to take them all from there. It connects when it is first used.
    ``on_push(push)`` gets what the server sends unasked on the shared connection (as ``CLIENT TRACKING`` makes it do),
    ``on_connected(connection)`` is called with each new one, before calls use it, and ``on_lost()`` when it is gone.
    """

    def __init__(
        self,
        url: str,
        *,
        settings: RedisSettings | None = None,
        on_push: Callable[[Any], object] | None = None,
        on_connected: Callable[[Dedicated], rt.Awaits[None]] | None = None,
        on_lost: Callable[[], object] | None = None,
        **chosen: Any,
    ) -> None:
        self.settings = chosen_settings(settings, chosen)
        self._address = parse(url)
        self._meters = Meters()
        self._on_connected = on_connected
        self._node = Node(
            self._address,
            self.settings,
            self._meters,
            on_push=on_push,
            on_connected=self._connected if on_connected is not None else None,
            on_lost=on_lost,
        )
        self._timeout, self._slow = self.settings.timeout, self.settings.slow_timeout
        self._idle: list[threads.Line] = []  # for blocking calls

    def __repr__(self) -> str:
        return f"<Redis {self._address.where}{', closed' if self._node.closed else ''}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Waits up to a second for replies under way, then closes the connections. Safe to repeat."""
        self._node.close()
        while self._idle:
            self._idle.pop().close()

    # -- calls ---------------------------------------------------------------------------------------------------

    def call(self, *command: Any, timeout: float | None = None) -> Any:
        """The reply to one command, ``call("GET", key)``: bytes, int, float, bool, None, list or dict.

        Words are str, bytes, int, float or buffers. ``timeout``: seconds; ``RedisSettings.timeout`` if left out, or
        ``slow_timeout`` for what takes long by nature. Raises ``RedisRefused``, ``RedisTimeout``, ``RedisUnavailable``
        and ``RedisOutcomeUnknown``; ValueError for commands that wait, or change the state of their connection.
        """
        known = WORDS.get(command[0]) or kind(command)
        if known.own:
            raise ValueError(_elsewhere(command))
        if timeout is None:
            timeout = self._slow if known.slow else self._timeout
        packed = pack_command(command)
        line = self._node.line
        if line is not None:
            try:
                return line.one(packed, timeout)
            except Lost as error:
                lost: Lost | None = error
        else:
            lost = None
        return (self._resend(packed, 1, known.again, timeout, lost, False))[0]

    def calls(
        self,
        commands: Iterable[Sequence[Any]],
        *,
        timeout: float | None = None,
        atomic: bool = False,
        errors: Literal["raise", "return"] = "raise",
    ) -> list[Any]:
        """The replies to many commands, in order, sent in one write: ``calls([("GET", a), ("GET", b)])``.

        ``atomic``: in a transaction (MULTI), so that nobody else's command comes between. ``errors``: the first refusal is
        raised when all replies are there, or stands among them as an exception. ``timeout``: seconds for all together.
        """
        many = [command if type(command) is tuple else tuple(command) for command in commands]
        if not many:
            return []
        again, slow = True, False
        for command in many:
            known = WORDS.get(command[0]) or kind(command)
            if known.own:
                raise ValueError(_elsewhere(command))
            again = again and known.again
            slow = slow or known.slow
        if timeout is None:
            timeout = self._slow if slow else self._timeout
        packed, count = pack_commands(many), len(many)
        if atomic:
            packed, count = b"".join((_MULTI, packed, _EXEC)), count + 2
        line = self._node.line
        lost: Lost | None = None
        replies: list[Any] | None = None
        if line is not None:
            try:
                replies = line.many(packed, count, timeout)
            except Lost as error:
                lost = error
        if replies is None:
            replies = self._resend(packed, count, again, timeout, lost, True)
        replies = whole(replies, atomic)
        if errors == "raise":
            for reply in replies:
                if type(reply) is RedisRefused:
                    raise reply
        return replies

    def _resend(
        self, packed: bytes, count: int, again: bool, timeout: float, lost: Lost | None, batch: bool
    ) -> list[Any]:
        """When there is no connection, or it was ``lost`` before the replies came."""
        deadline = timeout + (lost.since if lost is not None and lost.since else monotonic())
        where = self._address.where
        for _ in range(1 + self.settings.retries):
            if lost is not None and lost.sent and not again:
                self._meters.unknown += 1
                raise RedisOutcomeUnknown(
                    f"The connection to {where} was lost before the reply came; whether the command was carried out is"
                    f" not known: {lost.why}"
                ) from lost
            line = self._node.ready(deadline, lost is not None)
            left = deadline - monotonic()
            if left <= 0:
                raise RedisTimeout(f"no connection to {where} within {timeout:g} s")
            try:
                return line.many(packed, count, left) if batch else [line.one(packed, left)]
            except Lost as error:
                lost = error
        why = "it was lost again and again" if lost is None else lost.why
        if lost is not None and lost.sent and not again:
            self._meters.unknown += 1
            raise RedisOutcomeUnknown(f"The connection to {where} was lost before the reply came: {why}") from lost
        raise RedisUnavailable(f"The connection to {where} was lost: {why}") from lost

    def get(self, key: str | bytes, *, timeout: float | None = None) -> bytes | None:
        """The value of a string, or None."""
        value: bytes | None = self.call("GET", key, timeout=timeout)
        return value

    def script(self, source: str | Path) -> Script:
        """A Lua script, from its text or a path to it. It is loaded into the server when that does not have it."""
        return Script(self.call, source)

    # -- connections of one's own --------------------------------------------------------------------------------

    def blocking(self, *command: Any, timeout: float | None = None) -> Any:
        """A command that waits on the server, ``blocking("BLPOP", "list", 5)``, on a connection that nobody else uses.

        ``timeout``: seconds until ``RedisTimeout``; give some more than the command itself may wait. Left out, it waits
        as long as the connection is there. What it was about to take may be lost with the connection.
        """
        deadline = monotonic() + self.settings.connect_timeout
        self._node.ready(deadline)  # fails at once while the breaker is open
        line = None
        while line is None and self._idle:
            line = self._idle.pop()
            if not line.usable():
                line.close()
                line = None
        if line is None:
            line = self._node.open(None, _ignore)
        try:
            return self._wait(line, pack_command(command), inf if timeout is None else timeout)
        except Lost as error:
            self._meters.unknown += 1
            raise RedisOutcomeUnknown(
                f"The connection to {self._address.where} was lost while a command waited: {error.why}"
            ) from error

    def _wait(self, line: threads.Line, packed: bytes, timeout: float) -> Any:
        usable = False
        try:
            reply = line.one(packed, timeout)
            usable = True
        except RedisRefused:
            usable = True
            raise
        finally:
            if usable and not self._node.closed and len(self._idle) < KEPT:
                self._idle.append(line)
            else:
                line.close()
        return reply

    def dedicated(
        self, *, on_push: Callable[[Any], object] | None = None, on_lost: Callable[[], object] | None = None
    ) -> Dedicated:
        """``with`` gives a connection of one's own, for SUBSCRIBE, CLIENT TRACKING, WATCH and the like.

        ``on_push(push)`` gets what the server sends unasked, as it comes; without it, ``pushes()`` gives them in turn.
        ``on_lost()`` is called when it ends without our doing. It is not made again by itself.
        """
        return Dedicated(self._node, self.settings, on_push, on_lost)

    def _connected(self, line: threads.Line) -> None:
        if self._on_connected is not None:
            self._on_connected(Dedicated.of(self._node, self.settings, line))

    # -- what it is like -----------------------------------------------------------------------------------------

    @property
    def available(self) -> bool:
        """False while the server is known to be down; calls fail at once then."""
        return self._node.down is None and not self._node.closed

    def metrics(self) -> RedisMetrics:
        """Connections, calls, errors, how long replies took."""
        line = self._node.line
        return self._meters.metrics(self.available, 0 if line is None else line.pending)


def _elsewhere(command: Sequence[Any]) -> str:
    return f"{name(command[0])} does not go over a connection that others share; see blocking() and dedicated()"


def _ignore(*_: object) -> None:
    pass
