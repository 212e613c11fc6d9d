"""Settings: one frozen Struct per room, from arguments, the environment or a TOML file, in this order of precedence.

Unknown keys, wrong types and contradictions raise ``ConfigError``; its text starts with the path of the setting,
such as ``$.pool.min_size``. Checks run in ``__post_init__`` because msgspec applies ``Meta`` bounds only while
decoding, and settings are also made by hand. Secrets (passwords inside URLs) never reach ``repr``.

Environment: ``MAILGENIUS_DATABASE_URL``, ``MAILGENIUS_REDIS_URL``, ``MAILGENIUS_HOME``, and for a section its name
first: ``MAILGENIUS_POOL_MAX_SIZE``. ``MAILGENIUS_CONFIG`` names the TOML file; left out, ``mailgenius.toml`` of the
current folder is read if it exists.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from .errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CacheSettings",
    "ImporterSettings",
    "PoolSettings",
    "RedisSettings",
    "Settings",
    "default_home",
    "load",
    "redact",
]

KIB, MIB = 1 << 10, 1 << 20
ENV_PREFIX = "MAILGENIUS_"
_NO_SETTINGS = {"MAILGENIUS_CONFIG", "MAILGENIUS_DEBUG"}  # the file's name; the command line shows tracebacks
# Kubernetes gives every pod of a namespace variables named after its services; a service called "mailgenius" must not
# keep the library from starting.
_FOREIGN_ENV = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)$")
_PASSWORDS = (
    re.compile(r"(?<=://)([^/?#@\s]*?):[^/?#\s]*@"),  # user:password@host; greedy to the last @ of the authority
    re.compile(
        r"(?i)\b((?:sentinel_)?password|passwd|sslpassword)(\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&]+)"
    ),  # conninfo and query string
)


def redact(text: str) -> str:
    """``text`` (a URL or a libpq connection string) with its passwords replaced by ``***``."""
    text = _PASSWORDS[0].sub(r"\1:***@", text)
    return _PASSWORDS[1].sub(r"\1\2***", text)


def default_home() -> Path:
    """The data folder: ``MAILGENIUS_HOME``, else the platform's folder for user data."""
    if named := os.environ.get("MAILGENIUS_HOME"):
        return Path(named).expanduser()
    import platformdirs  # imported late: it is needed by embedded servers only

    return platformdirs.user_data_path("mailgenius", appauthor=False)


def usable_cores() -> int:
    """Cores this process may run on; a container's affinity mask counts, its CPU quota does not."""
    return len(os.sched_getaffinity(0))


def _require(path: str, value: float, low: float, high: float | None = None) -> None:
    if value < low or (high is not None and value > high):
        limits = f"at least {low}" if high is None else f"between {low} and {high}"
        raise ConfigError(f"{path}: {value} is out of range; give a value {limits}")


class PoolSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Connections to PostgreSQL kept by one process."""

    # Connections kept open even when idle. More makes bursts start faster and costs the server about 2 MiB each.
    min_size: int = 1
    # Most connections open at once. An import uses `importer.lanes` of them while it loads.
    max_size: int = 10
    # Seconds a caller waits for a free connection before DatabaseUnavailable.
    timeout: float = 30.0
    # Seconds one connection attempt may take (whole seconds, as libpq counts them; at least 2).
    connect_timeout: int = 10
    # Seconds a statement of fetch and execute may take before it is cancelled on the server (QueryTimeout).
    query_timeout: float = 30.0
    # Seconds an idle connection above min_size is kept.
    max_idle: float = 600.0
    # Seconds after which a connection is replaced when it comes back (up to a twentieth less, so that not all go at once).
    max_lifetime: float = 3600.0
    # Connections in pipeline mode that short reads of asyncio programs share, beside the others; 0 turns that off.
    shared_connections: int = 2
    # Seconds a statement on a shared connection may keep others waiting before it is moved to one of its own.
    shared_bound: float = 0.05
    # Seconds from which on a statement is kept among the slow ones (AsyncPool.slow_queries).
    slow_query: float = 0.5
    # Share of the slow reads (0 to 1) that are explained afterwards, in the background, one at a time.
    explain_slow: float = 0.0
    # Parameters of slow calls are kept (SlowCall.detail) and shown in their plans. They are people's data.
    keep_parameters: bool = False
    # Statements, and how long connections were waited for and held, are counted. Off saves some 100 ns a call.
    statistics: bool = True
    # Seconds after which a borrowed connection counts as leaked (AsyncPool.leaks says who took it); None: nobody looks,
    # since remembering who took it costs some microseconds each time.
    leak_after: float | None = None
    # Name shown in pg_stat_activity.
    application_name: str = "mailgenius"
    # Standbys that serve reads of fetch while they are fresh enough, as URLs; in the environment with spaces between them.
    replicas: tuple[str, ...] = ()
    # Seconds that what a replica shows may be behind the primary; beyond, reads go to the primary.
    replica_lag: float = 1.0

    def __post_init__(self) -> None:
        given: Any = self.replicas  # by hand, it may be anything
        if not isinstance(given, list | tuple) or not all(isinstance(url, str) and url.strip() for url in given):
            raise ConfigError("$.pool.replicas: give a list of connection strings, one for each standby")
        msgspec.structs.force_setattr(self, "replicas", tuple(given))
        _require("$.pool.replica_lag", self.replica_lag, 0.05)
        _require("$.pool.min_size", self.min_size, 0)
        _require("$.pool.max_size", self.max_size, 1)
        _require("$.pool.timeout", self.timeout, 0.001)
        _require("$.pool.connect_timeout", self.connect_timeout, 2)
        _require("$.pool.max_idle", self.max_idle, 1)
        _require("$.pool.query_timeout", self.query_timeout, 0.001)
        _require("$.pool.slow_query", self.slow_query, 0)
        _require("$.pool.explain_slow", self.explain_slow, 0, 1)
        _require("$.pool.max_lifetime", self.max_lifetime, 1)
        _require("$.pool.shared_connections", self.shared_connections, 0, 64)
        _require("$.pool.shared_bound", self.shared_bound, 0.01)
        if self.leak_after is not None:
            _require("$.pool.leak_after", self.leak_after, 0)
        if self.min_size > self.max_size:
            raise ConfigError(f"$.pool.min_size: {self.min_size} is more than $.pool.max_size ({self.max_size})")

    def __repr__(self) -> str:
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        shown["replicas"] = tuple(redact(url) for url in self.replicas)
        return f"PoolSettings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


class RedisSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Connections to Redis or Valkey kept by one client. Times are in seconds."""

    # What a call may take, from its writing to its reply, if it does not say itself (RedisTimeout).
    timeout: float = 1.0
    # The same for commands that may take long by nature: scripts, KEYS, FLUSHDB, SORT and the like.
    slow_timeout: float = 30.0
    # What making a connection may take, with TLS, login and the server's word that it is ready.
    connect_timeout: float = 2.0
    # Calls that may wait for a connection, each until its deadline, while Redis is down; 0: they fail at once.
    offline_queue: int = 0
    # Times a call that may run twice is sent anew after its connection was lost.
    retries: int = 1
    # Pause after a failed attempt to connect: a random part of this, doubled with each failure up to backoff_max.
    backoff: float = 0.05
    # The longest such pause.
    backoff_max: float = 1.0
    # Requests that may wait for replies at once; beyond, calls fail (RedisUnavailable).
    max_pending: int = 100_000
    # Bytes that may wait to be written while the server does not take them; beyond, calls fail (RedisUnavailable).
    max_pending_bytes: int = 64 * MIB
    # Seconds without traffic after which the system asks whether the other side is still there.
    keepalive: int = 30
    # Who answers commands that only read, in a Cluster or behind Sentinels: "primary", or "replica", which may lag behind.
    read_from: Literal["primary", "replica"] = "primary"
    # Version of the protocol: 3, with 2 for servers that do not know it; or 2 at once.
    protocol: int = 3
    # Name shown in CLIENT LIST. No white space.
    client_name: str = "mailgenius"
    # A file of certificates to trust (rediss://) instead of the system's.
    tls_ca: str | None = None
    # A file with our certificate, for servers that ask for one.
    tls_cert: str | None = None
    # A file with its key.
    tls_key: str | None = None
    # Off: whoever is between us and the server can read and change everything.
    tls_verify: bool = True

    def __post_init__(self) -> None:
        _require("$.redis.timeout", self.timeout, 0.001)
        _require("$.redis.slow_timeout", self.slow_timeout, 0.001)
        _require("$.redis.connect_timeout", self.connect_timeout, 0.001)
        _require("$.redis.offline_queue", self.offline_queue, 0)
        _require("$.redis.retries", self.retries, 0, 100)
        _require("$.redis.backoff", self.backoff, 0.001)
        _require("$.redis.backoff_max", self.backoff_max, self.backoff)
        _require("$.redis.max_pending", self.max_pending, 1)
        _require("$.redis.max_pending_bytes", self.max_pending_bytes, 64 * KIB)
        _require("$.redis.keepalive", self.keepalive, 1)
        _require("$.redis.protocol", self.protocol, 2, 3)
        if self.read_from not in ("primary", "replica"):
            raise ConfigError(f"$.redis.read_from: {self.read_from!r} is neither 'primary' nor 'replica'")
        if not self.client_name or not self.client_name.isascii() or not self.client_name.isprintable():
            raise ConfigError("$.redis.client_name: give printable ASCII characters")
        if " " in self.client_name:
            raise ConfigError("$.redis.client_name: holds a space, which the server does not take")
        if self.tls_key is not None and self.tls_cert is None:
            raise ConfigError("$.redis.tls_key: is of no use without $.redis.tls_cert")


class CacheSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all regions of a cache have in common. A region's own policy is a ``mailgenius.cache.Region``."""

    # Seconds that a call may wait for Redis; then it goes on without.
    budget: float = 0.05
    # Values are kept in the process too, and Redis tells it of changes (CLIENT TRACKING).
    local: bool = True
    # Seconds between two questions whether Redis is still there to tell. What the process keeps is at most twice that
    # behind when the network goes silent.
    heartbeat: float = 1.0
    # Writes that are kept for Redis while it is down (regions with on_redis_down="keep"); beyond, the region is emptied
    # when it is back.
    keep_writes: int = 10_000

    def __post_init__(self) -> None:
        _require("$.cache.budget", self.budget, 0.001, 60)
        _require("$.cache.heartbeat", self.heartbeat, 0.05, 60)
        _require("$.cache.keep_writes", self.keep_writes, 0)


class ImporterSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Bounds and parallelism of imports. Sizes are in bytes."""

    # Threads that parse and encode; 0 means the cores this process may use, at most 8.
    threads: int = 0
    # Connections that load into PostgreSQL at once, each with ranges of e-mail addresses of its own.
    lanes: int = 2
    # Bytes read from the source at a time.
    block_bytes: int = 1 * MIB
    # Encoded rows collected before they are sorted. Larger means fewer sorted runs and more memory (per thread).
    run_bytes: int = 32 * MIB
    # Memory for sorted blocks; what is beyond goes to a temporary file.
    spill_bytes: int = 64 * MIB
    # Rows of one transaction while loading. Smaller means less to repeat after a lost connection, and more commits.
    chunk_rows: int = 50_000
    # Folder of the temporary file; None means the system's.
    temp_dir: str | None = None
    # A longer field makes its row a rejected one.
    max_field_bytes: int = 1 * MIB
    # A longer row is rejected, and reading goes on after it.
    max_row_bytes: int = 16 * MIB
    # A row with more columns is rejected.
    max_columns: int = 4096
    # Compressed input may grow by this factor (after the first 10 MiB of output); beyond, it is taken for a bomb.
    max_expansion: int = 200
    # Most bytes of a source after decompression; None means any number.
    max_bytes: int | None = None
    # Seconds an import waits for a lost database to come back before it stops (it can be resumed).
    reconnect_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.threads == 0:
            msgspec.structs.force_setattr(self, "threads", min(usable_cores(), 8))
        _require("$.importer.threads", self.threads, 1, 64)
        _require("$.importer.lanes", self.lanes, 1, 64)
        _require("$.importer.block_bytes", self.block_bytes, 4 * KIB, 1 << 30)
        _require("$.importer.run_bytes", self.run_bytes, 64 * KIB, 1 << 31)
        _require("$.importer.spill_bytes", self.spill_bytes, 0)
        _require("$.importer.chunk_rows", self.chunk_rows, 1, 10_000_000)
        _require("$.importer.max_field_bytes", self.max_field_bytes, 1, 1 << 30)
        _require("$.importer.max_row_bytes", self.max_row_bytes, 1, 1 << 30)
        _require("$.importer.max_columns", self.max_columns, 1, 65_535)
        _require("$.importer.max_expansion", self.max_expansion, 1)
        _require("$.importer.reconnect_seconds", self.reconnect_seconds, 0)
        if self.max_bytes is not None:
            _require("$.importer.max_bytes", self.max_bytes, 1)
        if self.max_field_bytes > self.max_row_bytes:
            raise ConfigError(
                f"$.importer.max_field_bytes: {self.max_field_bytes} is more than $.importer.max_row_bytes"
                f" ({self.max_row_bytes})"
            )


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything ``mailgenius.open`` can be told. Make one with ``load`` to have the environment and the file read
    too."""

    # PostgreSQL as a URL or a libpq connection string; None means an embedded server in `home`.
    database_url: str | None = None
    # Redis or Valkey as a URL; None means an embedded one in `home`.
    redis_url: str | None = None
    # Data folder of the embedded servers; None means the platform's folder for user data.
    home: str | None = None
    pool: PoolSettings = PoolSettings()
    redis: RedisSettings = RedisSettings()
    cache: CacheSettings = CacheSettings()
    importer: ImporterSettings = ImporterSettings()

    def __post_init__(self) -> None:
        for name in ("database_url", "redis_url", "home"):
            value = getattr(self, name)
            if value is not None and (not value.strip() or "\0" in value):
                raise ConfigError(f"$.{name}: is empty or holds a NUL; leave it out or give a value")
        if self.pool.replicas and self.database_url is None:
            raise ConfigError("$.pool.replicas: an embedded server has none; give $.database_url, the primary, as well")
        if self.importer.lanes > self.pool.max_size:
            raise ConfigError(
                f"$.importer.lanes: {self.importer.lanes} is more than $.pool.max_size ({self.pool.max_size})"
            )

    @property
    def home_path(self) -> Path:
        return Path(self.home).expanduser() if self.home is not None else default_home()

    def __repr__(self) -> str:
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        for name in ("database_url", "redis_url"):
            if shown[name] is not None:
                shown[name] = redact(shown[name])
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


