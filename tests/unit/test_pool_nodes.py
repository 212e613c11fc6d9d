"""Which server takes writes, and how far behind the others are: decided from looks and times alone."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from mailgenius.config import PoolSettings, load
from mailgenius.errors import ConfigError
from mailgenius.pool import recent
from mailgenius.pool.conninfo import parse
from mailgenius.pool.nodes import Cluster, Look, Node, pause, position

A, B, C = 0, 1, 2


def look(at: int, *, primary: bool = False, timeline: int | None = 1, system: int | None = 7) -> Look:
    return Look(writable=primary, standby=not primary, position=at, timeline=timeline, system=system)


def cluster(count: int = 3) -> Cluster:
    return Cluster([Node(f"host{number}") for number in range(count)])


def test_lag_is_the_age_of_what_was_replayed() -> None:
    it = cluster()
    a, b, c = it.nodes
    assert it.lag(b, 0.0) is None
    for now, at in ((1.0, 100), (2.0, 200), (3.0, 300)):
        it.saw(a, now, now, look(at, primary=True))
    it.saw(b, 3.5, 3.6, look(300))
    it.saw(c, 3.5, 3.6, look(250))
    assert (it.lag(a, 4.0), it.lag(b, 4.0), it.lag(c, 4.0)) == (0.0, 1.0, 2.0)
    it.saw(c, 3.7, 3.7, look(50))  # behind all that is remembered
    assert it.lag(c, 4.0) is None


def test_an_idle_primary_does_not_make_replicas_old() -> None:
    it = cluster(2)
    a, b = it.nodes
    for now in range(1, 5000):
        it.saw(a, now, now, look(100, primary=True))
        it.saw(b, now, now, look(100))
        assert it.lag(b, now) == 0.0


def test_a_server_that_is_down_serves_nothing() -> None:
    it = cluster(2)
    a, b = it.nodes
    it.saw(a, 1, 1, look(100, primary=True))
    it.saw(b, 1, 1, look(100))
    b.down("gone")
    stat = it.stat(b, 2)
    assert (stat.up, stat.lag, stat.error) == (False, None, "gone")
    it.saw(b, 3, 3, look(100))
    assert it.stat(b, 3).error is None
    assert it.lag(b, 3) == 2


def test_another_history_is_not_read() -> None:
    it = cluster()
    a, b, c = it.nodes
    it.saw(a, 1, 1, look(100, primary=True, timeline=2))
    it.saw(b, 1, 1, look(100, timeline=1))
    it.saw(c, 1, 1, look(100, timeline=2, system=8))
    assert it.lag(b, 1) is None
    assert "timeline 1" in (b.error or "")
    assert it.lag(c, 1) is None
    assert "another cluster" in (c.error or "")


def test_ahead_of_the_primary_is_astray() -> None:
    it = cluster(2)
    a, b = it.nodes
    it.saw(a, 1, 1, look(100, primary=True))
    it.saw(b, 2, 2, look(150, timeline=None))  # the primary may have written that since
    assert it.lag(b, 2) == 1
    it.saw(a, 3, 3, look(120, primary=True))  # it has not
    assert it.lag(b, 3) is None
    it.saw(b, 4, 4, look(150, timeline=None))
    it.saw(a, 5, 5, look(200, primary=True))
    assert it.lag(b, 5) is None
    it.saw(b, 6, 6, look(200, timeline=None))  # it follows again
    assert it.lag(b, 6) == 1


def test_another_primary_only_when_ours_is_gone() -> None:
    it = cluster()
    a, b, c = it.nodes
    assert not it.saw(a, 1, 1, look(100, primary=True))
    assert not it.saw(b, 1, 1, look(120, primary=True, timeline=2))  # two at once: stay
    assert it.writer is a
    assert it.lag(b, 1) is None
    a.down("killed")
    assert it.saw(c, 2, 2, look(100))
    assert it.writer is b
    assert not it.saw(a, 3, 3, look(130, primary=True))  # the old one comes back, and is not even read
    assert it.lag(a, 3) is None
    b.down("killed too")
    assert not it.saw(a, 4, 4, look(130, primary=True))
    assert it.writer is b


def test_whoever_answers_first_is_not_the_primary_for_that() -> None:
    it = cluster(2)
    a, b = it.nodes
    assert not it.saw(b, 1, 1, look(100, primary=True, system=8))
    assert not it.saw(a, 2, 2, look(100, primary=True))
    assert it.writer is a
    it.saw(b, 3, 3, look(100, primary=True, system=8))
    assert "another cluster" in (b.error or "")


def test_a_primary_that_was_never_there_is_replaced() -> None:
    it = cluster(2)
    a, b = it.nodes
    assert not it.saw(b, 1, 1, look(100, primary=True, timeline=2))
    a.down("gone long ago")
    assert it.saw(b, 2, 2, look(100, primary=True, timeline=2))
    assert it.writer is b


def test_an_old_primary_is_not_taken_again() -> None:
    it = cluster(2)
    a, b = it.nodes
    it.saw(a, 1, 1, look(100, primary=True))
    a.down("killed")
    assert it.saw(b, 2, 2, look(100, primary=True, timeline=2))
    it.saw(b, 3, 3, look(100, primary=True, timeline=2))
    b.down("killed")
    assert not it.saw(a, 4, 4, look(130, primary=True, timeline=1))
    assert it.writer is b


def test_a_demoted_primary_is_left_and_reads_there() -> None:
    it = cluster(2)
    a, b = it.nodes
    it.saw(a, 1, 1, look(100, primary=True))
    it.saw(b, 1, 1, look(100))
    assert not it.saw(a, 2, 2, look(100))
    assert it.saw(b, 3, 3, look(100, primary=True, timeline=2))
    assert it.writer is b
    it.saw(b, 4, 4, look(200, primary=True, timeline=2))
    it.saw(a, 5, 5, look(200, timeline=2))
    assert it.lag(a, 5) == 1


def test_a_new_primary_behind_the_same_address_is_noticed() -> None:
    it = cluster(1)
    (a,) = it.nodes
    assert not it.saw(a, 1, 1, look(100, primary=True, timeline=3))
    assert it.saw(a, 2, 2, look(100, primary=True, timeline=4))
    assert not it.saw(a, 3, 3, look(100, primary=True, timeline=4))


def test_positions_do_not_count_empty_pages() -> None:
    segment = 16 << 20
    assert position(3 * segment + 40, segment) == 3 * segment
    assert position(3 * segment, segment) == 3 * segment
    assert position(8192 * 5 + 24, segment) == 8192 * 5
    assert position(8192 * 5 + 40, segment) == 8192 * 5 + 40
    assert position(8192 * 5 + 1000, segment) == 8192 * 5 + 1000


def test_pauses_grow_and_end() -> None:
    lengths = [pause(failures, 1.0) for failures in range(1, 100)]
    assert lengths == sorted(lengths)
    assert max(lengths) == 0.3
    assert pause(3, 0.0) == pause(3, 1.0) / 2


async def test_marks() -> None:
    assert recent.floor() == -math.inf
    with recent.marked():
        outer = recent.current()
        assert outer is not None
        outer.begins()
        assert recent.floor() == math.inf  # a write may be under way
        outer.ended(5.0)
        assert recent.floor() == 5.0
        with recent.marked(recent.ALWAYS):
            assert recent.floor() == math.inf
            inner = recent.current()
            assert inner is not None
            inner.begins()
            inner.ended(6.0)
        assert recent.floor() == 6.0  # what was written in a block within counts

        async def write() -> None:
            mark = recent.current()
            assert mark is not None
            mark.begins()
            mark.ended(7.0)

        await asyncio.create_task(write())
        assert recent.floor() == 7.0
    assert recent.floor() == -math.inf


def test_settings_of_replicas() -> None:
    url = "postgresql://app:secret@db2.example.com/mail"
    made = load(database_url="postgresql://db1/mail", pool={"replicas": [url, url]}, environ={}).pool
    assert made.replicas == (url, url)
    assert "secret" not in repr(made)
    environ = {"MAILGENIUS_DATABASE_URL": "postgresql://db1/mail", "MAILGENIUS_POOL_REPLICAS": f"{url}  {url}"}
    assert load(environ=environ).pool.replicas == (url, url)
    wrong: Any
    for wrong in (url, [1], [""]):
        with pytest.raises(ConfigError, match=r"^\$\.pool\.replicas: "):
            PoolSettings(replicas=wrong)
    with pytest.raises(ConfigError, match=r"^\$\.pool\.replicas: expected URLs"):
        load(environ=environ | {"MAILGENIUS_POOL_REPLICAS": "host=a password=secret"})
    with pytest.raises(ConfigError, match=r"^\$\.pool\.replicas: .*embedded"):
        load(pool={"replicas": [url]}, environ={})
    with pytest.raises(ConfigError, match=r"^\$\.pool\.replica_lag"):
        PoolSettings(replica_lag=0)


def test_several_hosts_mean_whichever_is_the_primary() -> None:
    several = parse("host=localhost,127.0.0.1 dbname=x", PoolSettings())
    assert several["target_session_attrs"] == "read-write"
    assert "target_session_attrs" not in parse("host=localhost", PoolSettings())
    with pytest.raises(ConfigError, match=r"^\$\.pool\.replicas\[0\]: not a PostgreSQL URL") as caught:
        parse("secret", PoolSettings(), "$.pool.replicas[0]")
    assert "secret" not in str(caught.value)
