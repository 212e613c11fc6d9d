"""One question to a Redis or Valkey server, on a connection of its own: what starting and testing servers needs."""

from __future__ import annotations

import socket
from typing import IO, Any

Address = str | tuple[str, int]  # a Unix socket's path, or host and port


class Refusal(str):
    """An error that the server answered, such as "LOADING …"."""

    __slots__ = ()


def ask(address: Address, *commands: tuple[str | bytes | int, ...], timeout: float = 5.0) -> list[Any]:
    """The replies, strings as str where they are UTF-8. Raises OSError if the connection fails or ends early."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(address)
        connection.sendall(b"".join(map(_packed, commands)))
        with connection.makefile("rb") as stream:
            return [_read(stream) for _ in commands]


def _packed(command: tuple[str | bytes | int, ...]) -> bytes:
    words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def _read(stream: IO[bytes]) -> Any:
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionError("the server closed the connection")
    kind, text = line[:1], line[1:-2].decode("utf-8", "replace")
    if kind == b"-":
        return Refusal(text)
    if kind == b":":
        return int(text)
    if kind == b"+":
        return text
    if int(text) < 0:
        return None
    if kind == b"*":
        return [_read(stream) for _ in range(int(text))]
    data = stream.read(int(text) + 2)
    if len(data) < int(text) + 2:
        raise ConnectionError("the server closed the connection")
    try:
        return data[:-2].decode()
    except UnicodeDecodeError:
        return data[:-2]
