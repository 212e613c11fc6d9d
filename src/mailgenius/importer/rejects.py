"""The rejects file: every row that was refused, where it stood, why, and the record as it was.

It is delimited like the source, begins with the columns mg_line, mg_column and mg_reason, and can be imported once it
is corrected (those three are passed over then). A record is written as it stood, byte for byte, bad bytes included,
unless its quotes would swallow the records after it: then its fields are quoted afresh. Nothing is added against
spreadsheets that take "=…" for a formula: it is the caller's own data, and must come back unchanged.

The file is written in place. An import that dies leaves a file that is complete up to the last ``flush``.
"""

import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from mailgenius.errors import ConfigError
from mailgenius.importer.dialect import Dialect

__all__ = ["COLUMNS", "RejectsWriter"]

COLUMNS: Final = (b"mg_line", b"mg_column", b"mg_reason")
_BUFFER: Final = 1 << 20


class RejectsWriter:
    """Writes a rejects file.

    target: a path (replaced if it is there) or a file object of the caller's, binary or text (a text file cannot take
    bytes that are not UTF-8: they become U+FFFD). header: names of the source's columns. dialect: the source's.
    source: the source's path, which the rejects must not overwrite. Raises ConfigError if the file can't be opened;
    writing raises OSError when the disk is full.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | Any,
        header: Sequence[bytes],
        dialect: Dialect,
        *,
        source: str | None = None,
    ) -> None:
        self.count = 0
        self._delimiter, self._quote = dialect.delimiter, dialect.quote
        self._sound, self._field = _patterns(dialect.delimiter, dialect.quote)
        self._must_quote = re.compile(rb"[\r\n" + re.escape(self._delimiter + self._quote) + rb"]|\A[ \t]|[ \t]\Z")
        # The source is a rejects file itself: its old verdicts give way to the new ones.
        self._again = tuple(header[:3]) == COLUMNS
        self._buffer = bytearray()
        self._own = isinstance(target, str | os.PathLike)
        self._text = False
        if self._own:
            path = Path(target)
            try:
                if source is not None and path.exists() and Path(source).exists() and path.samefile(source):
                    raise ConfigError(f"rejects: {str(path)!r} is the source itself; give another path")
                self._file: Any = path.open("wb", buffering=0)
            except OSError as exc:
                raise ConfigError(f"rejects: {str(path)!r} cannot be written: {exc.strerror or exc}") from exc
        else:
            self._file = target
            self._text = isinstance(target, io.TextIOBase) or (
                not hasattr(target, "mode") and hasattr(target, "encoding")
            )
        names = header[3:] if self._again else header
        self._put(self._delimiter.join([*COLUMNS, *(self._quoted(name) for name in names)]))

    def write(self, line: int, column: str, reason: str, raw: bytes, fields: Sequence[bytes] | None = None) -> None:
        """Adds a row.

        line: where its record begins in the source; column: header name of the field at fault, or ""; reason: code;
        raw: the record as it stood, without its line end; fields: its values, written where there is no raw (Arrow).
        """
        self.count += 1
        if self._again:
            raw, fields = self._without_verdict(raw), fields[3:] if fields else fields
        if raw or not fields:
            if (self._quote and self._quote in raw) or b"\n" in raw or b"\r" in raw:
                record = raw if self._sound.fullmatch(raw) else self._repaired(raw)
            else:
                record = raw
        else:
            record = self._delimiter.join(map(self._quoted, fields))
        name = self._quoted(column.encode("utf-8", "replace")) if column else b""
        self._put(self._delimiter.join((b"%d" % line, name, reason.encode(), record)))

    def flush(self) -> None:
        """Hands everything to the file."""
        data, self._buffer = bytes(self._buffer), bytearray()
        if data:
            if self._text:
                self._file.write(data.decode("utf-8", "replace"))
            elif self._own:  # unbuffered: a write may take a part
                view = memoryview(data)
                while len(view):
                    view = view[self._file.write(view) :]
            else:
                self._file.write(data)
        if hasattr(self._file, "flush"):
            self._file.flush()

    def close(self) -> None:
        """Writes what is left, and closes the file if it was opened here. May be called twice."""
        if self._file is None:
            return
        try:
            self.flush()
        finally:
            if self._own:
                self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _put(self, record: bytes) -> None:
        self._buffer += record
        self._buffer += b"\n"
        if len(self._buffer) >= _BUFFER:
            self.flush()

    def _quoted(self, value: bytes) -> bytes:
        """A field, in quotes if it needs them; without quotes in the dialect what would break the record is blanked."""
        if not self._must_quote.search(value):
            return value
        if not self._quote:
            return value.translate(bytes.maketrans(b"\r\n" + self._delimiter, b"   "))
        return self._quote + value.replace(self._quote, self._quote * 2) + self._quote

    def _repaired(self, raw: bytes) -> bytes:
        """A record whose quotes don't close, with the fields it seems to have: those that are sound as they stand."""
        parts, at = [], 0
        while True:
            found = self._field.match(raw, at)
            if found is not None and (found.end() == len(raw) or raw.startswith(self._delimiter, found.end())):
                end = found.end()
                parts.append(found.group())
            else:
                end = raw.find(self._delimiter, at)
                end = len(raw) if end < 0 else end
                parts.append(self._quoted(raw[at:end]))
            if end >= len(raw):
                return self._delimiter.join(parts)
            at = end + 1

    def _without_verdict(self, raw: bytes) -> bytes:
        at = 0
        for _ in COLUMNS:
            found = self._field.match(raw, at)
            if found is None or not raw.startswith(self._delimiter, found.end()):
                return raw
            at = found.end() + 1
        return raw[at:]


def _patterns(delimiter: bytes, quote: bytes) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """What the CSV kernel reads as one whole record, and as one whole field."""
    d = re.escape(delimiter)
    plain = rb"[^\r\n" + d + rb"]*+"
    field = plain
    if quote:
        q = re.escape(quote)
        blank = rb"[ ]*+" if delimiter == b"\t" else rb"[ \t]*+"
        start = rb"(?!" + blank + q + rb")"
        field = (
            blank + q + rb"[^" + q + rb"]*+(?:" + q + q + rb"[^" + q + rb"]*+)*+" + q + plain + rb"|" + start + plain
        )
    return re.compile(rb"(?:" + field + rb")(?:" + d + rb"(?:" + field + rb"))*+"), re.compile(field)
