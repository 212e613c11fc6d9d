# Made from test_queue_outbox_async.py by `python -m tools.twin`: edit that one.
"""Jobs that are part of a transaction of the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from mailgenius.errors import ConfigError
from mailgenius.link import Redis
from mailgenius.pool import Pool
from mailgenius.queue import Queue, outbox_sync
from mailgenius.queue.outbox import Outbox
from mailgenius.rt import threads as rt
from mailgenius.servers import ValkeyServer
from tests.queue_hand_sync import Hand
from tests.waiting_sync import until


def test_jobs_are_added_when_their_transaction_commits(database: str, redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url) as redis, Pool(database) as pool:
        queue, hand = Queue(redis, "q", unsafe=True), Hand(redis, "q")
        outbox = Outbox(pool, redis, unsafe=True)
        with psycopg.Connection.connect(database) as connection:
            queue.add("send", "never", connection=connection)
            connection.rollback()
            one = queue.add("send", "one", priority=2, group="g", connection=connection)
            when = datetime.now(UTC) + timedelta(hours=1)
            later = queue.add("send", "later", at=when, connection=connection)
            soon = queue.add("send", "soon", delay=60, connection=connection)
            many = queue.add_many("send", range(450), connection=connection)
            assert outbox.flush() == 0
            connection.commit()
        assert (queue.counts()).total.added == 0
        assert outbox.flush() == 12
        assert outbox.flush() == 0
        job = queue.show(one)
        assert job is not None
        assert (job.payload, job.priority, job.group) == ("one", 2, "g")
        for id, time in ((later, when), (soon, datetime.now(UTC) + timedelta(seconds=60))):
            job = queue.show(id)
            assert job is not None
            assert job.due_at is not None
            assert abs(job.due_at - time) < timedelta(seconds=10)
        job = queue.show(many[449])
        assert job is not None
        assert job.payload == 449
        assert hand.all() == ["one", *range(450)]
        assert pool.fetch("select count(*) from mailgenius.outbox") == [(0,)]


def test_a_unique_job_is_there_once(database: str, redis_server: ValkeyServer) -> None:
    with Redis(redis_server.url) as redis, Pool(database) as pool:
        queue = Queue(redis, "q", unsafe=True)
        for _ in range(3):
            with pool.transaction() as connection:
                queue.add("send", 1, unique="k", connection=connection)
        assert Outbox(pool, redis, unsafe=True).flush() == 3
        assert (queue.counts()).waiting == 1


def test_the_relay_hears_of_new_rows(
    database: str, redis_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_sync, "LOOK", 60.0)
    with Redis(redis_server.url) as redis, Pool(database) as pool:
        queue, hand = Queue(redis, "q", unsafe=True), Hand(redis, "q")
        errors: list[Exception] = []
        found: list[Any] = []
        with Outbox(pool, redis, unsafe=True, on_error=errors.append) as outbox:
            for n in range(5):
                with pool.transaction() as connection:
                    queue.add("send", n, connection=connection)

                def here(n: int = n) -> bool:
                    found.extend(hand.all())
                    return found == list(range(n + 1))

                until(here)
            # Its connection is cut: it makes another one.
            pool.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where query = 'listen mailgenius_outbox'"
            )
            with pool.transaction() as connection:
                queue.add("send", 5, connection=connection)

            def there() -> bool:
                found.extend(hand.all())
                return found == list(range(6))

            until(there)
        assert outbox.moved == 6
        assert all(isinstance(error, psycopg.OperationalError) for error in errors)


def test_many_relays_move_each_row_once(database: str, redis_server: ValkeyServer) -> None:
    with Redis(redis_server.url) as redis, Pool(database, max_size=6) as pool:
        queue, hand = Queue(redis, "q", unsafe=True), Hand(redis, "q")
        with pool.transaction() as connection:
            for n in range(300):
                queue.add("send", n, connection=connection)
        relays = [Outbox(pool, redis, unsafe=True) for _ in range(4)]
        moving = [rt.spawn(relay.flush) for relay in relays]
        assert sum([one.join() for one in moving]) == 300
        assert Counter(hand.all()) == Counter(range(300))


def test_a_relay_that_dies_before_it_marks_a_row_doubles_nothing(database: str, redis_server: ValkeyServer) -> None:
    with Redis(redis_server.url) as redis, Pool(database) as pool:
        queue, hand = Queue(redis, "q", unsafe=True), Hand(redis, "q")
        with pool.transaction() as connection:
            for n in range(10):
                queue.add("send", n, connection=connection)
        dying = Outbox(pool, redis, unsafe=True)
        sender = dying._queue("q")
        take = sender.take

        def take_and_die(key: str, words: Sequence[Any]) -> None:
            take(key, words)
            if (queue.counts()).waiting == 7:
                raise KeyboardInterrupt

        sender.take = take_and_die  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            dying.flush()
        assert (queue.counts()).waiting == 7
        assert Outbox(pool, redis, unsafe=True).flush() == 10
        assert sorted(hand.all()) == list(range(10))


def test_what_cannot_be_read_lets_the_others_pass(database: str, redis_server: ValkeyServer) -> None:
    with Redis(redis_server.url) as redis, Pool(database) as pool:
        queue, hand = Queue(redis, "q", unsafe=True), Hand(redis, "q")
        pool.execute("insert into mailgenius.outbox (queue, key, jobs) values ('q', 'k', '\\xc1')")
        with pool.transaction() as connection:
            queue.add("send", 1, connection=connection)
        Outbox(pool, redis, unsafe=True).flush()
        assert hand.all() == [1]
        ((error,),) = pool.fetch("select error from mailgenius.outbox")
        assert "malformed" in error
        with pytest.raises(ConfigError, match="then and batch are not for jobs of a transaction"):
            queue.add_many("send", [1], batch="b", connection=object())
