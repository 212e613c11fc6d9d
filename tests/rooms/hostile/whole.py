"""Hostile sizes, compressed data, sources and headers."""

import gzip
import io
from collections.abc import Iterator
from pathlib import Path

import zstandard

from tests.rooms.hostile.case import HEADER, Case, good, table


def sizes() -> Iterator[Case]:
    yield Case("header only", HEADER, accepted=0)
    yield Case("header only, no line end", HEADER.rstrip(), accepted=0)
    yield Case("one byte", b"a", error="no e-mail column")
    yield Case("one newline", b"\n", error="no rows")
    yield Case("spaces and newlines", b" \n\t\n\r\n" * 100, error="no rows")
    yield Case("one address and nothing else", b"a@example.com", accepted=1)
    yield Case(
        "a field of 2 MiB",
        table(good(1), good(2, note=b"x" * (2 << 20)), good(3)),
        accepted=2,
        rejected={3: "field.too_long"},
    )
    yield Case(
        "a quoted field of 2 MiB",
        table(good(1), good(2, note=b'"%s"' % (b"x" * (2 << 20))), good(3)),
        accepted=2,
        rejected={3: "row.quote_unclosed"},
    )
    yield Case(
        "a quoted field of 2 MiB of lines",
        table(good(1), good(2, note=b'"' + b"x\n" * 20 + b"y" * (1 << 20) + b'"'), good(3)),
        accepted=2,
        rejected={
            line: "row.quote_unclosed" if line == 3 else "row.fields" if line < 23 else "field.too_long"
            for line in range(3, 24)
        },
    )
    yield Case(
        "an attribute beyond 10,000 characters",
        table(good(1, note=b"x" * 10_000), good(2, note=b"x" * 10_001)),
        accepted=1,
        rejected={3: "field.too_long"},
    )
    yield Case(
        "characters, not bytes",
        table(good(1, first_name="é".encode() * 200), good(2, first_name="é".encode() * 201)),
        accepted=1,
        rejected={3: "field.too_long"},
    )
    yield Case(
        "a record of 17 MiB",
        table(good(1), good(2)[:-1] + (b"," + b"y" * 500_000) * 35 + b"\n", good(3)),
        accepted=2,
        rejected={3: "row.too_long"},
    )
    wide = b"email" + b"".join(b",c%d" % i for i in range(1, 4096)) + b"\n"
    yield Case("4,096 columns", wide + b"a@example.com" + b",x" * 4095 + b"\n", accepted=1)
    yield Case(
        "4,097 columns in a row", wide + b"a@example.com" + b",x" * 4096 + b"\n", rejected={2: "row.too_many_columns"}
    )
    yield Case(
        "4,097 columns", wide[:-1] + b",z\na@example.com" + b",x" * 4096 + b"\n", error="first record.* cannot be read"
    )
    yield Case(
        "a million columns in a row",
        table(good(1), b"a@example.com" + b",x" * 1_000_000 + b"\n", good(3)),
        accepted=2,
        rejected={3: "row.too_many_columns"},
    )
    yield Case("a million columns", b"email" + b",x" * 1_000_000 + b"\n", error="line end|column")
    yield Case(
        "a million empty lines", HEADER + b"\n" * 1_000_000 + good(1, score=b"x"), rejected={1_000_002: "int.syntax"}
    )
    yield Case("a million spaces", HEADER + good(1, note=b" " * 1_000_000 + b"x"), accepted=1)
    yield Case("a line without an end", b"x" * 5_000_000, error="line end|column")


def packed() -> Iterator[Case]:
    text = table(*(good(i) for i in range(1, 2001)))
    gz, zst = gzip.compress(text), zstandard.ZstdCompressor(write_checksum=True).compress(text)
    for name, data in {"gzip": gz, "zstd": zst}.items():
        yield Case(f"{name} whole", data, accepted=2000)
        for part in (6, 12, len(data) // 4, len(data) // 2, len(data) - 9, len(data) - 1):
            yield Case(f"{name} cut at {part}", data[:part], error="breaks off|damaged|nothing once")
        yield Case(f"{name} with a byte changed", data[:-100] + bytes([data[-100] ^ 64]) + data[-99:], error="damaged")
        yield Case(f"{name} and text behind it", data + good(1), error="something that is not")
        yield Case(
            f"{name} twice", (gzip.compress if name == "gzip" else zstandard.compress)(data), error="compressed twice"
        )
    yield Case("gzip members", gz + gzip.compress(good(5001)), accepted=2001)
    yield Case("zstd frames", zst + zstandard.compress(good(5001)), accepted=2001)
    yield Case("gzip of nothing", gzip.compress(b""), error="nothing once")
    yield Case("gzip of a UTF-16 file", gzip.compress("email\na@example.com\n".encode("utf-16")), accepted=1)
    bomb = b"email\n" + b" " * (40 << 20)
    yield Case("a gzip bomb", lambda _: gzip.compress(bomb), error="bomb")
    yield Case("a zstd bomb", lambda _: zstandard.compress(bomb), error="bomb")
    for name, start in {
        "a ZIP archive": b"PK\x03\x04" + bytes(26) + b"leads.csv",
        "an Excel workbook": b"PK\x03\x04" + bytes(26) + b"xl/workbook.xml",
        "an old Excel file": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500),
        "a PDF": b"%PDF-1.7\n",
        "a Parquet file": b"PAR1" + bytes(100),
        "a picture": b"\x89PNG\r\n\x1a\n",
        "a web page": b"<!DOCTYPE html>\n<html>",
        "JSON": b'[{"email": "a@example.com"}]',
    }.items():
        yield Case(f"{name} instead of a CSV file", start, error="not delimited text")


