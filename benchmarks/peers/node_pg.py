"""Node: csv-parser + pg, batches of 2,000. Needs node and npm."""

from __future__ import annotations

import json

from . import Counts, _node

_node.install()


def load(path: str, conninfo: str) -> Counts:
    return Counts(**json.loads(_node.run("load.js", conninfo, path)))
