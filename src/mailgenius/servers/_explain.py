"""Turns what initdb and postgres print when they fail into errors that say what, where and how to mend. Pure."""

from __future__ import annotations

import re
from enum import Enum


class Failure(Enum):
    FATAL = "fatal"
    RETRY = "retry"  # goes away by itself within seconds
    PORT = "port"
    BUSY = "busy"  # another keeper holds the folder


_DISK = re.compile(r"No space left on device|Disk quota exceeded|File too large|File size limit|could not extend file")
_CORRUPT = re.compile(
    r"could not locate a valid checkpoint record|invalid (primary )?checkpoint|incorrect checksum in control file"
    r"|calculated CRC checksum does not match|could not find the database system|global/pg_control"
    r"|database files are incompatible|invalid page in block|could not read from file|is not a valid data directory"
    r"|required WAL directory|could not open directory|lacks required|PANIC:",
)
_SETTING = re.compile(
    r"unrecognized configuration parameter \"[^\"]+\"|invalid value for parameter \"[^\"]+\"[^\n]*"
    r"|parameter \"[^\"]+\" (?:cannot|requires)[^\n]*|is outside the valid range for parameter[^\n]*"
    r"|configuration file \"[^\"]+\" contains errors"
)


def shown_end(output: str) -> str:
    """The last lines of a server's output, as they stand below what is said of it."""
    tail = [line for line in output.strip().splitlines() if line.strip()][-12:]
    return "\n  ".join(tail) or "(it printed nothing)"


def port_taken(shown: str) -> tuple[Failure, str]:
    return (
        Failure.PORT,
        f"The port is taken by another program; choose another one, or port=0 for a free one.\n  {shown}",
    )


def disk_full(kept: str, *, folder: str, free: int, shown: str) -> tuple[Failure, str]:
    return (
        Failure.FATAL,
        f"The disk is full (or a quota or file size limit is reached): {folder} has {free >> 20} MiB free."
        f" Make room and start again; {kept}.\n  {shown}",
    )


def not_permitted(folder: str, shown: str) -> tuple[Failure, str]:
    return Failure.FATAL, f"The server may not use its files in {folder}: check owner and permissions.\n  {shown}"


def explain(output: str, *, folder: str, free: int, log: str) -> tuple[Failure, str]:
    """What went wrong, from the end of the server's output."""
    shown = shown_end(output)
    if "pre-existing shared memory block" in output:
        return Failure.RETRY, f"Processes of a killed server still work in {folder}; they end by themselves.\n  {shown}"
    if "could not bind" in output or "Address already in use" in output:
        return port_taken(shown)
    if _DISK.search(output):
        return disk_full("nothing that was committed is lost", folder=folder, free=free, shown=shown)
    if "lock file" in output and "already exists" in output:
        return (
            Failure.FATAL,
            f"Another PostgreSQL, not started by mailgenius, works in {folder}. Stop it first.\n  {shown}",
        )
    if found := _SETTING.search(output):
        return Failure.FATAL, f"PostgreSQL refuses a setting: {found[0]}. Correct settings=.\n  {shown}"
    if "could not map anonymous shared memory" in output or "Cannot allocate memory" in output:
        return (
            Failure.FATAL,
            f"There is not enough memory for the server; give a smaller settings['shared_buffers'].\n  {shown}",
        )
    if "was initialized by PostgreSQL version" in output:
        return Failure.FATAL, f"The data in {folder} belongs to another major version of PostgreSQL.\n  {shown}"
    if "Permission denied" in output or "wrong ownership" in output or "invalid permissions" in output:
        return not_permitted(folder, shown)
    if _CORRUPT.search(output):
        return (
            Failure.FATAL,
            f"The data in {folder} is damaged or incomplete. Move the folder aside and restore a backup, or let a new"
            f" one be made in its place. The server's log: {log}\n  {shown}",
        )
    return Failure.FATAL, f"PostgreSQL did not start in {folder}. Its log: {log}\n  {shown}"