def sources() -> Iterator[Case]:
    def file(folder: Path, data: bytes = b"email\na@example.com\n") -> Path:
        path = folder / "a file.csv"
        path.write_bytes(data)
        return path

    def link(folder: Path) -> Path:
        (folder / "loop").symlink_to(folder / "loop")
        return folder / "loop"

    def failing() -> Iterator[bytes]:
        yield table(*(good(i) for i in range(100)))
        raise OSError("the line is dead")

    yield Case("a path with a space", file, accepted=1)
    yield Case("a path as str", lambda folder: str(file(folder)), accepted=1)
    yield Case("a directory", lambda folder: folder, error="is a directory")
    yield Case("a file that is not there", lambda folder: folder / "no.csv", error="does not exist")
    yield Case("a link to itself", link, error="cannot be opened")
    yield Case("a path through a file", lambda folder: file(folder) / "x", error="cannot be opened")
    yield Case("an empty file", lambda folder: file(folder, b""), error="is empty")
    yield Case("/dev/null", lambda _: "/dev/null", error="is empty")
    yield Case("text where a path is wanted", lambda _: "email\na@example.com\n", error="give it as bytes")
    yield Case("no source at all", lambda _: None, error="is no source")
    yield Case(
        "blocks that end anywhere", lambda _: (table(good(1), good(2))[i : i + 1] for i in range(999)), accepted=2
    )
    yield Case("blocks of a wrong type", lambda _: [HEADER, 7], error="item 1 is of type int")
    yield Case("rows where blocks are wanted", lambda _: [["a@example.com"]], error="item 0 is of type list")
    yield Case("blocks that fail", lambda _: failing(), error="the line is dead")
    yield Case("a text file", lambda folder: io.StringIO("email\na@example.com\n"), accepted=1)
    yield Case(
        "text with half a surrogate pair",
        lambda folder: io.StringIO("email,x\na@example.com,\ud800\n"),
        rejected={2: "row.encoding"},
    )


def headers() -> Iterator[Case]:
    row = b"a@example.com,x\n"
    yield Case("no e-mail column", b"id,name\n1,x\n", error="no e-mail column; the columns are 'id', 'name'")
    yield Case(
        "two that may be it", b"a,b\na@example.com,b@example.com\n", options={"has_header": True}, error="several"
    )
    yield Case("none is called e-mail, one holds them", b"id,login\n1,a@example.com\n2,b@example.com\n", accepted=2)
    yield Case("no header", b"a@example.com,x\nb@example.com,y\n", accepted=2)
    yield Case("duplicate headers", b"email,x,x,x\na@example.com,1,2,3\n", accepted=1)
    yield Case("duplicate e-mail columns", b"email,email\na@example.com,b@example.com\n", accepted=1)
    yield Case("empty headers", b"email,,,\na@example.com,1,2,3\n", accepted=1)
    yield Case("a header of control characters", b"email,a\x01\x02\tb\x7f\n" + row, accepted=1)
    yield Case("a header with a NUL", b"email,a\0b\n" + row, accepted=1)
    yield Case("a header that turns the text round", "email,\u202ebc\n".encode() + row, accepted=1)
    yield Case("a header with bad bytes", b"email,na\xffme\n" + row, accepted=1, options={"encoding": "utf-8"})
    yield Case("a header of 100,000 characters", b"email," + b"h" * 100_000 + b"\n" + row, accepted=1)
    yield Case("a header for SQL", b'email,"x\'); drop table mailgenius.leads; --"\n' + row, accepted=1)
    yield Case("a header for format strings", b"email,%s %(x)s {0} $1\n" + row, accepted=1)
    yield Case("a header for JSON", b'email,"a""b\\c\x08\n/\xe2\x80\xa8"\n' + row, accepted=1)
    yield Case("a header for JavaScript", b"email,__proto__\n" + row, accepted=1)
    yield Case(
        "a column that is not there",
        b"email,x\n" + row,
        error="no column 'mail'",
        options={"columns": {"mail": "email"}},
    )
    yield Case(
        "the e-mail column ignored",
        b"email,x\n" + row,
        error="no e-mail column",
        options={"columns": {"email": "ignore"}},
    )
    yield Case(
        "our rejects file", b"mg_line,mg_column,mg_reason,email\n7,email,email.no_at,a@example.com\n", accepted=1
    )
