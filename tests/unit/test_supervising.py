"""The parts of the supervisor that decide, read limits, write log lines and speak to systemd."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from pathlib import Path

import pytest

from mailgenius.errors import ConfigError
from mailgenius.worker.limits import memory_limit, memory_of, usable_cores
from mailgenius.worker.logs import JsonLines, TextLines
from mailgenius.worker.notify import Notify
from mailgenius.worker.plan import GIB, Plan, memory_each
from mailgenius.worker.restarts import RestartPolicy, Restarts
from mailgenius.worker.target import find, split
from mailgenius.worker.watch import Watch, imported


def test_pauses_double_and_five_short_lives_after_restarts_are_enough() -> None:
    restarts = Restarts(RestartPolicy(limit=5, min_uptime=10, base=0.25, cap=2))
    assert [restarts.crashed(1) for _ in range(6)] == [0.25, 0.5, 1, 2, 2, None]
    assert restarts.total == 5


def test_a_long_life_makes_up_for_short_ones() -> None:
    restarts = Restarts(RestartPolicy(limit=2, base=1))
    assert [restarts.crashed(life) for life in (1, 1, 10, 1, 1, 1)] == [1, 2, 1, 1, 2, None]


def test_new_code_gets_new_chances() -> None:
    restarts = Restarts(RestartPolicy(limit=1, base=1))
    assert [restarts.crashed(0), restarts.crashed(0)] == [1, None]
    restarts.forget()
    assert [restarts.crashed(0), restarts.crashed(0)] == [1, None]


@pytest.mark.parametrize("wrong", [{"limit": -1}, {"base": -0.1}])
def test_wrong_policies_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"^\$\.worker\.restarts\."):
        RestartPolicy(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"processes": 0}, {"grace": -1}, {"max_jobs": -1}, {"hung_after": 1}])
def test_wrong_plans_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=rf"^\$\.worker\.{next(iter(wrong))}: "):
        Plan(target="a:b", folder="/", **wrong)  # type: ignore[arg-type]


def test_processes_share_nine_tenths_of_the_groups_memory() -> None:
    assert memory_each(None, 8) == GIB
    assert memory_each(100 * GIB, 8) == GIB
    assert memory_each(GIB, 2) == GIB * 9 // 20
    assert memory_each(GIB, 64) == 256 << 20


# -- /proc and control groups --------------------------------------------------------------------------------------


def files(root: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_limits_of_version_2_are_the_lowest_of_all_groups_above(tmp_path: Path) -> None:
    files(
        tmp_path,
        {
            "proc/self/cgroup": "0::/app/worker\n",
            "cgroup/app/memory.max": f"{GIB}\n",
            "cgroup/app/worker/memory.max": "max\n",
            "cgroup/app/worker/cpu.max": "50000 100000\n",
            "cgroup/cpu.max": "max 100000\n",
        },
    )
    assert memory_limit(tmp_path / "cgroup", tmp_path / "proc") == GIB
    assert usable_cores(tmp_path / "cgroup", tmp_path / "proc") == 1


def test_limits_of_version_1(tmp_path: Path) -> None:
    files(
        tmp_path,
        {
            "proc/self/cgroup": "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n",
            "cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "cgroup/memory/docker/abc/memory.limit_in_bytes": "1000000\n",
            "cgroup/cpu/docker/abc/cpu.cfs_quota_us": "100000\n",
            "cgroup/cpu/docker/abc/cpu.cfs_period_us": "100000\n",
        },
    )
    assert memory_limit(tmp_path / "cgroup", tmp_path / "proc") == 1_000_000
    assert usable_cores(tmp_path / "cgroup", tmp_path / "proc") == 1


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert memory_limit(tmp_path, tmp_path) is None
    assert usable_cores(tmp_path, tmp_path) == len(os.sched_getaffinity(0))


def test_memory_of_a_process_is_resident_or_its_share() -> None:
    assert memory_of(os.getpid(), 1 << 50) > 5_000_000
    assert 0 < memory_of(os.getpid()) <= memory_of(os.getpid(), 1 << 50) + 1_000_000
    assert memory_of(2**22 + 1) == 0


# -- log lines -----------------------------------------------------------------------------------------------------


def record(message: str, **more: object) -> logging.LogRecord:
    return logging.getLogger("jobs").makeRecord("jobs", logging.INFO, "x.py", 1, message, ("Ana",), None, extra=more)


def test_a_json_line_has_time_level_and_what_was_given() -> None:
    line = json.loads(JsonLines().format(record("hello %s", job="5-1", strange={1, 2})))
    assert (line["level"], line["logger"], line["message"], line["job"]) == ("info", "jobs", "hello Ana", "5-1")
    assert line["time"].endswith("Z")
    assert line["pid"] == os.getpid()


def test_what_json_cannot_say_is_written_all_the_same() -> None:
    assert "object" in json.loads(JsonLines().format(record("%s", what=object())))["what"]


def test_a_line_of_text_shows_the_traceback() -> None:
    made = record("hello %s", job="5-1")
    try:
        raise KeyError("gone")
    except KeyError:
        made.exc_info = sys.exc_info()
    text = TextLines().format(made)
    assert f"INFO [{os.getpid()}] hello Ana job=5-1\nTraceback" in text
    assert "KeyError: 'gone'" in json.loads(JsonLines().format(made))["exception"]


# -- systemd -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_by_its_socket(tmp_path: Path, abstract: bool) -> None:
    name = f"mailgenius-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name if abstract else name)
        environ = {"NOTIFY_SOCKET": "@" + name if abstract else name, "WATCHDOG_USEC": "4000000", "OTHER": "1"}
        notify = Notify(environ)
        assert environ == {"OTHER": "1"}
        assert notify.interval == 2.0
        notify.say("READY=1", "MAINPID=7")
        notify.status("works")
        notify.status("works")
        notify.say("STOPPING=1")
        assert [systemd.recv(100) for _ in range(3)] == [b"READY=1\nMAINPID=7", b"STATUS=works", b"STOPPING=1"]
        notify.close()


def test_without_systemd_nothing_is_told() -> None:
    notify = Notify({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"})
    assert notify.interval is None
    notify.say("READY=1")
    notify.close()


# -- what is run ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["", "jobs", "jobs:", ":worker", "jobs.py:worker:x", "my-jobs:worker"])
def test_targets_that_name_nothing(wrong: str) -> None:
    with pytest.raises(ConfigError, match="is not module:attribute"):
        split(wrong)


@pytest.mark.parametrize(
    ("name", "code", "target", "says"),
    [
        ("mg_none", None, "mg_none:worker", "there is no module 'mg_none' in "),
        ("mg_part", "", "mg_part.jobs:worker", "there is no module 'mg_part.jobs'"),
        ("mg_nested", "import mg_not_there", "mg_nested:worker", "mg_nested cannot be imported:\n"),
        ("mg_broken", "def f(:", "mg_broken:worker", "SyntaxError"),
        ("mg_raises", "raise RuntimeError('no key')", "mg_raises:worker", "RuntimeError: no key"),
        ("mg_exits", "import sys; sys.exit('no')", "mg_exits:worker", "SystemExit: no"),
        ("mg_typo", "worker = 5", "mg_typo:wroker", "has no attribute 'wroker'; give mg_typo:worker"),
        ("mg_other", "worker = 5; app = {}", "mg_other:app", "mg_other:app is a dict, not a int; give mg_other:worker"),
        ("mg_empty", "app = None", "mg_empty:app", "is nothing (None), not a int; no int is defined there"),
        ("mg_call", "def make(x): return 5", "mg_call:make", "cannot be called without arguments"),
    ],
)
def test_what_is_wrong_with_a_target_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: str | None, target: str, says: str
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    if code is not None:
        (tmp_path / f"{name}.py").write_text(code)
    with pytest.raises(ConfigError) as error:
        find(target, int, str(tmp_path))
    assert says in str(error.value)
    assert "target.py" not in str(error.value)


def test_targets_are_found_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "mg_found.py").write_text("class App: worker = 5\ndef make(): return 6")
    assert find("mg_found:App.worker", int, str(tmp_path)) == 5
    assert find("mg_found:make", int, str(tmp_path)) == 6
    assert str(tmp_path / "mg_found.py") in imported()
    assert not any("site-packages" in file or "logging" in file for file in imported())


def test_files_that_broke_an_import_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "mg_outer.py").write_text("import mg_inner")
    (tmp_path / "mg_inner.py").write_text("x = (")
    with pytest.raises(ConfigError) as error:
        find("mg_outer:worker", int, str(tmp_path))
    assert {str(tmp_path / "mg_outer.py"), str(tmp_path / "mg_inner.py")} <= set(imported(error.value))


def test_changed_files_are_seen_once(tmp_path: Path) -> None:
    file, other = tmp_path / "a.py", tmp_path / "b.py"
    file.write_text("1")
    watch = Watch()
    watch.add([str(file), str(other)])
    assert watch.changed() == []
    os.utime(file, ns=(1, 1))
    other.write_text("1")
    assert watch.changed() == [str(file), str(other)]
    file.unlink()
    assert watch.changed() == []
