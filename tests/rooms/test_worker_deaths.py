"""What is left of a worker that dies, freezes, holds the interpreter, or is told to stop: real processes, real signals."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mailgenius import AsyncRedis
from mailgenius.queue import AsyncQueue, Policy
from mailgenius.queue.records import failure_of
from mailgenius.servers import ValkeyServer
from tests.rooms import worker_child
from tests.rooms.test_worker import got_async, holds, nothing_left, numbers, running, worker_of
from tests.waiting_async import until

ROOT = Path(__file__).parents[2]


class Child:
    """A worker in a process of its own (worker_child.py)."""

    def __init__(self, url: str, path: Path, *flags: str) -> None:
        self.path = path
        command = [sys.executable, "-m", "tests.rooms.worker_child", url, "mail", str(path), *flags]
        self.process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()


@pytest.fixture
def children(redis_server: ValkeyServer, tmp_path: Path) -> Iterator[list[Child]]:
    found: list[Child] = []
    yield found
    for child in found:
        child.close()


@contextlib.asynccontextmanager
async def queue_on(server: ValkeyServer) -> AsyncIterator[AsyncQueue]:
    async with AsyncRedis(server.url) as redis:
        yield AsyncQueue(redis, "mail", policy=Policy(lease=worker_child.LEASE, attempts=2), unsafe=True)


async def test_what_a_killed_worker_had_is_given_back_at_once(
    redis_server: ValkeyServer, tmp_path: Path, children: list[Child]
) -> None:
    async with queue_on(redis_server) as queue:
        await queue.add_many("note", range(10))
        await queue.add_many("hang", range(100, 104))
        await queue.add_many("note", range(20, 30))
        children.append(child := Child(redis_server.url, tmp_path / "journal"))
        await holds(lambda: sum(line.startswith("began") for line in child.lines()) == 4)
        before = set(child.lines())
        child.signal(signal.SIGKILL)

        async def back() -> bool:
            return (await numbers(queue)).get("active") == 0

        # Well before the lease ends: nobody else looks for it.
        await until(back, worker_child.LEASE * 0.8)
        found = await numbers(queue)
        assert found["stalled"] == 4  # those that had begun, no others
        done: list[int] = []
        worker = worker_of(queue)
        worker.handler("note")(got_async(done))
        worker.handler("hang")(got_async(done))
        async with running(worker):
            await holds(lambda: len(done) + sum(line.startswith("did") for line in before) == 24)
        assert {*done, *(int(line[4:]) for line in before if line.startswith("did"))} == {
            *range(10),
            *range(20, 30),
            *range(100, 104),
        }
        assert (await numbers(queue))["dnote"] == 20  # what was done and not said, is done
        await nothing_left(queue)


async def test_without_a_keeper_the_lease_ends_by_itself(
    redis_server: ValkeyServer, tmp_path: Path, children: list[Child]
) -> None:
    async with queue_on(redis_server) as queue:
        await queue.add("hang", 1)
        children.append(child := Child(redis_server.url, tmp_path / "journal", "no-keeper"))
        await holds(lambda: "began 1" in child.lines())
        child.signal(signal.SIGKILL)
        done: list[int] = []
        worker = worker_of(queue)
        worker.handler("hang")(got_async(done))
        async with running(worker):
            await holds(lambda: done == [1], 2 * worker_child.LEASE + 5)
        await nothing_left(queue)


async def test_a_job_that_kills_its_worker_is_buried_and_its_mates_end(
    redis_server: ValkeyServer, tmp_path: Path, children: list[Child]
) -> None:
    async with queue_on(redis_server) as queue:
        await queue.add_many("note", range(30))
        poison = await queue.add("die", 7)
        await queue.add_many("note", range(30, 60))

        async def buried() -> bool:
            return bool(await queue.redis.call("ZSCORE", queue.prefix + "dead", poison) is not None)

        path = tmp_path / "journal"

        async def step() -> bool:
            if not children or children[-1].process.poll() is not None:
                if await buried():
                    return True
                children.append(Child(redis_server.url, path))
            return await buried()

        await until(step, 30)
        assert children[-1].lines().count("began 7") == 2
        children.append(last := Child(redis_server.url, path))
        await holds(lambda: len({line for line in last.lines() if line.startswith("did")}) == 60)
        failure = failure_of(await queue.redis.call("HGET", queue.prefix + "errors", poison))
        assert failure.type == "Stalled"
        assert max(Counter(line for line in last.lines() if line.startswith("did")).values()) == 1

        async def ended() -> bool:
            return (await numbers(queue)).get("dnote") == 60

        await until(ended)


async def test_a_frozen_worker_loses_its_lease_and_cannot_end_its_jobs(
    redis_server: ValkeyServer, tmp_path: Path, children: list[Child]
) -> None:
    async with queue_on(redis_server) as queue:
        go = tmp_path / "go"
        id = await queue.add("until", str(go))
        children.append(child := Child(redis_server.url, tmp_path / "journal"))
        await holds(lambda: f"began {id}" in child.lines())
        child.signal(signal.SIGSTOP)
        done: list[str] = []
        worker = worker_of(queue)

        @worker.handler("until")
        async def handler(payload: str) -> None:
            done.append(payload)

        async with running(worker):
            await holds(lambda: done == [str(go)], 2 * worker_child.LEASE + 5)

            async def counted() -> bool:
                return (await numbers(queue)).get("duntil") == 1

            await until(counted)
            go.touch()
            child.signal(signal.SIGCONT)
            await holds(lambda: "lost 1" in child.lines())
            await queue.add("note", 5)
        child.signal(signal.SIGTERM)
        await holds(lambda: "ended" in child.lines())
        assert (await numbers(queue))["duntil"] == 1
        await nothing_left(queue)


async def test_a_handler_that_holds_the_interpreter_keeps_its_lease(
    redis_server: ValkeyServer, tmp_path: Path, children: list[Child]
) -> None:
    async with queue_on(redis_server) as queue:
        held = 3 * worker_child.LEASE
        await queue.add("hold", held)
        children.append(child := Child(redis_server.url, tmp_path / "journal"))
        await holds(lambda: f"began {held}" in child.lines())
        other = worker_of(queue)
        done: list[float] = []

        @other.handler("hold")
        async def handler(payload: float) -> None:
            done.append(payload)

        async with running(other):
            await holds(lambda: f"held {held}" in child.lines(), held + 10)

            async def counted() -> bool:
                return (await numbers(queue)).get("dhold") == 1

            await until(counted)
        assert done == []
        assert (await numbers(queue)).get("stalled", 0) == 0


async def test_a_keeper_that_is_killed_is_replaced(
    redis_server: ValkeyServer, tmp_path: Path, children: list[Child]
) -> None:
    async with queue_on(redis_server) as queue:
        go = tmp_path / "go"
        worker = worker_of(queue, keeper=True)
        errors: list[BaseException] = []
        worker.on("error", errors.append)
        done: list[str] = []

        @worker.handler("until")
        async def handler(payload: str) -> None:
            await worker_child.there(go)
            done.append(payload)

        async with running(worker):
            await queue.add("until", "x")
            await holds(lambda: worker.metrics().running == 1)
            first = worker.metrics().keeper
            assert first is not None
            os.kill(first, signal.SIGKILL)
            await holds(lambda: worker.metrics().keepers == 2)

            async def renewed() -> bool:
                score = (await queue.redis.call("ZRANGE", queue.prefix + "leases", 0, 0, "WITHSCORES"))[0][1]
                seconds, micros = await queue.redis.call("TIME")
                now = int(seconds) * 1000 + int(micros) // 1000
                return bool(float(score) - now > worker_child.LEASE * 900)

            await until(renewed)
            go.touch()
            await holds(lambda: done == ["x"])
        assert "another one is started" in str(errors[0])
        assert (await numbers(queue)).get("stalled", 0) == 0


async def test_sigterm_drains(redis_server: ValkeyServer, tmp_path: Path, children: list[Child]) -> None:
    async with queue_on(redis_server) as queue:
        go = tmp_path / "go"
        await queue.add_many("until", [str(go)] * 2)
        await queue.add_many("hang", range(8))
        children.append(child := Child(redis_server.url, tmp_path / "journal"))
        await holds(lambda: sum(line.startswith("began") for line in child.lines()) == 6)
        child.signal(signal.SIGTERM)

        async def given_back() -> bool:
            return (await numbers(queue)).get("waiting") == 4

        await until(given_back)
        go.touch()
        await holds(lambda: sum(line.startswith("did") for line in child.lines()) == 2)
        child.signal(signal.SIGTERM)
        await holds(lambda: "ended" in child.lines())
        assert child.process.wait(5) == 0
        found = await numbers(queue)
        assert (found["waiting"], found["active"], found.get("stalled", 0)) == (8, 0, 0)
