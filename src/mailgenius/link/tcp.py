"""What is set on sockets and said of TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl

from mailgenius.config import RedisSettings
from mailgenius.errors import ConfigError

__all__ = ["context", "keep_alive"]

PROBES = 3  # unanswered questions after which the system gives a connection up


def keep_alive(sock: socket.socket | None, seconds: int) -> None:
    """The system looks after ``seconds`` of silence whether the other side is there, and gives up unacknowledged data."""
    if sock is None:
        return
    with contextlib.suppress(OSError, AttributeError, NotImplementedError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, seconds // PROBES))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 2 * seconds * 1000)


def context(settings: RedisSettings) -> ssl.SSLContext:
    """Verifies the server's certificate and name unless told otherwise. Raises ``ConfigError`` for useless files."""
    try:
        made = ssl.create_default_context(cafile=settings.tls_ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"$.redis.tls_ca: cannot use {settings.tls_ca}: {error}") from error
    if settings.tls_cert is not None:
        try:
            made.load_cert_chain(settings.tls_cert, settings.tls_key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"$.redis.tls_cert: cannot use {settings.tls_cert}: {error}") from error
    if not settings.tls_verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made
