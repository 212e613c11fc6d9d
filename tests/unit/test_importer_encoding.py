"""Which encoding: decided from evidence, given by the caller, and what comes out as UTF-8."""

import random

import pytest

from mailgenius.errors import SourceError
from mailgenius.importer import encoding
from mailgenius.importer.source import Source, open_source

PORTUGUESE = "e-mail;nome;cidade\njoao@exemplo.com.br;João Conceição;São Paulo\nana@exemplo.com.br;Ana Müller;Maceió\n"
EURO = "email,price\na@b.co,“10 €”\n"


def read_all(source: Source, step: int = 1 << 16) -> bytes:
    view, out = memoryview(bytearray(step)), bytearray()
    while n := source.readinto(view):
        out += view[:n]
    return bytes(out)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"email\na@b.co\n", "utf-8"),
        (PORTUGUESE.encode(), "utf-8"),
        (PORTUGUESE.encode("utf-8-sig"), "utf-8-sig"),
        (PORTUGUESE.encode("cp1252"), "cp1252"),
        (PORTUGUESE.encode("latin-1"), "cp1252"),
        (EURO.encode("cp1252"), "cp1252"),
        (PORTUGUESE.encode("utf-16"), "utf-16-le"),
        (b"\xfe\xff" + PORTUGUESE.encode("utf-16-be"), "utf-16-be"),
        (PORTUGUESE.encode("utf-16-le"), "utf-16-le"),
        (PORTUGUESE.encode("utf-16-be"), "utf-16-be"),
        ("email,名前\na@b.co,山田太郎\n".encode("utf-16-le"), "utf-16-le"),
        ("email,名前\na@b.co,山田太郎\n".encode(), "utf-8"),
        (PORTUGUESE.encode() * 3 + "x@y.co;José;Rio\n".encode("cp1252"), "utf-8"),  # one bad row, not a bad file
        (bytes(1000), "utf-8"),  # NULs alone: every row is reported
        (b"mg_line,mg_column,mg_reason,email\n7,,row.encoding,Jos\xe9@b.co\n", "utf-8"),
        (b"a\xe9", "cp1252"),
    ],
)
def test_decide(data: bytes, name: str) -> None:
    assert encoding.decide(data, True) == name


def test_a_character_cut_by_the_end_of_the_sample_is_no_evidence() -> None:
    data = "aé€𝄞".encode()
    for end in range(1, len(data) + 1):
        assert encoding.decide(data[:end], False) == "utf-8"
    assert encoding.decide(b"name\nJos\xe9", True) == "cp1252"
    assert encoding.decide(b"name\nJos\xe9, Rio", False) == "cp1252"
    for start in range(len(data)):
        assert encoding.decide(b"email\n", False, [data[start:], data[: start + 1]]) == "utf-8"


def test_later_samples_count() -> None:
    ascii_part = b"a@b.co,John\n" * 40_000
    data = b"email,name\n" + ascii_part * 50 + "ana@b.co,Conceição\n".encode("cp1252") * 40_000 + ascii_part
    assert len(data) > 1 << 24
    with open_source(data) as source:
        assert source.encoding == "cp1252"
    small = b"email,name\n" + ascii_part + "ana@b.co,Conceição\n".encode("cp1252")
    with open_source(small) as source:
        assert source.encoding == "cp1252"
        assert read_all(source).endswith("Conceição\n".encode())
    with open_source(data.replace("Conceição".encode("cp1252"), "Conceição".encode())) as source:
        assert source.encoding == "utf-8"


@pytest.mark.parametrize(
    "data",
    [
        "email;имя\na@b.co;Иван Петров\nc@d.co;Мария Смирнова\n".encode("cp1251"),
        "email,名前\na@b.co,山田太郎\nc@d.co,鈴木花子\n".encode("shift-jis"),
        "email,姓名\na@b.co,王小明\n".encode("gbk"),
        b"email\n" + random.Random(1).randbytes(10_000),
        PORTUGUESE.encode("utf-32"),
        b"\0\0\xfe\xff\0\0\0a",
    ],
    ids=["cp1251", "shift-jis", "gbk", "noise", "utf-32-le", "utf-32-be"],
)
def test_what_is_none_of_these_is_refused(data: bytes) -> None:
    with pytest.raises(SourceError, match=r"supported: utf-8"):
        encoding.decide(data, True)


