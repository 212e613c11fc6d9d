"""Sources: every kind reads the same bytes, and what cannot be read says why."""

import gzip
import io
import json
import os
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from mailgenius.errors import SourceError
from mailgenius.importer.source import Digest, Source, open_source

TEXT = ("email,name\n" + "".join(f"user{i}@example.com,Zoë {i}\n" for i in range(20_000))).encode()


def read_all(source: Source, step: int = 100_003) -> bytes:
    view, out = memoryview(bytearray(step)), bytearray()
    while n := source.readinto(view):
        out += view[:n]
        assert n == step or source.readinto(view) == 0
    return bytes(out)


def zst(data: bytes, **options: Any) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(data)


def zst_stream(data: bytes, **options: Any) -> bytes:
    """A frame of many blocks that doesn't say how long its content is."""
    out = io.BytesIO()
    with zstandard.ZstdCompressor(**options).stream_writer(out, closefd=False) as writer:
        for at in range(0, len(data), 10_000):
            writer.write(data[at : at + 10_000])
            writer.flush()
    return out.getvalue()


PACKED = {
    "plain": TEXT,
    "gzip": gzip.compress(TEXT),
    "gzip with a name": b"\x1f\x8b\x08\x08\0\0\0\0\0\x03leads.csv\0" + gzip.compress(TEXT)[10:],
    "gzip members": b"".join(gzip.compress(TEXT[at : at + 777]) for at in range(0, len(TEXT), 777)),
    "gzip empty members": gzip.compress(b"") * 3 + gzip.compress(TEXT) + gzip.compress(b""),
    "gzip zero padding": gzip.compress(TEXT[:5000]) + bytes(100_000) + gzip.compress(TEXT[5000:]) + bytes(70_001),
    "gzip stored": gzip.compress(TEXT, 0),
    "zstd": zst(TEXT),
    "zstd checksum": zst(TEXT, write_checksum=True),
    "zstd without size": zst(TEXT, write_content_size=False),
    "zstd blocks": zst_stream(TEXT, write_checksum=True),
    "zstd frames": b"".join(zst(TEXT[at : at + 9999], write_checksum=True) for at in range(0, len(TEXT), 9999)),
    "zstd empty frames": zst(b"") * 3 + zst(TEXT) + zst(b""),
    "zstd skippable": b"\x5a\x2a\x4d\x18\x03\0\0\0abc" + zst(TEXT) + b"\x50\x2a\x4d\x18\0\0\0\0",
    "zstd long window": zst_stream(TEXT, compression_params=zstandard.ZstdCompressionParameters(window_log=27)),
}


@pytest.mark.parametrize("name", PACKED)
def test_every_kind_of_source_reads_the_same(name: str, tmp_path: Path) -> None:
    data = PACKED[name]
    path = tmp_path / "leads"
    path.write_bytes(data)
    digests = set()
    for make in (
        lambda: path,
        lambda: str(path),
        lambda: os.fsencode(path).decode(),
        lambda: data,
        lambda: bytearray(data),
        lambda: memoryview(data),
        lambda: io.BytesIO(data),
        lambda: path.open("rb"),
        lambda: path.open("rb", buffering=0),
        lambda: [data[at : at + 1000] for at in range(0, len(data), 1000)],
        lambda: (memoryview(data)[at : at + 70_001] for at in range(0, len(data), 70_001)),
    ):
        given = make()
        with open_source(given, block_bytes=50_000) as source:
            assert source.encoding == "utf-8"
            assert source.compression == (name.split()[0] if name != "plain" else None)
            assert source.peek(10) == TEXT[:10]
            assert source.peek(100_000) == TEXT[:100_000]
            assert source.peek(7) == TEXT[:7]
            assert read_all(source) == TEXT
            assert source.peek() == b""
            assert source.bytes_read == len(data)
            digests.add(source.digest())
            if source.can_rewind:
                source.rewind()
                assert source.bytes_read <= len(data)
                assert read_all(source, 65536) == TEXT
                assert source.digest() in digests
        if isinstance(given, io.IOBase):
            assert not given.closed
            given.close()
    assert len(digests) == 1


