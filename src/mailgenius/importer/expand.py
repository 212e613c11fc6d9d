"""Decompression: gzip and Zstandard, recognised by their first bytes, bounded in memory and in what they may expand to.

Layers read from one another with ``readinto(view) -> int``: some bytes, at most ``len(view)``, or 0 at the end.
Invariants: what is held at once is one input window (64 KiB) and one output step (256 KiB), plus Zstandard's own
window, which may not pass 128 MiB. Compressed data that breaks off, or is followed by something else, is an error and
never a shorter file: rows would be lost without a word.

Rules: RFC 1952 (gzip; members may follow one another), RFC 8878 (Zstandard; so may frames).
"""

import re
from collections.abc import Callable
from typing import IO, Final, Protocol, cast

import zstandard
from isal import igzip_lib

from mailgenius.errors import SourceError

WINDOW: Final = 1 << 16  # bytes of compressed input taken at a time
STEP: Final = 1 << 18  # bytes of output made at a time: stays in the L2 cache until it is copied out
ZSTD_WINDOW: Final = 1 << 27  # what `zstd -d` accepts too unless told otherwise
FREE: Final = 10 << 20  # output below this is never called a bomb
GZIP: Final = b"\x1f\x8b"
ZSTD: Final = b"\x28\xb5\x2f\xfd"
_IsalError: Final = cast("type[Exception]", igzip_lib.IsalError)
_SKIPPABLE: Final = range(0x184D2A50, 0x184D2A60)

