"""The servers of a pool with replicas: who takes writes, how far behind the others are. Pure: times and looks in.

How fresh a replica is, without comparing the clocks of machines: the primary is asked for its position in the log again
and again. A replica that has replayed position P shows all that was committed before the newest moment at which the
primary was still at P or before it. That holds for an idle primary too, whose last commit may be an hour old.

Invariants: ``as_of`` is minus infinity for a server that must not serve reads: it is down, takes the writes, belongs to
another cluster, or has gone a way of its own. A server that takes writes is left for another one only when it is gone or
refuses them, and only for one whose history is not older.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import msgspec

__all__ = ["Cluster", "Look", "Node", "NodeStat", "pause", "position"]

NEVER = float("-inf")
SAMPLES = 512  # of the primary's position: some minutes
PAGE = 8192  # of the log


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What a server said about itself."""

    writable: bool
    standby: bool
    position: int  # in the log: written (primary) or replayed (standby)
    timeline: int | None  # of the log; None: it would not say
    system: int | None  # the cluster's number; None: it would not say


class NodeStat(msgspec.Struct, frozen=True, kw_only=True):
    """One server as ``nodes()`` shows it."""

    where: str  # without the password
    role: str  # primary, replica
    up: bool
    lag: float | None  # seconds that it may be behind, at most; None: not known
    reads: int  # that it has answered as a replica
    error: str | None  # why it does not serve


class Node:
    """What is known about one server."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.up = False
        self.look: Look | None = None
        self.ended = NEVER  # when it gave that answer
        self.as_of = NEVER  # it shows what was committed before this moment
        self.reads = 0
        self.failures = 0  # in a row
        self.error: str | None = None
        self.astray: int | None = None  # the position at which it was seen to be ahead of the primary

    def down(self, why: str) -> None:
        self.up, self.as_of, self.error = False, NEVER, why
        self.failures += 1


class Cluster:
    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = list(nodes)
        self.writer = self.nodes[0]
        self.changes = 0  # of the primary
        self._system: int | None = None
        self._timeline: int | None = None  # of the primary
        self._samples: tuple[tuple[int, float], ...] = ()  # the primary's position, and when it was asked

    def saw(self, node: Node, began: float, ended: float, look: Look) -> bool:
        """``node`` answered; it was asked at ``began``. True: connections to the primary have to be made anew."""
        node.up, node.failures, node.error = True, 0, None
        node.look, node.ended = look, ended
        if self._system is None and node is self.writer:
            self._system = look.system
        changed = self._elect()
        if node is self.writer:
            node.as_of = NEVER
            if look.writable and look.timeline != self._timeline:
                changed = changed or self._timeline is not None
                self._timeline, self._samples = look.timeline, ()
            if look.writable:
                self._sample(began, look.position)
        else:
            self._judge(node, look)
        self.changes += changed
        return changed

    def lag(self, node: Node, now: float) -> float | None:
        """Seconds; None: it cannot be said."""
        if node is self.writer:
            return 0.0 if node.up else None
        return None if node.as_of == NEVER else max(now - node.as_of, 0.0)

    def stat(self, node: Node, now: float) -> NodeStat:
        role = "primary" if node is self.writer else "replica"
        return NodeStat(
            where=node.where, role=role, up=node.up, lag=self.lag(node, now), reads=node.reads, error=node.error
        )

    def _elect(self) -> bool:
        """Another primary, if ours is gone or refuses writes, and there is one."""
        if self.writer.up and self.writer.look is not None and self.writer.look.writable:
            return False
        if not self.writer.up and not self.writer.failures:  # not asked yet: it may just be slower than the others
            return False
        best: Node | None = None
        for node in self.nodes:
            look = node.look
            if node is self.writer or not node.up or look is None or not look.writable or not self._ours(look):
                continue
            if (look.timeline or 0) < (self._timeline or 0):
                continue  # an old primary that came back
            if best is None or best.look is None or (look.timeline or 0) > (best.look.timeline or 0):
                best = node
        if best is None or best.look is None:
            return False
        self.writer = best
        self._timeline, self._samples = best.look.timeline, ()
        for node in self.nodes:
            node.as_of = NEVER
        return True

    def _ours(self, look: Look) -> bool:
        return look.system is None or self._system is None or look.system == self._system

    def _sample(self, began: float, at: int) -> None:
        self._samples = (*self._samples[1 - SAMPLES :], (at, began))
        for node in self.nodes:
            look = node.look
            if node is not self.writer and look is not None and node.ended < began and look.position > at:
                node.astray, node.as_of = look.position, NEVER
                node.error = "it is ahead of the primary: its history is another one"

    def _judge(self, node: Node, look: Look) -> None:
        """How fresh is it, if it may be read at all?"""
        node.as_of = NEVER
        if not self._ours(look):
            node.error = "it belongs to another cluster (its system identifier is not the primary's)"
        elif look.timeline is not None and self._timeline is not None and look.timeline != self._timeline:
            node.error = f"it is on timeline {look.timeline}, the primary on {self._timeline}"
        elif node.astray == look.position:
            node.error = "it is ahead of the primary: its history is another one"
        else:
            node.astray = None
            samples = self._samples
            if index := bisect_right(samples, look.position, key=lambda sample: sample[0]):
                node.as_of = samples[index - 1][1]


def position(lsn: int, segment: int) -> int:
    """``lsn`` without the header of a log page that nothing was written to yet: a primary's next record goes behind the
    header, a standby's last one ended before it. ``segment``: bytes of a log file."""
    if lsn % segment == 40:
        return lsn - 40
    return lsn - 24 if lsn % PAGE == 24 else lsn


def pause(failures: int, chance: float) -> float:
    """Seconds until the next look at a server that is down: longer and longer, up to 0.3 s. ``chance``: from 0 to
    1, so that processes do not look all at once."""
    return float(min(0.3, 0.05 * 2 ** min(failures, 10)) * (0.5 + chance / 2))
