"""Relays of the outbox are killed at any instant: what was committed is added once, what was rolled back never."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter

import pytest

from mailgenius.link import Redis
from mailgenius.pool import Pool
from mailgenius.queue import Queue
from mailgenius.queue.outbox import Outbox
from mailgenius.servers import ValkeyServer
from tests.queue_hand_sync import Hand

ROUNDS = int(os.environ.get("MG_FAULT_ROUNDS", "3"))


@pytest.mark.faults
def test_killed_relays_lose_and_double_nothing(database: str, redis_server: ValkeyServer) -> None:
    chance = random.Random(5)
    committed: list[int] = []
    number = 0
    with Redis(redis_server.url) as redis, Pool(database) as pool:
        queue = Queue(redis, "q", unsafe=True)
        for _ in range(ROUNDS):
            relays = [
                subprocess.Popen(
                    [sys.executable, "-m", "tests.faults.outbox_child", database, redis_server.url],
                    stdout=subprocess.PIPE,
                )
                for _ in range(2)
            ]
            for relay in relays:
                assert relay.stdout is not None
                assert relay.stdout.readline() == b"flushed\n"
            for relay in relays:
                for _ in range(chance.randrange(1, 120)):  # the moment is that of a transaction
                    undone = chance.random() < 0.2
                    with pool.connection() as connection, connection.transaction(force_rollback=undone):
                        jobs = range(number, number + chance.choice((1, 1, 1, 30)))
                        number = jobs.stop
                        queue.add_many("send", jobs, connection=connection)
                    committed += () if undone else jobs
                relay.send_signal(signal.SIGKILL)
            for relay in relays:
                relay.communicate()
        Outbox(pool, redis, unsafe=True).flush()
        assert pool.fetch("select count(*) from mailgenius.outbox") == [(0,)]
        assert Counter(Hand(redis, "q").all()) == Counter(committed)
