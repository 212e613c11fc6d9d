"""`mailgenius queue` and `mailgenius work` as a user meets them."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailgenius import Redis
from mailgenius.cli.queue_parser import STATES
from mailgenius.queue import Queue, ShardedQueue
from mailgenius.queue.states import PAGED
from mailgenius.servers import ValkeyServer
from tests.rooms.supervised import JOBS
from tests.waiting_sync import until

Run = Callable[..., str]


@pytest.fixture
def queue(redis_server: ValkeyServer) -> Iterator[Queue]:
    with Redis(redis_server.url) as redis:
        yield Queue(redis, "mail", unsafe=True)


@pytest.fixture
def environ(redis_server: ValkeyServer) -> dict[str, str]:
    url = redis_server.url
    return {**os.environ, "MAILGENIUS_REDIS_URL": url, "MG_URL": url, "COLUMNS": "160", "NO_COLOR": "1"}


@pytest.fixture
def run(environ: dict[str, str], tmp_path: Path) -> Run:
    def run(*words: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "mailgenius.cli", *words],
            env=environ,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stdout + done.stderr

    return run


def test_states_are_those_of_the_queue() -> None:
    assert STATES == PAGED


def test_looking(run: Run, queue: Queue) -> None:
    assert run("queue", "ls").split() == ["queue", *STATES]
    id = queue.add("send-email", {"lead_id": 1, "evil": "\x1b[31m"}, attempts=1)
    queue.add("send-email", {"lead_id": 2}, delay=3600)
    assert run("queue", "ls").splitlines()[1].split() == ["mail", "1", "0", "1", "0", "0", "0"]
    assert json.loads(run("queue", "ls", "--json"))["mail"]["waiting"] == 1
    assert run("queue", "top").splitlines()[1].split()[0] == "mail"
    counts = run("queue", "counts", "mail")
    assert "send-email" in counts
    assert json.loads(run("queue", "counts", "mail", "--json"))["names"]["send-email"]["added"] == 2
    card = run("queue", "show", "mail", id)
    assert '"lead_id":1' in card
    assert "\x1b" not in card
    assert json.loads(run("queue", "show", "mail", id, "--json"))["state"] == "waiting"
    assert id in run("queue", "jobs", "mail", "waiting")
    assert "more with --after" not in run("queue", "jobs", "mail", "waiting")
    assert "there is no job 5-99" in run("queue", "show", "mail", "5-99", code=2)


def test_changing(run: Run, queue: Queue) -> None:
    ids = [queue.add("a", number, delay=3600) for number in range(3)]
    assert "1 jobs start now" in run("queue", "promote", "mail", ids[0])
    assert "no delayed job of these ids" in run("queue", "promote", "mail", "0-99", code=2)
    assert json.loads(run("queue", "remove", "mail", ids[1], "0-99", "--json")) == {"removed": {ids[1]: "delayed"}}
    assert "no job of these ids" in run("queue", "remove", "mail", ids[1], code=2)
    assert run("queue", "pause", "mail") == "mail: paused\n"
    assert run("queue", "pause", "mail") == "mail: was paused already\n"
    assert run("queue", "pause", "mail", "--group", "gmail.com") == "group gmail.com of mail: paused\n"
    assert "paused" in run("queue", "ls")
    assert run("queue", "resume", "mail") == "mail: goes on\n"
    assert "paused: gmail.com" in run("queue", "ls")
    assert json.loads(run("queue", "drain", "mail", "--delayed", "--json")) == {"removed": 2}
    assert "give ids, or --all" in run("queue", "retry", "mail", code=2)
    assert json.loads(run("queue", "clean", "mail", "failed", "--json")) == {"removed": 0}


def test_what_failed_is_shown_and_retried(run: Run, queue: Queue, environ: dict[str, str], tmp_path: Path) -> None:
    fail = '\n@worker.handler("fail")\ndef fail(payload): raise ValueError("no such mailbox")\n'
    (tmp_path / "jobs.py").write_text(JOBS.replace('"q"', '"mail"') + fail)
    id = queue.add("fail", {"lead": 1}, attempts=1)
    with (tmp_path / "log").open("wb") as out:
        work = subprocess.Popen(
            [sys.executable, "-m", "mailgenius.cli", "work", "jobs:worker", "--processes", "max", "--grace", "5"],
            env=environ,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=out,
        )
    try:
        until(lambda: queue.counts().failed == 1, 20)
        assert "no such mailbox" in run("queue", "failed", "mail")
        assert "no such mailbox" in run("queue", "show", "mail", id)
        assert run("queue", "retry", "mail", "--all") == "1 jobs start anew\n"
        until(lambda: (tmp_path / "log").read_text().count('"job failed"') == 2, 20)
    finally:
        work.send_signal(signal.SIGTERM)
        assert work.wait(20) == 0
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    failed = next(line for line in lines if line["message"] == "job failed")
    assert (failed["job"], failed["error"]) == (id, "ValueError: no such mailbox")
    assert lines[-1]["message"] == "supervisor ends"


@pytest.mark.parametrize(
    ("target", "code", "says"),
    [
        ("jobs", 2, "'jobs' is not module:attribute"),
        ("nothing:worker", 2, "there is no module 'nothing'"),
        ("jobs:wroker", 2, "has no attribute 'wroker'; give jobs:worker"),
        ("jobs:kept", 2, "jobs:kept is a list, not a Worker; give jobs:worker"),
    ],
)
def test_what_cannot_be_run_is_said(run: Run, tmp_path: Path, target: str, code: int, says: str) -> None:
    (tmp_path / "jobs.py").write_text(JOBS)
    assert says in run("work", target, "--log", "text", code=code)


@pytest.mark.parametrize("words", [("--max-memory", "lots"), ("--processes", "0"), ("--grace", "-1")])
def test_wrong_options_are_refused(run: Run, words: tuple[str, ...]) -> None:
    assert f"argument {words[0]}" in run("work", "jobs:worker", *words, code=2)


def test_redis_being_away_is_said(run: Run) -> None:
    assert "mailgenius: " in run("queue", "ls", "--redis", "unix:///none.sock", code=1)


def test_top_is_drawn_until_it_is_interrupted(queue: Queue, environ: dict[str, str]) -> None:
    ours, theirs = pty.openpty()
    more: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "env": environ}
    with subprocess.Popen(
        [sys.executable, "-m", "mailgenius.cli", "queue", "top", "--interval", "0.1"], **more
    ) as done:
        os.close(theirs)
        seen = b""

        def sees(text: bytes) -> None:
            nonlocal seen
            while text not in seen:
                assert select.select([ours], [], [], 20)[0]
                seen += os.read(ours, 65536)
            seen = seen.partition(text)[2]

        sees(b"\x1b[?1049h")
        queue.add("a", 1)
        sees(b"mail ")
        sees(b"\x1b[H\x1b[J")
        done.send_signal(signal.SIGINT)
        sees(b"\x1b[?1049l")
        assert done.wait(20) == 0
    os.close(ours)


def test_a_queue_in_several_shards_is_one_queue(run: Run, redis_server: ValkeyServer) -> None:
    with Redis(redis_server.url) as redis:
        queue = ShardedQueue(redis, "mail", shards=3, unsafe=True)
        ids = [queue.add("send", number) for number in range(6)]
        assert json.loads(run("queue", "ls", "--json"))["mail"]["waiting"] == 6
        assert list(json.loads(run("queue", "top", "--json"))) == ["mail"]
        assert len(json.loads(run("queue", "jobs", "mail", "waiting", "--json"))["jobs"]) == 6
        assert json.loads(run("queue", "show", "mail", ids[2], "--json"))["id"] == ids[2] == "2.5-0"
        assert "2 jobs removed" in run("queue", "remove", "mail", *ids[:2])
        assert "has 4 shards" in run("queue", "resize", "mail", "4")
        assert "has 4 shards already" in run("queue", "resize", "mail", "4")
        assert "4 jobs removed" in run("queue", "drain", "mail")
        assert "has 1 shard" in run("queue", "resize", "mail", "1")
