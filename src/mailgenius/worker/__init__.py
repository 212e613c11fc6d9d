"""Workers: jobs of a queue are run, and what becomes of them is said.

Names are loaded when they are first used: the keeper, a process of its own, needs few.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bulk import BulkResult
    from .job import Job
    from .metrics import WorkerMetrics
    from .worker import Worker

_HOMES = {"BulkResult": "bulk", "Job": "job", "Worker": "worker", "WorkerMetrics": "metrics"}

__all__ = ["BulkResult", "Job", "Worker", "WorkerMetrics"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
