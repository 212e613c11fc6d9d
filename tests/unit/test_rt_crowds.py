"""Requests of many tasks that go together: each gets its own reply, and nobody takes anything from the others."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from mailgenius._native import Reply, deliver
from mailgenius.rt import aio as rt

WHO: ContextVar[int] = ContextVar("who")


async def test_each_gets_its_own_reply() -> None:
    sent: list[list[int]] = []

    async def send(items: list[int]) -> list[int]:
        sent.append(items)
        await asyncio.sleep(0)
        return [-item for item in items]

    crowd: rt.Together[int] = rt.Together(send, 4)

    async def caller(number: int) -> None:
        WHO.set(number)
        for n in range(5):
            assert await crowd(10 * number + n) == -(10 * number + n)
            assert WHO.get() == number

    await asyncio.gather(*map(caller, range(9)))
    assert sorted(item for items in sent for item in items) == sorted(
        10 * number + n for number in range(9) for n in range(5)
    )
    assert max(map(len, sent)) == 4
    assert await crowd(7) == -7  # alone, once all is quiet


async def test_an_error_is_everybodys_and_a_cancelled_one_takes_nothing() -> None:
    begun, gate = asyncio.Event(), asyncio.Event()

    async def send(items: list[Any]) -> list[Any]:
        begun.set()
        await gate.wait()
        if "bad" in items:
            raise ValueError("bad")
        return items

    crowd: rt.Together[Any] = rt.Together(send, 3)

    async def ask(item: Any) -> Any:
        return await crowd(item)

    tasks = [asyncio.create_task(ask(item)) for item in ("first", 1, 2, 3, "bad", 4, 5)]
    await begun.wait()
    tasks[2].cancel()
    gate.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert found[:2] + found[3:4] == ["first", 1, 3]
    assert isinstance(found[2], asyncio.CancelledError)
    assert [type(one) for one in found[4:]] == [ValueError, ValueError, ValueError]
    assert not crowd._sending


async def test_deliver_wants_a_value_for_each() -> None:
    loop = asyncio.get_running_loop()
    replies: list[Reply[int]] = [Reply(loop), Reply(loop)]
    with pytest.raises(ValueError, match="1 values for 2 replies"):
        deliver(replies, [1])
    assert not replies[0].done()
    replies[0].fail(KeyError("gone"))
    deliver(replies, [1, 2])
    with pytest.raises(KeyError):
        await replies[0]
    assert await replies[1] == 2
