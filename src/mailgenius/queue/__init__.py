"""Jobs on Redis: added, found, retried, and never lost."""

from ._async import AsyncQueue
from ._sync import Queue
from .added import Added
from .event import Event
from .limits import Limit
from .options import Backoff
from .policy import PROFILES, Policy
from .schedule import Schedule
from .sharded import AsyncShardedQueue, ShardedQueue
from .states import STATES
from .step import Flow, Step
from .views import Counts, JobInfo, NameCounts, Page

__all__ = [
    "PROFILES",
    "STATES",
    "Added",
    "AsyncQueue",
    "AsyncShardedQueue",
    "Backoff",
    "Counts",
    "Event",
    "Flow",
    "JobInfo",
    "Limit",
    "NameCounts",
    "Page",
    "Policy",
    "Queue",
    "Schedule",
    "ShardedQueue",
    "Step",
]
