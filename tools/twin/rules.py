"""What the words of an async module are called in its twin."""

RULES: dict[str, str] = {
    # the language
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "AsyncIterator": "Iterator",
    "asynccontextmanager": "contextmanager",
    "AsyncExitStack": "ExitStack",
    "enter_async_context": "enter_context",
    "push_async_callback": "callback",
    "aclose": "close",
    # the drivers
    "AsyncConnection": "Connection",
    "AsyncConnectionPool": "ConnectionPool",
    # mailgenius
    "aio": "threads",
    "AsyncPool": "Pool",
    "AsyncRedis": "Redis",
    "AsyncCache": "Cache",
    "AsyncRegionCache": "RegionCache",
    "AsyncWriteBehind": "WriteBehind",
    "AsyncFlusher": "Flusher",
    "AsyncQueue": "Queue",
    "AsyncShard": "Shard",
    "AsyncShardedQueue": "ShardedQueue",
    "AsyncOutbox": "Outbox",
    "AsyncPostgresUpserts": "PostgresUpserts",
    "AsyncLeads": "Leads",
    "AsyncImporter": "Importer",
    "AsyncMailgenius": "Mailgenius",
    "open_async": "open",
}
