"""Producers of a queue that are killed, or lose their connection, while they add: nothing is missing or doubled."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailgenius.servers import ValkeyServer, valkey

from .proxy import FaultProxy, at, through
from .queue_child import BATCH
from .queue_crowd import Child, crowd, read, rounds

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]


@pytest.fixture
def server(fast_path: Path, tmp_path: Path) -> Iterator[ValkeyServer]:
    with valkey(fast_path / f"queue-{tmp_path.name}", port=0, settings={"requirepass": ""}) as made:
        yield made


@pytest.fixture
def proxy(server: ValkeyServer) -> Iterator[FaultProxy]:
    with FaultProxy(at(server)) as made:
        yield made


def test_batches_whose_producer_is_killed_and_that_are_added_again(
    server: ValkeyServer, proxy: FaultProxy, tmp_path: Path
) -> None:
    """At a random byte of what it sends; then under the same name, by another process."""
    batches, rng, killed = rounds(2, 100), random.Random(), 0
    confirmed = tmp_path / "confirmed"
    with crowd(server.url, tmp_path, 1) as it:
        for batch in range(batches):
            producer = Child("producer", through(proxy), confirmed, f"batch={batch}")
            proxy.arm(rng.randrange(1, BATCH * 30), producer.process.kill)
            killed += producer.ended() != 0
            proxy.at = None
            assert Child("producer", server.url, confirmed, f"batch={batch}").ended() == 0
        it.finish()
        print(f"{killed} of {batches} producers killed")
        assert {told.number for told in read(confirmed)} == set(range(batches))
        it.verify(set(range(batches * BATCH)), 0)
        assert it.size() == batches * BATCH


def test_jobs_added_one_by_one_over_connections_that_are_cut(
    server: ValkeyServer, proxy: FaultProxy, tmp_path: Path
) -> None:
    """At random bytes, both before and after the server has read them; in the end the producer is killed too."""
    cuts, rng, asked = rounds(4, 100), random.Random(), 8
    confirmed = tmp_path / "confirmed"
    with crowd(server.url, tmp_path, 1) as it:
        producer = Child("singly", through(proxy), confirmed, "first=0")
        try:
            for turn in range(cuts):
                proxy.arm(rng.randrange(1, 50_000), proxy.cut if turn % 2 else proxy.damage)
                assert proxy.done.wait(30)
                it.progress()
        finally:
            producer.kill()
        it.finish()
        known = {told.number for told in read(confirmed)}
        it.verify(known, 0)
        others = {told.number for told in read(it.journal)} - known
        assert len(others) <= asked  # it had been asked for them, and was killed before it was told
