"""The states of leased jobs, in memory that a worker and its keeper share. Pure.

A slot for each lease: its token (8 bytes; 0: empty), the place of its first job in the chunk and how many there are (2
bytes each), and a byte for each job, its state. The token is written last and erased first, so that what stands there is
whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from .states import BEGUN, DONE, SIZE

__all__ = ["Lease", "SharedStates", "size_of"]

_HEAD = Struct("<QHH")
_TOKEN = Struct("<Q")
_START = 16  # where states begin
_SLOT = _START + SIZE


def size_of(slots: int) -> int:
    """Bytes."""
    return slots * _SLOT


class Lease:
    """As the keeper sees it. Places in the chunk are big-endian numbers of 2 bytes: of jobs that had begun, and of those
    that are done."""

    __slots__ = ("begun", "done", "token")

    def __init__(self, token: bytes, at: int, states: bytes) -> None:
        self.token = token
        self.begun, self.done = (
            b"".join([(at + i).to_bytes(2, "big") for i, state in enumerate(states) if state == wanted])
            for wanted in (BEGUN, DONE)
        )


class SharedStates:
    """Over a writable buffer of ``size_of(slots)`` zeros, or what another one has written there."""

    def __init__(self, buffer: memoryview, slots: int) -> None:
        self._all = buffer
        self._empty = list(range(slots - 1, -1, -1))
        self._taken: dict[bytes, int] = {}
        self._slots = slots

    @property
    def room(self) -> int:
        return len(self._empty)

    def take(self, token: bytes, at: int, count: int) -> memoryview:
        """The states of its jobs, all ``WAITING``."""
        slot = self._empty.pop()
        self._taken[token] = slot
        start = slot * _SLOT
        states = self._all[start + _START : start + _START + count]
        states[:] = bytes(count)
        _HEAD.pack_into(self._all, start, 0, at, count)
        _TOKEN.pack_into(self._all, start, int(token))
        return states

    def hide(self, token: bytes) -> None:
        """It is nobody's business any more, though its states may still change."""
        _TOKEN.pack_into(self._all, self._taken[token] * _SLOT, 0)

    def free(self, token: bytes) -> None:
        self.hide(token)
        self._empty.append(self._taken.pop(token))

    def tokens(self) -> list[bytes]:
        return [token for token, _ in self._found()]

    def leases(self) -> list[Lease]:
        found = []
        for token, start in self._found():
            _, at, count = _HEAD.unpack_from(self._all, start)
            found.append(Lease(token, at, bytes(self._all[start + _START : start + _START + count])))
        return found

    def _found(self) -> Iterator[tuple[bytes, int]]:
        for start in range(0, self._slots * _SLOT, _SLOT):
            token = _TOKEN.unpack_from(self._all, start)[0]
            if token:
                yield b"%d" % token, start
