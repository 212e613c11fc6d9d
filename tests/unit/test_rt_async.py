"""What runs at once."""

from __future__ import annotations

from functools import partial

from mailgenius.rt import aio as rt


async def meet(mine: rt.Event, others: rt.Event, found: int) -> int:
    mine.set()
    if not await rt.wait(others, 10):
        raise TimeoutError("the other one was not begun")
    if found < 0:
        raise ValueError(found)
    return found


async def test_together() -> None:
    assert await rt.together([]) == []
    for _ in range(3):  # helpers that are there already, and new ones
        one, other = rt.Event(), rt.Event()
        replies = await rt.together([partial(meet, one, other, 1), partial(meet, other, one, 2)])
        assert replies == [1, 2]
        one, other = rt.Event(), rt.Event()
        replies = await rt.together([partial(meet, one, other, -1), partial(meet, other, one, 2)])
        assert isinstance(replies[0], ValueError)
        assert replies[1] == 2
