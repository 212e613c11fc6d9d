"""What a worker knows and decides: which leases it has, what became of their jobs, what to say, how many to want, and when.
Pure: it is told the time and the replies, and gives the calls to make.

Invariants:
- A job is in one of the states below, and leaves ``BEGUN`` once. What is said of it is said until it was heard.
- Calls that change leases follow one another, but for the one that waits on the server (``ask``). What needs more than
  being done is settled before its lease is acknowledged.
- Jobs that are leased and not begun are about ``HORIZON`` seconds of work, at the pace that was measured.
- A job that comes alone (its last worker died with it) runs alone.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Any, Protocol

from mailgenius._native import Histogram, jobs_alike
from mailgenius.errors import JobCancelled
from mailgenius.queue.frames import UnknownFormat, parse
from mailgenius.queue.policy import Policy
from mailgenius.queue.records import DoneRecord, pack_done

from .batch import Ack, Batch, Entry, Settle, States, id_of
from .handlers import Handler
from .like import Like
from .pool import AHEAD, Pool
from .sharing import PATIENCE, Sharing
from .states import DONE, ENDED, GONE, SIZE
from .verdict import Dead, Retry, dead, verdict

__all__ = ["Core", "Memory"]

MOST = 512  # jobs of a call: the server does nothing else meanwhile
FAR_MOST = 1024  # of a call to a server that is far away, where calls are rare
BYTES = 4 << 20  # of them, about
LEASES = 16  # of a call, at most, as work.lua has it
SAID = 64  # leases of which a call says what is done
CROWD = 6144  # jobs that are leased and not begun where one pool is full and another idle; else AHEAD
SETTLED = 128  # jobs of a call that settles
RECORDS = 100  # records of done jobs in a call, at most
PAYLOAD = 16 << 10  # bytes of a payload that is kept in a record; longer ones are not
PARTIAL = 0.003  # seconds until what is done of a batch is said though other jobs of it are not
SPACED = 0.002  # seconds between calls that only say what is done
CRON = 0.25  # seconds until somebody looks again at a cron job that is due
_LEASES = 5  # where they begin in a reply


class Memory(Protocol):
    """Holds the states of leased jobs where they can be seen when we have died."""

    @property
    def room(self) -> int:
        """Batches that may be added."""

    def take(self, token: bytes, at: int, count: int) -> States: ...
    def hide(self, token: bytes) -> None:
        """The lease is not ours any more, though jobs of it run."""

    def free(self, token: bytes) -> None: ...


class Core:
    """``pools``: of each handler. ``ids``: what stands before the ids of its jobs outside of its shard. ``sharing``: with
    cores of other shards, which have the same pools. ``chance``: random numbers from 0 to 1."""

    def __init__(
        self,
        handlers: dict[str, Handler],
        pools: dict[str, Pool],
        memory: Memory,
        policy: Policy,
        *,
        worker: str,
        ids: str = "",
        sharing: Sharing | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.memory, self.ids = memory, ids
        self.batches: dict[bytes, Batch] = {}
        self.stopping = False
        self.yielding = False  # a job that must come alone waits until we have nothing else
        self.solo: Batch | None = None  # it is here
        self.dry = False  # the server has nothing for us
        self.due = 0.0  # until then, unless it says otherwise before
        self.cron = False  # a cron job is due
        self.away = False  # the server does not answer
        self.far = False  # calls take long however little they do
        self.asked, self.asked_at = 0, 0.0  # jobs, by a call that is under way; when it was made
        self.turn = 0  # higher than that of all who asked before
        self.offset = 0.0  # what the server's clock is ahead of ours, in milliseconds
        self.failed: list[tuple[Entry, BaseException, Retry | Dead]] = []  # for those who listen
        self.stalled: list[Entry] = []
        self.losses: list[list[str]] = []  # ids
        self.waited = Histogram()  # seconds from being added to being leased
        self.calls = self.leased = self.completed = self.retried = self.dead = self.refused = 0
        self._sharing = sharing
        if sharing is not None:
            sharing.cores.append(self)
        self._handlers, self._pools = handlers, pools
        self.pools = list(dict.fromkeys(pools.values()))
        self._policy, self._worker, self._chance = policy, worker, chance
        self._number = self._heard = 0  # of the last call; of the last one whose reply was heard
        self._most = MOST
        self._woken = False
        self._said = -inf  # when the last call was made
        self._unsettled: deque[tuple[Batch, int, Sequence[Any]]] = deque()
        self._recent: deque[tuple[Entry, float, float]] = deque(maxlen=min(policy.keep_done, RECORDS))
        self._like: Like | None = None  # of the last jobs that began alike

    # -- what there is to do -------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        return not any(pool.running or pool.waiting for pool in self.pools)

    @property
    def full(self) -> bool:
        """There is no room for the leases of a call."""
        return self.memory.room < 2 * LEASES

    @property
    def listening(self) -> bool:
        """We could do more, and the server has no more: somebody has to tell us when it has."""
        return self.dry and self._want() > 0

    def ask(self, now: float) -> Ack:
        """A call that the server is to carry out when there is something to do, made while no other is under way. One that
        is made before that takes its place: it changes nothing then."""
        return self._ack(now, self._want(), self.idle, silent=True)

    def latest(self, call: Ack) -> bool:
        """No other was made since."""
        return call.number == self._number

    @property
    def over(self) -> bool:
        """Nothing is left to be said."""
        return not self._unsettled and not any(batch.new for batch in self.batches.values())

    def _want(self) -> int:
        if self.stopping or self.yielding or self.solo is not None or self.full:
            return 0
        if self._sharing is not None and self._sharing.held:
            return 0
        want, waiting, hungry = 0, 0, 0
        for pool in self.pools:
            queued = len(pool.waiting)
            waiting += queued
            room = pool.limit - pool.running
            if room > 0 and not queued:
                hungry += room
            want += max(0, room + pool.ahead - queued)
        if waiting >= AHEAD:
            want = min(hungry, CROWD - waiting)
        return max(0, min(want, self._most))

    def plan(self, now: float) -> Settle | Ack | float:
        """The call to make next; else seconds until there may be one, if nothing happens before."""
        for pool in self.pools:
            pool.measure(now)
        if self._unsettled:
            return self._settle()
        idle, want, sharing = self.idle, self._want(), self._sharing
        if self.yielding and idle and not self.stopping and (sharing is None or sharing.alone(self, now)):
            return self._ack(now, min(1, self.memory.room), True)
        part, turn = (want, None) if sharing is None else sharing.part(self, want, now)
        if self._woken and not want and not self.yielding:
            return self._ack(now, 0, idle)
        wait = inf if part or not want else PATIENCE
        if part:
            if self.dry and now < self.due:
                wait = self.due - now
            elif any(pool.hungry for pool in self.pools) or want >= min(self._most, self._queued() + 1):
                return self._ack(now, part, idle)
            elif turn and sharing is not None:  # who has nothing to say could not ask for little else
                wait = sharing.last + SPACED - now
                if wait <= 0:
                    return self._ack(now, part, idle)
        for batch in self.batches.values():
            if batch.new:
                ready = self._said + SPACED
                if batch.left:
                    ready = max(ready, batch.new_since + PARTIAL)
                if idle or ready <= now:
                    return self._ack(now, 0 if turn is False else part, idle)
                wait = min(wait, ready - now)
        return wait

    def _queued(self) -> int:
        return sum(len(pool.waiting) for pool in self.pools)

    def _settle(self) -> Settle:
        batch = self._unsettled[0][0]
        mine: list[tuple[int, Sequence[Any]]] = []
        others: deque[tuple[Batch, int, Sequence[Any]]] = deque()
        for one in self._unsettled:
            if one[0] is batch and len(mine) < SETTLED:
                mine.append((one[1], one[2]))
            else:
                others.append(one)
        self._unsettled = others
        return Settle(batch, mine, self._policy.keep_done)

    def _ack(self, now: float, want: int, idle: bool, *, silent: bool = False) -> Ack:
        """Says all that is done, but not what is done of a batch that is being worked on fast. ``silent``: says nothing."""
        self._number += 1
        self._said, self._woken = now, False
        self.calls += 1
        said: list[tuple[Batch, list[int]]] = []
        alone = idle
        if self._sharing is not None:
            alone = idle and self.yielding  # else others may be getting jobs meanwhile
            self.asked = want
            if want:
                self._sharing.asks(self, now)
        words: list[Any] = [self._number, self._heard, want, round(self._policy.lease * 1000), int(alone), 0]
        for batch in self.batches.values():
            if len(said) == SAID or silent:
                break
            if batch.new and (idle or not batch.left or now - batch.new_since >= PARTIAL):
                new, batch.new = batch.new, []
                said.append((batch, new))
                names = Counter(map(batch.names.__getitem__, new))
                del names[""]  # of removed jobs
                words += batch.token, batch.unsaid(new), batch.ranges(new), len(names)
                for item in names.items():
                    words += item
        words[5] = len(said)
        words.append(self._policy.keep_done)
        if not silent:
            words += [self._record(*one) for one in self._recent]
            self._recent.clear()
        return Ack(words, want, said)

    def _record(self, entry: Entry, took: float, now: float) -> bytes:
        batch, index, like, payload, frame = entry
        return pack_done(
            DoneRecord(
                like.id or batch.id(index),
                like.name,
                like.attempts,
                int.from_bytes(frame[3:9], "big"),
                self.clock(now),
                took,
                self._worker,
                payload if len(payload) <= PAYLOAD else b"",
            )
        )

    def clock(self, now: float) -> int:
        """The server's, in milliseconds since 1970."""
        return int(now * 1000 + self.offset)

    # -- replies -------------------------------------------------------------------------------------------------

    def settled(self, call: Settle, ours: bool) -> None:
        """``ours``: it is as we said; else the lease is lost."""
        batch = call.batch
        for index, _ in call.jobs:
            batch.state[index] = GONE
        batch.left -= len(call.jobs)
        if not ours:
            self.lost([batch.token])
        self._end_if_over(batch)

    def answered(self, call: Ack, reply: list[Any], now: float) -> None:
        """The jobs that it gives wait in their pools from now on."""
        self.asked, self.away = 0, False
        if call.number < self._heard:
            return  # the reply to a later one gave what this one gives
        self._heard = call.number
        self.offset = int(reply[0]) - now * 1000
        self.lost(reply[2])
        for batch, new in call.said:
            if not batch.lost:
                for index in new:
                    batch.state[index] = GONE
                self._end_if_over(batch)
        due, self.cron = int(reply[1]), bool(reply[3])
        if call.want and self.latest(call):
            self.yielding = bool(reply[4])
            self.dry = due != -2 and not self.yielding
            self.due = inf if due < 0 else now + max(due / 1000, CRON if self.cron else 0.001)
        at, jobs, size = _LEASES, 0, 0
        while at < len(reply):
            token, number, lane, first, count = reply[at : at + 5]
            at += 5 + count
            if token in self.batches:
                continue  # as the reply to an earlier one said
            self._lease(token, number.decode(), lane, int(first), reply[at - count : at], now)
            jobs += count
            size += sum(map(len, reply[at - count : at]))
        if jobs:
            most = FAR_MOST if self.far else MOST
            self._most = max(1, min(most, 2 * self._most, BYTES * jobs // (size + 1)))
        if self.stopping:
            self.back_all()
        elif jobs and self._sharing is not None and self._sharing.clash(self):
            self.back_all(self)

    def _lease(self, token: bytes, number: str, lane: bytes, first: int, frames: list[bytes], now: float) -> None:
        states = self.memory.take(token, first % SIZE, len(frames))
        self.batches[token] = batch = Batch(token, number, first, len(frames), states, self.ids)
        batch.core = self
        self.leased += len(frames)
        if lane[:1] == b"A":
            self.solo = batch
        self._read(batch, frames, now)

    def woken(self) -> None:
        """The server says that there is something to do. If it is not for us, another one is to hear of it."""
        self.dry, self._woken = False, True

    def lost(self, tokens: Sequence[bytes]) -> None:
        """These leases are not ours any more, though jobs of them may be running."""
        for token in tokens:
            batch = self.batches.get(token)
            if batch is None or batch.lost:
                continue
            batch.lost = True
            self.refused += 1
            self.memory.hide(token)
            for pool in self.pools:
                batch.left -= pool.drop(batch)
            gone = [one for one in self._unsettled if one[0] is batch]
            batch.left -= len(gone)
            self._unsettled = deque(one for one in self._unsettled if one[0] is not batch)
            batch.new.clear()
            self.losses.append([self.ids + batch.id(i) for i in range(batch.count) if batch.state[i] != GONE])
            self._end_if_over(batch)

    def _end_if_over(self, batch: Batch) -> None:
        if not batch.left and not batch.new and self.batches.pop(batch.token, None) is not None:
            self.memory.free(batch.token)
            if self.solo is batch:
                self.solo = None

    def _read(self, batch: Batch, frames: list[bytes], now: float) -> None:
        """Most of a batch begin alike, but for the time at which they were added."""
        like, clock, at = self._like, self.clock(now), 0
        while at < len(frames):
            if like is not None:
                entries: list[Entry] = []
                at = jobs_alike(frames, at, like.tail, batch, like, entries, self.waited, clock)
                batch.names += [like.name] * len(entries)
                like.pool.waiting.extend(entries)
                if at == len(frames):
                    break
            frame = frames[at]
            found = self._look(batch, at, frame, now)
            if found is not None and found.common:
                like = found
                continue
            if found is not None:
                entry = batch, at, found, frame[found.start :], frame
                if found.stalls:
                    self.stalled.append(entry)
                self.waited.observe(max(0.0, (clock - int.from_bytes(frame[3:9], "big")) / 1000))
                batch.names.append(found.name)
                found.pool.waiting.append(entry)
            at += 1
        self._like = like

    def _look(self, batch: Batch, index: int, frame: bytes, now: float) -> Like | None:
        """What the job is like; None: it is not for us to run."""
        if not frame:  # it was removed
            batch.names.append("")
            self._is_done(batch, index, now)
            return None
        name, id, lane = "?", "", "5"
        error: Exception
        try:
            found = parse(frame)
            name, id, lane = found.name, found.id, _lane(found.options)
            handler = self._handlers.get(found.name)
            if handler is not None:
                start = len(frame) - len(found.payload)
                return Like(found, handler, self._pools[found.name], frame[9:start], self._policy.timeout)
            error = LookupError(f"this worker has no handler for {found.name!r}: it has {', '.join(self._handlers)}")
        except UnknownFormat as unknown:
            error = unknown
        batch.names.append(name)
        why = dead(error, 0, self._worker, self.clock(now))
        batch.state[index] = ENDED
        self._unsettled.append(
            (batch, index, (batch.at + index, "dead", id or batch.id(index), name, why, lane, frame))
        )
        self.dead += 1
        return None

    # -- what becomes of jobs ------------------------------------------------------------------------------------

    def done(self, entry: Entry, took: float, now: float) -> None:
        """It returned, and there is nothing to keep."""
        self._recent.append((entry, took, now))
        entry[2].pool.done += 1
        self.completed += 1
        self._is_done(entry[0], entry[1], now)

    def _is_done(self, batch: Batch, index: int, now: float) -> None:
        batch.state[index] = DONE
        batch.left -= 1
        if batch.lost:
            self._end_if_over(batch)
            return
        if not batch.new:
            batch.new_since = now
        batch.new.append(index)

    def kept(self, entry: Entry, result: bytes, keep: float, took: float, now: float) -> None:
        """It returned what is to be kept for ``keep`` seconds, or left traces of its own that are to go."""
        entry[2].pool.done += 1
        self.completed += 1
        record = self._record(entry, took, now) if self._policy.keep_done else b""
        self._settles(entry, "done", round(keep * 1000), result, record)

    def raised(self, entry: Entry, error: BaseException, now: float) -> None:
        """It failed."""
        batch, _, like, _, frame = entry
        like.pool.done += 1
        if batch.lost:
            self._settles(entry, "", "", "", "")
            return
        decided = verdict(error, like.attempts, like.options, self._policy, self._chance())
        if isinstance(decided, Retry):
            self.retried += 1
            again = _tried(frame, like.attempts + decided.counts)
            self._settles(entry, "retry", round(decided.after * 1000), _lane(like.options), again)
        else:
            self.dead += 1
            why = dead(error, like.attempts + 1, self._worker, self.clock(now))
            self._settles(entry, "dead", why, _lane(like.options), _tried(frame, like.attempts + 1))
        self.failed.append((entry, error, decided))

    def back(self, entry: Entry) -> None:
        """It is to be run by another worker, as if we had not begun it. One that must come alone still must."""
        lane = _lane(entry[2].options)
        first = "A" if entry[0] is self.solo else "0"
        self._settles(entry, "back", "", first + lane[1:], entry[4])

    def cancel(self, ids: set[str], now: float) -> None:
        """Jobs that were removed after they were leased, and have not begun."""
        for pool in self.pools:
            for _ in range(len(pool.waiting)):
                try:
                    entry = pool.waiting.popleft()
                except IndexError:  # a thread took it
                    break
                if id_of(entry) in ids:
                    entry[0].core.raised(entry, JobCancelled("it was removed before it began"), now)
                else:
                    pool.waiting.append(entry)

    def back_all(self, core: Core | None = None) -> None:
        """All that has not begun; of one core, or of all."""
        for pool in self.pools:
            for _ in range(len(pool.waiting)):
                with suppress(IndexError):  # a thread took it
                    entry = pool.waiting.popleft()
                    if core is None or entry[0].core is core:
                        entry[0].core.back(entry)
                    else:
                        pool.waiting.append(entry)

    def _settles(self, entry: Entry, kind: str, a: Any, b: Any, c: Any) -> None:
        batch, index, like = entry[0], entry[1], entry[2]
        # Should we die before it is said, it is done all the same, unless its result is to be had.
        batch.state[index] = DONE if kind == "done" and not a else ENDED
        if batch.lost:
            batch.left -= 1
            self._end_if_over(batch)
            return
        words = (batch.at + index, kind, like.id or batch.id(index), like.name, a, b, c)
        self._unsettled.append((batch, index, words))


def _tried(frame: bytes, attempts: int) -> bytes:
    """The same job after so many attempts."""
    return frame[:1] + bytes((min(attempts, 255),)) + frame[2:]


def _lane(options: Any) -> str:
    """Where a job belongs that was, perhaps, in the lane of those that were given back."""
    if options is None:
        return "5"
    return f"{options.priority}:{options.group}" if options.group else str(options.priority)
