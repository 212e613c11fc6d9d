"""``mailgenius work``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

__all__ = ["run"]


def run(args: argparse.Namespace) -> int:
    from mailgenius.worker.limits import memory_limit, usable_cores
    from mailgenius.worker.logs import log_to_stdout
    from mailgenius.worker.plan import Plan, memory_each
    from mailgenius.worker.supervisor import Supervisor
    from mailgenius.worker.target import split

    split(args.target)
    processes = args.processes or usable_cores()
    plan = Plan(
        target=args.target,
        folder=str(Path.cwd()),
        processes=processes,
        concurrency=args.concurrency,
        grace=args.grace,
        max_jobs=args.max_jobs,
        max_memory=memory_each(memory_limit(), processes) if args.max_memory is None else args.max_memory,
        hung_after=args.hung_after,
        reload=args.reload,
        log=args.log or ("text" if sys.stdout.isatty() else "json"),
    )
    log_to_stdout(plan.log)
    return Supervisor(plan).run()
