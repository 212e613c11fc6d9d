"""What a cache does to a value on its way: names, envelopes, single flight; nanoseconds a call, from Python, one thread.

    python -m benchmarks.kernels.cached

One lead of 14 fields as a positional Struct, about 170 bytes of MessagePack; beside msgspec alone and a bare asyncio task.
"Overhead" is the difference between the codec and msgspec, timed in turns. Each figure is the least of several rounds,
which other users of the machine disturb the least; the loop itself is measured and taken off.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from typing import TYPE_CHECKING, Any

import msgspec

from mailgenius._native import LocalStore, seal, unseal
from mailgenius.cache import Region, aio, threads
from mailgenius.cache.codec import Codec
from mailgenius.cache.keys import namer

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = 5000
ROUNDS = 25


class Lead(msgspec.Struct, array_like=True, frozen=True):
    id: int
    email: str
    first_name: str
    last_name: str
    phone: str
    company: str
    city: str
    country: str
    tags: list[str]
    attributes: dict[str, str]
    status: str
    score: int
    created_at: float
    updated_at: float


LEAD = Lead(
    123456, "ana.silva.4567@empresa-norte.com.br", "Ana", "Silva", "+55 11 98765-4321", "Empresa Norte Ltda", "São Paulo",
    "BR", ["expo-2026", "vip"], {"plan": "pro", "source": "landing"}, "active", 57, 1.7e9, 1.75e9,
)  # fmt: skip


def timed(calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Nanoseconds of each, in turns."""
    best = dict.fromkeys(["", *calls], float("inf"))
    for _ in range(ROUNDS):
        for name, call in {"": lambda: None, **calls}.items():
            began = time.perf_counter_ns()
            for _ in range(CALLS):
                call()
            best[name] = min(best[name], time.perf_counter_ns() - began)
    return {name: (best[name] - best[""]) / CALLS for name in calls}


async def tasks() -> dict[str, float]:
    flights = aio.Flights()

    async def load() -> int:
        return 1

    best = {"flight, asyncio": float("inf"), "bare task": float("inf")}
    for _ in range(ROUNDS):
        began = time.perf_counter_ns()
        for _ in range(CALLS):
            await flights.load("lead:1", load)
        middle = time.perf_counter_ns()
        for _ in range(CALLS):
            await asyncio.create_task(load())
        ended = time.perf_counter_ns()
        best["flight, asyncio"] = min(best["flight, asyncio"], middle - began)
        best["bare task"] = min(best["bare task"], ended - middle)
    return {name: value / CALLS for name, value in best.items()}


def measure() -> dict[str, float]:
    codec = Codec(Region(name="lead", type=Lead))
    encode, decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(Lead).decode
    raw, kib = encode(LEAD), bytes(range(256)) * 4
    data, sealed = (
        codec.encode("lead:123456", LEAD, made=1.7e9, fresh=300.0, load=0.02),
        seal("k", kib, 0, 0, 0, 1.0, 1.0),
    )
    many = [f"lead:{n}" for n in range(100)]
    sealed_many = [codec.encode(one, LEAD, made=1.7e9, fresh=300.0) for one in many]
    name, with_tenant = namer("lead:"), namer("lead:", 1, "acme")
    store, flights = LocalStore(1 << 20), threads.Flights()
    store.put("lead:123456", LEAD, len(raw), 3600)
    figures = timed(
        {
            "msgspec encode": lambda: encode(LEAD),
            "codec encode": lambda: codec.encode("lead:123456", LEAD, made=1.7e9, fresh=300.0, load=0.02),
            "msgspec decode": lambda: decode(raw),
            "codec decode": lambda: codec.decode("lead:123456", data),
            "open a fresh one": lambda: codec.plain.one("lead:123456", data, 1.7e9, None),
            "open 100 fresh ones": lambda: codec.plain.many(many, many, sealed_many, 0, 1.7e9, {}),
            "seal 1 KiB": lambda: seal("k", kib, 0, 0, 0, 1.0, 1.0),
            "unseal 1 KiB": lambda: unseal("k", sealed),
            "crc32 of 1 KiB, zlib": lambda: zlib.crc32(kib),
            "name of a number": lambda: name(123456),
            "name of a text": lambda: name("123456"),
            "name of a tuple": lambda: with_tenant(("BR", "vip")),
            "name and hit in the local layer": lambda: store.get(with_tenant(123456)),
            "flight, threads": lambda: flights.load("lead:1", int),
        }
    )
    figures["overhead of encode and decode"] = sum(
        figures[f"codec {way}"] - figures[f"msgspec {way}"] for way in ("encode", "decode")
    )
    return {f"{name}, ns": value for name, value in (figures | asyncio.run(tasks())).items()}


if __name__ == "__main__":
    for figure, value in measure().items():
        print(f"{figure:<44}{value:12,.1f}")
