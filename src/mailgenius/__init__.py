"""mailgenius: email-marketing back ends with millions of leads.

The public names, nothing else. Each is loaded when it is first used, so that a program that only validates addresses
does not load a database driver.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import (
    ConfigError,
    DatabaseUnavailable,
    ImportBusy,
    ImportConflict,
    ImportFailed,
    JobCancelled,
    JobFailed,
    JobRetry,
    JobTimeout,
    MailgeniusError,
    NotFound,
    OutcomeUnknown,
    QueryTimeout,
    RedisOutcomeUnknown,
    RedisRefused,
    RedisTimeout,
    RedisUnavailable,
    SchemaError,
    ServerError,
    SourceError,
)

if TYPE_CHECKING:
    from ._native import EmailSet
    from .address import EmailCheck, EmailChecks, validate_email, validate_emails
    from .app import AsyncMailgenius, Mailgenius, open, open_async
    from .cache import AsyncCache, Cache
    from .config import Settings
    from .importer import AsyncImporter, Importer, ImportReport
    from .leads import AsyncLeads, Attribute, Lead, Leads, Segment
    from .link import AsyncRedis, Redis
    from .pool import AsyncPool, Pool
    from .queue import AsyncQueue, AsyncShardedQueue, Queue, ShardedQueue
    from .queue.outbox import AsyncOutbox, Outbox
    from .worker import Job, Worker

_HOMES = {
    "AsyncCache": "cache",
    "AsyncImporter": "importer",
    "AsyncLeads": "leads",
    "AsyncMailgenius": "app",
    "AsyncOutbox": "queue.outbox",
    "AsyncPool": "pool",
    "AsyncQueue": "queue",
    "AsyncRedis": "link",
    "AsyncShardedQueue": "queue",
    "Attribute": "leads",
    "Cache": "cache",
    "EmailCheck": "address",
    "EmailChecks": "address",
    "EmailSet": "_native",
    "ImportReport": "importer",
    "Importer": "importer",
    "Mailgenius": "app",
    "open": "app",
    "open_async": "app",
    "Settings": "config",
    "Job": "worker",
    "Lead": "leads",
    "Leads": "leads",
    "Outbox": "queue.outbox",
    "Pool": "pool",
    "Queue": "queue",
    "Redis": "link",
    "Segment": "leads",
    "ShardedQueue": "queue",
    "Worker": "worker",
    "validate_email": "address",
    "validate_emails": "address",
}

__all__ = [
    "AsyncCache",
    "AsyncImporter",
    "AsyncLeads",
    "AsyncMailgenius",
    "AsyncOutbox",
    "AsyncPool",
    "AsyncQueue",
    "AsyncRedis",
    "AsyncShardedQueue",
    "Attribute",
    "Cache",
    "ConfigError",
    "DatabaseUnavailable",
    "EmailCheck",
    "EmailChecks",
    "EmailSet",
    "ImportBusy",
    "ImportConflict",
    "ImportFailed",
    "ImportReport",
    "Importer",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobRetry",
    "JobTimeout",
    "Lead",
    "Leads",
    "Mailgenius",
    "MailgeniusError",
    "NotFound",
    "Outbox",
    "OutcomeUnknown",
    "Pool",
    "QueryTimeout",
    "Queue",
    "Redis",
    "RedisOutcomeUnknown",
    "RedisRefused",
    "RedisTimeout",
    "RedisUnavailable",
    "SchemaError",
    "Segment",
    "ServerError",
    "Settings",
    "ShardedQueue",
    "SourceError",
    "Worker",
    "open",
    "open_async",
    "validate_email",
    "validate_emails",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
