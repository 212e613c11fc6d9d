# Made from _async.py by `python -m tools.twin`: edit that one.
"""``Redis``: commands of all tasks of an event loop, over one connection to each server."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic
from types import TracebackType
from typing import Any, Self

from mailgenius.config import RedisSettings
from mailgenius.link import threads
from mailgenius.link.address import parse_servers
from mailgenius.link.calls_sync import Calls
from mailgenius.link.cluster_sync import Cluster
from mailgenius.link.commands import WORDS
from mailgenius.link.dedicated_sync import Dedicated
from mailgenius.link.effort_sync import tell
from mailgenius.link.meters import Meters, RedisMetrics
from mailgenius.link.node_sync import Node
from mailgenius.link.sentinel_sync import Sentinel
from mailgenius.link.settings import chosen_settings
from mailgenius.link.single_sync import Single
from mailgenius.rt import threads as rt

__all__ = ["Redis", "RedisNode"]


class RedisNode(Calls):
    """One server of those that belong together, as ``Redis.nodes`` gives it: what is called here, goes there. Equal to
    another one of the same place."""

    def __init__(self, node: Node, role: str, settings: RedisSettings, meters: Meters) -> None:
        super().__init__(Single(node), settings, meters)
        self.where = node.where  # as a URL without password
        self.role = role  # "primary" or "replica", when it was given

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RedisNode) and other.where == self.where

    def __hash__(self) -> int:
        return hash(self.where)

    def __repr__(self) -> str:
        return f"<RedisNode {self.where} {self.role}>"


class Redis(Calls):
    """``Redis("redis://user:password@host:6379/0")``; ``rediss://`` for TLS, ``unix:///path?db=0`` for a socket;
    ``redis+cluster://host:port,host:port`` for a Cluster, of which some nodes are named;
    ``redis+sentinel://host:port,host:port/name`` for the primary that these Sentinels call ``name``.

    Keywords as in ``RedisSettings``; give ``settings`` to take them all from there. It connects when it is first used.
    ``on_push(push)`` gets what a server sends unasked on a shared connection (as ``CLIENT TRACKING`` makes it do),
    ``on_connected(connection)`` is called with each new one, before calls use it, and ``on_lost()`` when one is gone.
    ``on_nodes()`` is called when ``nodes()`` would give other servers, or other roles, than before, and when a node of a
    Cluster sends commands on to one that is no primary yet.
    """

    def __init__(
        self,
        url: str,
        *,
        settings: RedisSettings | None = None,
        on_push: Callable[[Any], object] | None = None,
        on_connected: Callable[[Dedicated], rt.Awaits[None]] | None = None,
        on_lost: Callable[[], object] | None = None,
        on_nodes: Callable[[], object] | None = None,
        **chosen: Any,
    ) -> None:
        settings = chosen_settings(settings, chosen)
        self.url = url  # as it was given, with its password
        servers, meters = parse_servers(url), Meters()
        self._listeners: list[Callable[[], object]] = [] if on_nodes is None else [on_nodes]
        self._on_connected = on_connected
        make = partial(
            Node,
            settings=settings,
            meters=meters,
            on_push=on_push,
            on_connected=self._connected if on_connected is not None else None,
            on_lost=on_lost,
        )
        topology: Single | Cluster
        if servers.kind == "cluster":
            topology = Cluster(servers.addresses, settings, meters, make, self._nodes_changed)
        elif servers.kind == "sentinel":
            topology = Sentinel(servers, settings, meters, make, self._nodes_changed)
        else:
            topology = Single(make(servers.addresses[0]))
        super().__init__(topology, settings, meters)

    def __repr__(self) -> str:
        return f"<Redis {self._topology.where}{', closed' if self._topology.closed else ''}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Waits up to a second for replies under way, then closes the connections. Safe to repeat."""
        self._topology.close()

    def _connected(self, node: Node, line: threads.Line) -> None:
        if self._on_connected is not None:
            self._on_connected(Dedicated.of(node, self.settings, line))

    # -- what it is like -----------------------------------------------------------------------------------------

    def nodes(self) -> list[RedisNode]:
        """The servers that belong together, with their roles: one, or those of the Cluster, or a primary and the
        replicas that are read from. Each can be called by itself. Raises ``RedisUnavailable`` if they are not known yet."""
        found = self._topology.known(monotonic() + self.settings.connect_timeout)
        return [RedisNode(node, role, self.settings, self._meters) for node, role in found]

    @property
    def closed(self) -> bool:
        """``close()`` was called."""
        return self._topology.closed

    @property
    def clustered(self) -> bool:
        """It is a Redis Cluster: keys live on several servers."""
        return self._topology.clustered

    @property
    def troubled(self) -> bool:
        """A primary is known to be down."""
        return any(node.down is not None for node in self._topology.primaries())

    def primaries(self) -> list[RedisNode]:
        """The servers that changes may go to, as far as is known now; nobody is asked. While keys move in a Cluster, also
        those that they move to."""
        return [RedisNode(node, "primary", self.settings, self._meters) for node in self._topology.primaries()]

    def home(self, key: str | bytes) -> object:
        """What stands for the primary that serves a key, as far as is known now: the same object for keys of one."""
        return self._topology.pick(("SET", key), WORDS["SET"])

    def watch_nodes(self, listener: Callable[[], object]) -> Callable[[], None]:
        """``listener()`` is called as ``on_nodes`` is. Gives what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def _nodes_changed(self) -> None:
        for listener in list(self._listeners):
            tell(listener)

    def node_of(self, key: str | bytes) -> RedisNode:
        """The primary that serves a key, for commands that belong on a connection of one's own, as WATCH."""
        deadline = monotonic() + self.settings.connect_timeout
        self._topology.known(deadline)
        node = self._topology.owner(self._job(("SET", key), WORDS["SET"]), deadline)
        return RedisNode(node, "primary", self.settings, self._meters)

    def distrust(self, why: str) -> None:
        """Gives up the shared connections, because replies that came may have been those to other questions. Calls under
        way end as if the connections had been lost; new ones are made at once."""
        for node, _ in self._topology.known(monotonic() + self.settings.connect_timeout):
            if (line := node.line) is not None:
                line.lose(why)

    def metrics(self) -> RedisMetrics:
        """Connections, calls, errors, how long replies took; of all servers together."""
        return self._meters.metrics(self.available, self._topology.pending)
