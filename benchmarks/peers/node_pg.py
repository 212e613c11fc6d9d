"""Node: csv-parser + pg, batches of 2,000. Needs node and npm; its packages are installed once, outside the clock."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from benchmarks import data

from . import Counts

HOME = data.HOME / "node"


def _install() -> None:
    here = Path(__file__).parent / "node"
    HOME.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "load.js"):
        shutil.copy(here / name, HOME / name)
    if not (HOME / "node_modules" / "pg").exists():
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=HOME, check=True)


_install()


def load(path: str, conninfo: str) -> Counts:
    given = conninfo_to_dict(conninfo)
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE", "password": "PGPASSWORD"}
    env = os.environ | {names[k]: str(v) for k, v in given.items() if k in names}
    done = subprocess.run(["node", str(HOME / "load.js"), path], stdout=subprocess.PIPE, env=env, check=True)
    return Counts(**json.loads(done.stdout))