def test_names() -> None:
    for name in ("utf-8", "UTF8", "utf_8", "ascii", "US-ASCII"):
        assert encoding.lookup(name) == "utf-8"
    for name in ("cp1252", "Windows-1252", "WINDOWS_1252"):
        assert encoding.lookup(name) == "cp1252"
    for name in ("latin-1", "latin1", "ISO-8859-1", "iso8859_1"):
        assert encoding.lookup(name) == "latin-1"
    assert encoding.lookup("UTF-16LE") == "utf-16-le"
    for name in ("klingon", "", "utf-7", "utf-32", "cp1250", "é"):
        with pytest.raises(SourceError, match="is not supported; these are: utf-8"):
            encoding.lookup(name)
    with pytest.raises(SourceError, match="<bytes>: the encoding 'big5' is not supported"):
        open_source(b"email\n", encoding="big5")


@pytest.mark.parametrize(
    ("data", "given", "name", "text"),
    [
        (PORTUGUESE.encode("utf-16"), "utf-16", "utf-16-le", PORTUGUESE.encode()),
        (b"\xfe\xff" + PORTUGUESE.encode("utf-16-be"), "utf-16", "utf-16-be", PORTUGUESE.encode()),
        (PORTUGUESE.encode("utf-16-be"), "utf-16", "utf-16-be", PORTUGUESE.encode()),
        ("Ж".encode("utf-16-le"), "utf-16", "utf-16-le", "Ж".encode()),
        (PORTUGUESE.encode("utf-16-le"), "utf-16-le", "utf-16-le", PORTUGUESE.encode()),
        (PORTUGUESE.encode("utf-16"), "utf-16-le", "utf-16-le", PORTUGUESE.encode()),
        (PORTUGUESE.encode("utf-16"), None, "utf-16-le", PORTUGUESE.encode()),
        (PORTUGUESE.encode("cp1252"), "windows-1252", "cp1252", PORTUGUESE.encode()),
        (EURO.encode("cp1252"), None, "cp1252", EURO.encode()),
        (EURO.encode("cp1252"), "latin-1", "latin-1", EURO.encode("cp1252").decode("latin-1").encode()),
        (PORTUGUESE.encode("utf-8-sig"), None, "utf-8-sig", PORTUGUESE.encode()),
        (PORTUGUESE.encode("utf-8-sig"), "utf-8", "utf-8-sig", PORTUGUESE.encode()),
        (PORTUGUESE.encode("utf-8-sig"), "latin-1", "latin-1", PORTUGUESE.encode().decode("latin-1").encode()),
        (PORTUGUESE.encode("cp1252"), "utf-8", "utf-8", PORTUGUESE.encode("cp1252")),
        (b"email\na@b.co,\x81\xe9\n", "cp1252", "cp1252", b"email\na@b.co,\xff\xc3\xa9\n"),
        ("email\na@b.co\n".encode("utf-16") + b"x", None, "utf-16-le", b"email\na@b.co\n\xff"),
        ("email\n".encode("utf-16-le") + b"\0\xd8a\0", "utf-16-le", "utf-16-le", b"email\n\xffa"),
        ("email\n𝄞".encode("utf-16"), None, "utf-16-le", "email\n𝄞".encode()),
    ],
)
def test_text_comes_out_as_utf8(data: bytes, given: str | None, name: str, text: bytes) -> None:
    for block in (1, 7, 1 << 20):
        for source in (data, [data[at : at + 3] for at in range(0, len(data), 3)]):
            with open_source(source, encoding=given, block_bytes=block) as opened:
                assert opened.encoding == name
                assert opened.peek(3) == text[:3]
                assert read_all(opened, 5) == text


def test_rewinding_keeps_the_decision() -> None:
    with open_source(PORTUGUESE.encode("utf-16"), block_bytes=16) as source:
        assert source.peek(5) == b"e-mai"
        assert read_all(source) == PORTUGUESE.encode()
        source.rewind()
        assert read_all(source) == PORTUGUESE.encode()
