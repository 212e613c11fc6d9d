"""How sorted runs are divided among connections, and how one division is merged into chunks.

A lane is a range of keys, ``lo < key <= hi``. Lanes never overlap, so connections never wait for one another, and each
one inserts in index order. Where a lane stands is one key: everything up to it is final.

There are more lanes than connections, and they grow shorter: whoever is done takes the next one, so all are done at
nearly the same time. (With one lane a connection, the slower one worked alone for a tenth of the time.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from mailgenius._native import Chunk, Merge
from mailgenius.importer.blocks import BlockStore, Run

__all__ = ["Lane", "chunks", "split"]

#: The least blocks (256 KiB each) in a lane: below that, its transaction costs more than an even finish brings.
MIN_BLOCKS_A_LANE = 4

_DONE, _MANY = -1, -3  # answers of Merge.next


class Lane(msgspec.Struct, frozen=True):
    number: int
    lo: bytes | None  # None: from the first key
    hi: bytes | None  # None: to the last


def split(runs: Sequence[Run], connections: int) -> list[Lane]:
    """Ranges in the order of their keys for so many connections, each half of one's share of what is left.

    Blocks are equally large, so their first keys are a fair sample.
    """
    keys = sorted(key for run in runs for key in run.keys)
    cuts: list[bytes] = []
    at = 0
    while connections > 1:
        at += max(MIN_BLOCKS_A_LANE, (len(keys) - at) // (2 * connections))
        if at + MIN_BLOCKS_A_LANE > len(keys):
            break
        if not cuts or keys[at] > cuts[-1]:
            cuts.append(keys[at])
    edges = [None, *cuts, None]
    return [Lane(i, edges[i], edges[i + 1]) for i in range(len(edges) - 1)]


def chunks(
    store: BlockStore, lo: bytes | None, hi: bytes | None, max_rows: int, on_many: Callable[[Chunk], None]
) -> Iterator[Chunk]:
    """The distinct records of a range in key order. The same Chunk object is filled again for every step.

    ``on_many`` is called when a chunk has met more duplicates than it can list; it is asked to take them.
    """
    runs = store.runs
    merge = Merge(len(runs), lo, hi)
    next_block = [run.first_block(lo) for run in runs]
    chunk = Chunk()
    while True:
        chunk.clear()
        while (answer := merge.next(chunk, max_rows)) >= 0 or answer == _MANY:
            if answer == _MANY:
                on_many(chunk)
                chunk.drop_duplicates()
                continue
            run, i = runs[answer], next_block[answer]
            if i == len(run.blocks) or (hi is not None and run.keys[i] > hi):
                merge.feed(answer, None)
            else:
                next_block[answer] = i + 1
                merge.feed(answer, store.read(run.blocks[i]))
        if len(chunk):
            yield chunk
        if answer == _DONE:
            return
