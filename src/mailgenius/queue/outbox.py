"""The relay between the outbox in PostgreSQL and the queues: ``AsyncOutbox`` and ``Outbox``. Apart from the rest of the
room, because it needs the database's driver."""

from .outbox_async import AsyncOutbox
from .outbox_sync import Outbox

__all__ = ["AsyncOutbox", "Outbox"]
