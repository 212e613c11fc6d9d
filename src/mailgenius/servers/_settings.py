"""The settings an embedded PostgreSQL runs with, and the text of its postgresql.conf.

Pure: sizes in, values out. Durability is never traded for speed here: fsync, full_page_writes and synchronous_commit
stay on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MIB, GIB = 1 << 20, 1 << 30


def embedded_settings(memory: int, *, shm: int = GIB) -> dict[str, str]:
    """Settings for a machine (or container) with ``memory`` bytes, of which ``shm`` are free in /dev/shm."""

    def share(part: int, low: int, high: int) -> str:
        return f"{max(low, min(memory // part, high)) // MIB}MB"

    return {
        # Durability.
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        # No replica hangs on a private server, so the log need not carry what only a replica reads.
        "wal_level": "minimal",
        "max_wal_senders": "0",
        # Only pglz is compiled into the wheel; on sorted loads it costs more time than the bytes it saves.
        "wal_compression": "off",
        # Room for bulk imports: checkpoints by time, not in the middle of a load.
        "max_wal_size": "4GB",
        "min_wal_size": "256MB",
        "checkpoint_timeout": "15min",
        "checkpoint_completion_target": "0.9",
        # Memory: an eighth for PostgreSQL's own cache; the file cache of the system does the rest.
        "shared_buffers": share(8, 64 * MIB, 2 * GIB),
        "effective_cache_size": share(2, 128 * MIB, 64 * GIB),
        "maintenance_work_mem": share(32, 32 * MIB, 512 * MIB),
        "work_mem": share(512, 4 * MIB, 32 * MIB),
        # Containers often have 64 MiB of /dev/shm, too little for parallel queries.
        "dynamic_shared_memory_type": "posix" if shm >= 256 * MIB else "mmap",
        "autovacuum": "on",
        "max_connections": "100",
        "random_page_cost": "1.1",  # solid-state disks
        "jit": "off",
        # A client that was killed must not leave its statement (and its locks) running.
        "client_connection_check_interval": "2s",
        # Meaning must not depend on who started the server.
        "TimeZone": "UTC",
        "log_timezone": "UTC",
        "lc_messages": "C",  # errors are read by us
        "lc_monetary": "C",
        "lc_numeric": "C",
        "lc_time": "C",
        "DateStyle": "ISO, MDY",
        "default_text_search_config": "pg_catalog.simple",
        # The log goes to postgres.log beside the data.
        "logging_collector": "off",
        "log_destination": "stderr",
        "log_line_prefix": "%m [%p] ",
        "log_min_messages": "warning",
        "log_checkpoints": "off",
    }


def conf_text(settings: Mapping[str, str]) -> str:
    """``settings`` as a postgresql.conf."""
    lines = ["# Written by mailgenius at every start; give your own with postgres(settings=...) or ALTER SYSTEM."]
    for name, value in settings.items():
        quoted = value.replace("\\", "\\\\").replace("'", "''")
        lines.append(f"{name} = '{quoted}'")
    return "\n".join(lines) + "\n"
