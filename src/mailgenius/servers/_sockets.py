"""Where a server listens: a folder for its Unix socket, a free port."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import tempfile
from typing import TYPE_CHECKING

from mailgenius.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._folder import State


def socket_folder(before: list[State], run_as: tuple[int, int] | None, files: Callable[[State], list[str]]) -> str:
    """A short private folder: a socket's path has at most 107 bytes. An old server's is used again while it is
    safe, cleared of the ``files`` that this server left."""
    uid, gid = run_as or (os.geteuid(), os.getegid())
    for known in before:
        if known.socket_dir:
            with contextlib.suppress(OSError):
                seen = os.lstat(known.socket_dir)
                if seen.st_uid == uid and (seen.st_mode & 0o170777) == 0o040700:
                    # Remains of a killed server; its pid in a lock file may be someone else's by now.
                    for name in files(known):
                        with contextlib.suppress(FileNotFoundError):
                            os.unlink(os.path.join(known.socket_dir, name))  # noqa: PTH108, PTH118
                    return known.socket_dir
            with contextlib.suppress(OSError):
                os.mkdir(known.socket_dir, 0o700)  # noqa: PTH102  (fails if anything is there)
                os.chown(known.socket_dir, uid, gid)
                return known.socket_dir
    base = tempfile.gettempdir()
    if len(os.fsencode(base)) > 60 or any(character in base for character in "\"',\\ "):
        base = "/tmp"  # noqa: S108
    try:
        made = tempfile.mkdtemp(prefix="mailgenius-", dir=base)
        os.chown(made, uid, gid)
    except OSError as error:
        raise ServerError(f"No folder for the server's socket can be made in {base}: {error.strerror}.") from error
    return made


def free_ports(count: int) -> list[int]:
    """Ports for nodes of a Cluster: each is free, and so is the one 10,000 above it, for the nodes among themselves.

    Below those that the system gives to connections, so that none is taken before the node listens.
    """
    found: list[int] = []
    for port in random.sample(range(20000, 22768), 2768):
        if _is_free(port) and _is_free(port + 10000):
            found.append(port)
            if len(found) == count:
                return found
    raise ServerError(f"There are no {count} free ports from 20000 to 22767 on 127.0.0.1 (or 10,000 above).")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number
