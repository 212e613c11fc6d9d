# Made from replicas_async.py by `python -m tools.twin`: edit that one.
"""Reads on standbys, writes on the primary, whichever server that is.

Purpose: a pool with replicas watches all of its servers and knows for each how fresh it is (``nodes``). A read goes to a
replica that is fresh enough; if there is none, or it fails there, the primary has the last word. When another server has
become the primary, the pool's own connections move to it.

Invariants: no caller waits for a server that is known to be down: those that were asking it when that showed are sent
elsewhere at once. Connections that read on a replica are read-only, so a read that turns out to write is refused before it
did anything, even by a server that has just become the primary.

Limits: what a server has become is noticed at the next look (a fifth of ``replica_lag``, at most a second later); one that
goes silent without closing its connections, after ``SILENCE``.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import make_conninfo

from mailgenius.errors import DatabaseUnavailable, QueryTimeout
from mailgenius.pool import recent
from mailgenius.pool.conninfo import brief, parse, where
from mailgenius.pool.deadlines_sync import Deadlines
from mailgenius.pool.nodes import Cluster, Look, Node, NodeStat, pause, position
from mailgenius.pool.queries import query
from mailgenius.pool.routes import Routes
from mailgenius.pool.tracked_sync import Tracked
from mailgenius.rt import threads as rt

if TYPE_CHECKING:
    from mailgenius.pool._sync import Pool

__all__ = ["Replicas"]

SILENCE = 1.0  # seconds a server may take to say how it is
RESTING = 5.0  # seconds between two looks at a pool that nobody uses
UNUSED = 60.0  # seconds without a read until nobody does
ROUND = 1.0  # seconds that a caller waits to hear of another primary
NOT_HERE = ("25006", "55000")  # what a standby says to a statement that only a primary can run

LOOK = """
select not pg_is_in_recovery() and not current_setting('default_transaction_read_only')::bool,
       pg_is_in_recovery(),
       (case when pg_is_in_recovery() then coalesce(pg_last_wal_replay_lsn(), '0/0')
             else pg_current_wal_insert_lsn() end - '0/0'::pg_lsn)::int8,
       pg_size_bytes(current_setting('wal_segment_size'))::int8,
       case when pg_is_in_recovery() then (select received_tli from pg_stat_wal_receiver)
            else ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int8 end
