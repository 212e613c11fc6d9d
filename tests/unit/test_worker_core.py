"""What a worker decides, driven by seeded schedules: a server that loses leases and replies, jobs that end in any order."""

from __future__ import annotations

import random
from typing import Any

import pytest

from mailgenius.errors import JobFailed
from mailgenius.queue.frames import pack
from mailgenius.queue.options import Options
from mailgenius.queue.policy import Policy
from mailgenius.worker.batch import Ack, Entry, Settle
from mailgenius.worker.core import FAR_MOST, LEASES, MOST, Core
from mailgenius.worker.handlers import define
from mailgenius.worker.memory import SharedStates, size_of
from mailgenius.worker.pool import AHEAD, Pool
from mailgenius.worker.states import BEGUN

SLOTS = 64


class Server:
    """Jobs of one lane, leases of ranges of it, what became of jobs: as the scripts have it."""

    def __init__(self, chance: random.Random, jobs: int) -> None:
        self.chance = chance
        self.frames = []
        for n in range(jobs):
            options = Options(attempts=2) if chance.random() < 0.1 else None
            name = chance.choice(("quick", "slow", "slow", "nobody") if chance.random() < 0.1 else ("quick", "slow"))
            self.frames.append(pack(name, b"%d" % n, options, attempts=int(chance.random() < 0.05)))
            if chance.random() < 0.02:
                self.frames[-1] = b""  # it was removed
        self.head = 0
        self.leases: dict[bytes, dict[int, bytes]] = {}  # what a lease is for
        self.token = 0
        self.last: tuple[int, list[bytes]] = (0, [])  # the number of its last call, and the leases it gave
        self.repeated: list[Any] | None = None
        self.back: list[tuple[int, int]] = []  # ranges that wait again
        self.ended: dict[int, list[str]] = {}  # position -> what became of it
        self.names: dict[str, int] = {}

    def work(self, words: list[Any]) -> list[Any]:
        number, heard, want, _, _, count = words[:6]
        if number < self.last[0]:
            return [b"1000", b"-1", [], 0, 0]
        if number == self.last[0] and self.repeated is not None:
            return self.repeated
        unheard = [token for token in self.last[1] if token in self.leases] if heard < self.last[0] else []
        at, lost = 6, []
        for _ in range(count):
            token, left, ids, names = words[at : at + 4]
            lease = self.leases.get(token)
            if lease is None:
                lost.append(token)
            else:
                stays = {int.from_bytes(left[i : i + 2], "big") for i in range(0, len(left), 2)}
                assert stays <= lease.keys()
                told = places(ids)
                for place in [place for place in lease if place not in stays]:
                    if lease.pop(place):
                        self.ended.setdefault(place, []).append("done")
                        assert place in told
                        told.remove(place)
                assert not told
                for i in range(at + 4, at + 4 + 2 * names, 2):
                    self.names[words[i]] = self.names.get(words[i], 0) + words[i + 1]
                if not lease:
                    del self.leases[token]
            at += 4 + 2 * names
        reply: list[Any] = [b"1000", b"-1", lost, 0, 0]
        for token in unheard:
            places_ = self.leases[token]
            first = min(places_)
            reply += [token, b"5", b"5", b"%d" % first, len(places_), *places_.values()]
        given = list(unheard)
        assert want <= MOST
        for _ in range(self.chance.randint(1, LEASES)):
            first, stop = self.head, min(self.head + want, len(self.frames))
            if not want:
                break
            if self.back and self.back[-1][1] - self.back[-1][0] <= want:
                first, stop = self.back.pop()
            else:
                self.head = stop = self.chance.randint(min(first + 1, stop), stop)
            if first < stop:
                self.token += 1
                token = b"%d" % self.token
                given.append(token)
                self.leases[token] = {n: self.frames[n] for n in range(first, stop)}
                reply += [token, b"5", b"5", b"%d" % first, stop - first, *self.frames[first:stop]]
                want -= stop - first
        if words[2] and (self.back or self.head < len(self.frames)):
            reply[1] = b"-2"
        self.last, self.repeated = (number, given), reply
        return reply

    def settle(self, words: list[Any]) -> bool:
        lease = self.leases.get(words[0])
        if lease is None:
            return False
        for at in range(2, len(words), 7):
            place, kind = words[at], words[at + 1]
            if place in lease:
                del lease[place]
                if kind == "back":
                    self.back.append((place, place + 1))
                elif kind == "retry":  # it is let in at once
                    self.frames[place] = words[at + 6]
                    self.back.append((place, place + 1))
                else:
                    self.ended.setdefault(place, []).append(kind)
        if not lease:
            del self.leases[words[0]]
        return True

    def lose(self) -> None:
        """A lease ends, and its jobs wait again."""
        if self.leases:
            token = self.chance.choice(list(self.leases))
            self.back += [(place, place + 1) for place in self.leases.pop(token)]


