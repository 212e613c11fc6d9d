"""A primary with replicas under Sentinels on 127.0.0.1, for tests: ``valkey_sentinel()``."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from mailgenius.errors import ServerError

from ._folder import State
from ._sockets import free_ports
from ._valkey import ValkeyServer
from ._valkey_group import Group, at_once

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def valkey_sentinel(
    replicas: int = 1,
    sentinels: int = 3,
    *,
    name: str = "mailgenius",
    down_after: float = 1.0,
    settings: Mapping[str, str | int | float | bool] | None = None,
    program: str | os.PathLike[str] | None = None,
    timeout: float = 60.0,
) -> SentinelGroup:
    """A running primary with ``replicas``, watched by ``sentinels`` under ``name``, in a folder that goes with it. Use
    it in ``with``.

    ``down_after``: seconds of silence after which a Sentinel thinks a node down; a failover takes one to three more.
    ``settings`` and ``program``: as of ``valkey``, for primary and replicas. ``timeout``: seconds until all must know
    one another and be in step. Raises ``ServerError``.
    """
    return SentinelGroup(replicas, sentinels, name, down_after, settings or {}, program, timeout)


class ReplicatedServer(ValkeyServer):
    """A server whose configuration is rewritten by Sentinels: a restart keeps what they decided."""

    _decided = ("replicaof ",)  # lines of theirs

    def __init__(
        self,
        folder: Path,
        port: int,
        first: Sequence[str],
        settings: Mapping[str, str | int | float | bool],
        program: str | os.PathLike[str] | None,
        timeout: float,
    ) -> None:
        super().__init__(folder, port=port, settings=settings, program=program, timeout=timeout)
        self._first = first  # those lines at the first start

    @property
    def role(self) -> str:
        """ "master", "replica" or "sentinel". Raises ``ServerError`` if it is down."""
        role: str = self.ask("ROLE")[0]
        return "replica" if role == "slave" else role

    def _text(self, state: State) -> str:
        lines = self._first
        try:
            before = (self._folder.data / "valkey.conf").read_text("utf-8")
            lines = [line for line in before.splitlines() if line.startswith(self._decided)]
        except FileNotFoundError:
            pass
        return "\n".join([super()._text(state).rstrip("\n"), *lines]) + "\n"


class Sentinel(ReplicatedServer):
    _decided = ("sentinel ",)

    def _defaults(self) -> dict[str, str]:
        return {}

    def _command(self, program: Path, data: str) -> list[str]:
        return [*super()._command(program, data), "--sentinel"]


class SentinelGroup(Group[ReplicatedServer]):
    """A running primary (``nodes[0]`` in the beginning) with its replicas, and ``sentinels`` that watch them."""

    def __init__(
        self,
        replicas: int,
        sentinels: int,
        name: str,
        down_after: float,
        settings: Mapping[str, str | int | float | bool],
        program: str | os.PathLike[str] | None,
        timeout: float,
    ) -> None:
        if replicas < 0 or sentinels < 1:
            raise ServerError(f"There cannot be {replicas} replicas and {sentinels} Sentinels.")
        primary, *others = free_ports(1 + replicas + sentinels)
        super().__init__(timeout)
        self.name = name
        conf: dict[str, str | int | float | bool] = {
            "requirepass": self.password,
            "masterauth": self.password,
            "repl-diskless-sync": "yes",
            "repl-diskless-sync-delay": 0,
            "repl-ping-replica-period": 1,
            **settings,
        }
        self.password = str(conf["requirepass"])
        ids = {port: secrets.token_hex(20) for port in others[replicas:]}
        # All are known from the beginning: Sentinels ask for replicas only every 10 s.
        watch = [
            f"sentinel monitor {name} 127.0.0.1 {primary} {sentinels // 2 + 1}",
            f"sentinel down-after-milliseconds {name} {round(down_after * 1000)}",
            f"sentinel failover-timeout {name} 10000",
            *([f'sentinel auth-pass {name} "{self.password}"'] if self.password else []),
            *(f"sentinel known-replica {name} 127.0.0.1 {port}" for port in others[:replicas]),
        ]
        follow = [f"replicaof 127.0.0.1 {primary}"]
        self.nodes = [
            ReplicatedServer(self.data_dir / str(port), port, [] if port == primary else follow, conf, program, timeout)
            for port in [primary, *others[:replicas]]
        ]
        secret = {"requirepass": self.password}
        self.sentinels = []
        for me in ids:
            known = [f"sentinel known-sentinel {name} 127.0.0.1 {port} {ids[port]}" for port in ids if port != me]
            lines = [f"sentinel myid {ids[me]}", *watch, *known]
            self.sentinels.append(Sentinel(self.data_dir / str(me), me, lines, secret, program, timeout))
        self._start()

    def primary(self) -> ReplicatedServer:
        """The node that a majority of the serving Sentinels takes for the primary now."""
        seen = [
            int(sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)[1])
            for sentinel in self.sentinels
            if sentinel.alive and not sentinel.paused
        ]
        for node in self.nodes:
            if seen.count(node._running().port) * 2 > len(seen):
                return node
        raise ServerError(f"The Sentinels of {self.name} do not agree on a primary.")

    def replicas(self) -> list[ReplicatedServer]:
        return [node for node in self.serving() if node.role == "replica"]

    def _start_all(self) -> None:
        # Sentinels that come before the nodes would find the primary down and choose another.
        at_once([node.start for node in self.nodes])
        at_once([sentinel.start for sentinel in self.sentinels])

    def _all(self) -> list[ReplicatedServer]:
        return [*self.nodes, *self.sentinels]

    def _trouble(self) -> str:
        try:
            primary = self.primary()
            if not primary.alive or primary.paused or primary.role != "master":
                return f"the primary on port {primary.port} does not serve"
            for node in self.serving():
                if node is not primary and node.ask("ROLE")[1:4] != ["127.0.0.1", primary.port, "connected"]:
                    return f"the node on port {node.port} is not in step with the primary"
            for sentinel in self.sentinels:
                if sentinel.alive and not sentinel.paused:
                    answer = sentinel.ask("SENTINEL", "MASTER", self.name)
                    known = dict(zip(answer[::2], answer[1::2], strict=True))
                    others = (int(known["num-slaves"]), int(known["num-other-sentinels"]))
                    if others < (len(self.nodes) - 1, len(self.sentinels) - 1) or known["flags"] != "master":
                        return f"the Sentinel on port {sentinel.port} does not know all of the others"
        except ServerError as error:
            return str(error)
        return ""
