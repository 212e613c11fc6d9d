# Made from behind_flusher_async.py by `python -m tools.twin`: edit that one.
"""Write-behind, the database's side: what waits in a region's stream is given to a writer, in batches.

Invariants:
- Entries leave the stream once the writer has returned for them, or for later ones of the same value, or once they are
  dead letters. So after a crash they are given to it again, in order.
- One flusher of a region is active: the holder of the lease. One that has lost it, and does not know yet, cannot take
  entries off the stream; what it still writes has older versions, which the writer is to refuse.
- An error that is no item's fault stops the region until it is over. One that is stops nobody else: the batch is halved
  until the item is found, tried again, and set aside.
- The value of an item and its version are read in one step, so they belong together.

Limits: the names of ten batches and the values of one are in memory.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec

from mailgenius.cache.behind import DeadLetter, Entry, Item, Meta, id_of, latest, names, names_in, transient
from mailgenius.cache.policy import Region
from mailgenius.errors import ConfigError, RedisRefused, RedisUnavailable
from mailgenius.link import Redis
from mailgenius.rt import threads as rt

__all__ = ["Flusher", "FlusherMetrics", "Writer"]

LUA = Path(__file__).parent / "lua"
LEASE = 5.0
_TICK = 0.1  # seconds between two looks of the active one
_DEEP = 10  # batches that are read before the first is written: what was written again and again becomes one
_PIECE = 1000  # values read, and names struck off, at a time: the server does nothing else meanwhile
_ENTRIES = 100  # read at a time; each has up to 50 names
_FIRST, _LONGEST = 0.05, 2.0  # seconds of pause after a failure
_ALLOW_OOM = "#!lua flags=allow-oom\n"  # known since Redis 7.0
_meta = msgspec.msgpack.Decoder(Meta).decode
_pack = msgspec.msgpack.Encoder().encode


class Writer(Protocol):
    """Writes items, at most one of each value, all or none or some: what fails is tried again, in parts."""

    def __call__(self, items: Sequence[Item], /) -> rt.Awaits[Any]: ...


class FlusherMetrics(msgspec.Struct, frozen=True):
    """``active``: it has the lease; ``last_error`` of the writer or of Redis. Counts are since it was made."""

    active: bool
    entries: int  # writes taken off the stream
    written: int  # of these, given to the writer with success; the rest was superseded, or is dead
    batches: int  # calls of the writer that succeeded
    dead: int
    failures: int  # calls of the writer, or of Redis, that failed
    takeovers: int  # times that it got the lease
    last_error: str | None


class _Leave(Exception):
    """It is to stop, or has lost the lease: nothing more is written."""


class Flusher:
    """``with Flusher(redis, region, writer):`` flushes until the end of the block; ``run()`` until ``stop()``.

    ``decode(name, data)`` makes the value for the writer of the bytes that were put. ``batch``: most items of one call;
    ``every``: seconds between two flushes, in which writes of one value become one; ``attempts`` to write an item by itself
    before it is a dead letter; ``lease``: seconds after which another flusher takes over from one that died or froze;
    ``is_transient(error)``: the error is no item's fault; ``on_error(error)`` is told of each.
    """

    def __init__(
        self,
        redis: Redis,
        region: Region,
        writer: Writer,
        *,
        decode: Callable[[str, bytes], Any] | None = None,
        batch: int = 1000,
        every: float = 1.0,
        attempts: int = 5,
        lease: float = LEASE,
        is_transient: Callable[[BaseException], bool] = transient,
        on_error: Callable[[BaseException], object] | None = None,
    ) -> None:
        for name, value, least in (
            ("batch", batch, 1),
            ("every", every, 0),
            ("attempts", attempts, 1),
            ("lease", lease, 0.5),
        ):
            if value < least:
                raise ConfigError(
                    f"$.cache.{region.name}.flusher.{name}: {value} is out of range; give at least {least}"
                )
        self.region = region
        self._redis, self._call = redis, redis.call
        self._writer, self._decode = writer, decode
        self._batch, self._every, self._attempts, self._lease = batch, every, attempts, lease
        self._is_transient, self._on_error = is_transient, on_error
        own = self._names = names(region.name)
        self._looked = (own.lease, own.lifted, own.log, own.hurry, own.count)
        self._token = secrets.token_hex(16)
        self._scripts = {
            name: [redis.script((LUA / f"behind_{name}.lua").read_text("utf-8"))] for name in ("turn", "ack", "lift")
        }
        for scripts in self._scripts.values():
            scripts.append(redis.script(_ALLOW_OOM + scripts[0].source))
        self._until = 0.0  # the lease is ours until then, if nothing goes wrong
        self._stop = rt.Event()
        self._running: rt.Spawned | None = None
        self._entries = self._written = self._batches = self._dead = self._failures = self._takeovers = 0
        self._last_error: str | None = None

    # -- beginning and end ---------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._stop.clear()
        self._running = rt.spawn(self.run)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends after the batch under way; another flusher may go on at once. What waits stays in the stream."""
        self._stop.set()
        if self._running is not None:
            running, self._running = self._running, None
            running.join()

    def run(self) -> None:
        """Flushes until ``stop()``, from when it gets the lease. Errors of Redis and of the writer are waited out."""
        keeper = rt.spawn(self._keep)
        flushed = monotonic() - self._every
        pause = _FIRST
        try:
            while not self._stop.is_set():
                try:
                    work = self._turn()
                    if work is not None:
                        lifted, waiting, hurried = work
                        late = monotonic() - flushed >= self._every
                        if waiting and (late or hurried or waiting >= self._batch * _DEEP):
                            self._drain(lifted)
                            flushed = monotonic()
                    pause = _FIRST
                    rt.wait(self._stop, min(_TICK, self._lease / 5) if work is not None else self._lease / 5)
                except _Leave:
                    pass
                except Exception as error:
                    self._failed(error)
                    rt.wait(self._stop, random.uniform(pause / 2, pause))  # noqa: S311 - so that not all come at once
                    pause = min(2 * pause, _LONGEST)
        finally:
            self._stop.set()
            keeper.join()
            self._give_back()

    def _give_back(self) -> None:
        if self._until:
            self._until = 0.0
            try:
                self._run("turn", self._looked, [0])
            except (RedisUnavailable, RedisRefused) as error:  # then it runs out
                self._failed(error)

    # -- the lease -----------------------------------------------------------------------------------------------

    def _turn(self) -> tuple[bool, int, bool] | None:
        """Takes the lease, or keeps it. None: another one has it. Else: are versions right, writes, does somebody wait?"""
        began = monotonic()
        reply = self._run("turn", self._looked, [round(self._lease * 1000)])
        if not reply[0]:
            self._until = 0.0
            return None
        if not self._until:
            self._takeovers += 1
        self._until = began + self._lease
        return bool(reply[1]), reply[2], bool(reply[3])

    def _keep(self) -> None:
        """Keeps the lease while the writer takes its time."""
        while not rt.wait(self._stop, self._lease / 3):
            if self._until:
                try:
                    self._turn()
                except (RedisUnavailable, RedisRefused) as error:
                    self._failed(error)

    def _still(self) -> None:
        if self._stop.is_set() or monotonic() >= self._until:
            raise _Leave

    def _run(self, name: str, keys: Sequence[Any], args: Sequence[Any]) -> Any:
        """A script. On a server whose memory is full, if it knows how: what waits must be able to leave it."""
        plain, always = self._scripts[name]
        args = [self._token, *args]
        try:
            return plain(keys, args, timeout=self._redis.settings.timeout)
        except RedisRefused as error:
            if error.code != "OOM":
                raise
        return always(keys, args, timeout=self._redis.settings.timeout)

    # -- flushing ------------------------------------------------------------------------------------------------

    def _drain(self, lifted: bool) -> None:
        if not lifted:
            self._lift()
        while True:
            self._still()
            written, last, count = self._read()
            if last is not None:
                self._settle(written, last)
                self._entries += count
            if count < self._batch * _DEEP:  # what came meanwhile has time to be written again
                return

    def _lift(self) -> None:
        """The stream is new to us: are its versions higher than the database's?"""
        highest = getattr(self._writer, "highest", None)
        version = 0 if highest is None else highest() or 0
        own = self._names
        self._run("lift", [own.lease, own.log, own.open, own.lifted], [id_of(version + 1)])

    def _read(self) -> tuple[list[bytes], bytes | None, int]:
        """What was written in the oldest part of the stream, each name once; the part's last id, how many writes it has."""
        written: dict[bytes, None] = {}
        start: Any = "-"
        last, count, most = None, 0, self._batch * _DEEP
        while count < most:
            piece = min(_ENTRIES, most - count)
            found = self._call("XRANGE", self._names.log, start, "+", "COUNT", piece)
            for _, fields in found:
                some = names_in(fields)
                written.update(dict.fromkeys(some))
                count += len(some)
            if found:
                last = found[-1][0]
                start = b"(" + last
            if len(found) < piece:
                break
        return list(written), last, count

    def _latest(self, written: list[bytes]) -> list[Entry]:
        """Those that are pending, with their values of now."""
        found: list[Entry] = []
        for at in range(0, len(written), _PIECE):
            piece = written[at : at + _PIECE]
            found += latest(
                piece, *self._redis.calls([("HMGET", self._names.open, *piece), ("MGET", *piece)], atomic=True)
            )
        return found

    def _settle(self, written: list[bytes], last: bytes) -> None:
        """Writes values and takes all entries up to ``last`` off the stream. What is written meanwhile has a later one."""
        for at in range(0, len(written), self._batch):
            some = self._latest(written[at : at + self._batch])
            lives, dead = self._put(some)
            end = at + self._batch >= len(written)
            for begin in range(0, len(some) or 1, _PIECE):
                piece = some[begin : begin + _PIECE]
                whole = end and begin + _PIECE >= len(some)
                if piece or whole:
                    self._strike(piece, lives, dead, last if whole else b"")
            self._written += len(some) - len(dead)
            self._dead += len(dead)

    def _put(self, some: list[Entry]) -> tuple[dict[bytes, int], dict[bytes, DeadLetter]]:
        """Writes a batch; by name: how long values may live, and what could not be written."""
        work: list[tuple[Entry, Item]] = []
        decode, lives = self._decode, dict[bytes, int]()
        dead: dict[bytes, DeadLetter] = {}
        for entry in some:
            meta = _meta(entry.meta)
            lives[entry.name] = meta.live
            value = None
            if not meta.deleted:
                if entry.data is None:
                    gone = LookupError("somebody deleted the cached value before it was written to the database")
                    dead[entry.name] = _letter(entry, meta, gone, 0)
                    continue
                try:
                    value = entry.data if decode is None else decode(entry.name.decode(), entry.data)
                except Exception as error:
                    dead[entry.name] = _letter(entry, meta, error, 1)
                    continue
            work.append((entry, Item(meta.key, value, meta.deleted, entry.version, meta.tenant)))
        for entry, why, attempts in self._write(work):
            dead[entry.name] = _letter(entry, _meta(entry.meta), why, attempts)
        return lives, dead

    def _strike(self, some: list[Entry], lives: dict[bytes, int], dead: dict[bytes, DeadLetter], last: bytes) -> None:
        """Strikes names off what is pending; with ``last``, also entries off the stream."""
        own = self._names
        args: list[Any] = [last]
        for entry in some:
            letter = dead.get(entry.name)
            args += (entry.mark, lives[entry.name], b"" if letter is None else _pack(letter))
        if not self._run("ack", [own.lease, own.log, own.open, own.dead, *(e.name for e in some)], args):
            self._until = 0.0
            raise _Leave

    def _write(self, work: list[tuple[Entry, Item]]) -> list[tuple[Entry, BaseException, int]]:
        """Those that cannot be written, each with the last error and how often it was tried by itself."""
        if not work:
            return []
        error = self._try(work)
        if error is None:
            return []
        if len(work) > 1:
            half = len(work) // 2
            return self._write(work[:half]) + self._write(work[half:])
        pause = _FIRST
        for _ in range(1, self._attempts):
            rt.wait(self._stop, random.uniform(pause / 2, pause))  # noqa: S311 - so that two do not meet again
            pause = min(2 * pause, _LONGEST)
            error = self._try(work)
            if error is None:
                return []
        return [(work[0][0], error, self._attempts)]

    def _try(self, work: list[tuple[Entry, Item]]) -> BaseException | None:
        """None: they are written. An error: one of them is to blame. Waits for whatever else is wrong."""
        pause = _FIRST
        while True:
            self._still()
            try:
                self._writer([item for _, item in work])
            except Exception as error:
                self._failed(error)
                if not self._is_transient(error):
                    return error
            else:
                self._batches += 1
                return None
            rt.wait(self._stop, random.uniform(pause / 2, pause))  # noqa: S311 - so that not all come at once
            pause = min(2 * pause, _LONGEST)

    def _failed(self, error: BaseException) -> None:
        self._failures += 1
        self._last_error = f"{type(error).__name__}: {error}"
        if self._on_error is not None:
            self._on_error(error)

    def metrics(self) -> FlusherMetrics:
        return FlusherMetrics(
            active=monotonic() < self._until,
            entries=self._entries,
            written=self._written,
            batches=self._batches,
            dead=self._dead,
            failures=self._failures,
            takeovers=self._takeovers,
            last_error=self._last_error,
        )


def _letter(entry: Entry, meta: Meta, error: BaseException, attempts: int) -> DeadLetter:
    return DeadLetter(
        name=entry.name.decode(),
        key=meta.key,
        tenant=meta.tenant,
        deleted=meta.deleted,
        version=entry.version,
        error=f"{type(error).__name__}: {error}",
        attempts=attempts,
        data=entry.data or b"",
    )
