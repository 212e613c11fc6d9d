"""The example app in processes of its own, for the benchmark and the tests."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent


@contextlib.contextmanager
def served(conninfo: str, *, workers: int = 1, fast: bool = True) -> Iterator[int]:
    """Its port. ``fast``: httptools and uvloop instead of the standard library's loop and h11."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "uvicorn",
        "examples.asgi_app:app",
        "--no-access-log",
        "--port",
        "0",
    ]
    command += ["--workers", str(workers), "--timeout-graceful-shutdown", "5"]
    command += ["--http", "httptools", "--loop", "uvloop"] if fast else ["--http", "h11", "--loop", "asyncio"]
    environ = {**os.environ, "MAILGENIUS_DATABASE_URL": conninfo}
    with subprocess.Popen(command, cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said, port, ready = "", 0, 0
        try:
            for line in process.stderr:
                said += line
                if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
                    port = int(found[1])
                ready += "startup complete" in line
                if port and ready >= workers:
                    break
            else:
                raise RuntimeError(f"uvicorn did not start:\n{said}")
            yield port
        finally:
            process.terminate()
            process.stderr.read()
