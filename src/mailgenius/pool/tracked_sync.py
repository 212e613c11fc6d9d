# Made from tracked_async.py by `python -m tools.twin`: edit that one.
"""A connection that tells the pool's meters when it came and why it went.

The reasons: ``idle`` (not needed for ``max_idle``), ``lifetime`` (too old), ``broken`` (the server or the network ended
it), ``check`` (found dead when a caller asked for one), ``slow`` (a cancelled statement would not end), ``reset`` (it came
back in the middle of something that could not be undone), ``caller`` (who had it closed it), ``probe`` (it was to see
whether the server is there), ``explain`` (it was for the plan of a slow statement), ``close`` (the pool was closed, or made
anew after the server had been away).
"""

from __future__ import annotations

from time import monotonic
from typing import Any, Self

import psycopg

from mailgenius.pool.meters import Meters, State
from mailgenius.pool.rows import Row

__all__ = ["Tracked"]


class Tracked(psycopg.Connection[Row]):
    meters: Meters[Tracked]
    state: State

    @classmethod
    def connect(  # type: ignore[override]
        cls, conninfo: str = "", *, meters: Meters[Tracked], reason: str = "", **kwargs: Any
    ) -> Self:
        """``reason``: why it will go, where that is known from the beginning."""
        began = monotonic()
        try:
            connection = super().connect(conninfo, **kwargs)
        except psycopg.Error:
            meters.refused.observe(monotonic() - began)
            raise
        connection.meters = meters
        connection.state = meters.came(connection, monotonic() - began)
        connection.state.reason = reason
        return connection

    def close(self) -> None:
        self.ended()
        super().close()

    def ended(self, reason: str = "", error: Exception | None = None) -> None:
        """It is closed, or about to be. Only the first time counts."""
        if hasattr(self, "state"):
            said = error or psycopg.OperationalError(" ".join(self.pgconn.get_error_message().split()))
            self.meters.gone(self, self.state.reason or reason or self._why(), said)

    def _why(self) -> str:
        state = self.state
        if self.closed:
            return "broken"
        if state.since:
            return "caller"
        if self.pgconn.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            return "reset"
        if self.meters.closing or state.returning is None:
            return "close"
        return "lifetime" if state.returning else "idle"
