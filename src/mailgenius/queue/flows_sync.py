# Made from flows_async.py by `python -m tools.twin`: edit that one.
"""Jobs that wait for others: flows, and batches with a job that comes then."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from mailgenius.queue.added import Added
from mailgenius.queue.options import chosen, lane
from mailgenius.queue.sending_sync import Sending
from mailgenius.queue.step import Flow, Step, StepLike, steps, unfolded

__all__ = ["Flows"]

PART = 50  # jobs of one call, some 17 µs each: the server does nothing else meanwhile
_encode = msgspec.msgpack.Encoder().encode


class Flows(Sending):
    """The part of a queue that adds jobs which wait for others."""

    def flow(self, parent: StepLike, children: Iterable[StepLike] = (), *, batch: str = "") -> Flow:
        """Adds a job that starts when its ``children`` have ended, and these, which may wait for children of their own; the
        ids of all. Each is a ``Step``, or ``(name, payload)``, or ``(name, payload, children)``.

        What becomes of a parent when a child is dead, or was removed, its step says (``on_failure``); how many these were,
        ``show(id).children_failed``. A child that is retried later makes no difference any more.

        Flows of more than 50 jobs take several calls. ``batch``: as for ``add_many``; without it, a flow of which an error
        kept some children away stays blocked until it is removed. Raises the errors of ``add``.
        """
        root = steps(parent)
        if children := [*root.children, *children]:
            root = msgspec.structs.replace(root, children=children)
        every = list(unfolded(root))
        flows: list[Flow] = []
        for id, (_, above, _) in zip(self._tree(every, batch), every, strict=True):
            flows.append(Flow(id, []))
            if above >= 0:
                flows[above].children.append(flows[-1])
        return flows[0]

    def _batch(self, template: Step, payloads: Iterable[Any], then: StepLike, batch: str) -> Added:
        """Adds jobs that differ in their payloads, and one that waits for them."""
        last, every = steps(then), list(payloads)
        children = [(template, 0, 0, payload) for payload in every]
        ids = self._tree([(last, -1, len(every)), *children], batch)
        ranges: list[tuple[str, int, int]] = []
        for id in ids[1:]:  # numbers of one call follow one another
            number = int(id.partition("-")[2])
            if ranges and sum(ranges[-1][1:]) == number:
                ranges[-1] = ("0", ranges[-1][1], ranges[-1][2] + 1)
            else:
                ranges.append(("0", number, 1))
        return Added(ranges, ids[0])

    def _tree(self, every: Sequence[tuple[Any, ...]], batch: str) -> list[str]:
        """Adds steps, parents first; their ids."""
        ids: list[str] = []
        most = self.policy.max_waiting
        for first in range(0, len(every), PART):
            part = every[first : first + PART]
            # There has to be room for all of them at the start; later there may not be, and they come all the same.
            args: list[Any] = [max(1, most - len(every) + len(part)) if most and not first else 0]
            for step, above, children, *own in part:
                options = chosen(
                    step.attempts,
                    step.backoff,
                    step.timeout,
                    step.keep_result,
                    step.priority,
                    step.group,
                    step.trace,
                    flow=True,
                )
                frame = self._head(step.name, options) + _encode(own[0] if own else step.payload)
                parent = "" if above < 0 else above - first + 1 if above >= first else ids[above]
                args += (
                    lane(step.priority, step.group),
                    0,
                    0,
                    step.name,
                    "",
                    0,
                    parent,
                    children,
                    step.on_failure,
                    frame,
                )
            reply = self._sure(self._put, args, f"b:{batch}:{first}" if batch else "")
            ids += [reply[i].decode() for i in range(1, len(reply), 2)]
        return ids
