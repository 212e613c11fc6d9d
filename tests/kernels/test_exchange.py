"""Exchange without a socket: whose reply is it, and when do tasks go on."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

import pytest

from mailgenius._native import Exchange, Histogram
from mailgenius.errors import RedisRefused
from mailgenius.link.replies import reader


class Loop(Exchange):
    """Keeps what is written, and is told what arrives."""

    def __init__(self, most: int = 1000) -> None:
        self.latency = Histogram()
        super().__init__(asyncio.get_running_loop(), reader(), self.latency, most, 1 << 20)
        self.protocol = 3
        self.written: list[bytes] = []
        self.lost: list[str] = []
        self.refused: list[str] = []
        self.pushes: list[Any] = []

    def _flush(self) -> None:
        if self.size:
            self.turned(1.0)
            self.written.append(self.leaving())

    def _too_late(self) -> NoReturn:
        raise ConnectionError("too late")

    def _shed(self, why: str) -> NoReturn:
        raise ConnectionError(why)

    def _refused(self, error: RedisRefused) -> None:
        self.refused.append(error.code)

    def _pushed(self, push: Any) -> None:
        self.pushes.append(push)

    def lose(self, why: str) -> None:
        self.lost.append(why)
        self.closed = True
        waiting = self.waiting()
        self.forget()
        for reply in waiting:
            reply.fail(ConnectionError(why))

    def arrives(self, data: bytes) -> None:
        room = self.get_buffer(-1)
        room[: len(data)] = data
        self.buffer_updated(len(data))


def later(loop: Loop, data: bytes) -> None:
    """Arrives between two turns of tasks, as from a socket."""
    asyncio.get_running_loop().call_soon(loop.arrives, data)


async def test_requests_of_a_turn_leave_together_and_replies_come_in_order() -> None:
    loop = Loop()

    async def ask(n: int) -> Any:
        return await loop.one(b"%d " % n, 1.0)

    tasks = [asyncio.ensure_future(ask(n)) for n in range(3)]
    many = asyncio.ensure_future(_await(loop.many(b"many ", 2, 1.0)))
    await turns(2)
    assert sorted(b"".join(loop.written).split()) == [b"0", b"1", b"2", b"many"]
    assert loop.pending == 4
    later(loop, b":1\r\n-ERR no\r\n$1\r\n2\r\n-NO x\r\n+a\r\n")
    # ``many`` was asked for first: its task had not begun when it was
    found = await asyncio.gather(*tasks, many, return_exceptions=True)
    assert [str(one) for one in found] == ["b'2'", "NO x", "b'a'", "[1, RedisRefused('ERR no')]"]
    assert loop.pending == 0
    assert loop.refused == ["ERR", "NO"]
    assert loop.latency.count == 4


async def turns(count: int) -> None:
    """Of the loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def _await(reply: Any) -> Any:
    return await reply


async def test_tasks_go_on_at_once_and_what_they_ask_leaves_together() -> None:
    loop = Loop()
    seen: list[int] = []

    async def ask(n: int) -> None:
        await loop.one(b"a", 1.0)
        seen.append(n)
        await loop.one(b"b", 1.0)

    tasks = [asyncio.ensure_future(ask(n)) for n in range(120)]
    await turns(2)
    loop.written.clear()
    during: list[tuple[list[int], list[bytes]]] = []

    def arrives() -> None:
        loop.arrives(b"+x\r\n" * 120)
        during.append((list(seen), list(loop.written)))

    asyncio.get_running_loop().call_soon(arrives)
    await turns(2)
    assert during == [(list(range(120)), [b"b" * 50, b"b" * 50, b"b" * 20])]
    later(loop, b"+x\r\n" * 120)
    await asyncio.gather(*tasks)


async def test_within_a_task_others_go_on_later() -> None:
    loop = Loop()
    task = asyncio.ensure_future(_await(loop.one(b"a", 1.0)))
    await turns(1)
    loop.arrives(b":5\r\n")  # by this task
    assert not task.done()
    assert await task == 5


@pytest.mark.parametrize("value", [b"+OK\r\n", b"_\r\n", b"*1\r\n:1\r\n"])
async def test_values(value: bytes) -> None:
    loop = Loop()
    reply = loop.one(b"a", 1.0)
    with pytest.raises(asyncio.InvalidStateError):
        reply.result()
    later(loop, value)
    found = await reply
    assert reply.done()
    assert not reply.cancelled()
    assert reply.exception() is None
    assert found == reply.result()
    assert found in (b"OK", None, [1])
    assert await reply == found  # once more


async def test_cancelled_ones_keep_their_place() -> None:
    loop = Loop()
    tasks = [asyncio.ensure_future(_await(loop.one(b"%d" % n, 1.0))) for n in range(3)]
    await turns(1)
    tasks[1].cancel()
    await turns(2)
    assert tasks[1].cancelled()
    assert loop.pending == 3
    later(loop, b":0\r\n:1\r\n:2\r\n")
    assert await tasks[0] == 0
    assert await tasks[2] == 2


