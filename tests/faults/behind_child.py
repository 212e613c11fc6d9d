"""Processes that write behind, and that flush, until they are killed: ``python -m tests.faults.behind_child app …``.

An app writes growing numbers to its keys, and notes each one that was accepted in a file (8 bytes: key, number), which
outlives it. A flusher writes them to the table ``behind``.
"""

from __future__ import annotations

import asyncio
import os
import struct
import sys

import msgspec

from mailgenius import AsyncPool
from mailgenius.cache import AsyncFlusher, AsyncPostgresUpserts, AsyncWriteBehind, Region
from mailgenius.errors import RedisUnavailable, WriteBehindFull
from mailgenius.link import AsyncRedis

REGION = Region(name="numbers", serializer="raw", ttl=60.0)
KEYS = 100
NOTE = struct.Struct("<II")
LEASE = 1.0


def decode(_: str, data: bytes) -> dict[str, int]:
    found: dict[str, int] = msgspec.json.decode(data)
    return found


async def app(url: str, notes: str, first: int) -> None:
    file = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    async with AsyncRedis(url, timeout=0.5, connect_timeout=0.5, offline_queue=KEYS) as redis:
        own = AsyncWriteBehind(redis, REGION, maxlen=20_000)

        async def write(key: int) -> None:
            number = first
            while True:
                number += 1
                try:
                    await own.put(key, msgspec.json.encode({"number": number, "pad": "x" * 100}))
                except (RedisUnavailable, WriteBehindFull):
                    await asyncio.sleep(0)
                else:
                    os.write(file, NOTE.pack(key, number))

        await asyncio.gather(*(write(key) for key in range(KEYS)))


async def flusher(url: str, dsn: str) -> None:
    async with AsyncRedis(url, timeout=0.5, connect_timeout=0.5) as redis, AsyncPool(dsn) as pool:
        writer = AsyncPostgresUpserts(pool, "behind", key="key", columns=("number",))
        await AsyncFlusher(redis, REGION, writer, decode=decode, batch=50, every=0.02, lease=LEASE).run()


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    asyncio.run(app(words[0], words[1], int(words[2])) if what == "app" else flusher(words[0], words[1]))