"""
SYSTEM = "select system_identifier from pg_control_system()"


class Member:
    """One server: what is known about it, and what is open to it."""

    def __init__(self, parts: dict[str, Any]) -> None:
        self.parts = parts
        self.node = Node(where(parts))
        self.pool: Pool | None = None  # reads, while it serves as a replica
        self.wake = rt.Event()
        self.rounds = 0  # looks that came to an end
        self.system: int | None = None
        self.connection: Tracked | None = None  # for looking


class Replicas(Routes):
    def __init__(self, primary: Pool, urls: Sequence[str], parts: dict[str, Any]) -> None:
        super().__init__(1)
        self._primary = primary
        self._bound = primary.settings.replica_lag
        self._interval = min(self._bound / 5, 1.0)
        self._members = [Member(parts)]
        for number, url in enumerate(urls):
            replica = parse(url, primary.settings, f"$.pool.replicas[{number}]")
            self._members.append(Member({"target_session_attrs": "any"} | replica))
        self.cluster = Cluster([member.node for member in self._members])
        self._turn, self._starts = itertools.count(), itertools.count()
        self._deadlines = Deadlines()
        self._watchers: list[rt.Spawned] = []
        self._leaving: list[rt.Spawned] = []
        self._used = monotonic()
        self._closed = False

    # -- reads ---------------------------------------------------------------------------------------------------

    def rows(self, text: str, params: Any, kind: Any, timeout: float | None) -> list[Any]:
        """All rows, from a replica if it may be."""
        began = monotonic()
        self.used(began)
        read = query(text, params is not None)
        member = self._fresh(began) if self.takes(read) else None
        pool = None if member is None else member.pool
        if member is None or pool is None:
            return self._primary._rows(text, params, kind, timeout)
        seconds = self._primary.settings.query_timeout if timeout is None else timeout
        try:
            rows = pool._rows(text, params, kind, seconds)
        except psycopg.Error as error:  # its schema may be behind, a vacuum may have been replayed, …
            if error.sqlstate in NOT_HERE:
                self.avoid(read)
        except DatabaseUnavailable as error:
            member.node.down(str(error))
            member.wake.set()
        else:
            member.node.reads += 1
            return rows
        left = began + seconds - monotonic()
        if left <= 0:
            raise QueryTimeout(f"The statement took longer than {seconds:g} s; no server had answered by then.")
        return self._primary._rows(text, params, kind, left)

    def _fresh(self, now: float) -> Member | None:
        least = max(now - self._bound, recent.floor())
        fresh = [member for member in self._members if member.node.as_of >= least and member.pool is not None]
        return fresh[next(self._turn) % len(fresh)] if fresh else None

    # -- what it is like -----------------------------------------------------------------------------------------

    def nodes(self) -> list[NodeStat]:
        now = monotonic()
        return [self.cluster.stat(member.node, now) for member in self._members]

    def stats(self) -> dict[str, int]:
        return {
            "replicas_up": sum(member.pool is not None for member in self._members),
            "replica_reads": sum(member.node.reads for member in self._members),
            "primary_changes": self.cluster.changes,
        }

    # -- watching ------------------------------------------------------------------------------------------------

    def used(self, now: float) -> None:
        """Somebody needs the pool: it is watched from now on."""
        rested = now - self._used > UNUSED
        self._used = now
        if not self._watchers and not self._closed and not next(self._starts):  # several threads may come here at once
            self._watchers = [rt.spawn(self._watch, member) for member in self._members]
        elif rested:
            self._wake()

    def look_again(self, moves: int) -> bool:
        """Has the pool moved to another primary, since there were ``moves``? Looks at all servers, if it has not yet."""
        began = monotonic()
        self.used(began)
        rounds = [member.rounds for member in self._members]
        self._wake()
        while self._primary._moves == moves and monotonic() - began < ROUND and not self._closed:
            if all(member.rounds > seen for member, seen in zip(self._members, rounds, strict=True)):
                break
            rt.sleep(0.01)
        return self._primary._moves != moves

    def close(self) -> None:
        self._closed = True
        self._wake()
        self._deadlines.cut()
        for watcher in self._watchers:
            watcher.join()
        for member in self._members:
            pool, member.pool = member.pool, None
            if pool is not None:
                pool.close()
        for leaving in self._leaving:
            leaving.join()

    def _wake(self) -> None:
        for member in self._members:
            member.wake.set()

    def _watch(self, member: Member) -> None:
        try:
            while not self._closed:
                began = monotonic()
                try:
                    look = self._look(member)
                except (psycopg.Error, OSError) as error:
                    self._down(member, brief(error))
                else:
                    self._saw(member, began, look)
                member.rounds += 1
                self._rest(member, began)
        finally:  # closed, or the loop ends
            self._forget(member)

    def _rest(self, member: Member, now: float) -> None:
        """Until the next look; shorter if somebody wants to know, and not at all if we are closed."""
        if self._closed:
            return
        if member.node.up:
            seconds = self._interval if now - self._used < UNUSED else RESTING
        else:
            rt.sleep(0.02)  # however many callers want to know
            seconds = pause(member.node.failures, random.random())  # noqa: S311 - not a secret
        rt.wait(member.wake, seconds)
        member.wake.clear()

    def _look(self, member: Member) -> Look:
        """Asks a server how it is. ``psycopg.Error``: it does not say."""
        try:
            connection = member.connection
            if connection is None:
                known = make_conninfo("", **member.parts | {"connect_timeout": 2})
                connection = Tracked.connect(
                    known, meters=self._primary._meters, reason="probe", autocommit=True, prepare_threshold=None
                )
                member.connection = connection
                member.system = self._system(connection)
            row = self._ask(connection, LOOK)
        except BaseException:
            self._forget(member)
            raise
        writable, standby, at, segment, timeline = row
        look = Look(
            writable=writable,
            standby=standby,
            position=position(at, segment),
            timeline=timeline,
            system=member.system,
        )
        if not writable and member.node is self.cluster.writer:
            self._forget(member)  # of several hosts, another one may take writes by now
        return look

    def _system(self, connection: Tracked) -> int | None:
        try:
            (number,) = self._ask(connection, SYSTEM)
        except psycopg.errors.InsufficientPrivilege:
            return None
        return int(number)

    def _ask(self, connection: Tracked, text: str) -> tuple[Any, ...]:
        watched = self._deadlines.watch(connection, SILENCE, cancel=False)
        try:
            row = (connection.execute(text.encode())).fetchone()
        finally:
            self._deadlines.done(watched)
        assert row is not None  # noqa: S101 - a select without from
        return tuple(row)

    def _forget(self, member: Member) -> None:
        connection, member.connection = member.connection, None
        if connection is not None:
            connection.close()

    # -- what a look leads to ------------------------------------------------------------------------------------

    def _saw(self, member: Member, began: float, look: Look) -> None:
        changed = self.cluster.saw(member.node, began, monotonic(), look)
        writer = next(other for other in self._members if other.node is self.cluster.writer)
        if changed:
            self._leave(writer)
            self._primary._move(writer.parts)
        if member.node.as_of > float("-inf"):
            if member.pool is None and member is not writer and not self._closed:
                member.pool = self._reader(member)
        elif member.node.error is not None:
            self._leave(member)

    def _down(self, member: Member, why: str) -> None:
        member.node.down(why)
        self._leave(member)

    def _leave(self, member: Member) -> None:
        """Whoever asks there now is answered by the primary."""
        pool, member.pool = member.pool, None
        self._leaving = [one for one in self._leaving if one.running]
        if pool is not None:
            self._leaving.append(rt.spawn(pool._abandon))

    def _reader(self, member: Member) -> Pool:
        primary = self._primary
        known = make_conninfo("", **member.parts | {"connect_timeout": 2})
        pool = type(primary)(
            known,
            settings=primary.settings,
            replicas=(),
            on_connect=primary._on_connect,
            on_lost=primary._on_lost,
        )
        pool._reading = True
        return pool