def places(ids: str) -> set[int]:
    found = set()
    for word in ids.split():
        begin, _, end = word.partition("..")
        first = int(begin.partition("-")[2])
        found |= set(range(first, int(end or first) + 1))
    return found


@pytest.mark.parametrize("seed", range(150))
def test_every_job_ends_once_whatever_happens(seed: int) -> None:
    chance = random.Random(seed)
    server = Server(chance, 900)
    handlers = {name: define(name, lambda payload: None) for name in ("quick", "slow")}
    pools = {"quick": Pool(chance.choice((1, 5, 20))), "slow": Pool(chance.choice((1, 3)))}
    states = SharedStates(memoryview(bytearray(size_of(SLOTS))), SLOTS)
    core = Core(handlers, pools, states, Policy(attempts=3), worker="me", chance=chance.random)
    now, running = 0.0, list[tuple[Entry, float]]()
    losses, calls = 0, 0
    asked: list[Ack] = []  # it waits on the server
    answers: list[tuple[Ack, list[Any]]] = []  # under way to us
    while True:
        now += chance.choice((0.0001, 0.001, 0.02))
        for pool in pools.values():
            while pool.waiting and pool.running < pool.limit and chance.random() < 0.9:
                entry = pool.waiting.popleft()
                entry[0].state[entry[1]] = BEGUN
                pool.running += 1
                running.append((entry, now))
        chance.shuffle(running)
        for _ in range(chance.randint(0, len(running))):
            entry, began = running.pop()
            entry[2].pool.running -= 1
            if chance.random() < 0.05:
                core.raised(entry, JobFailed("no") if chance.random() < 0.3 else ValueError("no"), now)
            elif entry[2].plain:
                core.done(entry, now - began, now)
            else:
                core.kept(entry, b"", 0.0, now - began, now)
        if chance.random() < 0.01 and losses < 5:
            losses += 1
            server.lose()
            if chance.random() < 0.5:
                core.lost([token for token, batch in core.batches.items() if token not in server.leases and batch.left])
        assert sum(len(pool.waiting) for pool in pools.values()) <= AHEAD + MOST
        if asked and chance.random() < 0.3:  # there is something to do
            call = asked.pop()
            answers.append((call, server.work(call.words)))
        if answers and chance.random() < 0.5:
            call, reply = answers.pop()
            heard = chance.random() < 0.8
            if heard:
                core.answered(call, reply, now)
            if not heard or not core.latest(call):
                core.woken()
        todo = core.plan(now)
        if isinstance(todo, Ack):
            calls += 1
            if asked and chance.random() < 0.3:  # just now
                call = asked.pop()
                answers.append((call, server.work(call.words)))
            reply = server.work(todo.words)
            while chance.random() < 0.1:  # it was lost
                assert server.work(todo.words) is reply
            if answers and chance.random() < 0.3:
                core.answered(*answers.pop(), now)
            core.answered(todo, reply, now)
        elif isinstance(todo, Settle):
            ours = server.settle(todo.words)
            again = chance.random() < 0.1
            if again:
                server.settle(todo.words)
            core.settled(todo, ours or again)
        elif core.listening and not asked and not answers and chance.random() < 0.5:
            asked.append(core.ask(now))
        elif core.dry and server.back and not asked:
            core.woken()
        elif core.dry and not (running or answers or server.back or any(pool.waiting for pool in pools.values())):
            break
    assert core.over
    assert not core.batches
    assert states.room == SLOTS
    assert not states.tokens()
    for place, frame in enumerate(server.frames):
        ended = server.ended.get(place, [])
        assert len(ended) == bool(frame), f"seed {seed}: {place} {ended}"
    assert sum(server.names.values()) == sum(ended == ["done"] for ended in server.ended.values())
    assert core.retried > 0
    assert calls < 4000


