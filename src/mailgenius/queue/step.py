"""Jobs that wait for others, as values. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from mailgenius.errors import ConfigError

from .options import DEFAULT_PRIORITY, Backoff

__all__ = ["Flow", "Step", "StepLike", "steps", "unfolded"]


class Step(msgspec.Struct, frozen=True):
    """A job of a flow, and the jobs that it waits for. ``on_failure``: what becomes of it when all of these have ended and
    one is dead or was removed: it is to ``"run"`` all the same, or to ``"fail"``. The rest is as for ``add``."""

    name: str
    payload: Any = None
    children: Sequence[StepLike] = ()
    on_failure: Literal["run", "fail"] = "run"
    priority: int = DEFAULT_PRIORITY
    group: str = ""
    attempts: int | None = None
    backoff: Backoff | None = None
    timeout: float | None = None
    keep_result: float | None = None
    trace: str = ""


#: A step, or (name, payload), or (name, payload, children).
StepLike: TypeAlias = "Step | tuple[Any, ...]"


class Flow(msgspec.Struct, frozen=True):
    """The ids of a flow that was added: that of a job, and those of the jobs that it waits for."""

    id: str
    children: list[Flow] = []


def steps(like: StepLike) -> Step:
    """Raises ``ConfigError``."""
    if isinstance(like, Step):
        step = like
    elif isinstance(like, tuple) and 1 <= len(like) <= 3:
        step = Step(*like)
    else:
        raise ConfigError(
            f"$.queue.flow: {like!r} is no step; give (name, payload), (name, payload, children) or a Step"
        )
    if step.on_failure not in ("run", "fail"):
        raise ConfigError(f'$.queue.flow.on_failure: {step.on_failure!r} is neither "run" nor "fail"')
    return step


def unfolded(root: Step) -> Iterator[tuple[Step, int, int]]:
    """All steps of a tree, parents before their children; of each, the number of its parent in this order (-1: none), and
    how many children it has. No depth is too much for it."""
    number, waiting = 0, [(root, -1)]
    while waiting:
        step, parent = waiting.pop()
        children = [steps(child) for child in step.children]
        yield step, parent, len(children)
        waiting += [(child, number) for child in reversed(children)]
        number += 1
