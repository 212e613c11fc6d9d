"""The cache beside clients and caches of Redis: one server of the wheel, reached by TCP, 1 KB values, runs taken in turns
in one process. Then what other figures promise: the layer in the process, news of changes, crowds, a frozen server."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from benchmarks.peers import cache_rivals
from benchmarks.results import calls as named
from mailgenius import AsyncCache, AsyncRedis, Cache, Redis
from mailgenius.servers import ValkeyServer, valkey

if TYPE_CHECKING:
    from benchmarks.results import Results
    from benchmarks.room import Room

    from . import Options

Do: TypeAlias = Callable[[], Awaitable[Any]]
VALUE = b"x" * 1024
BUDGET = 10.0  # seconds: a hundred callers on two cores are no reason to go on without Redis
WRITER = """
import sys
from time import monotonic
from mailgenius import Cache, Redis
url, count = sys.argv[1], int(sys.argv[2])
with Redis(url) as redis, Cache(url) as cache:
    region = cache.region("delay")
    for _ in range(count):
        redis.blocking("BLPOP", "go", 60)
        region.set("k", monotonic())
"""


class Lead(msgspec.Struct, frozen=True):
    """Some 1 KB as MessagePack."""

    id: int
    email: str
    first_name: str
    tags: tuple[str, ...]
    attributes: dict[str, str]


LEAD = Lead(
    1, "ana.souza@example.com.br", "Ana", ("vip", "expo-2026"), {f"field_{n}": "some text of it" * 2 for n in range(22)}
)


def measure(room: Room | None, options: Options, results: Results) -> None:
    results.forget("cache")
    command = options.command("cache")
    runs = options.runs + 2
    with tempfile.TemporaryDirectory() as folder, valkey(folder, port=0, settings={"requirepass": ""}) as server:
        port = int(server.url.rpartition(":")[2].partition("/")[0])
        url = f"redis://127.0.0.1:{port}/0"
        found: dict[str, list[float]] = {}
        for turn in range(runs + 1):  # the first one warms up
            speeds = asyncio.run(_tasks(url, options)) | _threads(url, options)
            for name, speed in speeds.items():
                found.setdefault(name, [])
                if turn:
                    found[name].append(speed)
            options.say(f"  turn {turn} of {runs}")
        for name, rates in found.items():
            results.put(name, rates, "/s", command=command)
        peeks = [_peeks(url) for _ in range(runs)]
        results.put("cache/peek of a value in the process", peeks, "/s", command=command)
        delays = sorted(asyncio.run(_delays(url, 200 if options.quick else 2000)))
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            delay = delays[int(len(delays) * share)] * 1000
            results.put(f"cache/from a write elsewhere to its value gone here, {name}", [delay], "ms", command=command)
        for callers in (100, 1000):
            loads = [asyncio.run(_crowd(url, callers, 1)) for _ in range(runs)]
            results.put(f"cache/loads of a key that {callers:,} ask for", loads, "", command=command)
        loads = [asyncio.run(_crowd(url, 1000, 4)) for _ in range(runs)]
        results.put("cache/loads of a key that 4 caches with a lock ask for", loads, "", command=command)
        first, later = zip(*(_frozen(server, url) for _ in range(runs)), strict=True)
        results.put("cache/first call after Redis froze", first, "ms", command=command)
        results.put("cache/further calls", later, "µs", command=command)


# -- answers a second ------------------------------------------------------------------------------------------------


async def _tasks(url: str, options: Options) -> dict[str, float]:
    speeds: dict[str, float] = {}
    work = 2_000 if options.quick else 10_000
    async with _ours(url) as ours:
        contenders: dict[str, dict[str, Do]] = dict(ours)
        async with contextlib.AsyncExitStack() as stack:
            if options.peers:
                for name, make, value in (
                    ("redis-py", cache_rivals.redis_py, VALUE),
                    ("valkey-glide", cache_rivals.valkey_glide, VALUE),
                    ("cashews", cache_rivals.cashews, LEAD),
                    ("cashews, client side", cache_rivals.cashews_client_side, LEAD),
                    ("aiocache", cache_rivals.aiocache, LEAD),
                ):
                    does = await make(stack, url, value)
                    typed = value is LEAD
                    contenders[name] = {f"typed {what}" if typed else what: do for what, do in does.items()}
            for question, crowds in {
                "get": (1, 100), "set": (1, 100), "typed get": (100,), "typed get_or_load": (1, 100),
            }.items():  # fmt: skip
                for callers in crowds:
                    for name, does in contenders.items():
                        if question in does:
                            count = work if callers > 1 else work // 4
                            speeds[named("cache", question, callers, name)] = await _rate(
                                does[question], callers, count
                            )
    return speeds


@contextlib.asynccontextmanager
async def _ours(url: str) -> AsyncIterator[dict[str, dict[str, Do]]]:
    async with AsyncRedis(url) as redis, AsyncCache(url, budget=BUDGET) as cache:
        raw = cache.region("raw", serializer="raw", local_size=0, compress_from=None)
        typed = cache.region("typed", type=Lead, local_size=0, compress_from=None)
        local = cache.region("local", type=Lead, ttl=3600)
        await redis.call("SET", "key", VALUE)
        await raw.set("k", VALUE)
        await typed.set("k", LEAD)

        async def load(key: str) -> Lead:
            return LEAD

        until = monotonic() + 10
        while local.peek("k") is None:
            assert monotonic() < until
            await local.get_or_load("k", load)
        yield {
            "mailgenius AsyncRedis": {
                "get": lambda: redis.call("GET", "key"),
                "set": lambda: redis.call("SET", "key", VALUE, "PX", 3_600_000),
            },
            "mailgenius AsyncCache": {
                "get": lambda: raw.get("k"),
                "set": lambda: raw.set("k", VALUE),
                "typed get": lambda: typed.get("k"),
                "typed get_or_load": lambda: local.get_or_load("k", load),
            },
        }


async def _rate(do: Do, callers: int, calls: int) -> float:
    async def caller() -> None:
        for _ in range(calls // callers):
            await do()

    began = perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return calls / (perf_counter() - began)


def _threads(url: str, options: Options) -> dict[str, float]:
    import redis as peer

    speeds = {}
    work = 1_000 if options.quick else 4_000
    keys = [f"many:{n}" for n in range(100)]
    with Redis(url) as ours, Cache(url, budget=BUDGET) as cache, contextlib.closing(peer.Redis.from_url(url)) as theirs:
        region = cache.region("many", serializer="raw", local_size=0, compress_from=None)
        typed = cache.region("typed", type=Lead, local_size=0, compress_from=None)
        ours.calls([("SET", key, VALUE) for key in keys])
        region.set_many(dict.fromkeys(range(100, 200), VALUE))
        numbers = range(100, 200)
        wanted: list[tuple[str, int, str, Callable[[], Any], int]] = [
            ("sync get", 1, "mailgenius Redis", lambda: ours.call("GET", "many:1"), work),
            ("sync get", 1, "mailgenius Cache", lambda: region.get(100), work),
            ("sync get", 1, "redis-py", lambda: theirs.get("many:1"), work),
            ("sync get_many(100)", 1, "mailgenius Redis", lambda: ours.call("MGET", *keys), work // 8),
            ("sync get_many(100)", 1, "mailgenius Cache", lambda: region.get_many(numbers), work // 8),
            ("sync get_many(100)", 1, "redis-py", lambda: theirs.mget(keys), work // 8),
            ("typed get", 100, "mailgenius Cache", lambda: typed.get("k"), work),
        ]
        if options.peers:
            wanted.append(("typed get", 100, "dogpile", cache_rivals.dogpile(url, LEAD)["get"], work))
        for question, callers, way, do, calls in wanted:
            speeds[named("cache", question, callers, way)] = _rate_of_threads(do, callers, calls)
    return speeds


def _rate_of_threads(do: Callable[[], Any], callers: int, calls: int) -> float:
    def caller() -> None:
        for _ in range(calls // callers):
            do()

    many = [threading.Thread(target=caller) for _ in range(callers)]
    began = perf_counter()
    for thread in many:
        thread.start()
    for thread in many:
        thread.join()
    return calls / (perf_counter() - began)


def _peeks(url: str) -> float:
    with Cache(url) as cache:
        region = cache.region("local", type=Lead, ttl=3600)
        until = monotonic() + 10
        while region.peek("k") is None:
            assert monotonic() < until
            region.get_or_load("k", lambda key: LEAD)
        peek, count = region.peek, 200_000
        best = 0.0
        for _ in range(5):
            began = perf_counter()
            for _ in range(count):
                peek("k")
            best = max(best, count / (perf_counter() - began))
        return best


# -- what else is promised -------------------------------------------------------------------------------------------


async def _delays(url: str, count: int) -> list[float]:
    """Seconds from before another process writes until its value before that is gone here."""
    with _running(url, count):
        async with AsyncRedis(url) as redis, AsyncCache(url, budget=BUDGET) as cache:
            region = cache.region("delay")
            await region.set("k", 0.0)
            delays = []
            for _ in range(count):
                while (known := region.peek("k")) is None:
                    await region.get("k")
                await redis.call("RPUSH", "go", "x")
                while True:
                    while region.peek("k") == known:
                        await _turn()
                    seen = monotonic()
                    if (wrote := await region.get("k")) != known:  # else it was news of an earlier write
                        break
                delays.append(seen - wrote)
            return delays


async def _turn() -> None:
    """A turn of the loop, in which it reads what has arrived."""
    loop = asyncio.get_running_loop()
    turn = loop.create_future()
    loop.call_soon(turn.set_result, None)
    await turn


@contextlib.contextmanager
def _running(url: str, count: int) -> Iterator[None]:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, url, str(count)])
    try:
        yield
    finally:
        writer.kill()
        writer.wait()


async def _crowd(url: str, callers: int, caches: int) -> float:
    """How often a key is loaded."""
    loads = 0

    async def load(key: int) -> str:
        nonlocal loads
        loads += 1
        await redis.blocking("BLPOP", "nothing", 0.05)  # a database's time
        return "loaded"

    async with contextlib.AsyncExitStack() as stack:
        redis = await stack.enter_async_context(AsyncRedis(url))
        made = [await stack.enter_async_context(AsyncCache(url, budget=BUDGET)) for _ in range(caches)]
        regions = [cache.region("crowd", lock=caches > 1) for cache in made]
        await regions[0].delete(1)
        await asyncio.gather(*(regions[n % caches].get_or_load(1, load) for n in range(callers)))
    return float(loads)


def _frozen(server: ValkeyServer, url: str) -> tuple[float, float]:
    """Milliseconds of the first call, microseconds of further ones (the median)."""
    with Cache(url) as cache:
        region = cache.region("frozen")
        region.get(1)
        server.pause()
        try:
            began = perf_counter()
            region.get(1)
            first = perf_counter() - began
            times = []
            for _ in range(1000):
                began = perf_counter()
                region.get(1)
                times.append(perf_counter() - began)
        finally:
            server.resume()
    return first * 1e3, statistics.median(times) * 1e6
