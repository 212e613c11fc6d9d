# Made from single_async.py by `python -m tools.twin`: edit that one.
"""One server: all commands go there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mailgenius.errors import RedisRefused
from mailgenius.link import threads
from mailgenius.link.commands import Kind
from mailgenius.link.jobs_sync import ANYWHERE, Job
from mailgenius.link.node_sync import Node

__all__ = ["Single"]


class Single:
    """A ``Topology``; ``Sentinel`` is another, ``Cluster`` the third."""

    followed: frozenset[str] = frozenset()
    clustered = False
    primary = "primary"

    def __init__(self, node: Node) -> None:
        self.only: Node | None = node
        self._node = node

    @property
    def where(self) -> str:
        return self._node.where

    @property
    def closed(self) -> bool:
        return self._node.closed

    @property
    def available(self) -> bool:
        """Is there a node that is not known to be down?"""
        return self._node.down is None and not self._node.closed

    @property
    def pending(self) -> int:
        line = self._node.line
        return 0 if line is None else line.pending

    def pick(self, command: tuple[Any, ...], known: Kind) -> Node | None:
        """Where a command goes; None: see ``owner``. Raises ValueError for one that goes nowhere."""
        return self._node

    def split(self, many: Sequence[tuple[Any, ...]], kinds: Sequence[Kind]) -> dict[Node, list[int]]:
        """The places of commands that go to each node, as of ``pick``; none if it does not know all of them."""
        groups: dict[Node, list[int]] = {}
        for at, (command, known) in enumerate(zip(many, kinds, strict=True)):
            if (node := self.pick(command, known)) is None:
                return {}
            groups.setdefault(node, []).append(at)
        return groups

    def slot(self, command: tuple[Any, ...], known: Kind) -> int | None:
        """That of a job."""
        return ANYWHERE

    def everywhere(self, command: tuple[Any, ...], known: Kind) -> bool:
        """Does it go to all nodes that take changes?"""
        return False

    def owner(self, job: Job, deadline: float) -> Node:
        return self._node

    def follow(self, job: Job, refused: RedisRefused, node: Node, line: threads.Line | None) -> float:
        raise refused

    def known(self, deadline: float) -> list[tuple[Node, str]]:
        """All nodes, and what they are: primary or replica."""
        return [(self._node, self.primary)]

    def primaries(self) -> list[Node]:
        """Those that changes may go to, as far as is known now."""
        return [self._node]

    def close(self) -> None:
        self._node.close()
