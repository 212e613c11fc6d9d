"""The plan of a loopback Cluster: who owns which slots, as the nodes' own file says it. Pure.

The file is written before the first start, so the nodes know one another from the beginning and nobody has to introduce
them (https://valkey.io/topics/cluster-spec/, "nodes.conf").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

SLOTS = 16384


class Member(msgspec.Struct, frozen=True):
    id: str  # 40 hexadecimal digits
    port: int
    master: str | None  # whom it follows
    slots: tuple[int, int] | None  # first and last


def plan(ids: Sequence[str], ports: Sequence[int], masters: int) -> list[Member]:
    """The masters first, then their replicas in turn."""
    members = []
    for i, (id, port) in enumerate(zip(ids, ports, strict=True)):
        if i < masters:
            slots = (i * SLOTS // masters, (i + 1) * SLOTS // masters - 1)
            members.append(Member(id, port, None, slots))
        else:
            members.append(Member(id, port, ids[i % masters], None))
    return members


def nodes_conf(members: Sequence[Member], me: Member) -> str:
    """The nodes.conf of ``me``."""
    masters = [member.id for member in members if member.master is None]
    lines = []
    for member in members:
        flags = ("myself," if member is me else "") + ("master" if member.master is None else "slave")
        epoch = masters.index(member.master or member.id) + 1
        slots = "" if member.slots is None else f" {member.slots[0]}-{member.slots[1]}"
        address = f"127.0.0.1:{member.port}@{member.port + 10000}"
        lines.append(f"{member.id} {address} {flags} {member.master or '-'} 0 0 {epoch} connected{slots}")
    lines.append(f"vars currentEpoch {len(masters)} lastVoteEpoch 0")
    return "\n".join(lines) + "\n"
