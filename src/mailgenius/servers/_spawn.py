"""Starts keepers (_keeper.py) and collects those of ours that end before us."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mailgenius.errors import ServerError

if TYPE_CHECKING:
    from ._folder import Folder, State


def start_keeper(folder: Folder, order: dict[str, Any], state: State, fds: tuple[int, ...]) -> dict[str, Any]:
    """Starts a keeper and returns its report."""
    os.close(folder.open_file("keeper", os.O_RDWR))
    order |= {
        "keeper_lock": str(folder.path / "keeper"),
        "users_lock": str(folder.path / "users"),
        "state_file": str(folder.state_file),
        "owner": folder.owner(),
        "state": {
            "socket_dir": state.socket_dir,
            "port": state.port,
            "version": state.version,
            "settings": state.settings,
        },
    }
    script = Path(__file__).with_name("_keeper.py")
    process = subprocess.Popen(
        [interpreter(), "-I", "-S", str(script), json.dumps(order)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=fds,
        cwd="/",
        start_new_session=True,
    )
    assert process.stdout is not None  # noqa: S101
    assert process.stderr is not None  # noqa: S101
    try:
        line = process.stdout.readline()
        if line:
            report: dict[str, Any] = json.loads(line)
            return report
        return {"error": process.stderr.read().decode("utf-8", "replace") or "the keeper ended without a word"}
    finally:
        process.stdout.close()
        process.stderr.close()
        _forget(process)


def interpreter() -> str:
    """A Python to run the keeper. Inside uWSGI and the like, sys.executable is the host program."""
    candidates = [sys.executable, getattr(sys, "_base_executable", "")]
    candidates += [f"{sys.base_prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}"]
    for candidate in candidates:
        if candidate and Path(candidate).name.startswith("python") and os.access(candidate, os.X_OK):
            return candidate
    if found := shutil.which("python3"):
        return found
    raise ServerError("No Python interpreter found to watch over the server (sys.executable is not one).")


_keepers: set[int] = set()


def _forget(process: subprocess.Popen[bytes]) -> None:
    """The keeper outlives us by design: no warning that it still runs. ``reap`` collects it if it ends before us."""
    _keepers.add(process.pid)
    process.returncode = 0


def reap() -> None:
    for pid in list(_keepers):
        try:
            ended = os.waitpid(pid, os.WNOHANG)[0] == pid
        except ChildProcessError:  # a forked copy of us: the keeper is not its child
            ended = True
        if ended:
            _keepers.discard(pid)
