"""Turns what Valkey prints when it fails into errors that say what, where and how to mend. Pure."""

from __future__ import annotations

import re

from ._explain import Failure, disk_full, not_permitted, port_taken, shown_end

_DISK = re.compile(r"No space left on device|Disk quota exceeded|File too large")
_NEWER = re.compile(r"Can't handle RDB format version|Wrong signature trying to load DB")
_DAMAGED = re.compile(
    r"Bad file format reading the append only file|Unexpected end of file reading the append only file"
    r"|Unrecoverable error reading the append only file|AOF loading was aborted"
    r"|Internal error in RDB|Short read or OOM loading DB|Invalid AOF manifest|AOF manifest file"
    r"|Unable to obtain the AOF file"
    r"|RDB CRC error|Terminating server after rdb file reading failure|doesn't exist|corrupted cluster config"
)
_SECRET = re.compile(r"((?:requirepass|masterauth|primaryauth)\s+)[^\n]+")
_REFUSED = re.compile(r"FATAL CONFIG FILE ERROR.*?>>> '([^\n]*)'\n([^\n]*)", re.S)


def explain_valkey(output: str, *, folder: str, free: int, log: str) -> tuple[Failure, str]:
    """What went wrong, from the end of the server's output."""
    output = _SECRET.sub(r"\1***'", output)
    shown = shown_end(output)
    if "Address already in use" in output or "Could not create server TCP listening socket" in output:
        return port_taken(shown)
    if _DISK.search(output):
        return disk_full("what was written is still there", folder=folder, free=free, shown=shown)
    if found := _REFUSED.search(output):
        return Failure.FATAL, f"Valkey refuses a setting: {found[1]}: {found[2]}. Correct settings=.\n  {shown}"
    if _NEWER.search(output):
        return (
            Failure.FATAL,
            f"The data in {folder} was written by a version that this server cannot read (Valkey's by Redis, a newer"
            f" one's by an older), or is damaged. Start that version, or choose another data folder.\n  {shown}",
        )
    if "Permission denied" in output:
        return not_permitted(folder, shown)
    if _DAMAGED.search(output):
        return (
            Failure.FATAL,
            f"The data in {folder} is damaged or incomplete. Move the folder aside and restore a backup, or let a new"
            f" one be made in its place; valkey-check-aof --fix (a package of your system) cuts a damaged log where"
            f" the damage begins. The server's log: {log}\n  {shown}",
        )
    if "Out Of Memory" in output or "Cannot allocate memory" in output:
        return Failure.FATAL, f"There is not enough memory to load the data in {folder}.\n  {shown}"
    return Failure.FATAL, f"Valkey did not start in {folder}. Its log: {log}\n  {shown}"
