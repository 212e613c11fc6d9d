"""A Valkey Cluster on 127.0.0.1, for tests: ``valkey_cluster()``."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from mailgenius.errors import ServerError

from ._cluster_plan import Member, nodes_conf, plan
from ._sockets import free_ports
from ._system import wait_for
from ._valkey import ValkeyServer
from ._valkey_group import Group

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path


def valkey_cluster(
    masters: int = 3,
    replicas: int = 1,
    *,
    node_timeout: float = 2.0,
    settings: Mapping[str, str | int | float | bool] | None = None,
    program: str | os.PathLike[str] | None = None,
    timeout: float = 60.0,
) -> ValkeyCluster:
    """A running Cluster of ``masters`` with ``replicas`` each, in a folder that goes with it. Use it in ``with``.

    ``node_timeout``: seconds after which a silent node counts as failed; a failover takes about a second longer.
    ``settings`` and ``program``: as of ``valkey``, for every node. ``timeout``: seconds until all slots must be served
    and all replicas in step. Raises ``ServerError``.
    """
    return ValkeyCluster(masters, replicas, node_timeout, settings or {}, program, timeout)


class ClusterNode(ValkeyServer):
    """One node: a ``ValkeyServer`` that also knows its id and role."""

    def __init__(
        self,
        folder: Path,
        members: list[Member],
        me: Member,
        settings: Mapping[str, str | int | float | bool],
        program: str | os.PathLike[str] | None,
        timeout: float,
    ) -> None:
        super().__init__(folder, port=me.port, settings=settings, program=program, timeout=timeout)
        self._members, self._me = members, me

    @property
    def id(self) -> str:
        return self._me.id

    @property
    def role(self) -> str:
        """ "master" or "replica", as it sees itself now. Raises ``ServerError`` if it is down."""
        return "master" if self.ask("ROLE")[0] == "master" else "replica"

    def _make_ready(self, run_as: tuple[int, int] | None) -> tuple[Path, str]:
        made = super()._make_ready(run_as)
        if not (self._folder.data / "nodes.conf").exists():
            self._folder.write_data("nodes.conf", nodes_conf(self._members, self._me), run_as)
        return made


class ValkeyCluster(Group[ClusterNode]):
    """A running Cluster. ``nodes``: all of them, in the beginning the masters first."""

    def __init__(
        self,
        masters: int,
        replicas: int,
        node_timeout: float,
        settings: Mapping[str, str | int | float | bool],
        program: str | os.PathLike[str] | None,
        timeout: float,
    ) -> None:
        if masters < 1 or replicas < 0:
            raise ServerError(f"A Cluster of {masters} masters with {replicas} replicas each cannot be.")
        count = masters * (1 + replicas)
        members = plan([secrets.token_hex(20) for _ in range(count)], free_ports(count), masters)
        super().__init__(timeout)
        conf: dict[str, str | int | float | bool] = {
            "requirepass": self.password,
            "masterauth": self.password,
            "cluster-enabled": "yes",
            "cluster-config-file": "nodes.conf",
            "cluster-node-timeout": round(node_timeout * 1000),
            # A replica takes over however old its data is, and stays with its master.
            "cluster-replica-validity-factor": 0,
            "cluster-migration-barrier": 999,
            "repl-diskless-sync": "yes",
            "repl-diskless-sync-delay": 0,
            "repl-ping-replica-period": 1,
            **settings,
        }
        self.password = str(conf["requirepass"])
        self.nodes = [
            ClusterNode(self.data_dir / str(member.port), members, member, conf, program, timeout) for member in members
        ]
        self._start()

    @property
    def url(self) -> str:
        """The URL of a serving node, from which a client finds the others."""
        return self.serving()[0].url

    def masters(self) -> list[ClusterNode]:
        """The serving nodes that see themselves as masters."""
        return [node for node in self.serving() if node.role == "master"]

    def replicas(self) -> list[ClusterNode]:
        return [node for node in self.serving() if node.role == "replica"]

    def owner(self, key: str | bytes) -> ClusterNode:
        """The node that serves ``key``, as the first serving node sees it."""
        seen = self.serving()[0]
        slot = seen.ask("CLUSTER", "KEYSLOT", key)
        for first, last, master, *_ in seen.ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == master[1])
        raise ServerError(f"No node serves slot {slot}.")

    def move_slot(self, slot: int, target: ClusterNode) -> None:
        """Moves a slot and its keys to another master while both serve clients, as the specification says it."""
        source = next(node for node in self.masters() if _owns(node, slot))
        if source is target:
            return
        # The target counts the epoch up by itself. If it did not know yet of one that another slot's target has made, both
        # would be the same, and nodes could disagree about the slot for good.
        wait_for(lambda: len(self._epochs()) == 1, self._timeout)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        secret = ("AUTH", self.password) if self.password else ()
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.ask("MIGRATE", "127.0.0.1", target.port or 0, "", 0, 5000, *secret, "KEYS", *keys)
        for node in (target, source, *(node for node in self.masters() if node not in (source, target))):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)

    def _epochs(self) -> set[str]:
        """The latest that each master knows of."""
        infos = [node.ask("CLUSTER", "INFO") for node in self.masters()]
        return {info.partition("cluster_current_epoch:")[2].split()[0] for info in infos}

    def _trouble(self) -> str:
        for node in self.serving():
            try:
                if "cluster_state:ok" not in node.ask("CLUSTER", "INFO"):
                    return f"the node on port {node.port} does not see all slots served"
                role = node.ask("ROLE")
            except ServerError as error:
                return str(error)
            if role[0] != "master" and role[3] != "connected":
                return f"the replica on port {node.port} is not in step with its master"
        return ""


def _owns(node: ClusterNode, slot: int) -> bool:
    return any(first <= slot <= last and seen[1] == node.port for first, last, seen, *_ in node.ask("CLUSTER", "SLOTS"))
