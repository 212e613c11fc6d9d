"""The keeper: a small process that starts one server, outlives whoever asked for it, and stops it with its last
user.

Run as a script by an isolated interpreter, so it imports the standard library only. One argument: a JSON object (see
``main``). It says on stdout what became of the start, one JSON object, and then works silently.

How the last user is noticed: every user holds a shared flock on the file ``users``; the keeper waits for an
exclusive one. The kernel releases a user's lock when it closes, exits or is killed, so there are no pids to be
mistaken and nothing to poll. While the keeper holds the exclusive lock, newcomers wait; once it is gone they start a
new server.

The keeper is the server's parent: it reaps it, and nobody's Ctrl-C reaches either (own session). If the keeper
itself is killed, the server goes on; the next process that opens the folder gives it a new keeper.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any


def start_ticks(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


class Server:
    """The server process, our child or one we found running."""

    def __init__(self, pid: int, child: subprocess.Popen[bytes] | None) -> None:
        self.pid, self.child, self.started = pid, child, start_ticks(pid)

    def wait(self, seconds: float | None = None) -> bool:
        """Whether it ended within ``seconds``."""
        if self.child is not None:
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                return False
            return True
        deadline = None if seconds is None else time.monotonic() + seconds
        while start_ticks(self.pid) == self.started:
            if deadline is not None and time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def signal(self, number: int) -> None:
        if start_ticks(self.pid) == self.started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def write_state(path: str, state: dict[str, Any], owner: list[int] | None) -> None:
    """Replaces the state file in one step, so that a reader never sees half of it."""
    part = path + ".part"
    with contextlib.suppress(FileNotFoundError):
        Path(part).unlink()
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        json.dump(state, file)
        if owner is not None:
            os.fchown(file.fileno(), *owner)
    Path(part).replace(path)


def launch(order: dict[str, Any]) -> Server:
    data_fd, log_fd = order["data_fd"], order["log_fd"]
    who: dict[str, Any] = {}
    if order["run_as"] is not None:
        uid, gid = order["run_as"]
        who = {"user": uid, "group": gid, "extra_groups": []}
    child = subprocess.Popen(
        # The data folder is named through an open descriptor: the server's user needs no right to walk there, and no
        # path is too long. Descriptors stay open in the server and in all its children.
        order["command"],
        stdin=subprocess.DEVNULL,
        stdout=log_fd,
        stderr=log_fd,
        pass_fds=[data_fd],
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        cwd=f"/proc/self/fd/{data_fd}",
        umask=0o077,
        **who,
    )
    return Server(child.pid, child)


def main(text: str) -> int:
    order = json.loads(text)
    keeper = os.open(order["keeper_lock"], os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(keeper, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print(json.dumps({"error": "busy"}), flush=True)
        return 3
    users = os.open(order["users_lock"], os.O_RDWR | os.O_CLOEXEC)
    try:
        server = Server(order["adopt"], None) if order["adopt"] else launch(order)
    except OSError as error:
        print(json.dumps({"error": f"{error.strerror}: {error.filename}"}), flush=True)
        return 1
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: server.signal(order["stops"][0][0]))
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    state = dict(order["state"], pid=server.pid, started=server.started)
    write_state(order["state_file"], state, order["owner"])
    with contextlib.suppress(BrokenPipeError):  # who asked was killed meanwhile; the server may have other users
        print(json.dumps({"pid": server.pid, "started": server.started}), flush=True)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 1)

    def stop_with_last_user() -> None:
        fcntl.flock(users, fcntl.LOCK_EX)
        stopping.set()
        for number, seconds in order["stops"]:
            # Again and again: Redis 6.2 refuses while it rewrites its log for a replica.
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                server.signal(number)
                server.signal(signal.SIGCONT)  # a paused server would not hear it
                if server.wait(1.0):
                    return
        server.signal(signal.SIGKILL)

    threading.Thread(target=stop_with_last_user, daemon=True).start()
    server.wait()
    if stopping.is_set():
        # Nobody is left to whom the old socket's path means anything.
        shutil.rmtree(order["state"]["socket_dir"], ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            Path(order["state_file"]).unlink()
    # Locks go with the process; leaving without the thread's consent is fine, it only waits.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
