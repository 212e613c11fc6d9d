"""Redis Cluster: which node serves which slot, and where to turn when that changes.

Invariants:
- A slot's node is what the last answer to CLUSTER SLOTS, or a MOVED since, said. A map that is old costs a redirection,
  nothing else: nodes refuse what they do not serve.
- Somebody asks now and then, and often while a master is down, who serves what. A node that serves no slot any more, and
  is no replica, is forgotten: at once if it is down, else when nothing was sent there for ``GUEST`` seconds. Who waits for
  it looks again.
- Each node has its own breaker: the others go on.

CLUSTER SLOTS, not CLUSTER SHARDS: Redis 6.2 knows it too, and what SHARDS adds, the nodes' health, is seen on the
connections.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import msgspec

from mailgenius._native import key_slot, pack_command
from mailgenius.config import RedisSettings
from mailgenius.errors import MailgeniusError, RedisRefused, RedisUnavailable
from mailgenius.link import aio
from mailgenius.link.address import Address
from mailgenius.link.commands import Kind, everywhere, name, of_one_node
from mailgenius.link.effort_async import Effort, tell
from mailgenius.link.jobs_async import ANYWHERE, Job
from mailgenius.link.keys import span
from mailgenius.link.meters import Meters
from mailgenius.link.node_async import Node
from mailgenius.link.replies import Lost
from mailgenius.link.slots import SLOTS, Place, Shard, redirection, shards
from mailgenius.rt import aio as rt

__all__ = ["Cluster"]

GUEST = 10.0  # seconds that a node to which we were redirected is kept though no map names it
AGAIN = (0.01, 0.2)  # seconds between one try and the next of what a node will take in a while: the first, the longest
LOOK = 0.25  # seconds between looks at the map while a master is down
EVERY = 5.0  # seconds between them while nothing is known to be wrong: replicas may have joined, masters may be frozen
_MAP, _INFO = pack_command(("CLUSTER", "SLOTS")), pack_command(("CLUSTER", "INFO"))
_READONLY = pack_command(("READONLY",))
_READS_ALONE = "only accepts read commands"  # what a cluster that is down says if cluster-allow-reads-when-down is on


class Cluster(Effort):
    """A ``Topology``. ``make(address, on_down, check)`` makes a node; ``on_nodes()`` is called when nodes come, go or
    change their roles."""

    only: Node | None = None
    clustered = True
    followed = frozenset({"MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY", "UNBLOCKED"})

    def __init__(
        self,
        seeds: Sequence[Address],
        settings: RedisSettings,
        meters: Meters,
        make: Callable[..., Node],
        on_nodes: Callable[[], object] | None,
    ) -> None:
        super().__init__(settings, meters)
        self._seeds, self._make, self._on_nodes = seeds, make, on_nodes
        self._from_replicas = settings.read_from == "replica"
        self._slots: list[Node | None] = []  # empty until they are known
        self._replicas: dict[Node, tuple[Node, ...]] = {}  # of each master
        self._nodes: dict[Place, Node] = {}
        self._guests: dict[Place, float] = {}  # since when
        self._hint: Node | None = None  # who knows most
        self._wanted = False
        self._nudge = rt.Event()
        self._strange: dict[
            str, Callable[[Sequence[Any]], Sequence[Any]] | None
        ] = {}  # commands that servers were asked about

    @property
    def where(self) -> str:
        first = self._seeds[0]
        hosts = ",".join(f"{one.host}:{one.port}" for one in self._seeds)
        return f"{'rediss' if first.tls else 'redis'}+cluster://{hosts}"

    @property
    def available(self) -> bool:
        if self.closed:
            return False
        return any(node.down is None for node in self._replicas) if self._slots else self.down is None

    @property
    def pending(self) -> int:
        return sum(line.pending for node in list(self._nodes.values()) if (line := node.line) is not None)

    # -- where commands go ---------------------------------------------------------------------------------------

    def pick(self, command: tuple[Any, ...], known: Kind) -> Node | None:
        slot: int | None = None
        if known.key:
            if len(command) > known.key:
                slot = key_slot(command[known.key])
        else:
            slot = self.slot(command, known)
        if slot is None or slot < 0 or not self._slots:
            return None
        node = self._slots[slot]
        return self._reader(node) if known.read and self._from_replicas and node is not None else node

    def split(self, many: Sequence[tuple[Any, ...]], kinds: Sequence[Kind]) -> dict[Node, list[int]]:
        slots, groups = self._slots, dict[Node, list[int]]()
        spread = self._from_replicas
        for at, (command, known) in enumerate(zip(many, kinds, strict=True)):
            if known.key and slots and not (spread and known.read) and len(command) > known.key:
                node = slots[key_slot(command[known.key])]
            else:
                node = self.pick(command, known)
            if node is None:
                return {}
            if (places := groups.get(node)) is None:
                groups[node] = places = []
            places.append(at)
        return groups

    def slot(self, command: tuple[Any, ...], known: Kind) -> int | None:
        if known.key:
            keys: Sequence[Any] = command[known.key : known.key + 1]
        elif known.keys is None:
            return None
        else:
            keys = known.keys(command)
            if not keys and of_one_node(command):
                raise ValueError(
                    f"{name(command[0])} speaks of one node of the Cluster; say which: for node in await redis.nodes(): ..."
                )
        return _one_slot(command, keys)

    def everywhere(self, command: tuple[Any, ...], known: Kind) -> bool:
        return not known.key and known.keys is not None and everywhere(command)

    async def owner(self, job: Job, deadline: float) -> Node:
        patient = job.lost is not None or job.refused is not None
        while not self._slots:
            await self.wait(deadline, patient)
            patient = False
        if job.slot is None:
            job.slot = await self._ask_keys(job.commands[0], deadline)
        if job.slot == ANYWHERE:
            return self._anyone()
        node = self._slots[job.slot]
        if node is None:
            self.look()
            raise RedisUnavailable(f"no node of {self.where} serves slot {job.slot}")
        return self._reader(node) if job.read and self._from_replicas else node

    def _reader(self, master: Node) -> Node:
        replicas = [node for node in self._replicas.get(master, ()) if node.down is None]
        return random.choice(replicas) if replicas else master  # noqa: S311 - to share the work

    def _anyone(self) -> Node:
        masters = list(self._replicas)
        there = [node for node in masters if node.line is not None]
        return random.choice(there or [node for node in masters if node.down is None] or masters)  # noqa: S311

    async def _ask_keys(self, command: tuple[Any, ...], deadline: float) -> int:
        """The slot of a command that is not in our table, with the help of a server."""
        word = name(command[0])
        line = await self._anyone().ready(deadline)
        if word not in self._strange:
            try:
                info = (await line.one(pack_command(("COMMAND", "INFO", word)), deadline - monotonic()))[0]
            except Lost as error:
                raise RedisUnavailable(f"The connection to {self.where} was lost: {error.why}") from error
            if info is None:
                raise RedisRefused(f"ERR unknown command '{word}'")
            movable = any(flag in (b"movablekeys", "movablekeys") for flag in info[2])
            first, last, step = info[3:6]
            self._strange[word] = None if movable else span(first, last, step) if first else _nothing
        keys = self._strange[word]
        if keys is not None:
            return _one_slot(command, keys(command))
        try:
            found = await line.one(pack_command(("COMMAND", "GETKEYS", *command)), deadline - monotonic())
        except Lost as error:
            raise RedisUnavailable(f"The connection to {self.where} was lost: {error.why}") from error
        return _one_slot(command, found)

    # -- redirections --------------------------------------------------------------------------------------------

    async def follow(self, job: Job, refused: RedisRefused, node: Node, line: aio.Line | None) -> float:
        job.moves += 1
        pause = min(AGAIN[0] * 2.0 ** min(job.moves, 16), AGAIN[1])
        code = refused.code
        if code in ("MOVED", "ASK"):
            try:
                slot, place = redirection(str(refused), node.address.host)
            except ValueError:
                raise refused from None
            guest = place in self._guests
            other = self._at(place)
            if other not in self._replicas and not guest:
                tell(self._on_nodes)
            if code == "ASK":
                job.target, job.asks = other, True
            else:
                if self._slots:
                    self._slots[slot] = other
                self._hint = other
                self.look()
            return 0.0 if job.moves < 4 else pause  # two nodes that name each other
        if code == "TRYAGAIN":
            return pause
        if code == "CLUSTERDOWN" and _READS_ALONE in str(refused):
            self.look()
            return pause
        node.retire(line, None if code in ("READONLY", "UNBLOCKED") else str(refused))
        self.look()
        return 0.0

    def _at(self, place: Place) -> Node:
        """The node there, made if we have not met it yet."""
        node = self._nodes.get(place)
        if node is None:
            address = msgspec.structs.replace(self._seeds[0], host=place[0], port=place[1])
            made = self._make(address, on_down=self.look, check=self._check)
            node = self._nodes.setdefault(place, made)  # of two threads, one is first
        self._guests[place] = monotonic()
        return node

    async def _check(self, node: Node, line: aio.Line) -> None:
        """Does it serve? On each new connection."""
        limit = self.settings.connect_timeout
        if self._from_replicas:
            await line.one(_READONLY, limit)
        if node.down is not None and "CLUSTERDOWN" in node.down:
            info = await line.one(_INFO, limit)
            if b"cluster_state:ok" not in info:
                raise RedisUnavailable("CLUSTERDOWN The cluster is down, as the node sees it")

    # -- the map -------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Has the map drawn anew, in the background."""
        self._wanted = True
        self._nudge.set()
        if not self.closed:
            self.begin()

    async def known(self, deadline: float) -> list[tuple[Node, str]]:
        while not self._slots:
            await self.wait(deadline, False)
        return list(self._roles().items())

    def primaries(self) -> list[Node]:
        """The masters of the map, and nodes that it does not name as such, to which commands were sent on."""
        guests = (self._nodes.get(place) for place in list(self._guests))
        return list(dict.fromkeys([*self._replicas, *(node for node in guests if node is not None)]))

    def _roles(self) -> dict[Node, str]:
        found = dict.fromkeys(self._replicas, "primary")
        for replicas in self._replicas.values():
            found |= {node: "replica" for node in replicas if node not in found}
        return found

    async def _try(self) -> float:
        self._wanted = False
        self._nudge.clear()
        found = await self._map()
        self._draw(found)
        self.down = None
        troubled = self._wanted or any(node.down is not None for node in self._replicas)
        pause = LOOK if troubled else EVERY
        return random.uniform(pause / 2, pause)  # noqa: S311 - so that clients do not come together

    async def _rest(self, pause: float) -> None:
        await rt.wait(self._nudge if pause > LOOK else self._stop, pause)

    async def _map(self) -> list[Shard]:
        """As somebody sees it who can be reached."""
        nodes = [node for node in list(self._nodes.values()) if node.line is not None]
        random.shuffle(nodes)
        if (hint := self._hint) is not None and hint in nodes:
            nodes = [hint, *(node for node in nodes if node is not hint)]
        errors: list[str] = []
        for node in nodes:
            if (line := node.line) is not None:
                try:
                    return await self._ask(node, line)
                except (MailgeniusError, Lost) as error:
                    errors.append(f"{node.where}: {error}")
        places = [node.address for node in list(self._nodes.values()) if node.down is None and node not in nodes]
        for address in (*places, *self._seeds):
            if self.closed:
                break
            seed = self._make(address, on_down=None, check=None)
            try:
                line = await seed.open(None, _ignore)
                try:
                    return await self._ask(seed, line)
                finally:
                    await line.close()
            except (MailgeniusError, Lost) as error:
                errors.append(f"{seed.where}: {error}")
        raise RedisUnavailable("; ".join(errors[-3:]))

    async def _ask(self, node: Node, line: aio.Line) -> list[Shard]:
        limit = min(self.settings.timeout, self.settings.connect_timeout)
        return shards(await line.one(_MAP, limit), node.address.host)

    def _draw(self, found: list[Shard]) -> None:
        slots: list[Node | None] = [None] * SLOTS
        replicas: dict[Node, tuple[Node, ...]] = {}
        before, now = self._roles(), monotonic()
        for shard in found:
            master = self._at(shard.master)
            slots[shard.first : shard.last + 1] = [master] * (shard.last - shard.first + 1)
            replicas[master] = tuple(self._at(place) for place in shard.replicas)
        named = set(replicas).union(*replicas.values())
        self._slots, self._replicas = slots, replicas
        for place, node in list(self._nodes.items()):
            if node in named:
                self._guests.pop(place, None)
            elif node.down is not None or now - self._guests.setdefault(place, now) > GUEST:
                del self._nodes[place]
                self._guests.pop(place, None)
                rt.spawn(node.close)
        if self._roles() != before:
            tell(self._on_nodes)

    async def close(self) -> None:
        self._end()
        self._nudge.set()
        closing = [rt.spawn(node.close) for node in self._nodes.values()]
        for one in closing:
            await one.join()
        if self._trying is not None:
            with contextlib.suppress(RuntimeError):  # it was left behind in an event loop that is closed
                await self._trying.join()


def _one_slot(command: tuple[Any, ...], keys: Sequence[Any]) -> int:
    if not keys:
        return ANYWHERE
    first = key_slot(keys[0])
    for key in keys[1:]:
        if key_slot(key) != first:
            raise ValueError(
                f"{name(command[0])}: its keys are in different slots of the Cluster ({keys[0]!r}: {first}, {key!r}:"
                f" {key_slot(key)}); give them one {{hash tag}}, or make a call for each"
            )
    return first


def _nothing(_: Sequence[Any]) -> Sequence[Any]:
    return ()


def _ignore(*_: object) -> None:
    pass
