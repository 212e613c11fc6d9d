"""A connection of one's own: for commands that change its state, and for what the server sends unasked."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from math import inf
from time import monotonic
from types import TracebackType
from typing import Any, Self

from mailgenius._native import pack_command, pack_commands
from mailgenius.config import RedisSettings
from mailgenius.errors import RedisOutcomeUnknown, RedisUnavailable
from mailgenius.link import aio
from mailgenius.link.node_async import Node
from mailgenius.link.replies import Lost
from mailgenius.rt import aio as rt

__all__ = ["Dedicated"]


class Dedicated:
    """Made by ``AsyncRedis.dedicated``. Nothing is sent anew, and it is not made again when it is lost."""

    def __init__(
        self,
        choose: Callable[[], rt.Awaits[Node]],
        settings: RedisSettings,
        on_push: Callable[[Any], object] | None,
        on_lost: Callable[[], object] | None,
    ) -> None:
        self._choose, self._settings = choose, settings
        self._where = "Redis"
        self._on_push, self._on_lost = on_push, on_lost
        self._pushes: deque[Any] = deque()
        self._line: aio.Line | None = None
        self._why = "it is not open"

    @classmethod
    def on(
        cls,
        node: Node,
        settings: RedisSettings,
        on_push: Callable[[Any], object] | None = None,
        on_lost: Callable[[], object] | None = None,
    ) -> Self:
        """With this server."""

        async def choose() -> Node:
            return node

        return cls(choose, settings, on_push, on_lost)

    @classmethod
    def of(cls, node: Node, settings: RedisSettings, line: aio.Line) -> Self:
        """Over a connection that is there already."""
        made = cls.on(node, settings)
        made._line, made._where = line, node.where
        return made

    async def __aenter__(self) -> Self:
        node = await self._choose()
        self._where = node.where
        self._line = await node.open(self._pushed, self._lost)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Safe to repeat."""
        line, self._line = self._line, None
        self._why = "it is closed"
        if line is not None:
            await line.close()

    @property
    def where(self) -> str:
        """The server, as a URL without password."""
        return self._where

    @property
    def lost(self) -> bool:
        """It cannot be used any more."""
        return self._line is None or self._line.closed

    async def call(self, *command: Any, timeout: float | None = None) -> Any:
        """The reply to one command. ``timeout``: seconds; ``RedisSettings.timeout`` if left out, ``math.inf`` for none."""
        line = self._open()
        try:
            return await line.one(pack_command(command), self._settings.timeout if timeout is None else timeout)
        except Lost as error:
            raise self._gone(error) from error

    async def calls(self, commands: Iterable[Sequence[Any]], *, timeout: float | None = None) -> list[Any]:
        """The replies to many commands; refusals are among them, as exceptions."""
        many = list(commands)
        if not many:
            return []
        line = self._open()
        limit = self._settings.timeout if timeout is None else timeout
        try:
            return await line.many(pack_commands(many), len(many), limit)
        except Lost as error:
            raise self._gone(error) from error

    async def send(self, *command: Any) -> None:
        """Sends what the server answers with pushes alone: SUBSCRIBE, UNSUBSCRIBE and their like."""
        try:
            self._open().post(pack_command(command))
        except Lost as error:
            raise self._gone(error) from error

    async def next_push(self, timeout: float | None = None) -> Any:
        """The next thing that the server sends unasked, a list; None if there is none within ``timeout`` seconds. Raises
        ``RedisUnavailable`` when the connection is lost."""
        deadline = inf if timeout is None else monotonic() + timeout
        while not self._pushes:
            line = self._open()
            left = deadline - monotonic()
            if left <= 0:
                return None
            await line.listen(left)
        return self._pushes.popleft()

    async def pushes(self) -> AsyncIterator[Any]:
        """All that the server sends unasked, as it comes, until the connection is lost (``RedisUnavailable``)."""
        while True:
            yield await self.next_push()

    def _open(self) -> aio.Line:
        line = self._line
        if line is None or line.closed:
            raise RedisUnavailable(f"The connection to {self._where} cannot be used: {self._why}")
        return line

    def _pushed(self, push: Any) -> None:
        if self._on_push is not None:
            self._on_push(push)
        elif len(self._pushes) < self._settings.max_pending:
            self._pushes.append(push)
        elif self._line is not None:
            self._line.lose(f"{len(self._pushes):,} pushes were not taken ($.redis.max_pending)")

    def _lost(self, line: aio.Line, why: str, in_flight: bool) -> None:
        self._why = why
        if self._on_lost is not None and line is self._line:
            self._on_lost()

    def _gone(self, error: Lost) -> RedisUnavailable:
        text = f"The connection to {self._where} was lost: {error.why}"
        return RedisOutcomeUnknown(text) if error.sent else RedisUnavailable(text)
