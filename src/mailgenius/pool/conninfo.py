"""What the pool makes of a connection string before it connects.

- TLS verifies the server (``verify-full`` against the system's authorities) unless the host is this machine or the string
  says otherwise: encryption without knowing whom one talks to protects nobody.
- A connection that died without a word is noticed: TCP keepalives, and a bound on unacknowledged data.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from mailgenius.config import PoolSettings
from mailgenius.errors import ConfigError

__all__ = ["brief", "parse", "read_only", "where"]

_LIVELY = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 30_000}
_LOCAL = {"localhost", "127.0.0.1", "::1"}


def parse(conninfo: str, settings: PoolSettings, path: str = "$.database_url") -> dict[str, Any]:
    """The parts of ``conninfo`` with our defaults. ``ConfigError``, which does not quote it, if it cannot be read; it says
    that the setting ``path`` is to be mended."""
    try:
        parts: dict[str, Any] = conninfo_to_dict(conninfo)
    except psycopg.Error:
        # libpq quotes the string it cannot read, password and all: neither its text nor its traceback may be shown.
        raise ConfigError(
            f"{path}: not a PostgreSQL URL or connection string; expected postgresql://user:password@host:port/database"
        ) from None
    parts.setdefault("connect_timeout", settings.connect_timeout)
    parts.setdefault("application_name", settings.application_name)
    for name, value in _LIVELY.items():
        parts.setdefault(name, value)
    if "," in str(parts.get("host") or parts.get("hostaddr") or "") and path == "$.database_url":
        parts.setdefault("target_session_attrs", "read-write")  # whichever of them is the primary
    if remote(parts) and not any(name.startswith("ssl") for name in parts):
        parts["sslmode"] = "verify-full"
        parts["sslrootcert"] = "system"
    return parts


def remote(parts: dict[str, Any]) -> bool:
    """Does it lead over a network? Not by a socket in a folder, nor to this machine's own addresses."""
    hosts = str(parts.get("host") or parts.get("hostaddr") or "").split(",")
    return any(host and not host.startswith(("/", "@")) and host not in _LOCAL for host in hosts)


def read_only(parts: dict[str, Any]) -> str:
    """A connection string like it whose transactions are read-only unless they say otherwise."""
    options = f"{parts.get('options') or ''} -c default_transaction_read_only=on".strip()
    return make_conninfo("", **parts | {"options": options})


def where(parts: dict[str, Any]) -> str:
    """For people: where it leads, without the password."""
    host = parts.get("host") or parts.get("hostaddr") or "local socket"
    text = f"{host}:{parts.get('port') or 5432}"
    if database := parts.get("dbname"):
        text += f"/{database}"
    user = parts.get("user")
    return f"{text} as {user}" if user else text


def brief(error: Exception) -> str:
    """What went wrong, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
