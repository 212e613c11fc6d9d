"""node-postgres: the pool of package pg, in one node process. Needs node and npm."""

from __future__ import annotations

import json

from . import _node
from ._calls import CONNECTIONS, QUESTIONS, WARM, Calls

_node.install()


def load(path: str, conninfo: str, *, question: str, callers: int, seconds: float) -> Calls:
    case = {
        "emails": path,
        "sql": QUESTIONS[question].format("$1"),
        "callers": callers,
        "connections": CONNECTIONS,
        "durations": [WARM, seconds],
    }
    return Calls(**json.loads(_node.run("pool.js", conninfo, json.dumps(case))))
