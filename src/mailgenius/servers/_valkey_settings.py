"""The settings an embedded Valkey runs with, and the text of its configuration file.

Pure: sizes in, values out. The names are those that Redis 6.2 knows too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mailgenius.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Mapping

MIB = 1 << 20
# Values that may hold a space or a quote; other values stand as in a configuration file ("save": "900 1").
_QUOTED = {"requirepass", "masterauth", "masteruser", "primaryauth", "primaryuser"}


def embedded_valkey_settings(memory: int) -> dict[str, str]:
    """Settings for a machine (or container) with ``memory`` bytes."""
    return {
        # Durability: a log of all writes, written before they are answered and synced every second; while a sync takes
        # longer than that, up to 2 s of writes wait in the server. So kills lose nothing while the disk keeps up, a
        # power cut 1 to 2 s. Snapshots beside the log would only write everything twice.
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": '""',
        # Queues and write-behind live here: a full server refuses writes, it never drops what it holds. Half of the
        # memory is left for rewriting the log, which works on a copy, and for everyone else.
        "maxmemory": f"{max(64, memory // 2 // MIB)}mb",
        "maxmemory-policy": "noeviction",
        # A big key is freed by another thread, and nobody waits.
        "lazyfree-lazy-user-del": "yes",
        "lazyfree-lazy-expire": "yes",
    }


def valkey_conf(settings: Mapping[str, str]) -> str:
    """``settings`` as a configuration file. Raises ``ServerError`` for what no file can say."""
    lines = ["# Written by mailgenius at every start; give your own with valkey(settings=...) or CONFIG SET."]
    for name, value in settings.items():
        if not re.fullmatch(r"[a-z][a-z0-9-]*", name) or any(character in value for character in "\r\n\0"):
            raise ServerError(f"Valkey has no setting {name!r} with such a value. Correct settings=.")
        if name in _QUOTED:
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            lines.append(f'{name} "{escaped}"')
        else:
            lines.append(f"{name} {value or chr(34) * 2}")
    return "\n".join(lines) + "\n"