async def test_cancelled_by_one_that_goes_on_just_before() -> None:
    loop = Loop()
    others: list[asyncio.Task[Any]] = []

    async def first() -> None:
        await loop.one(b"a", 1.0)
        others[0].cancel()  # its reply is there, and it has not gone on yet

    task = asyncio.ensure_future(first())
    await turns(1)
    others.append(asyncio.ensure_future(_await(loop.one(b"b", 1.0))))
    await turns(1)
    later(loop, b":1\r\n:2\r\n")
    await task
    with pytest.raises(asyncio.CancelledError):
        await others[0]


async def test_what_is_answered_stays_so() -> None:
    loop = Loop()
    reply = loop.one(b"c", 1.0)
    later(loop, b":3\r\n")
    assert await asyncio.wait_for(asyncio.shield(_await(reply)), 1) == 3
    assert not reply.cancel()
    reply.fail(ValueError())
    assert reply.result() == 3


async def test_works_with_what_asyncio_has_for_futures() -> None:
    loop = Loop()
    replies = [loop.one(b"a", 1.0) for _ in range(4)]
    told: list[Any] = []
    extra = told.append
    for _ in range(2):
        replies[0].add_done_callback(extra)
    replies[0].add_done_callback(lambda reply: told.append(None))
    assert replies[0].remove_done_callback(extra) == 2
    later(loop, b":0\r\n-ERR x\r\n:2\r\n:3\r\n")
    found = await asyncio.gather(*map(_await, replies), return_exceptions=True)
    assert [str(one) for one in found] == ["0", "ERR x", "2", "3"]
    assert told == [None]
    replies[2].add_done_callback(told.append)
    await turns(1)
    assert told == [None, replies[2]]
    assert replies[1].exception() is found[1]


async def test_faults_end_it_after_the_replies_before_them() -> None:
    loop = Loop()
    tasks = [asyncio.ensure_future(_await(loop.one(b"a", 1.0))) for _ in range(2)]
    await turns(1)
    later(loop, b":1\r\n?\r\n")
    assert await tasks[0] == 1
    with pytest.raises(ConnectionError, match="not RESP: a type that there is not"):
        await tasks[1]
    assert len(loop.lost) == 1
    with pytest.raises(ConnectionError, match="too late"):
        loop.one(b"a", 1.0)
    loop.arrives(b":1\r\n")  # nobody is told
    assert len(loop.lost) == 1


async def test_replies_that_nobody_asked_for() -> None:
    loop = Loop()
    later(loop, b">1\r\n+p\r\n:1\r\n")
    await turns(2)
    assert loop.pushes == [[b"p"]]
    assert loop.lost == ["it sent a reply that nobody asked for"]
    loop = Loop()
    loop.protocol, loop.on_push = 2, loop.pushes.append  # which has no other way to bring messages
    loop.arrives(b"*1\r\n+m\r\n")
    assert loop.pushes == [[b"m"]]
    assert not loop.lost


async def test_a_reply_to_what_was_not_sent_yet() -> None:
    loop = Loop()
    reply = loop.one(b"a", 1.0)
    loop.arrives(b":1\r\n")
    assert loop.lost == ["it sent a reply that nobody asked for"]
    with pytest.raises(ConnectionError):
        await reply


async def test_bounds() -> None:
    loop = Loop(most=2)
    for _ in range(2):
        loop.one(b"a", 1.0)
    with pytest.raises(ConnectionError, match=r"2 requests wait for their replies \(\$.redis.max_pending\)"):
        loop.one(b"a", 1.0)
    loop = Loop()
    loop.one(b"a" * (1 << 21), 1.0)  # by itself it may be of any size
    with pytest.raises(ConnectionError, match=r"2,097,152 bytes wait to be written"):
        loop.post(b"a")
    with pytest.raises(TypeError):
        loop.one("text", 1.0)  # type: ignore[arg-type]


async def test_another_loop_is_refused() -> None:
    loop = Loop()

    async def elsewhere() -> None:
        loop.one(b"a", 1.0)

    with pytest.raises(RuntimeError, match="another event loop"):
        await asyncio.to_thread(asyncio.run, elsewhere())


async def test_an_interrupt_leaves_nobody_waiting() -> None:
    loop = Loop()
    running = asyncio.get_running_loop()
    caught: list[BaseException] = []
    replies = [loop.one(b"a", 1.0) for _ in range(3)]

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    def arrives() -> None:
        try:
            loop.arrives(b":0\r\n:1\r\n:2\r\n")
        except KeyboardInterrupt as error:
            caught.append(error)

    replies[0].add_done_callback(interrupt)
    tasks = [asyncio.ensure_future(_await(reply)) for reply in replies[1:]]
    await turns(1)
    running.call_soon(arrives)
    assert await asyncio.gather(*tasks) == [1, 2]
    assert len(caught) == 1


async def test_an_error_of_a_callback_is_told_to_the_loop() -> None:
    loop = Loop()
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    reply = loop.one(b"a", 1.0)
    reply.add_done_callback(lambda _: 1 / 0)
    other = asyncio.ensure_future(_await(loop.one(b"b", 1.0)))
    await turns(1)
    later(loop, b":0\r\n:1\r\n")
    assert await other == 1
    assert [type(one["exception"]) for one in told] == [ZeroDivisionError]
