"""What the words of an async module are called in its twin."""

RULES: dict[str, str] = {
    # the language
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "AsyncIterator": "Iterator",
    "asynccontextmanager": "contextmanager",
    # the drivers
    "AsyncConnection": "Connection",
    "AsyncConnectionPool": "ConnectionPool",
    # mailgenius
    "aio": "threads",
    "AsyncPool": "Pool",
}
