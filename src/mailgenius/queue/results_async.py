"""What became of a job, and waiting for it. All who wait for results of a queue share one reader of its events."""

from __future__ import annotations

from time import monotonic
from typing import Any

from mailgenius.errors import JobFailed, NotFound, RedisUnavailable, ResultTimeout
from mailgenius.link import AsyncRedis
from mailgenius.queue.inspection_async import Inspection
from mailgenius.queue.policy import Policy
from mailgenius.queue.stream_async import BLOCK, Stream
from mailgenius.queue.views import decoded, error_text
from mailgenius.rt import aio as rt

__all__ = ["Results"]

_ENDS = frozenset({"completed", "failed", "removed"})
_PAUSE = 0.1  # seconds after the connection was lost


class Results(Inspection, Stream):
    """The part of a queue that waits for jobs to end."""

    def __init__(
        self, redis: AsyncRedis, name: str, policy: Policy | None, timeout: float, unsafe: bool, shard: int = 0
    ) -> None:
        super().__init__(redis, name, policy, timeout, unsafe, shard)
        self._waiting: dict[str, list[rt.Event]] = {}
        self._reading = False
        self._lock = rt.Lock()

    async def result(self, id: str, wait: float = 0.0) -> Any:
        """What the job's handler returned, if the job was to keep that (``keep_result``).

        ``wait``: seconds to wait for its end. Raises ``ResultTimeout`` if it has not ended by then, ``JobFailed`` if it is
        dead, ``NotFound`` if there is no such job, or its result was not kept.
        """
        deadline = monotonic() + wait
        ended = rt.Event()
        listening = False
        try:
            while True:
                state, _, _, _, error, _, result, *_ = await self._look("show", id)
                if state == b"failed":
                    raise JobFailed(f"Job {self.ids}{id} of {self.name!r} failed: {error_text(error)}")
                if not state:
                    if result:
                        return decoded(result)
                    raise NotFound(
                        f"No result of job {self.ids}{id} in {self.name!r}: there is no such job, or it was not kept"
                    )
                left = deadline - monotonic()
                if left <= 0:
                    raise ResultTimeout(f"Job {self.ids}{id} of {self.name!r} is {state.decode()} after {wait:g} s")
                if not listening:
                    listening = True
                    await self._listen(id, ended)
                    continue  # it may have ended meanwhile
                await rt.wait(ended, min(left, BLOCK))
                ended.clear()
        finally:
            if listening:
                self._waiting[id].remove(ended)
                if not self._waiting[id]:
                    del self._waiting[id]

    async def _listen(self, id: str, ended: rt.Event) -> None:
        async with self._lock:
            self._waiting.setdefault(id, []).append(ended)
            if not self._reading:
                since = await self._last_event()
                self._reading = True
                rt.spawn(self._read, since)

    async def _read(self, since: str) -> None:
        """Tells those who wait, as long as there are any."""
        while True:
            async with self._lock:
                if not self._waiting:
                    self._reading = False
                    return
            try:
                happened = await self._next_events(since)
            except RedisUnavailable:
                await rt.sleep(_PAUSE)
                for id in list(self._waiting):  # they look themselves
                    self._tell(id)
                continue
            for event in happened:
                since = event.cursor
                if event.kind in _ENDS:
                    for id in event.ids:
                        self._tell(id)

    def _tell(self, id: str) -> None:
        for ended in list(self._waiting.get(id, ())):
            ended.set()
