"""pgbench: PostgreSQL's own load generator in C, what client and server can do without a pool.

It knows no pool, so a caller is a connection and there are never more than the others have. It cannot read addresses
from a file, so it asks for one and the same lead.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from ._calls import CONNECTIONS, QUESTIONS, Calls, summary


def load(path: str, conninfo: str, *, question: str, callers: int, seconds: float, pgbench: str) -> Calls:
    email = Path(path).read_text("utf-8").splitlines()[0]
    clients = min(callers, CONNECTIONS)
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "ask.sql"
        script.write_text(QUESTIONS[question].format(":email") + ";\n", encoding="utf-8")
        command = [pgbench, "--no-vacuum", "--protocol=prepared", f"--client={clients}"]
        command += [f"--jobs={min(clients, os.cpu_count() or 1)}", f"--define=email={email}", f"--file={script}"]
        for duration in (1, max(1, round(seconds))):  # the first is not counted
            for log in Path(folder).glob("log.*"):
                log.unlink()
            subprocess.run(
                [*command, f"--time={duration}", "--log", f"--log-prefix={folder}/log", conninfo],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                check=True,
            )
        # a line for each transaction: client, number, µs it took, script, second and µs when it ended
        lines = [line.split() for log in Path(folder).glob("log.*") for line in log.read_text("utf-8").splitlines()]
    took = [int(line[2]) / 1e6 for line in lines]
    ended = [int(line[4]) + int(line[5]) / 1e6 for line in lines]
    began = min(end - spent for end, spent in zip(ended, took, strict=True))
    return summary(took, max(ended) - began)
