"""``python -m benchmarks.redis_clients``: GET and SET of 1 KB by 1 and 100 callers, ours beside redis-py and valkey-glide.

All clients share one server of the wheel and take turns, round by round; shown is the median, and ours as a multiple of
it. Figures of one run can be compared with each other, not with those of another one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import statistics
import tempfile
import threading
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, TypeAlias

import redis
import redis.asyncio

from mailgenius import AsyncRedis, Redis
from mailgenius.servers import valkey

VALUE = b"x" * 1024
KEYS = [f"key:{n}" for n in range(100)]
ASYNC = {"get 1": (1, 5_000), "get 100": (100, 20_000), "set 100": (100, 20_000)}  # callers, calls of a round
THREADS = {"get 1": (1, 5_000), "get 100": (100, 10_000), "get_many 1": (1, 500)}
Do: TypeAlias = Callable[[], Any]
DoAsync: TypeAlias = Callable[[], Awaitable[Any]]


async def tasks(do: DoAsync, callers: int, calls: int) -> float:
    """Calls a second."""

    async def caller() -> None:
        for _ in range(calls // callers):
            await do()

    began = perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return calls / (perf_counter() - began)


def threads(do: Do, callers: int, calls: int) -> float:
    """Calls a second."""

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


async def in_tasks(url: str, port: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    async with contextlib.AsyncExitStack() as stack:
        ours = await stack.enter_async_context(AsyncRedis(url))
        peer = redis.asyncio.Redis.from_url(url, max_connections=100)
        stack.push_async_callback(peer.aclose)
        clients: dict[str, tuple[DoAsync, DoAsync]] = {
            "mailgenius": (lambda: ours.call("GET", KEYS[0]), lambda: ours.call("SET", KEYS[0], VALUE)),
            "redis-py": (lambda: peer.get(KEYS[0]), lambda: peer.set(KEYS[0], VALUE)),
        }
        if importlib.util.find_spec("glide") is not None:
            import glide

            place = [glide.NodeAddress("127.0.0.1", port)]
            client = await glide.GlideClient.create(glide.GlideClientConfiguration(place))
            stack.push_async_callback(client.close)
            clients["valkey-glide"] = (lambda: client.get(KEYS[0]), lambda: client.set(KEYS[0], VALUE))
        found: dict[str, dict[str, list[float]]] = {case: {name: [] for name in clients} for case in ASYNC}
        for number in range(rounds + 1):
            for case, (callers, calls) in ASYNC.items():
                for name, (get, put) in clients.items():
                    speed = await tasks(put if case.startswith("set") else get, callers, calls)
                    if number:  # the first one warms up
                        found[case][name].append(speed)
        return found


def in_threads(url: str, rounds: int) -> dict[str, dict[str, list[float]]]:
    with Redis(url) as ours, contextlib.closing(redis.Redis.from_url(url, max_connections=100)) as peer:
        clients: dict[str, tuple[Do, Do]] = {
            "mailgenius": (lambda: ours.call("GET", KEYS[0]), lambda: ours.call("MGET", *KEYS)),
            "redis-py": (lambda: peer.get(KEYS[0]), lambda: peer.mget(KEYS)),
        }
        found: dict[str, dict[str, list[float]]] = {case: {name: [] for name in clients} for case in THREADS}
        for number in range(rounds + 1):
            for case, (callers, calls) in THREADS.items():
                for name, (get, many) in clients.items():
                    speed = threads(many if case.startswith("get_many") else get, callers, calls)
                    if number:
                        found[case][name].append(speed)
        return found


def show(title: str, found: dict[str, dict[str, list[float]]]) -> None:
    for case, speeds in found.items():
        middle = {name: statistics.median(values) for name, values in speeds.items()}
        line = ", ".join(f"{name} {speed:,.0f}" for name, speed in middle.items())
        ratios = ", ".join(f"{middle['mailgenius'] / middle[name]:.1f}x {name}" for name in list(middle)[1:])
        print(f"{title} {case}: {line} calls/s ({ratios})")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.redis_clients", description=(__doc__ or "").strip())
    parser.add_argument("--rounds", type=int, default=5)
    rounds: int = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, valkey(folder, port=0, settings={"requirepass": ""}) as server:
        port = int(server.url.rpartition(":")[2].partition("/")[0])
        url = f"redis://127.0.0.1:{port}/0"
        with Redis(url) as client:
            client.calls([("SET", key, VALUE) for key in KEYS])
        show("asyncio", asyncio.run(in_tasks(url, port, rounds)))
        with contextlib.suppress(ImportError):
            import uvloop

            show("uvloop", uvloop.run(in_tasks(url, port, rounds)))
        show("threads", in_threads(url, rounds))


if __name__ == "__main__":
    main()
