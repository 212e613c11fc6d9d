"""The grammar of ``mailgenius work`` and ``mailgenius queue``."""

from __future__ import annotations

import argparse
from typing import Any

from mailgenius.cli.grammar import add_command, add_output, amount, positive, seconds

__all__ = ["STATES", "add_queue", "add_work"]

STATES = ("waiting", "active", "delayed", "blocked", "failed", "done")  # queue/states.py, which takes long to load


def processes(text: str) -> int:
    """0: as many as there are cores to use."""
    return 0 if text == "max" else positive(text)


def add_work(commands: Any) -> None:
    command = add_command(
        commands,
        "work",
        "run the jobs of a queue",
        "Runs the Worker that TARGET names, in one process or several, and keeps them running. SIGTERM and Ctrl-C let\n"
        "running jobs end, a second one gives them back at once; SIGHUP replaces the processes one after another.",
    )
    command.add_argument(
        "target", metavar="MODULE:ATTRIBUTE", help="such as myapp.jobs:worker, from the current folder"
    )
    command.add_argument(
        "--processes", type=processes, default=1, metavar="N|max", help="max: one for each core (default: %(default)s)"
    )
    command.add_argument(
        "--concurrency", type=positive, metavar="N", help="jobs at once in each (default: the worker's)"
    )
    command.add_argument(
        "--grace",
        type=seconds,
        default=30.0,
        metavar="S",
        help="seconds for running jobs to end (default: %(default)g)",
    )
    command.add_argument("--max-jobs", type=positive, default=0, metavar="N", help="replace a process after so many")
    command.add_argument(
        "--max-memory",
        type=amount,
        metavar="BYTES",
        help="replace a process that uses more; 0: never (default: 1 GiB, or its share of the container's memory)",
    )
    command.add_argument(
        "--hung-after",
        type=seconds,
        metavar="S",
        help="kill a process whose event loop stands still for so long (default: the longest timeout and the grace)",
    )
    command.add_argument("--reload", action="store_true", help="replace processes when files change that they imported")
    command.add_argument("--log", choices=("json", "text"), help="lines of the log (default: text at a terminal)")


def add_queue(commands: Any) -> None:
    command = add_command(
        commands, "queue", "look at queues and change them", "Looks at queues of jobs, and changes them."
    )
    actions = command.add_subparsers(dest="action", metavar="ACTION", required=True)
    _action(actions, "ls", "which queues there are, and how many jobs they have", queue=False)
    _action(actions, "counts", "how many jobs, by state and by name")
    show = _action(actions, "show", "all that is known of a job")
    show.add_argument("id", metavar="ID")
    jobs = _action(actions, "jobs", "jobs of a state")
    jobs.add_argument("state", choices=STATES, metavar="STATE", help=", ".join(STATES))
    for listing in (jobs, _action(actions, "failed", "dead jobs and why, the last ones first")):
        listing.add_argument("--limit", type=positive, default=20, help="how many (default: %(default)s)")
        listing.add_argument("--name", default="", help="jobs of this name alone")
        listing.add_argument("--after", metavar="CURSOR", help="go on from another page")
    retry = _action(actions, "retry", "let failed jobs start anew")
    retry.add_argument("ids", nargs="*", metavar="ID")
    retry.add_argument("--all", action="store_true", help="all that have failed")
    for name, text in (("remove", "take jobs out; running ones are cancelled"), ("promote", "start delayed jobs now")):
        _action(actions, name, text).add_argument("ids", nargs="+", metavar="ID")
    for name, text in (("pause", "start no more jobs"), ("resume", "end a pause")):
        _action(actions, name, text).add_argument("--group", default="", help="of this group alone")
    drain = _action(actions, "drain", "remove the jobs that wait")
    drain.add_argument("--delayed", action="store_true", help="those that wait for their time too")
    clean = _action(actions, "clean", "forget failed or done jobs, remove delayed ones")
    clean.add_argument("state", choices=("failed", "done", "delayed"), metavar="STATE", help="failed, done or delayed")
    clean.add_argument("--older-than", type=seconds, default=0.0, metavar="S", help="seconds since they ended")
    clean.add_argument("--limit", type=positive, default=1_000_000, help="at most so many (default: %(default)s)")
    resize = _action(actions, "resize", "change how many shards a queue has (see the guide before)")
    resize.add_argument("shards", type=positive, metavar="N", help="more, or fewer if the last ones are empty")
    top = _action(actions, "top", "watch queues; printed once where there is no terminal", queue=False)
    top.add_argument("queues", nargs="*", metavar="QUEUE", help="these alone")
    top.add_argument("--interval", type=seconds, default=1.0, metavar="S", help="seconds (default: %(default)g)")


def _action(actions: Any, name: str, text: str, *, queue: bool = True) -> argparse.ArgumentParser:
    action = add_command(actions, name, text, text[0].upper() + text[1:] + ".")
    if queue:
        action.add_argument("queue", metavar="QUEUE")
    add_output(action)
    group = action.add_argument_group("server")
    group.add_argument(
        "--redis", metavar="URL", help="Redis to use (default: MAILGENIUS_REDIS_URL; with neither, an embedded server)"
    )
    group.add_argument(
        "--home", metavar="DIR", help="data folder of the embedded server (default: MAILGENIUS_HOME, else the user's)"
    )
    return action
