"""A job as bytes: a head that scripts read, then its name, options and payload (docs/design/queue.md has the table)."""

from __future__ import annotations

import msgspec

from .options import Options

__all__ = ["LONGEST_NAME", "Frame", "UnknownFormat", "fresh", "head", "pack", "parse"]

FORMAT = 1
LONGEST_NAME = 255  # bytes
_options = msgspec.msgpack.Decoder(Options).decode
_encode = msgspec.msgpack.Encoder().encode


class UnknownFormat(ValueError):
    """The job was written by a newer version, or by something else."""


class Frame(msgspec.Struct):
    """A job's bytes, taken apart. ``id`` is empty if its place is its id; ``payload`` is msgpack."""

    attempts: int
    stalls: int
    added_at: int  # milliseconds since 1970
    id: str
    name: str
    options: Options | None
    payload: bytes


def head(
    name: str, options: Options | None = None, *, added_at: int = 0, id: str = "", attempts: int = 0, stalls: int = 0
) -> bytes:
    """Everything before the payload."""
    title, own = name.encode(), id.encode()
    if not 0 < len(title) <= LONGEST_NAME:
        raise ValueError(f"{name!r}: the name of a job has 1 to {LONGEST_NAME} bytes")
    more = b"" if options is None else _encode(options)
    if len(more) > 0xFFFF:
        raise ValueError(f"options of {name!r}: {len(more):,} bytes; at most 65,535 fit")
    return b"".join(
        (
            bytes((FORMAT, min(attempts, 255), min(stalls, 255))),
            added_at.to_bytes(6, "big"),
            bytes((len(own),)),
            own,
            bytes((len(title),)),
            title,
            len(more).to_bytes(2, "big"),
            more,
        )
    )


def pack(
    name: str,
    payload: bytes,
    options: Options | None = None,
    *,
    added_at: int = 0,
    id: str = "",
    attempts: int = 0,
    stalls: int = 0,
) -> bytes:
    return head(name, options, added_at=added_at, id=id, attempts=attempts, stalls=stalls) + payload


def parse(frame: bytes) -> Frame:
    """Raises ``UnknownFormat``."""
    try:
        if frame[0] != FORMAT:
            raise UnknownFormat(f"format {frame[0]}; this version knows {FORMAT}")
        at = 10 + frame[9]
        id = frame[10:at].decode()
        length = frame[at]
        name = frame[at + 1 : at + 1 + length].decode()
        at += 1 + length
        size = frame[at] << 8 | frame[at + 1]
        at += 2
        options = _options(frame[at : at + size]) if size else None
        if at + size > len(frame):
            raise UnknownFormat("it is cut off")
        return Frame(frame[1], frame[2], int.from_bytes(frame[3:9], "big"), id, name, options, frame[at + size :])
    except (IndexError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise UnknownFormat(f"cannot be read: {error}") from error


def fresh(frame: bytes) -> bytes:
    """The same job, as if it had never been tried."""
    return frame[:1] + b"\0\0" + frame[3:]
