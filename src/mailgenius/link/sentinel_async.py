"""A primary that Sentinels watch over: they are asked where it is, and tell when that changes.

Invariants:
- A connection is used only after its server said itself that it is a primary (ROLE): Sentinels may not know yet.
- A server that was made a replica is noticed by its refusals (READONLY), by the Sentinels' word (+switch-master), or since
  they cut its connections. A new connection is made then, wherever the primary is; what is under way goes on.

Source: "Guidelines for Redis clients with support for Redis Sentinel".
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import Any

import msgspec

from mailgenius._native import pack_command
from mailgenius.config import RedisSettings
from mailgenius.errors import MailgeniusError, RedisRefused, RedisUnavailable
from mailgenius.link import aio
from mailgenius.link.address import Address, Servers
from mailgenius.link.commands import Kind
from mailgenius.link.dedicated_async import Dedicated
from mailgenius.link.effort_async import tell
from mailgenius.link.jobs_async import ANYWHERE, Job
from mailgenius.link.meters import Meters
from mailgenius.link.node_async import Node
from mailgenius.link.replies import Lost
from mailgenius.link.single_async import Single
from mailgenius.link.slots import Place
from mailgenius.rt import aio as rt

__all__ = ["Sentinel"]

ROUND = 10.0  # seconds after which replicas are asked for anew, though nothing was heard
_ROLE = pack_command(("ROLE",))


class Sentinel(Single):
    """A ``Topology``. ``make`` and ``on_nodes`` as of ``Cluster``."""

    followed = frozenset({"READONLY", "LOADING", "MASTERDOWN", "UNBLOCKED"})

    def __init__(
        self,
        servers: Servers,
        settings: RedisSettings,
        meters: Meters,
        make: Callable[..., Node],
        on_nodes: Callable[[], object] | None,
    ) -> None:
        self._servers, self.settings, self._make, self._on_nodes = servers, settings, make, on_nodes
        self._name = servers.name
        super().__init__(make(servers.login, name=self.where, locate=self._locate, check=self._check_primary))
        self._from_replicas = settings.read_from == "replica"
        if self._from_replicas:
            self.only = None
        self._sentinels = [Node(address, settings, meters) for address in servers.addresses]
        self._replicas: dict[Place, Node] = {}
        self._last = ""  # where the primary was
        self._ending = False
        self._watching: rt.Spawned | None = None
        self._ear: Dedicated | None = None

    @property
    def where(self) -> str:
        hosts = ",".join(f"{one.host}:{one.port}" for one in self._servers.addresses)
        return f"redis{'s' if self._servers.login.tls else ''}+sentinel://{hosts}/{self._name}"

    # -- where commands go ---------------------------------------------------------------------------------------

    def pick(self, command: tuple[Any, ...], known: Kind) -> Node | None:
        return self._reader() if known.read and (known.key or self._has_keys(command, known)) else self._node

    def slot(self, command: tuple[Any, ...], known: Kind) -> int | None:
        """0 for all that have keys, since replicas may answer those."""
        return 0 if known.key or self._has_keys(command, known) else ANYWHERE

    def _has_keys(self, command: tuple[Any, ...], known: Kind) -> bool:
        return known.keys is not None and bool(known.keys(command))

    def _reader(self) -> Node:
        replicas = [node for node in list(self._replicas.values()) if node.down is None]
        return random.choice(replicas) if replicas else self._node  # noqa: S311 - to share the work

    async def owner(self, job: Job, deadline: float) -> Node:
        return self._reader() if self._from_replicas and job.read and job.slot == 0 else self._node

    async def follow(self, job: Job, refused: RedisRefused, node: Node, line: aio.Line | None) -> float:
        job.moves += 1
        node.retire(line, str(refused) if refused.code in ("LOADING", "MASTERDOWN") else None)
        return 0.0 if job.moves < 4 else 0.05

    # -- where the primary is ------------------------------------------------------------------------------------

    async def _locate(self) -> Address:
        """As the first Sentinel that can be reached says it. That one is asked first the next time."""
        self._watch()
        errors: list[str] = []
        for sentinel in list(self._sentinels):
            try:
                line = await sentinel.open(None, _ignore)
                try:
                    found = await self._ask(line, "GET-MASTER-ADDR-BY-NAME")
                    if found is None:
                        errors.append(f"{sentinel.where} knows no primary called {self._name!r}")
                        continue
                    if self._from_replicas:
                        self._meet(await self._ask(line, "REPLICAS"))
                finally:
                    await line.close()
            except (MailgeniusError, Lost) as error:
                errors.append(f"{sentinel.where}: {error}")
                continue
            with contextlib.suppress(ValueError):
                self._sentinels.remove(sentinel)
                self._sentinels.insert(0, sentinel)
            return msgspec.structs.replace(self._servers.login, host=found[0].decode(), port=int(found[1]))
        raise RedisUnavailable("no Sentinel says where the primary is: " + "; ".join(errors))

    async def _ask(self, line: aio.Line, what: str) -> Any:
        return await line.one(pack_command(("SENTINEL", what, self._name)), self.settings.connect_timeout)

    async def _check_primary(self, node: Node, line: aio.Line) -> None:
        role = (await line.one(_ROLE, self.settings.connect_timeout))[0]
        if role != b"master":
            node.retire(node.line)  # which goes to the same server
            raise RedisUnavailable(f"it is a {role.decode()} now, and no other primary is known yet")
        if self._last != node.where:
            self._last = node.where
            tell(self._on_nodes)

    async def _check_replica(self, node: Node, line: aio.Line) -> None:
        role = await line.one(_ROLE, self.settings.connect_timeout)
        if role[0] != b"slave" or role[3] != b"connected":
            raise RedisUnavailable("it is no replica that is in step with its primary")

    def _meet(self, found: Any) -> None:
        """Replicas, as SENTINEL REPLICAS lists them: as dicts in RESP3, as flat lists in RESP2."""
        before, now = self._replicas, {}
        for one in found:
            known = one if isinstance(one, dict) else dict(zip(one[::2], one[1::2], strict=True))
            if not {b"s_down", b"o_down", b"disconnected"} & set(known[b"flags"].split(b",")):
                place = (known[b"ip"].decode(), int(known[b"port"]))
                address = msgspec.structs.replace(self._servers.login, host=place[0], port=place[1])
                now[place] = before.get(place) or self._make(address, check=self._check_replica)
        self._replicas = now
        for place, node in before.items():
            if place not in now:
                rt.spawn(node.close)
        if before.keys() != now.keys():
            tell(self._on_nodes)

    # -- what Sentinels tell -------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Has somebody listen to a Sentinel, as long as this client is there."""
        if not self._ending and (self._watching is None or not self._watching.running):
            self._watching = rt.spawn(self._keep_watching)

    async def _keep_watching(self) -> None:
        failures = 0
        while not self._ending:
            for sentinel in list(self._sentinels):
                with contextlib.suppress(MailgeniusError, Lost, OSError, LookupError, ValueError):
                    await self._listen(sentinel)
            failures += 1
            await rt.wait(
                self._node._stop,
                random.uniform(0, min(self.settings.backoff_max, self.settings.backoff * 2.0 ** min(failures, 32))),  # noqa: S311
            )

    async def _listen(self, sentinel: Node) -> None:
        channels = ("+switch-master", "+slave", "+sdown", "-sdown") if self._from_replicas else ("+switch-master",)
        async with Dedicated.on(sentinel, self.settings) as ear:
            self._ear = ear
            if self._ending:  # from here on, it is closed by whoever ends us
                return
            await ear.send("SUBSCRIBE", *channels)
            while not self._ending:
                await ear.next_push(ROUND)
                line = await sentinel.open(None, _ignore)
                try:
                    found = await self._ask(line, "GET-MASTER-ADDR-BY-NAME")
                    if self._from_replicas:
                        self._meet(await self._ask(line, "REPLICAS"))
                finally:
                    await line.close()
                address = self._node.address
                if found is not None and (found[0].decode(), int(found[1])) != (address.host, address.port):
                    self._node.retire(self._node.line)

    async def known(self, deadline: float) -> list[tuple[Node, str]]:
        await self._node.ready(deadline)
        return [(self._node, "primary"), *((node, "replica") for node in list(self._replicas.values()))]

    async def close(self) -> None:
        self._ending = True
        closing = [rt.spawn(node.close) for node in (self._node, *self._replicas.values())]
        if (ear := self._ear) is not None:
            await ear.close()
        for one in closing:
            await one.join()
        if self._watching is not None:
            with contextlib.suppress(RuntimeError):  # it was left behind in an event loop that is closed
                await self._watching.join()


def _ignore(*_: object) -> None:
    pass