def test_what_is_leased_ahead_follows_the_pace() -> None:
    pool = Pool(4)
    now = 0.0
    pool.measure(now)
    pool.running = 4
    for _ in range(50):
        now += 0.02
        pool.done += 1  # 50 a second
        pool.measure(now)
    assert pool.ahead == 4  # 80 ms of work
    for _ in range(50):
        now += 0.02
        pool.done += 20_000
        pool.measure(now)
    assert pool.ahead == AHEAD


def test_a_job_that_comes_alone_runs_alone() -> None:
    handlers = {"n": define("n", lambda payload: None)}
    pool = Pool(5)
    states = SharedStates(memoryview(bytearray(size_of(SLOTS))), SLOTS)
    core = Core(handlers, {"n": pool}, states, Policy(), worker="me")
    first = core.plan(0.0)
    assert isinstance(first, Ack)
    assert (first.words[2], first.words[4]) == (5, 1)
    core.answered(first, [b"0", b"-2", [], 0, 0, b"1", b"5", b"5", b"0", 1, pack("n", b"1")], 0.0)
    entry = pool.waiting.popleft()
    pool.running = 1
    second = core.plan(0.01)
    assert isinstance(second, Ack)
    assert (second.words[2], second.words[4]) == (4, 0)
    core.answered(second, [b"0", b"-1", [], 0, 1], 0.01)  # one waits that must come alone
    assert isinstance(core.plan(0.02), float)
    pool.running = 0
    core.done(entry, 0.01, 0.03)
    third = core.plan(0.03)
    assert isinstance(third, Ack)
    assert (third.words[2], third.words[4]) == (1, 1)
    core.answered(third, [b"0", b"-2", [], 0, 0, b"2", b"A", b"A", b"0", 1, pack("n", b"2", stalls=1)], 0.03)
    assert len(core.stalled) == 1
    entry = pool.waiting.popleft()
    pool.running = 1
    assert isinstance(core.plan(0.2), float)  # nothing beside it
    pool.running = 0
    core.raised(entry, ValueError("no"), 0.3)
    settle = core.plan(0.3)
    assert isinstance(settle, Settle)
    assert settle.words[3] == "retry"
    core.settled(settle, True)
    last = core.plan(0.31)
    assert isinstance(last, Ack)
    assert last.words[2] == 5


@pytest.mark.parametrize(("far", "most"), [(False, MOST), (True, FAR_MOST)])
def test_a_server_that_is_far_away_is_asked_for_more(far: bool, most: int) -> None:
    states = SharedStates(memoryview(bytearray(size_of(SLOTS))), SLOTS)
    core = Core({"n": define("n", lambda payload: None)}, {"n": Pool(5000)}, states, Policy(), worker="me")
    core.far = far
    first = core.plan(1.0)
    assert isinstance(first, Ack)
    assert first.want == MOST
    core.answered(first, [b"0", b"-2", [], 0, 0, b"1", b"5", b"5", b"0", MOST, *[pack("n", b"1")] * MOST], 1.1)
    second = core.plan(1.2)
    assert isinstance(second, Ack)
    assert second.want == most
