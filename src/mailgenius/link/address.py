"""Where servers are, from a URL: ``redis://user:password@host:6379/0``, ``rediss://`` (TLS), ``unix://user:password@/path?db=0``;
``redis+cluster://host:port,host:port``, ``redis+sentinel://host:port,host:port/name?db=0`` (``rediss+…`` for TLS).

Pure. Passwords are never shown: ``repr`` and ``where`` leave them out.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec

from mailgenius.errors import ConfigError

__all__ = ["Address", "Servers", "parse", "parse_servers"]

PORT, SENTINEL_PORT = 6379, 26379


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """One server, and who we are there."""

    host: str = ""
    port: int = PORT
    path: str = ""  # of a socket of the file system, instead of host and port
    tls: bool = False
    username: str = ""  # of an ACL user; empty means the default one
    password: str = ""  # empty means none
    db: int = 0

    @property
    def where(self) -> str:
        """For people."""
        if self.path:
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.db}"

    def __repr__(self) -> str:
        return f"Address({self.where!r})"


class Servers(msgspec.Struct, frozen=True, kw_only=True):
    """One server, some nodes of a Cluster, or the Sentinels of a primary."""

    kind: Literal["single", "cluster", "sentinel"]
    addresses: tuple[Address, ...]
    name: str = ""  # what Sentinels call the primary
    login: Address = Address()  # of the servers that Sentinels name: all but host and port


def parse_servers(url: str) -> Servers:
    """Raises ``ConfigError``, which never shows the password."""
    parts = _split(url)
    scheme, _, kind = parts.scheme.lower().partition("+")
    if kind not in ("cluster", "sentinel") or scheme not in ("redis", "rediss"):
        return Servers(kind="single", addresses=(parse(url),))
    login, at, hosts = parts.netloc.rpartition("@")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if not hosts.strip(","):
        raise ConfigError(f"$.redis_url: no host is given, as in {scheme}+{kind}://host:port,host:port")
    found = [parse(f"{scheme}://{login}{at}{host}") for host in hosts.split(",")]
    first = found[0]
    db = _number(query.pop("db", ""))
    if kind == "cluster":
        if parts.path.strip("/"):
            db = _number(parts.path.strip("/"))
        _no_more(query)
        return Servers(kind="cluster", addresses=tuple(msgspec.structs.replace(one, db=db) for one in found))
    name = unquote(parts.path.strip("/"))
    if not name:
        raise ConfigError("$.redis_url: the name of the primary is missing, as in redis+sentinel://host:26379/name")
    username = query.pop("sentinel_username", first.username)
    password = query.pop("sentinel_password", first.password)
    _no_more(query)
    sentinels = [
        Address(host=one.host, port=_port(host), tls=one.tls, username=username, password=password)
        for one, host in zip(found, hosts.split(","), strict=True)
    ]
    login_there = Address(tls=first.tls, username=first.username, password=first.password, db=db)
    return Servers(kind="sentinel", addresses=tuple(sentinels), name=name, login=login_there)


def _port(host: str) -> int:
    return urlsplit(f"redis://{host}").port or SENTINEL_PORT


def _no_more(query: dict[str, str]) -> None:
    if query:
        raise ConfigError(
            f"$.redis_url: {next(iter(query))!r} is unknown there; give it as a setting, see RedisSettings"
        )


def parse(url: str) -> Address:
    """Of one server. Raises ``ConfigError``, which never shows the password."""
    parts = _split(url)
    scheme = parts.scheme.lower()
    if scheme not in ("redis", "rediss", "unix"):
        raise ConfigError(
            "$.redis_url: begins with neither redis://, rediss:// nor unix://, nor redis+cluster:// or redis+sentinel://"
        )
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    db = query.pop("db", "")
    _no_more(query)
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    if scheme == "unix":
        path = unquote(parts.path)
        if not path.strip("/"):
            raise ConfigError("$.redis_url: the path of the socket is missing, as in unix:///run/redis.sock")
        return Address(path=path, username=username, password=password, db=_number(db))
    path = parts.path.strip("/")
    if db and path:
        raise ConfigError("$.redis_url: names the database twice")
    try:
        port = parts.port
    except ValueError:
        raise ConfigError("$.redis_url: the port is not a number from 1 to 65535") from None
    if port == 0:
        raise ConfigError("$.redis_url: the port is not a number from 1 to 65535")
    return Address(
        host=parts.hostname or "localhost",
        port=port or PORT,
        tls=scheme == "rediss",
        username=username,
        password=password,
        db=_number(path or db),
    )


def _split(url: str) -> SplitResult:
    if any(character.isspace() or character == "\0" for character in url):
        raise ConfigError("$.redis_url: holds white space or a NUL; write them as %20 and the like")
    try:
        return urlsplit(url)
    except ValueError:
        raise ConfigError("$.redis_url: is not a URL") from None


def _number(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise ConfigError("$.redis_url: the database is not a number, as in redis://host:6379/0")
    return int(text)
