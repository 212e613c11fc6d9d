"""Rivals that run in node. Their packages are installed once, outside the clock."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from benchmarks import data

HOME = data.HOME / "node"
LOCK = "package-lock.json"
NAMES = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE", "password": "PGPASSWORD"}


def install() -> None:
    HOME.mkdir(parents=True, exist_ok=True)
    ours = Path(__file__).parent / "node"
    for file in ours.glob("*.js*"):
        if file.name != LOCK:
            shutil.copy(file, HOME / file.name)
    if not (HOME / LOCK).exists() or (HOME / LOCK).read_bytes() != (ours / LOCK).read_bytes():
        shutil.copy(ours / LOCK, HOME / LOCK)
        try:
            subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=HOME, check=True)
        except BaseException:
            (HOME / LOCK).unlink()
            raise


def missing() -> str:
    """Why node cannot run; nothing if it can."""
    if absent := [program for program in ("node", "npm") if shutil.which(program) is None]:
        return f"{' and '.join(absent)} not installed"
    try:
        install()
    except subprocess.CalledProcessError:
        return "npm could not install its packages"
    return ""


def run(script: str, conninfo: str, *args: str) -> bytes:
    """What a script of peers/node prints; it finds the server by its PG* variables."""
    given = conninfo_to_dict(conninfo)
    env = os.environ | {NAMES[k]: str(v) for k, v in given.items() if k in NAMES}
    return subprocess.run(["node", str(HOME / script), *args], stdout=subprocess.PIPE, env=env, check=True).stdout
