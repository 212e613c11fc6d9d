"""Jobs on Redis: added, found, retried, and never lost."""

from ._async import AsyncQueue
from ._sync import Queue
from .added import Added
from .options import Backoff
from .policy import PROFILES, Policy

__all__ = ["PROFILES", "Added", "AsyncQueue", "Backoff", "Policy", "Queue"]