_SECTIONS: dict[str, type[msgspec.Struct]] = {
    "pool": PoolSettings,
    "redis": RedisSettings,
    "cache": CacheSettings,
    "importer": ImporterSettings,
}


def load(
    config: str | os.PathLike[str] | Settings | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    **overrides: Any,
) -> Settings:
    """Settings from ``overrides``, then the environment, then the file ``config`` (or ``mailgenius.toml``).

    ``overrides`` are the fields of ``Settings``; a section may be a dict or its Struct, and None means "not given". A
    ``Settings`` as ``config`` stands alone: file and environment are not read. Raises ``ConfigError``.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    if isinstance(config, Settings):
        merged = {name: getattr(config, name) for name in config.__struct_fields__}
    else:
        environ = os.environ if environ is None else environ
        merged = _from_file(config if config is not None else environ.get(ENV_PREFIX + "CONFIG"))
        _merge(merged, _from_env(environ))
    _merge(merged, given)
    for name, section in _SECTIONS.items():
        if isinstance(merged.get(name), section):
            merged[name] = {field: getattr(merged[name], field) for field in section.__struct_fields__}
    return _convert(merged)


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        section = _SECTIONS.get(name)
        if section is not None and isinstance(value, dict):
            under = into.get(name, {})
            if isinstance(under, section):
                under = {field: getattr(under, field) for field in section.__struct_fields__}
            into[name] = {**under, **value} if isinstance(under, dict) else value
        else:
            into[name] = value


def _from_file(path: str | os.PathLike[str] | None) -> dict[str, Any]:
    file = Path(path).expanduser() if path is not None else Path("mailgenius.toml")
    if path is None and not file.is_file():
        return {}
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"$: cannot read {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"$: {file} is not valid TOML: {error}") from error


def _from_env(environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    plain = [name for name in Settings.__struct_fields__ if name not in _SECTIONS]
    for variable, text in environ.items():
        if not variable.startswith(ENV_PREFIX) or variable in _NO_SETTINGS or _FOREIGN_ENV.search(variable):
            continue
        name = variable[len(ENV_PREFIX) :].lower()
        if name in plain:
            found[name] = text
            continue
        section, _, field = name.partition("_")
        if section in _SECTIONS:
            known = _SECTIONS[section].__struct_fields__
            if field not in known:
                raise ConfigError(f"$.{section}.{field}: unknown setting ({variable}){_similar(field, known)}")
            found.setdefault(section, {})[field] = _Text(text)
        else:
            known = tuple(Settings.__struct_fields__)
            raise ConfigError(f"$.{name}: unknown setting ({variable}){_similar(name, known)}")
    return found


class _Text(str):
    """A value from the environment, still to be read as the type of its field."""

    __slots__ = ()


def _similar(name: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"


def _convert(merged: dict[str, Any]) -> Settings:
    _known("$", merged, Settings)
    for name, section in _SECTIONS.items():
        values = merged.get(name)
        if isinstance(values, dict):
            _known(f"$.{name}", values, section)
            merged[name] = {field: _read(f"$.{name}.{field}", section, field, value) for field, value in values.items()}
    if isinstance(merged.get("home"), os.PathLike):
        merged["home"] = os.fspath(merged["home"])
    try:
        return msgspec.convert(merged, Settings)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, ConfigError):  # from a __post_init__: it names the path itself
            raise error.__cause__ from None
        text = str(error)
        what, _, where = text.rpartition(" - at ")
        raise ConfigError(f"{where.strip('`')}: {what}" if what else f"$: {text}") from None


def _known(path: str, values: dict[str, Any], struct: type[msgspec.Struct]) -> None:
    for name in values:
        if name not in struct.__struct_fields__:
            raise ConfigError(f"{path}.{name}: unknown setting{_similar(name, struct.__struct_fields__)}")


def _read(path: str, section: type[msgspec.Struct], field: str, value: Any) -> Any:
    if not isinstance(value, _Text):
        return value
    kind = next(f.type for f in msgspec.structs.fields(section) if f.name == field)
    if typing.get_origin(kind) is tuple:
        for url in value.split():
            if "://" not in url:  # part of a string such as "host=a dbname=b", which holds spaces itself
                raise ConfigError(
                    f"{path}: expected URLs (postgresql://…) with spaces between them, got {redact(url)!r}"
                )
        return value.split()
    try:
        return msgspec.convert(str(value), kind, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}, got {str(value)!r}") from None
