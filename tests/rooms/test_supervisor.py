"""Supervised workers: real processes that crash, grow, hang and are told to end, on a real server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailgenius import Redis
from mailgenius.queue import Queue
from mailgenius.servers import ValkeyServer
from mailgenius.worker.restarts import RestartPolicy
from tests.rooms.processes import gone
from tests.rooms.supervised import JOBS, QUICK, Supervised

Start = Callable[..., Supervised]


@pytest.fixture
def start(tmp_path: Path, redis_server: ValkeyServer) -> Start:
    def start(**how: Any) -> Supervised:
        return Supervised(tmp_path, redis_server.url, **how)

    return start


@pytest.fixture
def queue(redis_server: ValkeyServer) -> Iterator[Queue]:
    with Redis(redis_server.url) as redis:
        yield Queue(redis, "q", unsafe=True)


def waiting(queue: Queue) -> int:
    return int(queue.redis.call("HGET", queue.prefix + "q", "waiting") or 0)


def test_sigterm_drains_all_processes(start: Start, queue: Queue) -> None:
    with start(processes=2) as run:
        run.ready(2)
        queue.add("slow", 0.5)
        run.until(lambda: run.written == ["begun"])
        run.tell(signal.SIGTERM)
        assert run.code() == 0
        assert run.written == ["begun", "ended"]
        assert len(run.logged("process has ended", how="exit code 0")) == 2


def test_a_second_sigterm_gives_back_what_runs(start: Start, queue: Queue) -> None:
    with start() as run:
        run.ready(1)
        queue.add("slow", 25.0)
        run.until(lambda: run.written == ["begun"])
        run.tell(signal.SIGTERM)
        run.until(lambda: bool(run.logged("told to end")))
        run.tell(signal.SIGTERM)
        assert run.code() == 143
        assert run.written == ["begun"]
        assert waiting(queue) == 1


def test_what_does_not_drain_in_its_grace_is_given_back(start: Start, queue: Queue) -> None:
    with start(grace=0.1) as run:
        run.ready(1)
        queue.add("slow", 25.0)
        run.until(lambda: run.written == ["begun"])
        run.tell(signal.SIGTERM)
        assert run.code() == 0
        assert waiting(queue) == 1


def test_a_process_that_cannot_end_is_killed(start: Start, queue: Queue) -> None:
    with start(grace=0.1, margin=0.5, hung_after=60) as run:
        run.ready(1)
        queue.add("hang")
        run.until(lambda: run.written == ["hangs"])
        run.tell(signal.SIGTERM)
        assert run.code() == 1
        assert "in hang" in run.text("err")  # where it stood


def test_a_process_that_hangs_is_killed_and_replaced(start: Start, queue: Queue) -> None:
    code = JOBS.replace("timeout=30", "timeout=0.2")
    with start(grace=0.1, code=code, restarts=QUICK) as run:
        run.ready(1)
        queue.add("hang", attempts=1)
        run.until(lambda: bool(run.logged("process was killed: its event loop was silent")))
        run.ready(2)
        queue.add("say", "on")
        run.until(lambda: "on" in run.written)
        assert "in hang" in run.text("err")


def test_a_process_that_crashes_is_started_again_while_others_go_on(start: Start, queue: Queue) -> None:
    with start(processes=2, restarts=QUICK) as run:
        run.ready(2)
        queue.add("die", attempts=1)
        crashed = run.logged
        run.until(lambda: bool(crashed("process crashed", how="exit code 9")))
        run.ready(3)
        queue.add_many("say", ["a"] * 10)
        run.until(lambda: run.written.count("a") == 10)
        run.tell(signal.SIGTERM)
        assert run.code() == 0


def test_processes_that_crash_again_and_again_are_given_up(start: Start) -> None:
    with start(code="import os; os._exit(7)", restarts=QUICK, processes=2) as run:
        assert run.code() == 4
        assert len(run.logged("process crashed", how="exit code 7")) == 6  # five restarts
        assert [line["after"] for line in run.logged("process is started again")] == [0.01, 0.02, 0.04, 0.08, 0.16]


def test_a_program_that_cannot_be_run_is_no_crash(start: Start) -> None:
    with start(code="import no_such_module") as run:
        assert run.code() == 2
        assert "No module named 'no_such_module'" in run.logged("jobs cannot be imported")[0]["message"]


def test_redis_being_away_is_waited_out(start: Start, tmp_path: Path) -> None:
    code = JOBS.replace('os.environ["MG_URL"]', repr(f"unix://{tmp_path}/none.sock"))
    with start(code=code, restarts=QUICK) as run:
        run.until(lambda: run.text("out").count('"level":"warning"') > 3)
        assert not run.logged("process is ready")
        run.tell(signal.SIGTERM)
        assert run.code() == 0
        assert not run.logged("process crashed")


def test_a_process_is_replaced_after_so_many_jobs(start: Start, queue: Queue) -> None:
    with start(max_jobs=5) as run:
        run.ready(1)
        queue.add_many("say", ["a"] * 6)
        run.until(lambda: bool(run.logged("process is replaced", why="6 jobs done")))
        first, second = run.ready(2)
        assert first != second
        run.until(lambda: bool(run.logged("process has ended", child=first, how="exit code 0")))
        queue.add("say", "b")
        run.until(lambda: "b" in run.written)


def test_a_process_that_grows_too_large_is_replaced(start: Start, queue: Queue) -> None:
    with start(max_memory=200_000_000, restarts=RestartPolicy(min_uptime=0.5)) as run:
        run.ready(1)
        queue.add("grow", 200)
        run.until(lambda: bool(run.logged("process is replaced")))
        assert run.logged("process is replaced")[0]["why"].endswith("MB in use, 200 MB allowed")
        first, _ = run.ready(2)
        run.until(lambda: bool(run.logged("process has ended", child=first, how="exit code 0")))


def test_sighup_replaces_one_after_another_without_a_gap(start: Start, queue: Queue) -> None:
    with start(processes=2) as run:
        old = run.ready(2)
        run.tell(signal.SIGHUP)
        new = run.ready(4)[2:]
        run.until(lambda: len(run.logged("process has ended", how="exit code 0")) == 2)
        assert not set(old) & set(new)
        out = [line for line in run.logged("process") if line["message"] != "process is started again"]
        replaced = [(line["message"], line["worker"]) for line in out[4:]]
        one = [("process is replaced", 1), ("process starts", 1), ("process is ready", 1), ("process has ended", 1)]
        assert replaced == one + [(message, 2) for message, _ in one]
        queue.add("say", "on")
        run.until(lambda: "on" in run.written)


def test_new_code_that_does_not_start_leaves_the_old_at_work(start: Start, queue: Queue) -> None:
    with start(processes=2) as run:
        run.ready(2)
        (run.folder / "jobs.py").write_text("def f(:")
        run.tell(signal.SIGHUP)
        run.until(lambda: bool(run.logged("processes are not replaced")))
        queue.add("say", "still")
        run.until(lambda: "still" in run.written)
        assert not run.logged("process has ended")


def test_changed_files_are_loaded_again(start: Start, queue: Queue, tmp_path: Path) -> None:
    texts = tmp_path / "texts.py"
    texts.write_text('GREETING = "old "')
    code = "from texts import GREETING\n" + JOBS.replace("    write(text)\n", "    write(GREETING + text)\n")
    with start(reload=True, code=code) as run:
        run.ready(1)
        queue.add("say", "a")
        run.until(lambda: run.written == ["old a"])
        texts.write_text("GREETING = (")
        run.until(lambda: bool(run.logged("waits for a file to change")))
        texts.write_text('GREETING = "new  "')
        first = run.ready(2)[0]
        run.until(lambda: bool(run.logged("process has ended", child=first)))
        queue.add("say", "b")
        run.until(lambda: run.written == ["old a", "new  b"])


def test_workers_of_a_supervisor_that_is_killed_finish_and_end(start: Start, queue: Queue) -> None:
    with start(processes=2) as run:
        children = run.ready(2)
        queue.add("slow", 0.5)
        run.until(lambda: run.written == ["begun"])
        run.tell(signal.SIGKILL)
        assert all(gone(child) for child in children)
        assert run.written == ["begun", "ended"]


def test_a_worker_that_hangs_ends_after_its_supervisor_too(start: Start, queue: Queue, tmp_path: Path) -> None:
    with start(grace=0.0) as run:
        (child,) = run.ready(1)
        queue.add("hang")
        run.until(lambda: run.written == ["hangs"])
        run.tell(signal.SIGKILL)
        assert gone(child, 15)


def test_systemd_is_told_what_happens(start: Start, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        run = start()
        run.environ |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}

        said: list[str] = []

        def told(what: str, times: int = 1) -> None:
            while said.count(what) < times:
                said.extend(systemd.recv(1000).decode().splitlines())
                assert len(said) < 1000

        with run:
            told("READY=1")
            told("WATCHDOG=1", 3)
            told("STATUS=working: 1 of 1 processes, 0 jobs, 0 crashes")
            (child,) = run.ready(1)
            assert b"NOTIFY_SOCKET" not in Path(f"/proc/{child}/environ").read_bytes()
            run.tell(signal.SIGHUP)
            told("RELOADING=1")
            told("READY=1", 2)
            run.tell(signal.SIGTERM)
            told("STOPPING=1")
            assert run.code() == 0


def test_the_first_process_of_a_container_reaps_orphans_and_hears_signals(start: Start, queue: Queue) -> None:
    unshare = shutil.which("unshare")
    under = (unshare or "", "--pid", "--fork", "--mount-proc", "--kill-child")
    if unshare is None or subprocess.run([*under, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no right to make a process name space")
    code = JOBS + (
        '\n@worker.handler("orphan")\n'
        "def orphan(payload):\n"
        "    import subprocess\n"
        '    subprocess.run(["sh", "-c", "sleep 0.1 & echo $! > orphan"])\n'
        "    while os.path.exists('/proc/' + open('orphan').read().strip()):\n"
        "        time.sleep(0.01)\n"
        '    write("reaped")\n'
    )
    with start(code=code, under=under) as run:
        run.ready(1)
        assert run.process is not None
        inner = Path(f"/proc/{run.process.pid}/task/{run.process.pid}/children").read_text().split()
        queue.add("orphan")
        run.until(lambda: run.written == ["reaped"])
        os.kill(int(inner[0]), signal.SIGTERM)
        assert run.code() == 0