def test_a_path_tells_where_it_is_and_how_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_bytes(TEXT)
    monkeypatch.chdir(tmp_path)
    with open_source("a.csv") as source:
        assert (source.name, source.path, source.size) == ("a.csv", str(tmp_path / "a.csv"), len(TEXT))
        assert 0 < source.bytes_read < len(TEXT)
    source.close()
    with pytest.raises(SourceError, match="closed"):
        source.readinto(memoryview(bytearray(1)))


def test_text_files_and_text_iterables(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("email,nome\na@b.co,João\n".encode("cp1252"))
    with path.open(encoding="cp1252") as file, open_source(file) as source:
        assert read_all(source) == "email,nome\na@b.co,João\n".encode()
        assert (source.encoding, source.size, source.name) == ("utf-8", None, str(path))
        source.rewind()
        assert read_all(source) == "email,nome\na@b.co,João\n".encode()
    with open_source(["\ufeffemail\n", "", "Zoë@b.co\n", "\ud800x\n"]) as source:
        assert read_all(source) == "email\nZoë@b.co\n".encode() + b"\xed\xa0\x80x\n"
    with path.open(encoding="utf-8") as file, pytest.raises(SourceError, match="open the file in binary mode"):
        open_source(file)
    with pytest.raises(SourceError, match="yields str"):
        open_source(["email\n"], encoding="cp1252")


def test_a_file_object_is_read_from_where_it_stands() -> None:
    file = io.BytesIO(b"preamble\nemail\na@b.co\n")
    file.readline()
    with open_source(file) as source:
        assert read_all(source) == b"email\na@b.co\n"
        source.rewind()
        assert read_all(source) == b"email\na@b.co\n"


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(TEXT))
    writer.start()
    with open_source(path) as source:
        assert (source.path, source.size, source.can_rewind) == (None, None, False)
        assert read_all(source) == TEXT
        with pytest.raises(SourceError, match="only once"):
            source.rewind()
    writer.join()
    with open_source(iter([b"email\n"])) as source, pytest.raises(SourceError, match="only once"):
        source.rewind()


class ArrowLike:
    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        raise AssertionError("must not be consumed here")


def test_arrow_is_passed_on() -> None:
    table = ArrowLike()
    with open_source(table) as source:
        assert source.is_arrow
        assert source.arrow is table
        assert (source.name, source.path, source.size, source.bytes_read) == ("<arrow>", None, None, 0)
        assert source.digest() == bytes(16)
        for call in (source.peek, source.rewind):
            with pytest.raises(SourceError, match="Arrow"):
                call()


def test_what_is_not_a_source(tmp_path: Path) -> None:
    class Async:
        async def read(self, n: int) -> bytes:
            return b""

    class NonBlocking:
        def read(self, n: int) -> None:
            return None

    class Broken:
        def read(self, n: int) -> bytes:
            raise OSError("the line is dead")

    closed = io.BytesIO(b"email")
    closed.close()

    async def blocks() -> Any:
        yield b""

    for source, text in (
        (tmp_path / "no.csv", "does not exist"),
        ("email,name\na@b.co,x\n", "give it as bytes"),
        (tmp_path, "is a directory"),
        ("a\0b", "cannot be opened"),
        ("x" * 5000, "cannot be opened"),
        (tmp_path / "loop", "cannot be opened"),
        (b"", "is empty"),
        (io.BytesIO(), "is empty"),
        (io.StringIO(), "is empty"),
        ([], "is empty"),
        ([b"", b""], "is empty"),
        (b"\xef\xbb\xbf", "empty but for a byte order mark"),
        (gzip.compress(b""), "holds nothing once decompressed"),
        (zst(b""), "holds nothing once decompressed"),
        (42, "int is no source"),
        (None, "NoneType is no source"),
        ({"email": 1}, "a mapping is no source"),
        (blocks(), "asynchronous"),
        (Async(), "asynchronous"),
        (NonBlocking(), "non-blocking"),
        (Broken(), "the line is dead"),
        (closed, "reading failed"),
        ([b"email\n", 7], "item 1 is of type int"),
        ([["a@b.co"]], "item 0 is of type list"),
        ([b"email\n", "a@b.co\n"], "item 1 is str"),
        (["email\n", b"a@b.co\n"], "item 1 is bytes"),
    ):
        (tmp_path / "loop").unlink(missing_ok=True)
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        with pytest.raises(SourceError, match=text):
            read_all(open_source(source))


