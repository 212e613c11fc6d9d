"""``mailgenius queue top``: a table that is drawn anew, with plain ANSI sequences; Ctrl-C ends it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from time import monotonic, sleep
from typing import TYPE_CHECKING

import msgspec
from rich.console import Group
from rich.text import Text

from mailgenius.cli import queue_render as render
from mailgenius.errors import RedisUnavailable

if TYPE_CHECKING:
    from mailgenius.cli.terminal import Terminal
    from mailgenius.queue import Queue, ShardedQueue
    from mailgenius.queue.views import Counts

__all__ = ["top"]

_BEGIN, _END = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # another screen without a cursor; the old one
_DRAW = "\x1b[H\x1b[J"
_LEAST = 0.1  # seconds between two looks


class Look:
    """Counts at one time."""

    def __init__(self, queues: Sequence[Queue | ShardedQueue]) -> None:
        self.at = monotonic()
        self.counts: dict[str, Counts] = {queue.name: queue.counts() for queue in queues}

    def rates(self, before: Look) -> dict[str, tuple[float, float]]:
        """Jobs added and done since, a second."""
        passed, found = self.at - before.at, {}
        for name, counts in self.counts.items():
            if name in before.counts and passed > 0:
                now, then = counts.total, before.counts[name].total
                found[name] = (now.added - then.added) / passed, (now.done - then.done) / passed
        return found


def top(queues: Callable[[], Sequence[Queue | ShardedQueue]], interval: float, terminal: Terminal) -> None:
    """Once if nobody would see the second."""
    look = Look(queues())
    if terminal.json or not terminal.out.is_terminal:
        terminal.show(render.queues(look.counts))
        terminal.document(msgspec.to_builtins(look.counts))
        return
    sys.stdout.write(_BEGIN)
    try:
        before = look
        while True:
            _draw(terminal, look, before, "")
            sleep(max(_LEAST, interval))
            try:
                before, look = look, Look(queues())
            except RedisUnavailable as error:
                _draw(terminal, look, before, str(error))
    except KeyboardInterrupt:
        return
    finally:
        sys.stdout.write(_END)
        sys.stdout.flush()


def _draw(terminal: Terminal, look: Look, before: Look, trouble: str) -> None:
    with terminal.out.capture() as text:
        notes = [Text(), Text(trouble, "red")] if trouble else []
        terminal.out.print(Group(render.queues(look.counts, look.rates(before)), *notes))
    lines = text.get().splitlines()[: terminal.out.height - 1]
    sys.stdout.write(_DRAW + "\r\n".join(lines))
    sys.stdout.flush()
