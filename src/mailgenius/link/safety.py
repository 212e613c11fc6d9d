"""Whether a server keeps what it was given. Pure."""

from __future__ import annotations

__all__ = ["parsed_info", "refusals"]


def refusals(info: dict[str, str], fsync: str | None, durable: bool, waitaof: bool) -> list[str]:
    """Why what waits is not safe on a server with this INFO, each with what to set; empty if it is. ``fsync``: the setting
    appendfsync, None if the server does not tell."""
    found = []
    policy = info.get("maxmemory_policy", "noeviction")
    if policy.startswith("allkeys"):
        found.append(f"maxmemory-policy is {policy}, so it may drop what waits: set it to noeviction")
    if info.get("aof_enabled") != "1":
        found.append("appendonly is off, so a crash takes all since the last snapshot: set appendonly to yes")
    elif durable and fsync == "no":
        found.append("appendfsync is no, so nobody knows what is on the disk: set it to always or everysec")
    elif durable and fsync != "always" and not waitaof:
        found.append(
            "durable writes need WAITAOF (Redis 7.2, Valkey), which it does not have: set appendfsync to always"
        )
    return found


def parsed_info(text: bytes | str) -> dict[str, str]:
    """The lines of INFO."""
    lines = (text.decode("utf-8", "replace") if isinstance(text, bytes) else text).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
