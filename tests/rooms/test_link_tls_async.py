"""``rediss://``: who the server is, is verified; and it may ask who we are. A Valkey behind a proxy that speaks TLS."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from mailgenius import AsyncRedis
from mailgenius.errors import ConfigError, RedisTimeout, RedisUnavailable
from mailgenius.rt import aio as rt
from mailgenius.servers import ValkeyServer
from tests.tls_proxy import TlsProxy


class Papers:
    """An authority, a stranger, and a certificate of each kind, as files."""

    def __init__(self, folder: Path) -> None:
        self.authority, self._stranger = trustme.CA(), trustme.CA()
        self.ca, self.stranger, self.cert, self.key, self.foreign = (
            folder / name for name in ("ca.pem", "stranger.pem", "cert.pem", "key.pem", "foreign.pem")
        )
        self.authority.cert_pem.write_to_path(str(self.ca))
        self._stranger.cert_pem.write_to_path(str(self.stranger))
        ours = self.authority.issue_cert("client@example.com")
        ours.cert_chain_pems[0].write_to_path(str(self.cert))
        ours.private_key_pem.write_to_path(str(self.key))
        self._stranger.issue_cert("client@example.com").private_key_and_cert_chain_pem.write_to_path(str(self.foreign))

    def server(self, name: str = "127.0.0.1", *, asks: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert(name).configure_cert(context)
        if asks:
            context.verify_mode = ssl.CERT_REQUIRED
            self.authority.configure_trust(context)
        return context


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    return Papers(tmp_path)


@pytest.fixture
def place(redis_server: ValkeyServer) -> tuple[str, int]:
    return "127.0.0.1", int(redis_server.ask("CONFIG", "GET", "port")[1])


@pytest.fixture
def secure(place: tuple[str, int], papers: Papers) -> Iterator[TlsProxy]:
    with TlsProxy(place, papers.server()) as proxy:
        yield proxy


@pytest.fixture
def asking(place: tuple[str, int], papers: Papers) -> Iterator[TlsProxy]:
    """It wants a certificate of its clients."""
    with TlsProxy(place, papers.server(asks=True)) as proxy:
        yield proxy


def url(proxy: TlsProxy, server: ValkeyServer, host: str = "127.0.0.1") -> str:
    login = f"{server.url.partition('://')[2].rpartition('@')[0]}@" if "@" in server.url else ""
    return f"rediss://{login}{host}:{proxy.port}"


async def test_calls_over_tls(secure: TlsProxy, papers: Papers, redis_server: ValkeyServer) -> None:
    async with AsyncRedis(url(secure, redis_server), tls_ca=str(papers.ca), timeout=10.0) as redis:
        assert await redis.call("SET", "a", b"x" * 1_000_000) == b"OK"
        many = [rt.spawn(redis.call, "ECHO", f"{number}") for number in range(50)]
        assert [await one.join() for one in many] == [b"%d" % number for number in range(50)]
        assert await redis.calls([("ECHO", number) for number in range(1000)]) == [b"%d" % n for n in range(1000)]
        assert await redis.call("GET", "a") == b"x" * 1_000_000
        assert await redis.blocking("BLPOP", "list", 0.01, timeout=10) is None
        async with redis.dedicated() as connection:
            await connection.send("SUBSCRIBE", "news")
            assert await connection.next_push(5) == [b"subscribe", b"news", 1]
            await redis.call("PUBLISH", "news", "hi")
            assert await connection.next_push(5) == [b"message", b"news", b"hi"]
        with pytest.raises(RedisTimeout):
            await redis.call("EVAL", "local s = 0 for i = 1, 1e7 do s = s + i end return s", 0, timeout=0.002)


@pytest.mark.parametrize(
    ("trusted", "host", "says"),
    [
        ("stranger", "127.0.0.1", "(?i)certificate verify failed"),
        (None, "127.0.0.1", "(?i)certificate verify failed"),
        ("ca", "localhost", "(?i)hostname mismatch"),
    ],
)
async def test_who_it_is_is_verified(
    trusted: str | None, host: str, says: str, secure: TlsProxy, papers: Papers, redis_server: ValkeyServer
) -> None:
    ca = None if trusted is None else str(getattr(papers, trusted))
    async with AsyncRedis(url(secure, redis_server, host), tls_ca=ca) as redis:
        with pytest.raises(RedisUnavailable, match=says):
            await redis.call("PING")
    async with AsyncRedis(url(secure, redis_server, host), tls_ca=ca, tls_verify=False) as redis:
        assert await redis.call("PING") == b"PONG"


async def test_a_server_that_asks_who_we_are(asking: TlsProxy, papers: Papers, redis_server: ValkeyServer) -> None:
    ours: dict[str, Any] = {"tls_ca": str(papers.ca), "tls_cert": str(papers.cert), "tls_key": str(papers.key)}
    async with AsyncRedis(url(asking, redis_server), **ours) as redis:
        assert await redis.call("PING") == b"PONG"
    for wrong in ({}, {"tls_cert": str(papers.foreign)}):
        async with AsyncRedis(url(asking, redis_server), tls_ca=str(papers.ca), **wrong) as redis:
            with pytest.raises(RedisUnavailable, match=r"Cannot connect to rediss://127\.0\.0\.1"):
                await redis.call("PING")


async def test_plain_talk_to_a_server_of_tls(secure: TlsProxy, redis_server: ValkeyServer) -> None:
    async with AsyncRedis(url(secure, redis_server).replace("rediss", "redis")) as redis:
        with pytest.raises(RedisUnavailable, match="Cannot connect"):
            await redis.call("PING")


async def test_tls_to_a_server_of_plain_talk(place: tuple[str, int]) -> None:
    async with AsyncRedis(f"rediss://127.0.0.1:{place[1]}", connect_timeout=0.3) as redis:
        with pytest.raises(RedisUnavailable, match="is down"):
            await redis.call("PING")


def test_files_that_are_of_no_use(papers: Papers, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^\$\.redis\.tls_ca: cannot use .*nowhere"):
        AsyncRedis("rediss://h", tls_ca=str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"^\$\.redis\.tls_cert: cannot use"):
        AsyncRedis("rediss://h", tls_cert=str(papers.cert), tls_key=str(papers.ca))
    with pytest.raises(ConfigError, match=r"^\$\.redis\.tls_key: is of no use without"):
        AsyncRedis("rediss://h", tls_key=str(papers.key))
