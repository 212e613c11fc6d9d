"""What the two worlds have in different ways: many callers, cancelling, loops, forks, TLS, rubbish."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from mailgenius import AsyncRedis, Redis
from mailgenius.errors import RedisTimeout, RedisUnavailable
from mailgenius.servers import ValkeyServer


async def test_many_tasks_get_their_own_replies(redis_server: ValkeyServer) -> None:
    async with AsyncRedis(redis_server.url) as redis:

        async def caller(mine: int) -> None:
            for n in range(50):
                word = f"{mine}-{n}".encode()
                if n % 5 == 4:
                    assert await redis.calls([("ECHO", word), ("ECHO", n)]) == [word, b"%d" % n]
                elif n % 7 == 6:
                    asyncio.ensure_future(redis.call("ECHO", "nobody waits")).cancel()
                    task = asyncio.ensure_future(redis.call("ECHO", "somebody went away"))
                    await asyncio.sleep(0)
                    task.cancel()
                else:
                    assert await redis.call("ECHO", word) == word

        await asyncio.gather(*(caller(mine) for mine in range(100)))
        assert redis.metrics().connects == 1


def test_many_threads_get_their_own_replies(redis_server: ValkeyServer) -> None:
    wrong: list[object] = []
    with Redis(redis_server.url) as redis:

        def caller(mine: int) -> None:
            try:
                for n in range(100):
                    word = f"{mine}-{n}".encode() * (1 + n * 7 % 300)
                    if n % 5 == 4:
                        got: object = redis.calls([("ECHO", word), ("ECHO", n)])
                        right = got == [word, b"%d" % n]
                    else:
                        got = redis.call("ECHO", word)
                        right = got == word
                    if not right:
                        wrong.append(got)
            except Exception as error:
                wrong.append(error)

        threads = [threading.Thread(target=caller, args=(mine,)) for mine in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert redis.metrics().connects == 1
        assert redis.metrics().pending == 0


def test_another_event_loop_is_told_so(redis_server: ValkeyServer) -> None:
    redis = AsyncRedis(redis_server.url)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(redis.call("PING"))

    async def elsewhere() -> None:
        with pytest.raises(RuntimeError, match="another event loop"):
            await redis.call("PING")

    asyncio.run(elsewhere())
    loop.run_until_complete(redis.close())
    loop.close()


def test_a_child_process_connects_anew(redis_server: ValkeyServer) -> None:
    with Redis(redis_server.url) as redis:
        mine = redis.call("CLIENT", "ID")
        child = os.fork()
        if not child:
            code = 1
            try:
                code = 0 if redis.call("CLIENT", "ID") != mine and redis.call("GET", "a") is None else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert redis.call("CLIENT", "ID") == mine


def test_a_forgotten_client_warns_nobody(redis_server: ValkeyServer) -> None:
    redis = Redis(redis_server.url)
    redis.call("PING")
    del redis
    gc.collect()


async def test_too_many_requests_are_refused(redis_server: ValkeyServer) -> None:
    async with AsyncRedis(redis_server.url, max_pending=10) as redis:
        await redis.call("PING")
        done = await asyncio.gather(*(redis.call("PING") for _ in range(20)), return_exceptions=True)
        assert done[:10] == [b"PONG"] * 10
        assert all(isinstance(reply, RedisUnavailable) for reply in done[10:])
        assert await redis.call("PING") == b"PONG"


class Fake:
    """A server that greets in RESP2 and then says what it is told to."""

    def __init__(self, answer: bytes, context: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        try:
            while True:
                client, _ = self._listener.accept()
                if self._context is not None:
                    client = self._context.wrap_socket(client, server_side=True)
                with client:
                    while data := client.recv(1 << 16):
                        greeting = b"+OK\r\n+OK\r\n+PONG\r\n" if b"SETINFO" in data else self.answer
                        client.sendall(greeting)
        except OSError:
            pass

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture(params=[b"!rubbish\r\n", b"$3\r\nab", b"+a\r\n+b\r\n", b"*1\r\n?\r\n"])
def fake(request: pytest.FixtureRequest) -> Iterator[Fake]:
    server = Fake(request.param)
    yield server
    server.close()


async def test_rubbish_ends_the_connection(fake: Fake) -> None:
    async with AsyncRedis(f"redis://127.0.0.1:{fake.port}", protocol=2, timeout=0.2, retries=0) as redis:
        await rubbish(redis, fake)


async def rubbish(redis: AsyncRedis, fake: Fake) -> None:
    if fake.answer.startswith(b"+a"):  # one reply too many: it must not go to the next
        assert await redis.call("GET", "a") == b"a"
    elif fake.answer.startswith(b"$3"):
        with pytest.raises(RedisTimeout):
            await redis.call("GET", "a")
    else:
        with pytest.raises(RedisUnavailable, match="not RESP"):
            await redis.call("GET", "a")
    assert redis.metrics().lost == 1


def test_tls_is_verified(tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    ours, theirs = tmp_path / "ours.pem", tmp_path / "theirs.pem"
    authority.cert_pem.write_to_path(str(ours))
    stranger.cert_pem.write_to_path(str(theirs))
    answer = b"$4\r\nsafe\r\n"

    def client(ca: Path, host: str = "127.0.0.1") -> tuple[str, dict[str, object]]:
        return f"rediss://{host}:{server.port}", {"tls_ca": str(ca), "protocol": 2, "timeout": 5.0}

    async def both(url: str, settings: dict[str, object]) -> list[bytes]:
        async with AsyncRedis(url, **settings) as redis:
            return [await redis.call("GET", "a"), await redis.call("GET", "a")]

    server = Fake(answer, context)
    try:
        url, settings = client(ours)
        with Redis(url, **settings) as redis:
            assert redis.call("GET", "a") == b"safe"
            server.answer = b""
            with pytest.raises(RedisTimeout):
                redis.call("GET", "a", timeout=0.05)
            server.answer = answer
    finally:
        server.close()
    for ca, host in ((theirs, "127.0.0.1"), (ours, "localhost")):
        server = Fake(answer, context)
        url, settings = client(ca, host)
        with Redis(url, **settings) as redis, pytest.raises(RedisUnavailable, match=r"(?i)certificate"):
            redis.call("GET", "a")
        server.close()
    server = Fake(answer, context)
    assert asyncio.run(both(*client(ours))) == [b"safe", b"safe"]
    server.close()
