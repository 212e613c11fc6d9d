"""A supervisor as a process of its own, with a worker's module beside it; what it logs, and what its handlers write."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from mailgenius.worker.plan import Plan
from mailgenius.worker.restarts import RestartPolicy
from tests.waiting_sync import until

__all__ = ["QUICK", "Supervised"]

QUICK = RestartPolicy(base=0.01, min_uptime=60)
RUN = """
import sys, msgspec
from mailgenius.worker.logs import log_to_stdout
from mailgenius.worker.plan import Plan
from mailgenius.worker.supervisor import Supervisor
plan = msgspec.json.decode(sys.argv[1], type=Plan)
log_to_stdout(plan.log)
sys.exit(Supervisor(plan).run())
"""
JOBS = """
import asyncio, os, sys, time
from mailgenius.worker import Worker

worker = Worker("q", url=os.environ["MG_URL"], unsafe=True)

def write(text):
    with open("written", "a") as file:
        file.write(text + "\\n")

@worker.handler("say", timeout=30)
async def say(text: str):
    write(text)

@worker.handler("slow", timeout=30)
async def slow(seconds: float):
    write("begun")
    await asyncio.sleep(seconds)
    write("ended")

@worker.handler("die", timeout=30)
async def die(payload):
    os._exit(9)

kept = []
@worker.handler("grow", timeout=30)
async def grow(megabytes: int):
    kept.append(b"x" * (megabytes << 20))

@worker.handler("hang", timeout=0.1)
async def hang(payload):
    write("hangs")
    time.sleep(3600)
"""


class Supervised:
    """Runs in ``folder``. ``how``: fields of its Plan."""

    def __init__(self, folder: Path, url: str, *, code: str = JOBS, under: tuple[str, ...] = (), **how: Any) -> None:
        self.folder = folder
        if code:
            (folder / "jobs.py").write_text(code)
        self.environ = {**os.environ, "MG_URL": url}
        self._under = under
        plan = Plan(target="jobs:worker", folder=str(folder), tick=0.05, beat=0.1)
        self.plan = msgspec.structs.replace(plan, **how)
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("wb") as err:
            self.process = subprocess.Popen(
                [*self._under, sys.executable, "-c", RUN, msgspec.json.encode(self.plan).decode()],
                env=self.environ,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process is not None
        if error is not None:
            print(self.text("out"), self.text("err"), self.text("written"), sep="\n")
        self.process.kill()
        self.process.wait()

    def text(self, name: str) -> str:
        file = self.folder / name
        return file.read_text() if file.exists() else ""

    @property
    def written(self) -> list[str]:
        """What the handlers wrote."""
        return self.text("written").splitlines()

    def logged(self, message: str, **more: object) -> list[dict[str, Any]]:
        """Lines of its log that begin so."""
        found = []
        for text in self.text("out").splitlines(keepends=True):
            if text.startswith("{") and text.endswith("\n"):
                line = json.loads(text)
                if line["message"].startswith(message) and more.items() <= line.items():
                    found.append(line)
        return found

    def until(self, holds: Callable[[], bool], seconds: float = 20.0) -> None:
        until(holds, seconds)

    def ready(self, count: int) -> list[int]:
        """Waits for as many processes to have become ready since the start; the last ones' ids."""
        self.until(lambda: len(self.logged("process is ready")) >= count)
        return [line["child"] for line in self.logged("process is ready")]

    def tell(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def code(self, seconds: float = 20.0) -> int:
        assert self.process is not None
        return self.process.wait(seconds)
