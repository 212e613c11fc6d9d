"""PostgresUpserts: the row with the highest version stays. Durable writes; a server that is full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from mailgenius import AsyncPool
from mailgenius.cache import AsyncFlusher, AsyncPostgresUpserts, AsyncWriteBehind, Item, Region
from mailgenius.errors import ConfigError, RedisRefused
from mailgenius.link import AsyncRedis
from mailgenius.servers import ValkeyServer, valkey

TABLE = "create table t (owner text, a int8, b text, name text, data jsonb, raw bytea, gone bool, version int8)"


class Value(msgspec.Struct):
    name: str
    data: dict[str, Any]
    raw: bytes


async def test_the_highest_version_stays(empty_database: str) -> None:
    async with AsyncPool(empty_database) as pool:
        await pool.execute(TABLE)
        await pool.execute("create unique index on t (owner, a, b)")
        write = AsyncPostgresUpserts(pool, "public.t", key=("a", "b"), columns=("name", "data", "raw"), tenant="owner")

        def item(name: str, version: int, deleted: bool = False) -> Item:
            return Item((1, "x"), Value(name, {"n": [1, None]}, b"\x00\xff"), deleted, version, "acme")

        look = "select owner, a, b, name, data, raw, version from t"
        await write([item("first", 1 << 62)])
        assert await pool.fetch(look) == [("acme", 1, "x", "first", {"n": [1, None]}, b"\x00\xff", 1 << 62)]
        await write([item("older", (1 << 62) - 1)])
        await write([item("same", 1 << 62)])
        await write([item("", 5, deleted=True)])
        assert (await pool.fetch(look))[0][3] == "first"
        await write([item("newer", (1 << 62) + 1)])
        assert (await pool.fetch(look))[0][3] == "newer"
        assert await write.highest() == (1 << 62) + 1
        await write([item("", (1 << 62) + 2, deleted=True)])
        assert await pool.fetch(look) == []
        assert await write.highest() == 0


async def test_deleted_rows_are_marked(empty_database: str) -> None:
    async with AsyncPool(empty_database) as pool:
        await pool.execute("create table t (a text primary key, score int8, gone bool, version int8)")
        await pool.execute("insert into t values ('a', 1, false, null)")
        write = AsyncPostgresUpserts(pool, "t", key="a", columns="score", deleted="gone")
        await write([Item("a", 2, False, 10), Item("b", 5, False, 11)])
        await write([Item("a", None, True, 12), Item("c", None, True, 13)])
        await write([Item("a", 3, False, 11), Item("c", 3, False, 12)])
        assert await pool.fetch("select a, score, gone, version from t order by a") == [
            ("a", 2, True, 12),
            ("b", 5, False, 11),
            ("c", None, True, 13),
        ]


async def test_what_does_not_fit_is_told(empty_database: str) -> None:
    async with AsyncPool(empty_database) as pool:
        write = AsyncPostgresUpserts(pool, "t", key="a", columns="score")
        with pytest.raises(ValueError, match="has 2 parts, and PostgresUpserts 1 columns"):
            await write([Item(("a", "b"), 1, False, 1)])
        with pytest.raises(ValueError, match="give PostgresUpserts a column"):
            await write([Item("a", 1, False, 1, "acme")])
        with pytest.raises(ConfigError, match="is no plain name"):
            AsyncPostgresUpserts(pool, "t; drop table t", key="a", columns="score")
        with pytest.raises(ConfigError, match="different columns"):
            AsyncPostgresUpserts(pool, "t", key="a", columns="a")


async def test_bad_rows_become_dead_letters_and_a_missing_table_does_not(
    redis_server: ValkeyServer, empty_database: str
) -> None:
    region = Region(name="t", serializer="raw")
    async with AsyncPool(empty_database) as pool, AsyncRedis(redis_server.url) as redis:
        own = AsyncWriteBehind(redis, region, unsafe=True)
        write = AsyncPostgresUpserts(pool, "t", key="a", columns="score")
        for n in range(50):
            await own.put(n, b"%d" % (n if n != 30 else 1 << 40))
        async with AsyncFlusher(
            redis, region, write, decode=lambda _, data: int(data), every=0.0, attempts=2
        ) as flusher:
            while not flusher.metrics().failures:
                await own.pending()
            assert (await own.pending()).dead == 0
            await pool.execute("create table t (a int4 primary key, score int4, version int8)")
            await own.flush(20)
            assert "out of range" in (await own.dead())[0].error
            assert await pool.fetch("select count(*), sum(score) from t") == [(49, sum(range(50)) - 30)]


async def test_durable_writes(tmp_path: Path) -> None:
    region = Region(name="t", serializer="raw")
    with valkey(tmp_path / "valkey") as server:
        async with AsyncRedis(server.url, offline_queue=10) as redis:
            own = AsyncWriteBehind(redis, region, durable=True)
            assert await own.put("a", b"1")
            server.restart()
            await own.put("a", b"2")  # what the server before had accepted would not count: it is put once more
            assert await own.put("a", b"3")
            await redis.call("CONFIG", "SET", "appendfsync", "no")
            with pytest.raises(ConfigError, match="set it to always or everysec"):
                await own.check()
            await redis.call("CONFIG", "SET", "appendfsync", "always")
            await own.check()
            assert await own.put("b", b"2")


async def test_a_full_server_refuses_writes_and_can_be_emptied(tmp_path: Path) -> None:
    region = Region(name="t", serializer="raw")
    seen: list[Item] = []

    async def write(items: Any) -> None:
        seen.extend(items)

    with valkey(tmp_path / "valkey") as server:
        async with AsyncRedis(server.url) as redis:
            own = AsyncWriteBehind(redis, region)
            for n in range(100):
                await own.put(n, b"x" * 1000)
            await redis.call("CONFIG", "SET", "maxmemory", 1_000_000)
            with pytest.raises(RedisRefused, match="OOM"):
                await own.put("more", b"x")
            assert (await own.pending()).writes == 100
            async with AsyncFlusher(redis, region, write, every=0.0, lease=0.5):
                while (await redis.call("XLEN", own.names.log)) > 0:
                    await redis.call("PING")
    assert len(seen) == 100
