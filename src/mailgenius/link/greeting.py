"""The first words on a connection: protocol, user, name, database, and whether the server is ready. Pure.

HELLO 3 first; a server that does not know it (before Redis 6) or refuses RESP3 is spoken to in RESP2. PING comes last,
since a server that still loads its data accepts connections and refuses commands.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from mailgenius.errors import RedisRefused, RedisUnavailable
from mailgenius.link.address import Address

__all__ = ["Greeting", "greeting"]

Greeting = Generator[list[tuple[object, ...]], list[Any], int]


def greeting(address: Address, name: str, protocol: int) -> Greeting:
    """Yields commands and takes their replies; ends with the protocol, 2 or 3. Raises ``RedisRefused`` if the server
    does not want us, ``RedisUnavailable`` if it is not ready."""
    rest: list[tuple[object, ...]] = [("CLIENT", "SETINFO", "LIB-NAME", "mailgenius")]
    if address.db:
        rest.append(("SELECT", address.db))
    rest.append(("PING",))
    if protocol == 3:
        hello: tuple[object, ...] = ("HELLO", 3)
        if address.password:
            hello += ("AUTH", address.username or "default", address.password)
        hello += ("SETNAME", name)
        replies = yield [hello, *rest]
        if not isinstance(replies[0], RedisRefused):
            _ready(replies[2:])
            return 3
        if replies[0].code not in ("ERR", "NOPROTO"):
            raise replies[0]
    login: list[tuple[object, ...]] = []
    if address.password:
        login.append(("AUTH", address.username, address.password) if address.username else ("AUTH", address.password))
    replies = yield [*login, ("CLIENT", "SETNAME", name), *rest]
    if login and isinstance(replies[0], RedisRefused):
        raise replies[0]
    _ready(replies[len(login) + 2 :])
    return 2


def _ready(replies: list[Any]) -> None:
    for reply in replies:
        if isinstance(reply, RedisRefused):
            if reply.code in ("LOADING", "BUSY", "MASTERDOWN"):
                raise RedisUnavailable(f"it is not ready: {reply}")
            raise reply
