"""A lease, the states of its jobs, and the calls that speak of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from .like import Like
from .states import GONE, SIZE

if TYPE_CHECKING:
    from .core import Core

__all__ = ["Ack", "Batch", "Entry", "Settle", "States", "id_of"]


class States(Protocol):
    """One byte a job."""

    def __getitem__(self, index: int, /) -> int: ...
    def __setitem__(self, index: int, state: int, /) -> None: ...


class Batch:
    """A lease: a range of positions of a chunk. ``ids``: what stands before the ids of its jobs outside of their shard."""

    __slots__ = (
        "at", "core", "count", "first", "ids", "lane", "left", "lost", "names", "new", "new_since", "state", "token"
    )  # fmt: skip
    core: Core  # whose it is

    def __init__(self, token: bytes, lane: str, first: int, count: int, state: States, ids: str = "") -> None:
        self.token, self.lane, self.first, self.count, self.ids = token, lane, first, count, ids
        self.at = first % SIZE  # the place of the first one in its chunk
        self.state = state
        self.names: list[str] = []
        self.left = count  # jobs that are neither done nor settled
        self.new: list[int] = []  # those done, not said yet
        self.new_since = 0.0
        self.lost = False

    def id(self, index: int) -> str:
        """In its shard."""
        return f"{self.lane}-{self.first + index}"

    def unsaid(self, new: list[int]) -> bytes:
        """Places in the chunk of the jobs that the lease is still for when ``new`` are said to be done."""
        if not self.left:
            return b""
        said, at, state = set(new), self.at, self.state
        return b"".join([(at + i).to_bytes(2, "big") for i in range(self.count) if i not in said and state[i] != GONE])

    def ranges(self, indexes: list[int]) -> str:
        """Their ids as events tell them: ``5-1 5-7..9``. Sorts them."""
        indexes.sort()
        first = indexes[0]
        if indexes[-1] - first == len(indexes) - 1 and "" not in self.names:
            return self._range(first, indexes[-1])
        found = []
        begin = previous = None
        for index in indexes:
            if not self.names[index]:
                continue  # it was removed
            if begin is None:
                begin = index
            elif index - 1 != previous:
                found.append(self._range(begin, previous))
                begin = index
            previous = index
        if begin is not None:
            found.append(self._range(begin, previous))
        return " ".join(found)

    def _range(self, begin: int, end: int | None) -> str:
        return self.id(begin) if end is None or begin == end else f"{self.id(begin)}..{self.first + end}"


#: A job that was leased: its batch, its place there, what it is like, its payload, its bytes.
Entry = tuple[Batch, int, Like, bytes, bytes]


def id_of(entry: Entry) -> str:
    """A job's id, as it is known outside of its shard."""
    batch, index, like = entry[:3]
    return batch.ids + (like.id or batch.id(index))


class Settle:
    """A call of settle.lua: jobs of one lease, each with its index and its seven words."""

    __slots__ = ("batch", "jobs", "keep")

    def __init__(self, batch: Batch, jobs: list[tuple[int, Sequence[Any]]], keep: int) -> None:
        self.batch, self.jobs, self.keep = batch, jobs, keep

    @property
    def words(self) -> list[Any]:
        found: list[Any] = [self.batch.token, self.keep]
        for _, job in self.jobs:
            found += job
        return found


class Ack:
    """A call of work.lua: its words, of which the first is its number, how many jobs it wants, and what it says is done."""

    __slots__ = ("said", "want", "words")

    def __init__(self, words: list[Any], want: int, said: list[tuple[Batch, list[int]]]) -> None:
        self.words, self.want, self.said = words, want, said

    @property
    def number(self) -> int:
        number: int = self.words[0]
        return number
