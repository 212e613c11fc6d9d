"""Cores of several shards with the same places, driven by seeded schedules: calls that take their time, servers that are
away, jobs that must come alone."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from mailgenius.errors import JobFailed
from mailgenius.queue.frames import pack
from mailgenius.queue.policy import Policy
from mailgenius.worker.batch import Ack, Entry, Settle, id_of
from mailgenius.worker.core import MOST, Core
from mailgenius.worker.handlers import define
from mailgenius.worker.memory import SharedStates, size_of
from mailgenius.worker.pool import AHEAD, Pool
from mailgenius.worker.sharing import PATIENCE, Sharing
from mailgenius.worker.states import BEGUN
from tests.unit.test_worker_core import SLOTS, Server

SHARDS = 3


class Suspicious(Server):
    """Has jobs too that must come alone."""

    def __init__(self, chance: random.Random, jobs: int, suspects: int) -> None:
        super().__init__(chance, jobs)
        self.suspects = suspects
        self.alone = 0  # that were given

    def work(self, words: list[Any]) -> list[Any]:
        if not (words[2] and self.alone < self.suspects and self.chance.random() < 0.3):
            return super().work(words)
        reply = super().work([*words[:2], 0, *words[3:]])
        if words[4]:
            self.token += 1
            token = b"%d" % self.token
            place = 100_000 + self.alone
            self.leases[token] = {place: pack("quick", b"", stalls=1)}
            self.last[1].append(token)
            self.alone += 1
            reply += [token, b"A", b"A", b"%d" % place, 1, pack("quick", b"", stalls=1)]
            reply[1] = b"-2"
        else:
            reply[4] = 1
        return reply

    def settle(self, words: list[Any]) -> bool:
        for at in range(2, len(words), 7):
            if words[at + 1] == "back" and str(words[at + 5]).startswith("A"):
                self.suspects += 1  # it comes again
                words[at + 1] = "gone"
        return super().settle(words)


def cores_of(pools: dict[str, Pool]) -> list[Core]:
    handlers = {name: define(name, lambda payload: None) for name in pools}
    sharing = Sharing()
    return [
        Core(
            handlers,
            pools,
            SharedStates(memoryview(bytearray(size_of(SLOTS))), SLOTS),
            Policy(attempts=3),
            worker="me",
            ids=f"{n}." if n else "",
            sharing=sharing,
        )
        for n in range(SHARDS)
    ]


@pytest.mark.parametrize("seed", range(150))
def test_every_job_of_all_shards_ends_once(seed: int) -> None:
    chance = random.Random(seed)
    servers = [Suspicious(chance, chance.choice((50, 400)), chance.randint(0, 4)) for _ in range(SHARDS)]
    pools = {"quick": Pool(chance.choice((1, 5, 20))), "slow": Pool(chance.choice((1, 3)))}
    cores = cores_of(pools)
    calls: dict[int, tuple[float, Ack | Settle]] = {}  # under way: when they are answered
    now, running, ran = 0.0, list[tuple[Entry, float]](), 0
    for _ in range(100_000):
        now += chance.choice((0.0001, 0.001, 0.02))
        for pool in pools.values():
            while pool.waiting and pool.running < pool.limit and chance.random() < 0.9:
                entry = pool.waiting.popleft()
                number = id_of(entry).partition(".")[0] if "." in id_of(entry) else "0"
                assert entry[0].core is cores[int(number)]
                entry[0].state[entry[1]] = BEGUN
                pool.running += 1
                running.append((entry, now))
        if any(entry[0].lane == "A" for entry, _ in running):
            assert len(running) == 1
        chance.shuffle(running)
        for _ in range(chance.randint(0, len(running))):
            entry, began = running.pop()
            entry[2].pool.running -= 1
            ran += 1
            if chance.random() < 0.05:
                entry[0].core.raised(entry, JobFailed("no") if chance.random() < 0.3 else ValueError("no"), now)
            elif entry[2].plain:
                entry[0].core.done(entry, now - began, now)
            else:
                entry[0].core.kept(entry, b"", 0.0, now - began, now)
        away = sum(core.away for core in cores)
        assert sum(len(pool.waiting) for pool in pools.values()) <= (AHEAD + MOST) * (1 + away)
        for n in chance.sample(range(SHARDS), SHARDS):
            core, server = cores[n], servers[n]
            if n in calls:
                at, call = calls[n]
                if at > now:
                    continue
                if chance.random() < 0.05:  # its server is away
                    core.away = True
                    calls[n] = (now + chance.choice((0.01, 0.3)), call)
                    continue
                del calls[n]
                core.away = False
                if isinstance(call, Ack):
                    core.answered(call, server.work(call.words), now)
                else:
                    core.settled(call, server.settle(call.words))
            todo = core.plan(now)
            if isinstance(todo, Ack | Settle):
                calls[n] = (now + chance.choice((0.0, 0.001, 0.02)), todo)
            elif core.dry and (server.back or server.alone < server.suspects):
                core.woken()
        if not (calls or running or any(pool.waiting for pool in pools.values())) and all(
            core.dry and not server.back and server.alone >= server.suspects
            for core, server in zip(cores, servers, strict=True)
        ):
            break
    else:
        raise AssertionError("it does not end")
    for core, server in zip(cores, servers, strict=True):
        assert core.over
        assert not core.batches
        assert core.memory.room == SLOTS
        for place, frame in enumerate(server.frames):
            assert len(server.ended.get(place, [])) == bool(frame), f"seed {seed}: {place}"


def test_shards_take_turns_where_there_is_room_for_one() -> None:
    pool = Pool(1)
    cores = cores_of({"n": pool})
    asked: Counter[int] = Counter()
    for _ in range(30):
        calls = [(n, call) for n, core in enumerate(cores) if isinstance(call := core.plan(0.0), Ack)]
        for n, call in calls:
            if not call.want:  # it says that the last one's job is done
                cores[n].answered(call, [b"0", b"-2", [], 0, 0], 0.0)
        ((n, call),) = [(n, call) for n, call in calls if call.want]
        asked[n] += 1
        place = asked[n]
        token = b"%d" % place
        cores[n].answered(call, [b"0", b"-2", [], 0, 0, token, b"5", b"5", token, 1, pack("n", b"1")], 0.0)
        entry = pool.waiting.popleft()
        pool.running = 1
        assert not any(isinstance(core.plan(0.0), Ack) for core in cores)
        pool.running = 0
        entry[0].core.done(entry, 0.01, 0.0)
    assert asked == {0: 10, 1: 10, 2: 10}


def test_together_they_ask_for_what_one_would_ask_for() -> None:
    pool = Pool(20)
    cores = cores_of({"n": pool})
    calls = [core.plan(0.0) for core in cores]
    assert [call.want for call in calls if isinstance(call, Ack)] == [7, 7, 6]
    for now in (0.1, 0.1 + PATIENCE):
        for n in (0, 2):
            call = calls[n]
            assert isinstance(call, Ack)
            cores[n].answered(call, [b"0", b"-2", [], 0, 0], now)
        for n in (0, 2):
            calls[n] = cores[n].plan(now)
        # The answer to the one does not come, so the others may have its part after a while.
        assert [call.want for n, call in enumerate(calls) if isinstance(call, Ack) and n != 1] == (
            [7, 6] if now == 0.1 else [10, 10]
        )
