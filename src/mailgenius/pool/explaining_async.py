"""Why slow reads are slow: some of them are explained afterwards, in the background.

Invariants: callers do not wait for it; one statement at a time, those that come meanwhile are left out; a connection of
its own, so that the pool's are left alone; nothing is run (``EXPLAIN`` without ``ANALYZE``), in a read-only transaction
that waits for no lock longer than a second.
"""

from __future__ import annotations

import random
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from mailgenius.pool.plans import plan_text
from mailgenius.pool.queries import query
from mailgenius.pool.statements import SlowCall
from mailgenius.pool.tracked_async import Tracked
from mailgenius.rt import aio as rt

__all__ = ["Explainer"]

KEPT = 100  # slow calls of which more is known: as many as QueryStats keeps
_GENTLY = (
    "select set_config('transaction_read_only', 'on', true), set_config('lock_timeout', '1s', true),"
    " set_config('statement_timeout', '5s', true)"
)


class Explainer:
    """``share`` of the slow reads is explained. ``values``: parameters are kept, and shown in plans."""

    def __init__(self, connect: Callable[[], rt.Awaits[Tracked]], *, share: float, values: bool) -> None:
        self._connect = connect
        self._share = share
        self._values = values
        self._turn = deque([True])  # who takes it may explain; empty while somebody does
        self._running: rt.Spawned | None = None
        self._params: OrderedDict[int, Any] = OrderedDict()  # by the number of the slow call
        self._plans: OrderedDict[int, str] = OrderedDict()

    def slow(self, number: int, text: str, params: Sequence[Any] | Mapping[str, Any] | None) -> None:
        """The slow call with this number was of this statement."""
        if params is not None:  # the caller may change his own
            params = dict(params) if isinstance(params, Mapping) else tuple(params)
        if self._values:
            _keep(self._params, number, params)
        if random.random() >= self._share or not query(text, params is not None).reads:  # noqa: S311 - a sample
            return
        try:
            self._turn.pop()
        except IndexError:
            return
        self._running = rt.spawn(self._explain, number, text, params)

    def known(self, call: SlowCall) -> SlowCall:
        """The slow call with what is known of it."""
        return msgspec.structs.replace(
            call, detail=self._params.get(call.number, call.detail), plan=self._plans.get(call.number, "")
        )

    async def close(self) -> None:
        """Waits for what is under way; seconds at most."""
        self._turn.clear()
        if self._running is not None:
            await self._running.join()

    async def _explain(self, number: int, text: str, params: Any) -> None:
        try:
            async with await self._connect() as connection, connection.transaction(force_rollback=True):
                await connection.execute(_GENTLY)
                cursor = await connection.execute(f"explain (format json) {text}".encode(), params)
                ((explained,),) = await cursor.fetchall()
                plan = plan_text(explained, values=self._values)
        except Exception as error:  # whatever it is, it is not the caller's
            plan = f"(not explained: {type(error).__name__})"
        _keep(self._plans, number, plan)
        self._turn.append(True)


def _keep(kept: OrderedDict[int, Any], number: int, what: Any) -> None:
    kept[number] = what
    while len(kept) > KEPT:
        kept.popitem(last=False)
