"""Types of the compiled core. Each section mirrors one .pxi of src/_native."""

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer, disjoint_base

# isa.pxi
REASONS: tuple[str, ...]
REASON_TEXTS: tuple[str, ...]

def isa() -> str: ...
def isas() -> list[str]: ...
def force_isa(name: str) -> None: ...

__all__ = ["REASONS", "REASON_TEXTS", "force_isa", "isa", "isas"]

# csv.pxi
@disjoint_base
class Batch:
    def __len__(self) -> int: ...
    def row(self, i: int) -> list[bytes]: ...
    def line(self, i: int) -> int: ...
    def raw(self, i: int) -> bytes: ...
    def error(self, i: int) -> tuple[int, int]: ...
    def clear(self) -> None: ...

@disjoint_base
class CsvScanner:
    def __init__(
        self,
        *,
        delimiter: bytes = b",",
        quote: bytes = b'"',
        trim: bool = True,
        max_field: int = 1 << 20,
        max_row: int = 16 << 20,
        max_columns: int = 4096,
        line: int = 1,
    ) -> None: ...
    @property
    def line(self) -> int: ...
    def scan(self, batch: Batch, data: Buffer, start: int, end: int, eof: bool, max_rows: int = 65536) -> int: ...

def csv_structure(data: Buffer, delimiter: bytes = b",", quote: bytes = b'"') -> tuple[int, int, bool, bool]: ...

__all__ += ["Batch", "CsvScanner", "csv_structure"]

# text.pxi
def utf8_valid(data: Buffer) -> int: ...
def transcode(data: Buffer, encoding: str, eof: bool) -> tuple[bytes, int]: ...

__all__ += ["transcode", "utf8_valid"]

# address.pxi
ALLOW_QUOTED: int
ALLOW_SPECIAL_USE: int

def address_check(address: Buffer, options: int = 0) -> tuple[int, int, bytes | None]: ...
def address_accept(given: str, known: dict[bytes, bytes | int], options: int = 0) -> str | None: ...
def address_list_open(
    addresses: list[Any], known: dict[bytes, bytes | int], options: int, reasons: Buffer | NDArray[Any]
) -> list[int]: ...
def address_reason(address: bytes, options: int = 0) -> int: ...
def address_normalize(address: str, options: int = 0) -> str | int: ...
def address_list(
    addresses: list[Any], options: int, reasons: Buffer | NDArray[Any], keep: bool = False
) -> list[Any] | None: ...
def address_offsets(
    data: Buffer | NDArray[Any],
    offsets: Buffer | NDArray[Any],
    options: int,
    reasons: Buffer | NDArray[Any],
    normalized: Buffer | NDArray[Any] | None = None,
) -> None: ...
def address_offsets32(
    data: Buffer | NDArray[Any],
    offsets: Buffer | NDArray[Any],
    options: int,
    reasons: Buffer | NDArray[Any],
    normalized: Buffer | NDArray[Any] | None = None,
) -> None: ...

@disjoint_base
class AddressColumn:
    def __init__(self, column: object) -> None: ...
    def __len__(self) -> int: ...
    def __getitem__(self, row: int) -> bytes | None: ...
    def open(self, known: dict[bytes, bytes | int], options: int, reasons: Buffer | NDArray[Any]) -> list[int]: ...
    def check(self, options: int, reasons: Buffer | NDArray[Any]) -> None: ...

__all__ += [
    "ALLOW_QUOTED",
    "ALLOW_SPECIAL_USE",
    "AddressColumn",
    "address_accept",
    "address_check",
    "address_list",
    "address_list_open",
    "address_normalize",
    "address_offsets",
    "address_offsets32",
    "address_reason",
]

# encode.pxi
ATTRIBUTE: int
IGNORE: int
DATES: tuple[str, ...]
LEAD_FIELDS: tuple[str, ...]

@disjoint_base
class Plan:
    def __init__(
        self,
        targets: Sequence[int],
        max_chars: Sequence[int],
        names: Sequence[str],
        *,
        pad: bool = False,
        address_options: int = 0,
        dates: int = 0,
        tag_separator: int = 0,
        tags: Sequence[str] = (),
        quote: int = 34,
        untrimmed: bool = False,
    ) -> None: ...

@disjoint_base
class Records:
    @property
    def count(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def encode(self, plan: Plan, batch: Batch) -> None: ...
    def encode_row(self, plan: Plan, batch: Batch, row: int, email: bytes) -> None: ...
    def take_problems(self) -> list[tuple[int, int, int, int]]: ...
    def tobytes(self) -> bytes: ...
    def clear(self) -> None: ...

def parse_timestamp(text: bytes, dates: int = 0) -> int | None: ...

__all__ += ["ATTRIBUTE", "DATES", "IGNORE", "LEAD_FIELDS", "Plan", "Records", "parse_timestamp"]

# arrow.pxi
@disjoint_base
class ArrowReader:
    names: list[str]
    def __init__(self, table: object) -> None: ...
    def next(self, batch: Batch) -> bool: ...

__all__ += ["ArrowReader"]

# seen.pxi
@disjoint_base
class EmailSet:
    def __new__(cls, expected: int = 0) -> Self: ...
    def __len__(self) -> int: ...
    def __contains__(self, address: str | bytes, /) -> bool: ...
    @property
    def nbytes(self) -> int: ...
    def add(self, address: str | bytes) -> bool: ...
    def add_many(self, addresses: Sequence[str | bytes] | tuple[Buffer, Buffer]) -> NDArray[np.uint32]: ...

__all__ += ["EmailSet"]

# sort.pxi
@disjoint_base
class Sorted:
    def __init__(self, records: Records | Buffer) -> None: ...
    def __len__(self) -> int: ...
    def next_block(self, size: int = 262144) -> bytes | None: ...

def block_key(block: Buffer) -> bytes: ...

@disjoint_base
class Chunk:
    def __len__(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def duplicate_count(self) -> int: ...
    def drop_duplicates(self) -> None: ...
    def clear(self) -> None: ...
    def key(self, i: int) -> bytes: ...
    def line(self, i: int) -> int: ...
    def duplicates(self, start: int = 0, stop: int | None = None) -> list[tuple[int, int, bytes]]: ...
    def keys(self, mask: Buffer | None = None, want: int = 0) -> bytes: ...
    def copy(
        self,
        mask: Buffer | None,
        want: int,
        fields: int,
        head: bytes,
        head_fields: int,
        defaults: Sequence[bytes] = (),
        max_bytes: int = 1048576,
    ) -> Iterator[bytes]: ...

@disjoint_base
class Merge:
    def __new__(cls, inputs: int, lo: bytes | None = None, hi: bytes | None = None) -> Self: ...
    def feed(self, which: int, block: Buffer | None) -> None: ...
    def next(self, chunk: Chunk, max_records: int = 50000, max_bytes: int = 33554432) -> int: ...

__all__ += ["Chunk", "Merge", "Sorted", "block_key"]
