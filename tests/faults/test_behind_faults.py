"""kill -9 of app, flushers and Redis at random moments: what was accepted is not lost, and no value goes back."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from mailgenius.cache import AsyncWriteBehind
from mailgenius.link import AsyncRedis
from mailgenius.servers import valkey
from tests.rooms.crashes import wait_until

from .behind_child import KEYS, NOTE, REGION

ROUNDS = int(os.environ.get("MG_FAULT_ROUNDS", "10"))
ROOT = Path(__file__).parents[2]
TABLE = """
create table behind (key int primary key, number int8 not null, version int8 not null);
create table went_back (key int, old int8, new int8);
create function watch() returns trigger language plpgsql as $$
begin
    if new.number <= old.number then
        insert into went_back values (new.key, old.number, new.number);
    end if;
    return new;
end $$;
create trigger watch before update on behind for each row execute function watch();
"""


class Crowd:
    """The processes. A killed one is replaced at once."""

    def __init__(self, url: str, dsn: str, notes: Path) -> None:
        self.url, self.dsn, self.notes = url, dsn, notes
        self.born = 0
        self.app = self._app()
        self.flushers = [self._flusher(), self._flusher()]

    def _app(self) -> subprocess.Popen[bytes]:
        self.born += 1
        return self._start("app", self.url, str(self.notes), str(self.born * 10_000_000))

    def _flusher(self) -> subprocess.Popen[bytes]:
        return self._start("flusher", self.url, self.dsn)

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "tests.faults.behind_child", *words], cwd=ROOT)

    def kill_app(self) -> None:
        self.app.kill()
        self.app.wait()
        self.app = self._app()

    def kill_flusher(self, which: int) -> None:
        self.flushers[which].kill()
        self.flushers[which].wait()
        self.flushers[which] = self._flusher()

    def end(self) -> None:
        for process in [self.app, *self.flushers]:
            process.kill()
            process.wait()


@pytest.mark.faults
@pytest.mark.timeout(120 + 20 * ROUNDS)
def test_kills(fast_path: Path, tmp_path: Path, empty_database: str) -> None:
    rng = random.Random()
    notes = tmp_path / "notes"
    notes.touch()
    happened: Counter[str] = Counter()
    with psycopg.connect(empty_database, autocommit=True) as database:
        database.execute(TABLE)
        with valkey(fast_path / "behind", port=0) as server:
            crowd = Crowd(server.url, empty_database, notes)
            frozen: subprocess.Popen[bytes] | None = None
            try:
                for _ in range(ROUNDS):
                    seen, more = notes.stat().st_size, rng.randrange(1, 3000) * NOTE.size
                    wait_until(lambda: notes.stat().st_size > seen + more)  # noqa: B023
                    what = rng.choice(["app", "flusher", "flusher", "redis", "freeze"])
                    happened[what] += 1
                    if frozen is not None:
                        frozen.send_signal(signal.SIGCONT)
                        frozen = None
                    if what == "app":
                        crowd.kill_app()
                    elif what == "flusher":
                        crowd.kill_flusher(rng.randrange(2))
                    elif what == "freeze":
                        frozen = rng.choice(crowd.flushers)
                        frozen.send_signal(signal.SIGSTOP)
                    else:
                        server.kill()
                        server.restart()
            finally:
                if frozen is not None:
                    frozen.send_signal(signal.SIGCONT)
                crowd.app.kill()
                crowd.app.wait()
                try:
                    began = time.monotonic()
                    asyncio.run(flushed(server.url))
                    took = time.monotonic() - began
                finally:
                    crowd.end()
        accepted: dict[int, int] = {}
        count = 0
        for key, number in NOTE.iter_unpack(notes.read_bytes()):
            count += 1
            assert number > accepted.get(key, 0)
            accepted[key] = number
        rows = dict(database.execute("select key, number from behind").fetchall())
        lost = {key: (number, rows.get(key)) for key, number in accepted.items() if rows.get(key, 0) < number}
        print(f"{dict(happened)}: {count:,} writes accepted, {len(lost)} lost, flushed at the end in {took:.2f} s")
        assert len(accepted) == KEYS
        assert not lost
        assert database.execute("select * from went_back").fetchall() == []


async def flushed(url: str) -> None:
    async with AsyncRedis(url, offline_queue=10) as redis:
        own = AsyncWriteBehind(redis, REGION)
        await own.flush(60)
        assert await own.dead() == []
        assert (await own.pending()).keys == 0