def test_other_kinds_of_file_are_named() -> None:
    docx = b"PK\x03\x04" + bytes(22) + b"\x13\0\0\0[Content_Types].xml"
    for data, text in (
        (docx, r"\.xlsx"),
        (b"PK\x03\x04" + bytes(26) + b"leads.csv", "ZIP"),
        (b"PK\x03\x04" + bytes(26) + b"xl/workbook.xml", "Excel workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), r"\.xls"),
        (b"%PDF-1.7\n", "PDF"),
        (b"PAR1\x15\x04", "Parquet"),
        (b"ARROW1\0\0", "Arrow file"),
        (b"\xff\xff\xff\xff\xf8\0\0\0\x10\0\0\0", "Arrow stream"),
        (b"BZh91AY&SY", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x04\x22\x4d\x18", "lz4"),
        (b"7z\xbc\xaf\x27\x1c\0", "archive"),
        (b"leads.csv" + bytes(248) + b"ustar\x0000", "tar archive"),
        (gzip.compress(b"leads.csv" + bytes(248) + b"ustar\x0000"), "inside the gzip data, this is a tar archive"),
        (zst(docx), "inside the zstd data"),
        (gzip.compress(gzip.compress(TEXT)), "compressed twice"),
        (b"SQLite format 3\0", "SQLite"),
        (b"\x89PNG\r\n\x1a\n", "picture"),
        (b"\n <!DOCTYPE html><title>Log in</title>", "HTML"),
        (b"<?xml version='1.0'?><rss/>", "XML"),
        (json.dumps([{"email": "a@b.co"}]).encode(), "JSON"),
        (b'{"email":"a@b.co"}\n', "JSON"),
    ):
        with pytest.raises(SourceError, match=text):
            open_source(data)


@pytest.mark.parametrize("name", [name for name in PACKED if name != "plain"])
def test_truncated_data_is_never_a_shorter_file(name: str) -> None:
    data = PACKED[name]
    kind = name.split()[0]
    compressed = data.rstrip(b"\0") if "padding" in name else data
    cuts = {1, 2, 3, 4, 7, len(compressed) // 2, len(compressed) // 3}
    for cut in sorted({len(compressed) - c for c in cuts} | {c + 12 for c in cuts}):
        if cut >= len(compressed) or len(compressed) - cut < 1:
            continue
        try:
            got = read_all(open_source(compressed[:cut]))
        except SourceError as exc:
            assert "breaks off" in str(exc) or "damaged" in str(exc) or "nothing once" in str(exc), exc  # noqa: PT017
            continue
        # What is whole members or frames is a whole file.
        assert any(word in name for word in ("members", "frames", "padding", "skippable")), (kind, cut, len(got))
        assert TEXT.startswith(got)


def test_damaged_and_mixed_data() -> None:
    for pack in (gzip.compress, lambda data: zst(data, write_checksum=True)):
        data = bytearray(pack(TEXT))
        data[len(data) // 2] ^= 0x55
        with pytest.raises(SourceError, match="damaged near byte"):
            read_all(open_source(data))
        with pytest.raises(SourceError, match="something that is not"):
            read_all(open_source(pack(TEXT) + b"email,name\n"))
    wrong_sum = bytearray(gzip.compress(TEXT))
    wrong_sum[-6] ^= 1
    with pytest.raises(SourceError, match="damaged"):
        read_all(open_source(wrong_sum))
    long = zst_stream(TEXT, compression_params=zstandard.ZstdCompressionParameters(window_log=28))
    with pytest.raises(SourceError, match="window of more than 128 MiB"):
        read_all(open_source(long))


def zeros(pack: Any, size: int) -> bytes:
    """Compressed spaces, made without holding them."""
    out = bytearray()
    for _ in range(size >> 20):
        out += pack.compress(b" " * (1 << 20))
    return bytes(out + pack.flush())


def test_bombs_are_stopped() -> None:
    gz = zeros(zlib.compressobj(9, zlib.DEFLATED, 31), 64 << 20)
    zs = zeros(zstandard.ZstdCompressor().compressobj(), 64 << 20)
    for data in (gz, zs):
        with open_source(data) as source, pytest.raises(SourceError, match=r"more than 200 times .* bomb"):
            source.readinto(memoryview(bytearray(64 << 20)))
        with open_source(data, max_expansion=1e6) as source:
            assert len(read_all(source, 1 << 20)) == 64 << 20
        with pytest.raises(SourceError, match="more than 1,000,000 bytes"):
            read_all(open_source(data, max_expansion=1e6, max_bytes=1_000_000))
    small = gzip.compress(b"email\n" + b"a@b.co\n" * 100_000)
    assert len(read_all(open_source(small))) == 700_006  # repeats itself more than 200 times, and is no danger
    for given in (TEXT, [TEXT]):
        with pytest.raises(SourceError, match="max_bytes"):
            read_all(open_source(given, max_bytes=len(TEXT) - 1))
        assert read_all(open_source(given, max_bytes=len(TEXT))) == TEXT


def change(path: Path, how: str) -> None:
    if how == "grow":
        with path.open("ab") as file:
            file.write(b"x@y.zz,late\n")
    elif how == "shrink":
        os.truncate(path, 300_000)
    elif how == "replace":
        other = path.with_suffix(".new")
        other.write_bytes(TEXT)
        other.replace(path)
    elif how == "rewrite":
        with path.open("r+b") as file:
            file.write(b"EMAIL")
        os.utime(path, (1, 1))
    else:
        path.unlink()


@pytest.mark.parametrize("how", ["grow", "shrink", "replace", "rewrite", "remove"])
def test_a_file_that_changes_while_it_is_read(how: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(TEXT)
    with open_source(path) as source:
        source.readinto(memoryview(bytearray(262_144 + 10_000)))
        source.check_unchanged()
        change(path, how)
        with pytest.raises(SourceError, match="while it was read"):
            source.check_unchanged()
        with pytest.raises(SourceError, match="while it was read"):
            read_all(source)
    path.write_bytes(TEXT)
    if how in ("grow", "shrink", "rewrite"):
        with path.open("rb", buffering=0) as file, open_source(file) as source:
            change(path, how)
            with pytest.raises(SourceError, match="while it was read"):
                read_all(source)


def test_the_digest_sees_every_byte_and_no_block_sizes() -> None:
    data = os.urandom(3_000_000)

    def digest(data: bytes, step: int) -> bytes:
        made = Digest()
        for at in range(0, len(data), step):
            made.update(memoryview(data)[at : at + step])
        assert made.digest() == made.digest()
        return made.digest()

    whole = digest(data, len(data))
    assert len(whole) == 16
    assert digest(data, 4096) == digest(data, 999_983) == whole
    for at in (0, 1_048_575, 1_048_576, 2_999_999):
        other = bytearray(data)
        other[at] ^= 1
        assert digest(bytes(other), 1 << 20) != whole
    assert digest(data[:-1], 1 << 20) != whole
    assert digest(data + b"\0", 1 << 20) != whole


def test_an_endless_device_is_bounded() -> None:
    with (
        open_source("/dev/zero", encoding="utf-8", max_bytes=10_000_000) as source,
        pytest.raises(SourceError, match="max_bytes"),
    ):
        read_all(source)


def test_exceptions_of_the_callers_own_generator_pass_through() -> None:
    def blocks() -> Iterator[bytes]:
        yield b"email\n" * 100_000
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        read_all(open_source(blocks()))
