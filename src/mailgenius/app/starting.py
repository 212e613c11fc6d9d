"""The parts of opening that wait for files, programs and locks: plain calls, in a thread where that must not be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailgenius.leads import Migration, check_schema, migrate
from mailgenius.pool import AsyncPool, Pool

if TYPE_CHECKING:
    from mailgenius.config import Settings
    from mailgenius.servers import PostgresServer, ValkeyServer

__all__ = ["bring_up", "embedded", "embedded_redis"]


def embedded(settings: Settings) -> PostgresServer:
    """The server of the data folder, not started yet."""
    from mailgenius.servers import PostgresServer  # late: who has a database needs none

    return PostgresServer(settings.home_path / "postgres")


def embedded_redis(settings: Settings) -> ValkeyServer:
    """The Valkey of the data folder, not started yet."""
    from mailgenius.servers import ValkeyServer

    return ValkeyServer(settings.home_path / "valkey")


def bring_up(pool: Pool | AsyncPool, change: bool) -> list[Migration]:
    """Brings the schema up to date if it may be changed, else checks it (``SchemaError``); the migrations applied."""
    if isinstance(pool, AsyncPool):
        with Pool(pool.conninfo, settings=pool.settings, replicas=(), min_size=0, max_size=1) as own:
            return bring_up(own, change)
    if change:
        return migrate(pool)
    check_schema(pool)
    return []
