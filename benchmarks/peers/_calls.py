"""The driver of the pool benchmark, the same for every rival in Python: callers that each ask, wait for the answer and
ask again, for a given time, after a shorter one that is not counted.

A rival gives a context manager ``opened(conninfo, question, ...)`` that yields ``ask(args) -> rows``. It has
``CONNECTIONS`` connections, open before the first question, and every statement commits by itself.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    Args: TypeAlias = tuple[str, ...]
    Rows: TypeAlias = Sequence[Sequence[Any]]
    Ask: TypeAlias = Callable[[Args], Rows]
    AskAsync: TypeAlias = Callable[[Args], Awaitable[Rows]]

CONNECTIONS = 10
WARM = 0.5  # seconds before the clock starts: connections used, statements prepared, code specialised
# {} is where the driver's own placeholder goes; the first column of the first row shows whether the answer is right.
QUESTIONS = {
    "select 1": "select 1",
    "lead by e-mail": "select email, id, first_name, last_name, company, city, country, score, created_at"
    " from mailgenius.leads where workspace_id = 1 and email = {}",
}


class Calls(msgspec.Struct):
    seconds: float
    calls: int
    p50: float
    p99: float


def turns(question: str, emails: Sequence[str], caller: int, callers: int) -> Iterator[tuple[Args, object]]:
    """What one caller asks, without end: arguments and the first column of the answer."""
    if "{}" not in question:
        return itertools.repeat(((), 1))
    return itertools.cycle([((email,), email) for email in emails[caller::callers]])


def summary(took: Sequence[float], seconds: float) -> Calls:
    times = sorted(took)
    return Calls(seconds, len(times), times[len(times) // 2], times[len(times) * 99 // 100])


def threads(opened: Callable[..., AbstractContextManager[Ask]]) -> Callable[..., Calls]:
    """``load`` of a rival that blocks: a thread for each caller."""

    def load(path: str, conninfo: str, *, question: str, callers: int, seconds: float, **keywords: Any) -> Calls:
        emails = Path(path).read_text("utf-8").splitlines()
        start = threading.Barrier(callers)

        def call(ask: Ask, caller: int) -> list[tuple[float, float, list[float]]]:
            asked = turns(QUESTIONS[question], emails, caller, callers)
            found = []
            try:
                for duration in (WARM, seconds):
                    start.wait()
                    found.append(_ask(ask, asked, duration))
            except threading.BrokenBarrierError:
                pass  # another caller failed, and says why
            except BaseException:
                start.abort()
                raise
            return found

        with opened(conninfo, QUESTIONS[question], **keywords) as ask, ThreadPoolExecutor(callers) as running:
            futures = [running.submit(call, ask, i) for i in range(callers)]
            found = [future.result() for future in futures]
        return _joined([timed for _, timed in found])

    return load


def tasks(opened: Callable[..., AbstractAsyncContextManager[AskAsync]]) -> Callable[..., Calls]:
    """``load`` of a rival for asyncio: a task for each caller, all in one loop."""

    def load(
        path: str, conninfo: str, *, question: str, callers: int, seconds: float, uvloop: bool = False, **keywords: Any
    ) -> Calls:
        emails = Path(path).read_text("utf-8").splitlines()

        async def main() -> Calls:
            async with opened(conninfo, QUESTIONS[question], **keywords) as ask:
                asked = [turns(QUESTIONS[question], emails, i, callers) for i in range(callers)]
                for duration in (WARM, seconds):
                    found = await asyncio.gather(*(_ask_async(ask, mine, duration) for mine in asked))
                return _joined(found)

        with asyncio.Runner(loop_factory=_uvloop() if uvloop else None) as runner:
            return runner.run(main())

    return load


# The two below are one loop; what they do between two questions is all that the driver costs (some 0.2 µs).


def _ask(ask: Ask, asked: Iterator[tuple[Args, object]], seconds: float) -> tuple[float, float, list[float]]:
    clock, took = time.perf_counter, []
    now = began = clock()
    for args, right in asked:
        rows = ask(args)
        before, now = now, clock()
        took.append(now - before)
        if rows[0][0] != right:
            raise RuntimeError(f"{rows[0][0]!r} came back instead of {right!r}")
        if now - began >= seconds:
            break
    return began, now, took


async def _ask_async(
    ask: AskAsync, asked: Iterator[tuple[Args, object]], seconds: float
) -> tuple[float, float, list[float]]:
    clock, took = time.perf_counter, []
    now = began = clock()
    for args, right in asked:
        rows = await ask(args)
        before, now = now, clock()
        took.append(now - before)
        if rows[0][0] != right:
            raise RuntimeError(f"{rows[0][0]!r} came back instead of {right!r}")
        if now - began >= seconds:
            break
    return began, now, took


def _joined(found: Sequence[tuple[float, float, list[float]]]) -> Calls:
    """From the first question of anybody to the last answer."""
    seconds = max(ended for _, ended, _ in found) - min(began for began, _, _ in found)
    return summary([t for _, _, took in found for t in took], seconds)


def _uvloop() -> Callable[[], asyncio.AbstractEventLoop]:
    import uvloop

    return uvloop.new_event_loop
