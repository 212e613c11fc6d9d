# Made from jobs_async.py by `python -m tools.twin`: edit that one.
"""Commands on their way, when the straight one is not open: no connection yet, one that was lost, another node to turn to.

Invariants:
- A command is sent anew only if it was refused, if it was not sent, or if running twice does no more than running once.
- What goes to different nodes goes at once; what goes to one node, in order and in one write.
- Every job ends by its deadline, with its replies or an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from time import monotonic
from typing import Any, Protocol

from mailgenius._native import pack_commands
from mailgenius.config import RedisSettings
from mailgenius.errors import MailgeniusError, RedisOutcomeUnknown, RedisRefused, RedisTimeout, RedisUnavailable
from mailgenius.link import threads
from mailgenius.link.node_sync import Node
from mailgenius.link.replies import Lost
from mailgenius.rt import threads as rt

__all__ = ["Job", "Topology", "deliver", "shares"]

_ASKING: tuple[Any, ...] = ("ASKING",)
ANYWHERE = -1


class Job:
    """Commands that go to one node, one after the other, and what became of them."""

    __slots__ = (
        "again",
        "asks",
        "commands",
        "error",
        "losses",
        "lost",
        "moves",
        "read",
        "refused",
        "replies",
        "slot",
        "target",
    )

    def __init__(
        self, commands: Sequence[tuple[Any, ...]], again: bool, *, slot: int | None = ANYWHERE, read: bool = False
    ) -> None:
        self.commands = commands
        self.again = again  # may they be run twice?
        self.read = read  # can a replica answer them?
        self.slot = slot  # of their keys; ANYWHERE: they have none; None: the server has to be asked
        self.target: Node | None = None  # where to go instead of where the slot says
        self.asks = False  # there, with ASKING
        self.replies: list[Any] | None = None
        self.error: MailgeniusError | None = None
        self.lost: Lost | None = None
        self.refused: RedisRefused | None = None  # the last refusal that was followed
        self.losses = self.moves = 0

    @property
    def over(self) -> bool:
        return self.replies is not None or self.error is not None

    def was_lost(self, error: Lost, node: Node, retries: int) -> None:
        self.lost = error
        self.losses += 1
        if error.sent and not self.again:
            node.meters.unknown += 1
            self.error = RedisOutcomeUnknown(
                f"The connection to {node.where} was lost before the reply came; whether the command was carried out is"
                f" not known: {error.why}"
            )
            self.error.__cause__ = error
        elif self.losses > retries:
            self.error = RedisUnavailable(f"The connection to {node.where} was lost: {error.why}")
            self.error.__cause__ = error

    def was_answered(self, replies: list[Any], followed: frozenset[str]) -> RedisRefused | None:
        """A refusal that is to be followed. Of a transaction it is the first one, since then nothing was done."""
        last = replies[-1]
        if type(last) is RedisRefused and followed:
            for reply in replies:
                if type(reply) is RedisRefused and reply.code in followed:
                    self.refused = reply
                    return reply
        self.replies = replies
        return None

    def late(self, where: str, timeout: float) -> None:
        if self.refused is not None:
            self.error = RedisUnavailable(f"{where} did not take it within {timeout:g} s: {self.refused}")
            self.error.__cause__ = self.refused
        else:
            self.error = RedisTimeout(f"no connection to {where} within {timeout:g} s")


class Topology(Protocol):
    """How servers belong together."""

    @property
    def only(self) -> Node | None:
        """The node that takes all commands, if there is one."""

    @property
    def followed(self) -> frozenset[str]:
        """Codes of refusals that say that another node, or the same one later, would carry it out."""

    @property
    def where(self) -> str: ...

    def owner(self, job: Job, deadline: float) -> Node:
        """Where it goes. Raises ``RedisUnavailable``."""

    def follow(self, job: Job, refused: RedisRefused, node: Node, line: threads.Line | None) -> float:
        """Makes it go elsewhere; seconds to wait before."""


def deliver(topology: Topology, jobs: Sequence[Job], timeout: float, deadline: float, settings: RedisSettings) -> None:
    """Until all are over."""
    while left := [job for job in jobs if not job.over]:
        if monotonic() >= deadline:
            for job in left:
                job.late(topology.where, timeout)
            return
        groups: dict[Node, list[Job]] = {}
        for job in left:
            try:
                node = job.target or topology.owner(job, deadline)
            except (MailgeniusError, ValueError) as error:
                _fail(job, error)
            else:
                groups.setdefault(node, []).append(job)
        there = [(node, line, group) for node, group in groups.items() if (line := node.line) is not None]
        pause = 0.0
        for (node, line, group), answer in zip(there, _send(there, deadline), strict=True):
            if isinstance(answer, Lost):
                for job in group:
                    job.was_lost(answer, node, settings.retries)
            elif isinstance(answer, MailgeniusError):
                for job in group:
                    job.error = answer
            elif isinstance(answer, Exception):
                raise answer
            else:
                for job, replies in shares(group, answer):
                    refused = job.was_answered(replies, topology.followed)
                    if refused is not None:
                        pause = max(pause, topology.follow(job, refused, node, line))
        absent = [
            (node, waiting)
            for node, group in groups.items()
            if node.line is None and (waiting := [job for job in group if not job.over])
        ]
        for node, _ in absent:
            if not node.closed:
                node.begin()
        for node, waiting in absent:
            _connect(topology, node, waiting, deadline)
        if pause:
            rt.sleep(min(pause, max(deadline - monotonic(), 0.0)))


def _send(there: list[tuple[Node, threads.Line, list[Job]]], deadline: float) -> list[list[Any] | Exception]:
    calls = []
    for _, line, group in there:
        commands = list(chain.from_iterable(_words(job) for job in group))
        calls.append(partial(line.many, pack_commands(commands), len(commands), deadline - monotonic()))
    return rt.together(calls)


def _words(job: Job) -> Sequence[tuple[Any, ...]]:
    return (_ASKING, *job.commands) if job.asks else job.commands


def shares(group: Sequence[Job], replies: list[Any]) -> Iterator[tuple[Job, list[Any]]]:
    """Each with its part of the replies."""
    at = 0
    for job in group:
        if job.asks:
            at += 1
            job.asks, job.target = False, None
        end = at + len(job.commands)
        yield job, replies[at:end]
        at = end


def _connect(topology: Topology, node: Node, group: list[Job], deadline: float) -> None:
    """``node`` has no connection. Its jobs go on when it has one, or when they belong to another node meanwhile."""
    try:
        node.ready(deadline, any(job.lost is not None or job.refused is not None for job in group))
    except RedisUnavailable as error:
        for job in group:
            if job.asks:
                job.asks, job.target = False, None
            try:
                if (job.target or topology.owner(job, deadline)) is node:
                    job.error = error
            except (MailgeniusError, ValueError) as other:
                _fail(job, other)


def _fail(job: Job, error: MailgeniusError | ValueError) -> None:
    if not isinstance(error, MailgeniusError):
        raise error
    job.error = error
