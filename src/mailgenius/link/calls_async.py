"""Commands and their replies, whatever servers they go to.

Invariants: a call ends with its reply or with an error that says what the caller can do, at its deadline at the latest. A
command whose reply was lost is sent anew only if running twice does no more than running once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from mailgenius._native import as_commands, pack_command, pack_commands
from mailgenius.config import RedisSettings
from mailgenius.errors import MailgeniusError, RedisOutcomeUnknown, RedisRefused, RedisUnavailable
from mailgenius.link.cluster_async import Cluster
from mailgenius.link.commands import WORDS, Kind, kind, name
from mailgenius.link.dedicated_async import Dedicated
from mailgenius.link.jobs_async import ANYWHERE, Job, deliver, shares
from mailgenius.link.meters import Meters
from mailgenius.link.node_async import Node
from mailgenius.link.replies import Lost, whole
from mailgenius.link.scripts_async import Script
from mailgenius.link.single_async import Single
from mailgenius.rt import aio as rt

__all__ = ["Calls"]

_MULTI, _EXEC = pack_command(("MULTI",)), pack_command(("EXEC",))
MOVES = 16  # times that a waiting command is sent somewhere else


class Calls:
    """What ``AsyncRedis`` and each of its nodes can do."""

    def __init__(self, topology: Single | Cluster, settings: RedisSettings, meters: Meters) -> None:
        self.settings = settings
        self._topology = topology
        self._only, self._followed = topology.only, topology.followed
        self._meters = meters
        self._timeout, self._slow = settings.timeout, settings.slow_timeout

    # -- calls ---------------------------------------------------------------------------------------------------

    async def call(self, *command: Any, timeout: float | None = None) -> Any:
        """The reply to one command, ``call("GET", key)``: bytes, int, float, bool, None, list or dict.

        Words are str, bytes, int, float or buffers. ``timeout``: seconds; ``RedisSettings.timeout`` if left out, or
        ``slow_timeout`` for what takes long by nature. Raises ``RedisRefused``, ``RedisTimeout``, ``RedisUnavailable``
        and ``RedisOutcomeUnknown``; ValueError for commands that wait, or change the state of their connection, and in a
        Cluster for those that no single node can carry out.
        """
        try:
            known = WORDS.get(command[0]) or kind(command)
        except (IndexError, TypeError):  # no word at all, or one that cannot be looked up
            known = kind(command)
        if known.own:
            raise ValueError(_elsewhere(command))
        if timeout is None:
            timeout = self._slow if known.slow else self._timeout
        packed = pack_command(command)
        node = self._only or self._topology.pick(command, known)
        line = None if node is None else node.line
        lost, refused = None, None
        if line is not None:
            try:
                return await line.one(packed, timeout)
            except Lost as error:
                lost = error
            except RedisRefused as error:
                if error.code not in self._followed:
                    raise
                refused = error
        elif node is not None:
            self._unless_refused(node)
        deadline = timeout + (lost.since if lost is not None and lost.since else monotonic())
        if node is None and self._topology.everywhere(command, known):
            return await self._everywhere(command, known, timeout, deadline)
        job = self._job(command, known)
        if node is not None and lost is not None:
            job.was_lost(lost, node, self.settings.retries)
        elif node is not None and refused is not None:
            job.refused = refused
            await self._topology.follow(job, refused, node, line)
        await deliver(self._topology, (job,), timeout, deadline, self.settings)
        reply = _replies(job)[0]
        if type(reply) is RedisRefused:
            raise reply
        return reply

    async def calls(
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

        In a Cluster they are split by node and sent to all nodes at once; with ``errors="return"``, ``RedisUnavailable``
        stands for the replies of nodes that are down. ``atomic`` needs keys of one slot (ValueError).
        """
        many = as_commands(commands)
        if not many:
            return []
        again, slow = True, False
        kinds = []
        for command in many:
            try:
                known = WORDS.get(command[0]) or kind(command)
            except TypeError:  # a word that cannot be looked up
                known = kind(command)
            if known.own:
                raise ValueError(_elsewhere(command))
            again = again and known.again
            slow = slow or known.slow
            kinds.append(known)
        if timeout is None:
            timeout = self._slow if slow else self._timeout
        if self._only is not None:
            replies = await self._calls_of_one(self._only, many, kinds, again, atomic, timeout)
        elif atomic:
            pack_commands(many)  # what is wrong there, is said before anything is sent
            replies = await self._transaction(many, self._slot_of_all(many, kinds), again, timeout)
        else:
            replies = await self._calls_of_many(many, kinds, timeout)
            if errors == "raise":
                _raise(replies, [known.again for known in kinds])
        if errors == "raise":
            for reply in replies:
                if type(reply) is RedisRefused:
                    raise reply
        return replies

    async def _calls_of_one(
        self, node: Node, many: list[tuple[Any, ...]], kinds: list[Kind], again: bool, atomic: bool, timeout: float
    ) -> list[Any]:
        """All to one server, in one write."""
        packed, count = pack_commands(many), len(many)
        if atomic:
            packed, count = b"".join((_MULTI, packed, _EXEC)), count + 2
        lost: Lost | None = None
        replies: list[Any] = []
        if (line := node.line) is not None:
            try:
                replies = await line.many(packed, count, timeout)
            except Lost as error:
                lost = error
            else:
                if not any(type(one) is RedisRefused and one.code in self._followed for one in replies):
                    return whole(replies, atomic)
        else:
            self._unless_refused(node)
        deadline = timeout + (lost.since if lost is not None and lost.since else monotonic())
        if atomic:
            jobs = [Job([("MULTI",), *many, ("EXEC",)], again)]
        elif self._followed:
            jobs = [self._job(command, known) for command, known in zip(many, kinds, strict=True)]
        else:
            jobs = [Job(many, again)]
        if lost is not None:
            for job in jobs:
                job.was_lost(lost, node, self.settings.retries)
        elif replies:
            for job, part in shares(jobs, replies):
                if (refused := job.was_answered(part, self._followed)) is not None:
                    await self._topology.follow(job, refused, node, line)
        await deliver(self._topology, jobs, timeout, deadline, self.settings)
        _raise([job.error or job.replies for job in jobs], [job.again for job in jobs])
        return whole([reply for job in jobs for reply in _replies(job)], atomic)

    async def _calls_of_many(self, many: list[tuple[Any, ...]], kinds: list[Kind], timeout: float) -> list[Any]:
        """Each to its node; errors are among the replies. What does not come through at once becomes a job."""
        deadline = timeout + monotonic()
        try:
            groups = self._topology.split(many, kinds)
            packed = {node: pack_commands([many[at] for at in places]) for node, places in groups.items()}
        except TypeError:
            pack_commands(many)  # says where the word stands that is none
            raise
        if not groups:
            pack_commands(many)
        replies: list[Any] = [None] * len(many)
        jobs: dict[int, Job] = {}
        there = [(node, line, places) for node, places in groups.items() if (line := node.line) is not None]
        calls = [partial(line.many, packed[node], len(places), timeout) for node, line, places in there]
        for (node, line, places), answer in zip(there, await rt.together(calls), strict=True):
            if isinstance(answer, list):
                for at, reply in zip(places, answer, strict=True):
                    replies[at] = reply
                    if type(reply) is RedisRefused and reply.code in self._followed:
                        jobs[at] = job = self._job(many[at], kinds[at])
                        job.refused = reply
                        await self._topology.follow(job, reply, node, line)
            elif isinstance(answer, Lost):
                for at in places:
                    jobs[at] = job = self._job(many[at], kinds[at])
                    job.was_lost(answer, node, self.settings.retries)
            elif isinstance(answer, MailgeniusError):
                for at in places:
                    replies[at] = answer
            else:
                raise answer
        if len(there) < len(groups):
            sent = {node for node, _, _ in there}
            for node, places in groups.items():
                if node not in sent:
                    jobs |= {at: self._job(many[at], kinds[at]) for at in places}
        elif not groups:
            jobs = {at: self._job(command, known) for at, (command, known) in enumerate(zip(many, kinds, strict=True))}
        if jobs:
            left = sorted(jobs.items())  # what goes to one node stays in order
            await deliver(self._topology, [job for _, job in left], timeout, deadline, self.settings)
            for at, job in left:
                replies[at] = job.error or _replies(job)[0]
        return replies

    async def _transaction(self, many: list[tuple[Any, ...]], slot: int, again: bool, timeout: float) -> list[Any]:
        job = Job([("MULTI",), *many, ("EXEC",)], again, slot=slot)
        await deliver(self._topology, (job,), timeout, timeout + monotonic(), self.settings)
        return whole(_replies(job), True)

    def _slot_of_all(self, many: list[tuple[Any, ...]], kinds: list[Kind]) -> int:
        first, found = many[0], ANYWHERE
        for command, known in zip(many, kinds, strict=True):
            self._not_everywhere(command, known)
            slot = self._topology.slot(command, known)
            if slot is None:
                raise ValueError(
                    f"{name(command[0])}: where its keys are is not known, so it cannot be in a transaction"
                )
            if found == ANYWHERE:
                first, found = command, slot
            elif slot not in (ANYWHERE, found):
                raise ValueError(
                    f"a transaction needs keys of one slot of the Cluster; those of {name(first[0])} and"
                    f" {name(command[0])} are in {found} and {slot}: give them one {{hash tag}}"
                )
        return found

    async def _everywhere(self, command: tuple[Any, ...], known: Kind, timeout: float, deadline: float) -> Any:
        """To every master; the first reply if all of them took it."""
        masters = [node for node, role in await self._topology.known(deadline) if role == "primary"]
        jobs = [Job((command,), known.again) for _ in masters]
        for job, node in zip(jobs, masters, strict=True):
            job.target = node
        await deliver(Single(masters[0]), jobs, timeout, deadline, self.settings)
        replies = [job.error or _replies(job)[0] for job in jobs]
        _raise(replies, [known.again] * len(replies))
        for reply in replies:
            if type(reply) is RedisRefused:
                raise reply
        return replies[0]

    def _unless_refused(self, node: Node) -> None:
        if (why := node.refusal()) is not None:
            self._meters.shed += 1
            raise RedisUnavailable(why)

    def _job(self, command: tuple[Any, ...], known: Kind) -> Job:
        self._not_everywhere(command, known)
        return Job((command,), known.again, slot=self._topology.slot(command, known), read=known.read)

    def _not_everywhere(self, command: tuple[Any, ...], known: Kind) -> None:
        if self._topology.everywhere(command, known):
            raise ValueError(f"{name(command[0])} goes to every master of the Cluster: call() it by itself")

    async def get(self, key: str | bytes, *, timeout: float | None = None) -> bytes | None:
        """The value of a string, or None."""
        value: bytes | None = await self.call("GET", key, timeout=timeout)
        return value

    def script(self, source: str | Path) -> Script:
        """A Lua script, from its text or a path to it. It is loaded into the server when that does not have it."""
        return Script(self.call, source)

    # -- connections of one's own --------------------------------------------------------------------------------

    async def blocking(self, *command: Any, timeout: float | None = None, then: Sequence[Any] | None = None) -> Any:
        """A command that waits on the server, ``blocking("BLPOP", "list", 5)``, on a connection that nobody else uses.

        ``then``: another one, of the same node, which the server carries out as soon as the first has its reply; both
        replies are given, and the second may be a ``RedisRefused``.
        ``timeout``: seconds until ``RedisTimeout``; give some more than the command itself may wait. Left out, it waits
        as long as the connection is there. What it was about to take may be lost with the connection.
        """
        deadline = monotonic() + self.settings.connect_timeout
        ends = inf if timeout is None else monotonic() + timeout
        job = self._job(command, kind(command))
        while True:
            node = job.target or await self._topology.owner(job, deadline)
            await node.ready(deadline)  # fails at once while the breaker is open
            try:
                return await self._wait(node, [command] if then is None else [command, then], job, ends - monotonic())
            except RedisRefused as error:
                if error.code not in self._followed or job.moves >= MOVES:
                    raise
                pause = await self._topology.follow(job, error, node, node.line)
                deadline = monotonic() + self.settings.connect_timeout
                await rt.sleep(pause)

    async def _wait(self, node: Node, commands: list[Sequence[Any]], job: Job, timeout: float) -> Any:
        address, line = await node.borrow()
        usable, each = False, 1
        if job.asks:
            job.asks, job.target, each = False, None, 2
            commands = [words for command in commands for words in (("ASKING",), command)]
        try:
            replies = (await line.many(pack_commands(commands), len(commands), timeout))[each - 1 :: each]
            usable = True
        except Lost as error:
            self._meters.unknown += 1
            raise RedisOutcomeUnknown(
                f"The connection to {node.where} was lost while a command waited: {error.why}"
            ) from error
        finally:
            await node.give_back(address, line, usable)
        if type(replies[0]) is RedisRefused:
            raise replies[0]
        return replies[0] if len(replies) == 1 else replies

    def dedicated(
        self, *, on_push: Callable[[Any], object] | None = None, on_lost: Callable[[], object] | None = None
    ) -> Dedicated:
        """``async with`` gives a connection of one's own, for SUBSCRIBE, CLIENT TRACKING, WATCH and the like; in a Cluster,
        with any master: see ``nodes()`` for a certain one.

        ``on_push(push)`` gets what the server sends unasked, as it comes; without it, ``pushes()`` gives them in turn.
        ``on_lost()`` is called when it ends without our doing. It is not made again by itself.
        """
        return Dedicated(self._anyone, self.settings, on_push, on_lost)

    async def _anyone(self) -> Node:
        deadline = monotonic() + self.settings.connect_timeout
        node = await self._topology.owner(Job((), False), deadline)
        if not node.address.host and not node.address.path:
            await node.ready(deadline)  # Sentinels have to be asked where it is
        return node

    @property
    def available(self) -> bool:
        """False while the server is known to be down, or every master of a Cluster; calls fail at once then."""
        return self._topology.available


def _replies(job: Job) -> list[Any]:
    if job.error is not None:
        raise job.error
    assert job.replies is not None  # noqa: S101 - for the type checker: it is over
    return job.replies


def _raise(replies: Sequence[Any], again: Sequence[bool]) -> None:
    """What went wrong, if anything: unknown before unavailable, as it asks more of the caller. ``again``: of each, may it
    run twice?"""
    wrong = [reply for reply in replies if isinstance(reply, RedisUnavailable)]
    if not wrong:
        return
    worst = next((error for error in wrong if isinstance(error, RedisOutcomeUnknown)), wrong[0])
    done = sum(
        not twice and not isinstance(reply, MailgeniusError) for reply, twice in zip(replies, again, strict=True)
    )
    if done and not isinstance(worst, RedisOutcomeUnknown):
        raise RedisOutcomeUnknown(
            f"{len(wrong)} of {len(replies)} commands failed, while {done} that change something were carried out: {worst}"
        ) from worst
    raise worst


def _elsewhere(command: Sequence[Any]) -> str:
    return f"{name(command[0])} does not go over a connection that others share; see blocking() and dedicated()"
