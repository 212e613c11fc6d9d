"""The states of a job, as a table: where it is kept, and what it can become. Documentation is drawn from it too."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import msgspec

__all__ = ["PAGED", "STATES", "State", "StateName", "diagram"]

StateName: TypeAlias = Literal["waiting", "active", "delayed", "blocked", "failed", "done", "removed"]


class State(msgspec.Struct, frozen=True):
    """``where``: the keys that hold such jobs (docs/design/queue.md). ``becomes``: other states, and by what."""

    meaning: str
    where: str
    becomes: tuple[tuple[StateName, str], ...] = ()


#: Every job begins as waiting, delayed or blocked.
STATES: dict[StateName, State] = {
    "waiting": State(
        "it is in its lane and starts when its turn comes",
        "c:<lane>:<chunk>, at or behind the lane's head",
        (("active", "a worker leases it"), ("removed", "remove, drain")),
    ),
    "active": State(
        "a worker has leased it",
        "c:<lane>:<chunk>, in the range of a lease",
        (
            ("done", "its handler returns"),
            ("delayed", "its handler fails, attempts are left"),
            ("failed", "its handler fails for good, or its workers died too often"),
            ("waiting", "its worker gives it back, or dies"),
            ("removed", "remove: its worker cancels it"),
        ),
    ),
    "delayed": State(
        "it waits for its time",
        "delayed, jobs",
        (("waiting", "its time comes, or promote"), ("removed", "remove, clean, a newer one replaces it")),
    ),
    "blocked": State(
        "it waits for its children to end",
        "parents, jobs",
        (
            ("waiting", "the last child ends"),
            ("failed", 'the last child ends, one failed, and on_failure is "fail"'),
            ("removed", "remove"),
        ),
    ),
    "failed": State(
        "it is dead: kept with its error, as long as the policy says",
        "dead, jobs, errors",
        (("waiting", "retry"), ("removed", "remove, clean, newer ones")),
    ),
    "done": State("its handler has returned; the last ones can be looked at", "kept, r:<id>"),
    "removed": State("it was taken out; nothing of it is kept", "nowhere"),
}
#: Those that ``page`` can list.
PAGED: tuple[StateName, ...] = tuple(state for state in get_args(StateName) if state != "removed")


def diagram() -> str:
    """The table as a diagram in Mermaid's notation."""
    lines = ["stateDiagram-v2"]
    lines += [f"    [*] --> {state}: add" for state in ("waiting", "delayed", "blocked")]
    for name, state in STATES.items():
        lines += [f"    {name} --> {other}: {by}" for other, by in state.becomes]
        if not state.becomes:
            lines.append(f"    {name} --> [*]")
    return "\n".join(lines)
