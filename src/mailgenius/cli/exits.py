"""What the command's exit code means. A script can tell "try again" from "mend the call" from "look at the rows"."""

from __future__ import annotations

from enum import IntEnum

from mailgenius.errors import ConfigError, NotFound, SourceError

__all__ = ["EPILOG", "Exit", "Terminated", "exit_for"]


class Terminated(KeyboardInterrupt):
    """SIGTERM, as a service manager sends it: an orderly end like Ctrl-C, not a sudden one."""


class Exit(IntEnum):
    DONE = 0
    FAILED = 1
    USAGE = 2
    DATA = 3
    GAVE_UP = 4
    INTERRUPTED = 130
    TERMINATED = 143


MEANING = {
    Exit.DONE: "done; every row is accounted for (rejected rows are data, not a failure)",
    Exit.FAILED: "stopped: database, server, disk; an import can be resumed with the command that is printed",
    Exit.USAGE: "the call or the input as a whole is wrong: options, no such file, no e-mail column",
    Exit.DATA: "done, but --strict was given and rows were rejected; or validate-email met an invalid address",
    Exit.GAVE_UP: "work: its processes crashed again and again, and are not started any more",
    Exit.INTERRUPTED: "interrupted (Ctrl-C); an import can be resumed",
    Exit.TERMINATED: "told to end (SIGTERM); an import can be resumed. work: told twice; running jobs were given back",
}

EPILOG = (
    "exit codes:\n"
    + "\n".join(f"  {code.value:<4} {text}" for code, text in MEANING.items())
    + "\n\nMAILGENIUS_DEBUG=1 shows the traceback of an error."
)


def exit_for(error: BaseException) -> Exit:
    """The exit code for an exception that ended a command."""
    if isinstance(error, Terminated):
        return Exit.TERMINATED
    if isinstance(error, KeyboardInterrupt):
        return Exit.INTERRUPTED
    if isinstance(error, ConfigError | NotFound | SourceError):
        return Exit.USAGE
    return Exit.FAILED
