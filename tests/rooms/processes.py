"""Other processes for the tests of shared servers: real interpreters that open a server and wait for a word from us."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psycopg

from mailgenius.servers._system import start_ticks

if TYPE_CHECKING:
    from collections.abc import Iterator

USER_CODE = """
import json, os, sys
from mailgenius.errors import MailgeniusError
from mailgenius import servers
try:
    server = getattr(servers, sys.argv[2])(sys.argv[1])
except MailgeniusError as error:
    print(json.dumps({"error": str(error), "kind": type(error).__name__}), flush=True)
    sys.exit(1)
dsn = server.dsn if sys.argv[2] == "postgres" else server.url
print(json.dumps({"pid": server.pid, "uid": os.stat(f"/proc/{server.pid}").st_uid, "dsn": dsn}), flush=True)
if sys.stdin.readline():  # "close"; the end of the stream means: leave without a word
    server.close()
    print(json.dumps({"closed": True}), flush=True)
"""


def nobody() -> dict[str, Any]:
    """Arguments of Popen that make a process an ordinary user's."""
    entry = pwd.getpwnam("nobody")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


# The path of this interpreter, for one that may stand elsewhere.
PATHS = [str(Path(__file__).parents[2] / "src"), *(path for path in sys.path if path.endswith("site-packages"))]
PRELUDE = f"import site\nfor path in {PATHS!r}: site.addsitedir(path)\n"


def environment(python: Path | str) -> dict[str, str]:
    """Where that interpreter finds its shared library, if it has one: it was built for another place."""
    return {**os.environ, "LD_LIBRARY_PATH": str(Path(python).parents[1] / "lib")}


def runs_for_nobody(python: Path) -> bool:
    try:
        code = PRELUDE + "import mailgenius.servers"
        done = subprocess.run([python, "-c", code], check=False, cwd="/", env=environment(python), **nobody())
        return done.returncode == 0
    except OSError:
        return False


@contextlib.contextmanager
def python_for_all() -> Iterator[Path | None]:
    """An interpreter an ordinary user can run too, made reachable by a mount if it lies below /root (else None)."""
    if os.geteuid() != 0:
        yield None
        return
    if runs_for_nobody(Path(sys.executable)):
        yield Path(sys.executable)
        return
    mounted = Path(tempfile.mkdtemp(prefix="mg-python-"))
    mounted.chmod(0o755)
    if subprocess.run(["mount", "--bind", sys.base_prefix, mounted], check=False).returncode != 0:
        mounted.rmdir()
        yield None
        return
    try:
        python = mounted / "bin" / f"python3.{sys.version_info.minor}"
        yield python if runs_for_nobody(python) else None
    finally:
        subprocess.run(["umount", "-l", mounted], check=True)
        mounted.rmdir()


class User:
    """A process that has opened the server of a folder: ``postgres`` or ``valkey``."""

    def __init__(self, folder: Path, python: Path | str = sys.executable, kind: str = "postgres", **who: Any) -> None:
        self.process = subprocess.Popen(
            [python, "-c", PRELUDE + USER_CODE, str(folder), kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            env=None if python == sys.executable else environment(python),
            **who,
        )

    def opened(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("close\n")
        self.process.stdin.flush()
        assert json.loads(self.process.stdout.readline()) == {"closed": True}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


def gone(pid: int, seconds: float = 10) -> bool:
    """Whether the process ended within ``seconds``; woken by the kernel, not by a clock."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0]) or start_ticks(pid) is None
    finally:
        os.close(handle)


def keeper_of(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return int(fields[1])


def value(dsn: str, query: str) -> object:
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
        return row and row[0]


def run(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement.encode())


def fill(disk: Path, leave: int) -> Path:
    """Leaves so many bytes free; what it returns may be removed again."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    ballast = disk / "lost+found"  # a name that may lie in a data folder
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(free - leave, 1))
    return ballast
