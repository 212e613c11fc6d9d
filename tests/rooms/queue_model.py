"""A model of a queue, and steps drawn by a seed that the scripts take on a real server: both must agree after each.

The clock is the model's own. What the server chooses (which jobs a worker gets) is checked against what it may choose.
"""

from __future__ import annotations

import random
from typing import Any

from mailgenius.link import Redis
from mailgenius.queue.frames import pack, parse
from mailgenius.queue.names import prefix
from mailgenius.queue.options import Options, lane
from mailgenius.queue.scripts import script
from tests.rooms.queue_parts import Bucket, Job, Lease, indexes

NAMES = ("send", "bulk", "sync")
GROUPS = ("", "", "gmail.com", "example.org", *(f"{n}.net" for n in range(4)))
LEASE = 30_000
MAX_STALLED = 1


class Model:
    """One queue. ``step()`` does something; a failed check says the seed and the step, which replays it."""

    def __init__(self, redis: Redis, name: str, seed: int) -> None:
        self.redis, self.seed, self.chance = redis, seed, random.Random(seed)
        self.prefix = prefix(name)
        self.keys = (self.prefix + "q",)
        self.scripts = {
            each: redis.script(script(each))
            for each in (
                "add", "put", "work", "settle", "beat", "back", "remove", "again", "pause", "drain", "clean", "show"
            )
        }  # fmt: skip
        self.now = 1_700_000_000_000
        self.jobs: dict[str, Job] = {}
        self.leases: dict[str, Lease] = {}
        self.lost: list[Lease] = []
        self.calls = self.made = self.steps = 0
        self.paused = False
        self.paused_groups: set[str] = set()
        self.buckets: dict[str, Bucket] = {}
        self.unique: dict[str, tuple[Job, int]] = {}
        self.ended: dict[str, int] = {"done": 0, "dead": 0, "removed": 0}
        redis.call("HSET", self.keys[0], "max_stalled", MAX_STALLED, "keep_dead", -1)

    # -- calling -------------------------------------------------------------------------------------------------

    def run(self, name: str, *args: Any) -> Any:
        return self.scripts[name](self.keys, (self.now, *args))

    def say(self, what: str) -> str:
        return f"seed {self.seed}, step {self.steps}: {what}"

    def step(self) -> None:
        self.steps += 1
        do = self.chance.choices(
            (self.add, self.put, self.flow, self.work, self.finish, self.settle, self.beat, self.die, self.pass_time,
             self.remove, self.again, self.pause, self.zombie, self.clean, self.limit),
            (12, 8, 2, 20, 16, 12, 4, 2, 8, 3, 3, 1, 1, 1, 0.5),
        )[0]  # fmt: skip
        do()
        if self.steps % 20 == 0:
            self.compare()

    # -- adding --------------------------------------------------------------------------------------------------

    def frame(self) -> tuple[int, str, str, bytes]:
        self.made += 1
        priority, group = self.chance.choice((1, 5, 5, 5, 9)), self.chance.choice(GROUPS)
        options = Options(priority=priority, group=group)
        name = self.chance.choice(NAMES)
        return self.made, lane(priority, group), name, pack(name, str(self.made).encode(), options)

    def add(self) -> None:
        n = self.chance.choice((1, 1, 2, 5, 40))
        made = [self.frame() for _ in range(n)]
        names: dict[str, int] = {}
        args: list[Any] = []
        for _, place, name, frame in made:
            names[name] = names.get(name, 0) + 1
            args += [place, 1, frame]
        counted = [x for pair in names.items() for x in pair]
        self.calls += 1
        whole = ("producer", self.calls, 1000, 0, len(names), *counted, *args)
        reply = self.run("add", *whole)
        if self.chance.random() < 0.2:
            assert self.run("add", *whole) == reply, self.say("a repeated add is answered otherwise")
        for i, (number, place, _, _) in enumerate(made):
            id = f"{reply[1 + 2 * i].decode()}-{reply[2 + 2 * i].decode()}"
            assert id not in self.jobs, self.say(f"{id} was given twice")
            self.jobs[id] = Job(id, number, place, "waiting")

    def put(self) -> None:
        number, place, name, frame = self.frame()
        delay = self.chance.choice((0, 0, 10, 1000, 60_000))
        key = self.chance.choice(("", "", "a", "b", "c"))
        window = self.chance.choice((0, 5000)) if key else 0
        replace = self.chance.choice(("keep", "replace"))
        held = self.unique.get(key)
        holder = held[0] if held is not None and (held[1] == 0 or held[1] > self.now) else None
        if holder is not None and replace == "replace" and holder.state == "delayed":
            self.end(holder, "removed", quietly=True)
            holder = None
        self.calls += 1
        whole = ("producer", self.calls, 1000, 0, place, delay, 0, name, key, window, "", 0, replace, frame)
        reply = self.run("put", *whole)
        if self.chance.random() < 0.2:
            assert self.run("put", *whole) == reply, self.say("a repeated put is answered otherwise")
        id, new = reply[1].decode(), reply[2] == b"1"
        assert new == (holder is None), self.say(f"{key!r} is held by {holder}, and put says {new}")
        if holder is not None:
            assert id == holder.id, self.say(f"{id} instead of {holder}")
            return
        job = Job(id, number, place, "delayed" if delay else "waiting")
        job.due = self.now + delay
        if key:
            job.key = key
            self.unique[key] = (job, self.now + window if window else 0)
        self.jobs[id] = job

    def flow(self) -> None:
        many = self.chance.randint(1, 4)
        parent_number, place, name, frame = self.frame()
        args: list[Any] = [place, 0, 0, name, "", 0, "", many, "keep", frame]
        children = []
        for _ in range(many):
            number, where, title, bytes_ = self.frame()
            children.append((number, where))
            args += [where, 0, 0, title, "", 0, 1, 0, "keep", bytes_]
        self.calls += 1
        reply = self.run("put", "producer", self.calls, 1000, 0, *args)
        parent = Job(reply[1].decode(), parent_number, place, "blocked")
        parent.children = many
        self.jobs[parent.id] = parent
        for i, (number, where) in enumerate(children):
            child = Job(reply[3 + 2 * i].decode(), number, where, "waiting")
            child.parent = parent
            self.jobs[child.id] = child

    # -- working -------------------------------------------------------------------------------------------------

    def work(self, acks: tuple[Any, ...] = (), worker: str = "") -> None:
        worker = worker or self.chance.choice(("w1", "w2", "w3"))
        want = 0 if acks and self.chance.random() < 0.3 else self.chance.choice((1, 3, 10, 100))
        alone = int(not any(lease.worker == worker for lease in self.leases.values()))
        self.calls += 1
        whole = (worker, self.calls, self.calls - 1, want, LEASE, alone, int(bool(acks)), *acks, 10)
        reply = self.run("work", *whole)
        self.due()
        if self.chance.random() < 0.2:
            again = self.run("work", *whole)
            assert again[5:] == reply[5:], self.say("a repeated call gives another lease")
        if self.chance.random() < 0.1:  # its reply does not come before the next call is made
            self.calls += 1
            want += 7
            later = self.run("work", worker, self.calls, self.calls - 2, 7, LEASE, 0, 0, 10)
            assert later[5 : len(reply)] == reply[5:], self.say("what was not heard is not given again")
            assert self.run("work", *whole)[2:] == [[], 0, 0], self.say("a call that came too late was carried out")
            self.due()
            reply = later
        given, at = 0, 5
        while at < len(reply):
            token, number, place, first = (x.decode() for x in reply[at : at + 4])
            frames = reply[at + 5 : at + 5 + reply[at + 4]]
            at += 5 + len(frames)
            given += len(frames)
            if place[0] == "A":
                assert (alone, len(reply) - 5) == (1, 6), self.say(f"{place} did not come alone")
            self.leased(worker, token, number, place, int(first), frames)
        assert given <= want, self.say(f"{given} jobs instead of {want}")
        if given and "" in self.buckets:
            assert self.buckets[""].spend(given, self.now), self.say(f"{given} jobs are more than the limit allows")

    def leased(self, worker: str, token: str, number: str, place: str, first: int, frames: list[bytes]) -> None:
        assert frames, self.say(f"{token} is for nothing")
        assert not self.paused, self.say("a paused queue gave jobs")
        assert not place[2:] or place[2:] not in self.paused_groups, self.say(f"paused {place} gave jobs")
        if place[2:] and place[2:] in self.buckets:
            fits = self.buckets[place[2:]].spend(len(frames), self.now)
            assert fits, self.say(f"{len(frames)} jobs of {place} are more than the limit of its group allows")
        jobs, own = {}, {}
        for i, frame in enumerate(frames):
            index = (first + i) % 1024
            if not frame:
                jobs[index] = None
                continue
            taken = parse(frame)
            job = self.jobs[taken.id or f"{number}-{first + i}"]
            assert int(taken.payload) == job.number, self.say(f"{job} has the payload of another one")
            assert job.state == "waiting", self.say(f"{job} was leased")
            assert job.place == place, self.say(f"{job} of {job.place} came from {place}")
            assert taken.stalls == job.stalls, self.say(f"{job} has {taken.stalls} stalls, not {job.stalls}")
            job.state = "active"
            job.runs += 1
            jobs[index], own[index] = job, bool(taken.id)
        self.leases[token] = Lease(worker, token, self.now + LEASE, jobs, own)  # type: ignore[arg-type]

    def a_lease(self) -> Lease | None:
        return self.chance.choice(list(self.leases.values())) if self.leases else None

    def finish(self) -> None:
        """Jobs that need nothing more are done."""
        lease = self.a_lease()
        if lease is None:
            return
        plain = [i for i, job in lease.jobs.items() if not lease.own.get(i)]
        done = [i for i in plain if self.chance.random() < 0.8 or lease.jobs[i] is None]
        left = indexes(set(lease.jobs) - set(done))
        count = sum(lease.jobs[i] is not None for i in done)
        if lease.ends <= self.now:  # whoever calls takes it back first, or not: both are right
            self.due_one(lease)
            return
        for i in done:
            job = lease.jobs.pop(i)
            if job is not None:
                self.end(job, "done")
        if not lease.jobs:
            del self.leases[lease.token]
        names = ("send", count) if count else ()
        self.work((lease.token, left, "", len(names) // 2, *names), lease.worker)

    def settle(self) -> None:
        lease = self.a_lease()
        if lease is None:
            return
        args: list[Any] = []
        what: list[tuple[int, str, int]] = []
        for i, job in lease.jobs.items():
            if job is None or self.chance.random() < 0.4:
                continue
            kind = self.chance.choice(("done", "done", "retry", "dead", "back"))
            wait = self.chance.choice((0, 500, 20_000))
            frame = pack("send", str(job.number).encode(), stalls=job.stalls, id="")
            if kind == "done":
                args += [i, kind, job.id, "send", 1000, b"result", b""]
            elif kind == "retry":
                args += [i, kind, job.id, "send", wait, job.place, frame]
            elif kind == "dead":
                args += [i, kind, job.id, "send", b"why", job.place, frame]
            else:
                args += [i, kind, job.id, "send", b"", job.place, frame]
            what.append((i, kind, wait))
        if not what:
            return
        if lease.ends <= self.now:
            self.due_one(lease)
            return
        reply = self.run("settle", lease.worker, lease.token, 10, *args)
        assert reply[1] == 1, self.say(f"{lease.token} was taken from its worker")
        if self.chance.random() < 0.3:
            assert self.run("settle", lease.worker, lease.token, 10, *args)[1] == int(len(lease.jobs) > len(what))
        for i, kind, wait in what:
            job = lease.jobs.pop(i)
            if kind in ("done", "dead"):
                self.end(job, kind)
            elif kind == "retry" and wait:
                job.state, job.due = "delayed", self.now + wait
            else:
                job.state = "waiting"
        if not lease.jobs:
            del self.leases[lease.token]

    def beat(self) -> None:
        lease = self.a_lease()
        if lease is None:
            return
        if lease.ends <= self.now:
            self.due_one(lease)
            return
        reply = self.run("beat", lease.worker, LEASE, lease.token)
        assert reply[1] == [], self.say(f"{lease.token} was lost")
        lease.ends = self.now + LEASE
        self.due()

    def die(self) -> None:
        """A worker dies, and its keeper says what it had begun."""
        lease = self.a_lease()
        if lease is None or lease.ends <= self.now:
            return
        begun = [i for i, job in lease.jobs.items() if job is not None and self.chance.random() < 0.3]
        done = [i for i in begun if self.chance.random() < 0.3]
        for _ in range(10):
            if not self.run("back", lease.worker, lease.token, indexes(set(begun) - set(done)), indexes(done)):
                break
        for i in done:
            self.end(lease.jobs.pop(i), "done")
        self.taken_back(lease, set(begun))

    def zombie(self) -> None:
        """One that lost its lease is refused, whatever it says."""
        if not self.lost:
            return
        lease = self.chance.choice(self.lost)
        self.calls += 1
        reply = self.run(
            "work", "zombie", self.calls, self.calls, 0, LEASE, 0, 1, lease.token, b"", "", 1, "send", 0, 10
        )
        assert reply[2] == [lease.token.encode()], self.say(f"{lease.token} was acknowledged after it was lost")
        self.due()
        frame = pack("send", b"0")
        assert self.run("settle", lease.worker, lease.token, 10, 0, "dead", "x", "send", b"", "5", frame)[1] == 0
        assert self.run("beat", lease.worker, LEASE, lease.token)[1] == [lease.token.encode()]
        self.due()

    # -- time ----------------------------------------------------------------------------------------------------

    def pass_time(self) -> None:
        self.now += self.chance.choice((1, 10, 500, 2000, 15_000, 40_000))
        for _ in range(60):  # each call does a part
            self.calls += 1
            self.run("work", "idle", self.calls, self.calls, 0, LEASE, 0, 0, 10)
        self.due()

    def due(self) -> None:
        """What the scripts do for whoever calls."""
        for job in self.jobs.values():
            if job.state == "delayed" and job.due <= self.now:
                job.state = "waiting"
        for lease in list(self.leases.values()):
            if lease.ends <= self.now:
                self.due_one(lease)

    def due_one(self, lease: Lease) -> None:
        for _ in range(60):
            self.calls += 1
            self.run("work", "idle", self.calls, self.calls, 0, LEASE, 0, 0, 10)
        for each in list(self.leases.values()):
            if each.ends <= self.now:
                self.taken_back(each, None)
        self.due()

    def taken_back(self, lease: Lease, begun: set[int] | None) -> None:
        del self.leases[lease.token]
        self.lost.append(lease)
        for i, job in lease.jobs.items():
            if job is None:
                continue
            group = job.place[1:]
            if begun is not None and i not in begun:
                job.state, job.place = "waiting", "0" + group
                continue
            job.stalls += 1
            if job.stalls > MAX_STALLED:
                self.end(job, "dead")
            else:
                job.state, job.place = "waiting", "A" + group

    # -- ends ----------------------------------------------------------------------------------------------------

    def end(self, job: Job, state: str, *, quietly: bool = False) -> None:
        job.state = state
        if job.key:
            held = self.unique.get(job.key)
            if held is not None and held[0] is job and (held[1] == 0 or quietly):
                del self.unique[job.key]
        if job.parent is not None and not quietly:
            parent, job.parent = job.parent, None
            parent.children -= 1
            if parent.children == 0 and parent.state == "blocked":
                parent.state = "waiting"

    def remove(self) -> None:
        known = [job for job in self.jobs.values() if job.state in ("waiting", "delayed", "blocked", "dead")]
        if not known:
            return
        job = self.chance.choice(known)
        reply = self.run("remove", job.id)
        expected = "failed" if job.state == "dead" else job.state
        assert reply == [expected.encode()], self.say(f"{job}: {reply}")
        if job.state == "dead":
            job.state = "removed"
        else:
            self.end(job, "removed")

    def again(self) -> None:
        kind = self.chance.choice(("failed", "delayed"))
        state = "dead" if kind == "failed" else "delayed"
        known = [job for job in self.jobs.values() if job.state == state]
        if not known:
            return
        job = self.chance.choice(known)
        place = job.place if job.place[0] in "159" else "5" + job.place[1:]
        assert self.run("again", kind, job.id, place, "") == 1
        job.state, job.place = "waiting", place

    def pause(self) -> None:
        if self.chance.random() < 0.3:
            self.run("pause", "resume" if self.paused else "pause", "")
            self.paused = not self.paused
            return
        group = self.chance.choice(GROUPS[2:])
        if group in self.paused_groups:
            self.paused_groups.discard(group)
            self.run("pause", "resume", group)
        else:
            self.paused_groups.add(group)
            self.run("pause", "pause", group)

    def limit(self) -> None:
        """A limit for the queue or a group comes, changes or goes."""
        group = self.chance.choice(("", "gmail.com", "example.org"))
        self.redis.call("HDEL", self.prefix + "buckets", group)
        if group in self.buckets:
            del self.buckets[group]
            self.redis.call("HDEL", self.prefix + "limits", group)
            return
        rate, per, burst = self.chance.choice(((1, 1000, 1), (5, 1000, 10), (100, 60_000, 20)))
        self.buckets[group] = Bucket(rate, per, burst, self.now)
        self.redis.call("HSET", self.prefix + "limits", group, f"{rate} {per} {burst}")

    def clean(self) -> None:
        if self.chance.random() < 0.5:
            return
        dead = [job for job in self.jobs.values() if job.state == "dead"]
        assert self.run("clean", "failed", "+inf", 10_000) == len(dead)
        for job in dead:
            job.state = "removed"

    # -- agreeing ------------------------------------------------------------------------------------------------

    def compare(self) -> None:
        count: dict[str, int] = {}
        for job in self.jobs.values():
            count[job.state] = count.get(job.state, 0) + 1
        active, waiting = self.redis.call("HMGET", self.keys[0], "active", "waiting")
        holes = sum(job is None for lease in self.leases.values() for job in lease.jobs.values())
        found = {
            "waiting": int(waiting or 0),
            "active": int(active or 0) - holes,
            "delayed": self.redis.call("ZCARD", self.prefix + "delayed"),
            "dead": self.redis.call("ZCARD", self.prefix + "dead"),
            "blocked": self.redis.call("ZCARD", self.prefix + "parents"),
        }
        expected = {state: count.get(state, 0) for state in found}
        assert found == expected, self.say(f"the server has {found}, the model {expected}")
        for job in self.chance.sample(list(self.jobs.values()), min(5, len(self.jobs))):
            state = self.run("show", job.id)[0].decode()
            expected_state = {"dead": "failed", "done": "", "removed": ""}.get(job.state, job.state)
            assert state == expected_state, self.say(f"{job} is shown as {state!r}")

    def drain(self) -> None:
        """Works until nothing is left; then the server has forgotten everything but what it is told to keep."""
        if self.paused:
            self.run("pause", "resume", "")
        for group in self.paused_groups:
            self.run("pause", "resume", group)
        self.paused, self.paused_groups, self.buckets = False, set(), {}
        self.redis.call("DEL", self.prefix + "limits", self.prefix + "buckets")
        for _ in range(100_000):
            if not any(job.state in ("waiting", "delayed", "active", "blocked") for job in self.jobs.values()):
                break
            for lease in list(self.leases.values()):
                args: list[Any] = []
                for i, job in lease.jobs.items():
                    if job is not None:
                        args += [i, "done", job.id, "send", 0, b"", b""]
                        self.end(job, "done")
                if args:
                    assert self.run("settle", lease.worker, lease.token, 10, *args)[1] == 1
                if any(job is None for job in lease.jobs.values()):
                    self.calls += 1
                    self.run("work", lease.worker, self.calls, self.calls, 0, LEASE, 0, 1, lease.token, b"", "", 0, 10)
                del self.leases[lease.token]
            before = len(self.leases)
            for worker in ("w1", "w2", "w3"):
                self.work(worker=worker)
            if len(self.leases) == before:
                self.pass_time()
        self.compare()
        self.clean_all()
        left = {key.decode().removeprefix(self.prefix) for key in self.redis.call("KEYS", self.prefix + "*")}
        kept = {
            "q",
            "lanes",
            "workers",
            "told",
            "told_ends",
            "unique",
            "unique_ends",
            "names",
            "events",
            "wake",
            "alone",
        }
        kept |= {key for key in left if key.startswith("r:")}
        assert left <= kept, self.say(f"left over: {sorted(left - kept)}")

    def clean_all(self) -> None:
        while self.run("clean", "failed", "+inf", 1000):
            pass
