"""A relay in a process of its own, that can be killed: ``python -m tests.faults.outbox_child DATABASE REDIS``."""

from __future__ import annotations

import sys

from mailgenius.link import Redis
from mailgenius.pool import Pool
from mailgenius.queue.outbox import Outbox

if __name__ == "__main__":
    with Pool(sys.argv[1], max_size=2) as pool, Redis(sys.argv[2]) as redis:
        outbox = Outbox(pool, redis, unsafe=True)
        while True:
            outbox.flush()
            print("flushed", flush=True)