_UNZIP = "unpack it and import the text file in it"
_SAVE_AS_CSV = "open it there and save it as CSV (UTF-8)"
_KINDS: Final = (
    (re.compile(rb"PK\x03\x04.{26,}?xl/", re.S), "an Excel workbook (.xlsx)", _SAVE_AS_CSV),
    (re.compile(rb"PK\x03\x04.{26}\[Content_Types\]", re.S), "an Office document (.xlsx, .docx)", _SAVE_AS_CSV),
    (re.compile(rb"PK\x03\x04.{26}mimetypeapplication/vnd.oasis", re.S), "an OpenDocument file (.ods)", _SAVE_AS_CSV),
    (re.compile(rb"PK(\x03\x04|\x05\x06|\x07\x08)"), "a ZIP archive", _UNZIP),
    (re.compile(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), "an old Office file (.xls, .doc)", _SAVE_AS_CSV),
    (re.compile(rb"PAR1"), "a Parquet file", "read it with pyarrow or polars and import the table (Arrow)"),
    (re.compile(rb"ARROW1"), "an Arrow file", "read it with pyarrow or polars and import the table (Arrow)"),
    (
        re.compile(rb"\xff{4}.{4}[\x10\x0c\x14\x18]\x00\x00\x00", re.S),
        "an Arrow stream",
        "open it and import the reader",
    ),
    (re.compile(rb"Obj\x01"), "an Avro file", "convert it to CSV"),
    (re.compile(rb"%PDF-"), "a PDF document", "export the list as CSV where it comes from"),
    (re.compile(rb"BZh[1-9]1AY"), "bzip2-compressed", "unpack it, or compress it with gzip or zstd"),
    (re.compile(rb"\xfd7zXZ\x00"), "xz-compressed", "unpack it, or compress it with gzip or zstd"),
    (re.compile(rb"\x04\x22\x4d\x18"), "lz4-compressed", "unpack it, or compress it with gzip or zstd"),
    (re.compile(rb"7z\xbc\xaf\x27\x1c|Rar!\x1a\x07"), "an archive (.7z, .rar)", _UNZIP),
    (re.compile(rb".{257}ustar[\x00 ]", re.S), "a tar archive", _UNZIP),
    (re.compile(rb"SQLite format 3\x00"), "an SQLite database", "export the table as CSV"),
    (re.compile(rb"\{\\rtf"), "a rich text document", "save it as plain text"),
    (re.compile(rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a"), "a picture", "export the list as CSV where it comes from"),
    (re.compile(rb"\x7fELF|MZ[\x90\x00]"), "a program", "check the path"),
    (re.compile(rb"\s*(<!doctype html|<html|<head|<\?xml)", re.I), "HTML or XML", "export the list as CSV instead"),
    (re.compile(rb'\s*(\[\s*)?\{\s*"[^"]*"\s*:'), "JSON", "convert it to CSV"),
)


class Reader(Protocol):
    """A layer: fills a part of ``view`` and says how many bytes; 0 only at the end."""

    def readinto(self, view: memoryview, /) -> int: ...


class Peekable:
    """A reader whose next bytes can be looked at first."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._head = memoryview(b"")
        self._ended = False

    def peek(self, n: int) -> bytes:
        """The next ``n`` bytes, fewer only at the end; they stay to be read."""
        if len(self._head) < n and not self._ended:
            block = memoryview(bytearray(n))
            have = len(self._head)
            block[:have] = self._head
            while have < n:
                got = self._reader.readinto(block[have:])
                if not got:
                    self._ended = True
                    break
                have += got
            self._head = block[:have]
        return bytes(self._head[:n])

    def skip(self, n: int) -> None:
        """Drops bytes that were peeked at."""
        self._head = self._head[n:]

    def readinto(self, view: memoryview, /) -> int:
        if n := min(len(self._head), len(view)):
            view[:n] = self._head[:n]
            self._head = self._head[n:]
            return n
        if self._ended:
            return 0
        n = self._reader.readinto(view)
        self._ended = not n
        return n


def refuse(head: bytes, name: str, inside: str = "") -> None:
    """Raises SourceError when ``head`` begins something that is known not to be delimited text."""
    for pattern, what, remedy in _KINDS:
        if pattern.match(head):
            raise SourceError(f"{name}: {inside}this is {what}, not delimited text; {remedy}")


class Gzip:
    """RFC 1952 members, one behind the other; zeros behind the last one are padding (tapes, some uploads)."""

    def __init__(self, reader: Reader, name: str, offset: Callable[[], int]) -> None:
        self._reader, self._name, self._offset = reader, name, offset
        self._window = memoryview(bytearray(WINDOW))
        self._rest: memoryview | bytes = b""  # input not yet given to a decoder
        self._decoder: igzip_lib.IgzipDecompressor | None = None

    def _more(self) -> bool:
        n = self._reader.readinto(self._window)
        self._rest = self._window[:n]
        return n > 0

    def _next_member(self) -> bool:
        while True:
            if not self._rest and not self._more():
                return False
            start = bytes(self._rest).lstrip(b"\0")
            if len(start) == 1 and self._more():
                start += bytes(self._rest)
            self._rest = start
            if start:
                break
        if not bytes(self._rest[:2]) == GZIP:
            raise SourceError(
                f"{self._name}: near byte {self._offset():,}, something that is not gzip follows the compressed data; "
                "was the file put together from several?"
            )
        self._decoder = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        return True

    def readinto(self, view: memoryview, /) -> int:
        while True:
            if self._decoder is None and not self._next_member():
                return 0
            decoder = self._decoder
            assert decoder is not None  # noqa: S101
            given: memoryview | bytes = b""
            if decoder.needs_input:
                if not self._rest and not self._more():
                    raise SourceError(
                        f"{self._name}: the gzip data breaks off after {self._offset():,} bytes; "
                        "copy or download the file again"
                    )
                given, self._rest = self._rest, b""
            try:
                out = decoder.decompress(given, min(len(view), STEP))
            except (_IsalError, EOFError) as exc:
                raise SourceError(
                    f"{self._name}: the gzip data is damaged near byte {self._offset():,} ({exc}); "
                    "copy or download the file again"
                ) from exc
            if decoder.eof:
                self._rest = decoder.unused_data
                self._decoder = None
            if out:
                view[: len(out)] = out
                return len(out)


class Zstd:
    """RFC 8878 frames, one behind the other. zstandard decodes; what it does not tell, ``_Frames`` finds out."""

    def __init__(self, reader: Reader, name: str, offset: Callable[[], int]) -> None:
        self._input, self._name, self._offset = reader, name, offset
        self._window = memoryview(bytearray(WINDOW))
        self._frames = _Frames()
        decoder = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
        self._output = decoder.stream_reader(
            cast("IO[bytes]", self), read_size=WINDOW, read_across_frames=True, closefd=False
        )

    def read(self, n: int = -1) -> bytes:
        """Called by zstandard for input."""
        got = self._input.readinto(self._window[:n] if 0 <= n < WINDOW else self._window)
        data = bytes(self._window[:got])
        self._frames.feed(data)
        return data

    def readinto(self, view: memoryview, /) -> int:
        try:
            n = self._output.readinto(view[:STEP])
        except zstandard.ZstdError as exc:
            text = str(exc)
            if "too much memory" in text:
                raise SourceError(
                    f"{self._name}: the zstd data needs a window of more than {ZSTD_WINDOW >> 20} MiB; "
                    "compress it without --long"
                ) from exc
            if "Unknown frame" in text:
                raise SourceError(
                    f"{self._name}: near byte {self._offset():,}, something that is not zstd follows the compressed "
                    "data; was the file put together from several?"
                ) from exc
            raise SourceError(
                f"{self._name}: the zstd data is damaged near byte {self._offset():,} ({text}); "
                "copy or download the file again"
            ) from exc
        if not n and not self._frames.whole:
            raise SourceError(
                f"{self._name}: the zstd data breaks off after {self._offset():,} bytes; "
                "copy or download the file again"
            )
        return n


class _Frames:
    """Walks over zstd frames by their block headers, to know whether the input ended at the end of one.

    The decoder's stream interface ends quietly on truncated input, and the interface that does tell has no bound on
    what it puts out. A block header is 3 bytes for up to 128 KiB, so this costs nothing to speak of.
    """

    def __init__(self) -> None:
        self._skip = 0  # bytes to pass over
        self._head = b""  # the header being gathered
        self._state = "frame"  # what follows: a frame, a block, or the checksum that ends a frame
        self._checksum = False

    @property
    def whole(self) -> bool:
        return self._state == "frame" and not self._skip and not self._head

    def feed(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                continue
            if self._state == "checksum":
                self._skip, self._state = 4, "frame"
                continue
            need = self._need()
            part = data[at : at + need - len(self._head)]
            at += len(part)
            self._head += part
            if len(self._head) == need == self._need():
                self._header()

    def _need(self) -> int:
        """How long the header being gathered is, as far as its first bytes tell."""
        if self._state == "block":
            return 3
        if len(self._head) < 5:
            return 5
        if int.from_bytes(self._head[:4], "little") in _SKIPPABLE:
            return 8
        flags = self._head[4]
        single = flags >> 5 & 1
        content = (single, 2, 4, 8)[flags >> 6]
        return 5 + (1 - single) + (0, 1, 2, 4)[flags & 3] + content

    def _header(self) -> None:
        head, self._head = self._head, b""
        if self._state == "block":
            value = int.from_bytes(head, "little")
            last, kind, size = value & 1, value >> 1 & 3, value >> 3
            self._skip = 1 if kind == 1 else size  # kind 1: one byte, repeated
            if last:
                self._state = "checksum" if self._checksum else "frame"
        elif int.from_bytes(head[:4], "little") in _SKIPPABLE:
            self._skip = int.from_bytes(head[4:8], "little")
        else:  # a wrong magic number is the decoder's to report
            self._state, self._checksum = "block", bool(head[4] & 4)


class Cap:
    """Refuses data that expands too much: a small file must not fill the disk or the day."""

    def __init__(
        self, reader: Reader, name: str, offset: Callable[[], int], ratio: float | None, max_bytes: int | None
    ) -> None:
        self._reader, self._name, self._offset = reader, name, offset
        self._ratio, self._max_bytes = ratio, max_bytes
        self._made = 0

    def readinto(self, view: memoryview, /) -> int:
        n = self._reader.readinto(view)
        self._made += n
        if self._max_bytes is not None and self._made > self._max_bytes:
            raise SourceError(f"{self._name}: expands to more than {self._max_bytes:,} bytes (max_bytes)")
        if self._ratio is not None and self._made > FREE and self._made > self._ratio * max(self._offset(), 1):
            raise SourceError(
                f"{self._name}: expands to more than {self._ratio:,.0f} times its size (max_expansion), which looks "
                "like a decompression bomb; if it is not, give a higher max_expansion"
            )
        return n


def expand(
    source: Peekable, name: str, offset: Callable[[], int], max_expansion: float, max_bytes: int | None
) -> tuple[Peekable, str | None]:
    """The text inside ``source`` and how it was compressed: "gzip", "zstd" or None.

    offset says how many bytes were read so far, for messages. Raises SourceError for what is known not to be text, and
    later, while reading, for damaged, truncated or exploding data.
    """
    head = source.peek(4096)
    if not head:
        raise SourceError(f"{name}: is empty (0 bytes)")
    layer: Reader
    if head.startswith(GZIP):
        kind, layer = "gzip", Gzip(source, name, offset)
    elif head.startswith(ZSTD) or int.from_bytes(head[:4], "little") in _SKIPPABLE:
        kind, layer = "zstd", Zstd(source, name, offset)
    else:
        refuse(head, name)
        if max_bytes is None:
            return source, None
        return Peekable(Cap(source, name, offset, None, max_bytes)), None
    text = Peekable(Cap(layer, name, offset, max_expansion, max_bytes))
    head = text.peek(4096)
    if not head:
        raise SourceError(f"{name}: holds nothing once decompressed ({kind})")
    if head.startswith((GZIP, ZSTD)):
        raise SourceError(f"{name}: is compressed twice; unpack it once")
    refuse(head, name, f"inside the {kind} data, ")
    return text, kind
