"""Delimiter and quote from the first bytes of a text."""

import csv
import io
import random

import pytest

from mailgenius.importer.dialect import Dialect, sniff

C, S, T, P = b",", b";", b"\t", b"|"


@pytest.mark.parametrize(
    ("text", "delimiter", "quote", "skip"),
    [
        (b"", C, b'"', 0),
        (b"\n\r\n", C, b'"', 0),
        (b"email", C, b'"', 0),
        (b"email\na@b.co\nc@d.co\n", C, b'"', 0),
        (b"email,name\na@b.co,x\n", C, b'"', 0),
        (b"email;name\na@b.co;x\n", S, b'"', 0),
        (b"email\tname\na@b.co\tx\n", T, b'"', 0),
        (b"email|name\na@b.co|x\n", P, b'"', 0),
        (b"email;name\ra@b.co;x\r", S, b'"', 0),
        (b"email;name\r\na@b.co;x\r\n", S, b'"', 0),
        (b"email,tags\na@b.co,vip;new;x\nb@b.co,a;b;c\n", C, b'"', 0),
        (b"email;score;city\na@b.co;1,5;Rio, RJ\nb@b.co;2,5;Bel, PA\n", S, b'"', 0),
        (b'email;name\na@b.co;"Smith, J, K"\nb@b.co;"Doe, J, L"\n', S, b'"', 0),
        (b'"Last, first";email\n"Smith, J";a@b.co\n', S, b'"', 0),
        (b'email;note\na@b.co;"one\ntwo, three, four\nfive"\nb@b.co;x\n', S, b'"', 0),
        (b'email,note\na@b.co,"say ""hi; you"""\nb@b.co,"a;b"\n', C, b'"', 0),
        (b"'email','name'\n'a@b.co','O''Neil, P'\n", C, b"'", 0),
        (b"email,name\na@b.co,'t Hooft\nb@b.co,O'Neil\n", C, b'"', 0),
        (b"email,name\na@b.co,'t Hooft'\n", C, b'"', 0),
        (b"email,size\n" + b'a@b.co,"5 inch\n' * 50, C, b"", 0),
        (b'email,size\na@b.co,"open\n' + b"b@b.co,x\n" * 50, C, b'"', 0),
        (b"sep=;\r\nemail;name\r\na@b.co;x\r\n", S, b'"', 7),
        (b'"sep=|"\nemail|name\n', P, b'"', 8),
        (b"SEP=,\nemail,name\n", C, b'"', 6),
        (b"sep=\t\nemail\tname\n", T, b'"', 6),
        (b"sep=:\nemail:name\n", b":", b'"', 6),
        (b"email, name , city\na@b.co , x, y\n", C, b'"', 0),
        (b'email , "name, x"\na@b.co , "y, z"\n', C, b'"', 0),
        (b"a@b.co;Ana;Rio, RJ\nb@b.co;Bob;Campinas, SP\nc@b.co;Cy;Itu, SP\n", S, b'"', 0),
        (b"email,first,last\na@b.co,x\nb@b.co,x,y,z\nc@b.co,x,y\n", C, b'"', 0),
        (b"email;a,b;c\nx@y.co;1,2;3\nz@y.co;1,2;3\n", S, b'"', 0),
        ("e-mail;nome;observação\nx@y.co;João;a, b\n".encode(), S, b'"', 0),
    ],
)
def test_sniff(text: bytes, delimiter: bytes, quote: bytes, skip: int) -> None:
    assert sniff(text, True) == Dialect(delimiter, quote, skip)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_what_the_csv_module_writes(delimiter: str, quote: str, quoting: int, end: str) -> None:
    rng = random.Random(f"{delimiter}{quote}{quoting}{end}")
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, quotechar=quote, quoting=quoting, lineterminator=end)
    writer.writerow(["email", "name", "city", "tags", "score"])
    for i in range(500):
        # A field that begins with the other quote would be honest evidence for it.
        writer.writerow(
            [
                f"user{i}@example.com",
                rng.choice(["Ana", "d'Arc, Joan", "Ana; Bia", 'the "boss", she', "x|y", "a\tb", "two\nlines, here"]),
                rng.choice(["Rio, RJ", "Itu", "São Paulo; SP", ""]),
                rng.choice(["vip;new", "a,b,c", "x|y|z", ""]),
                str(i / 10).replace(".", ","),
            ]
        )
    data = out.getvalue().encode()
    for size in (1000, 20_000, len(data)):
        assert sniff(data[:size], size == len(data)) == Dialect(delimiter.encode(), quote.encode())


def test_a_sample_that_ends_anywhere() -> None:
    data = "email;name;note\n" + 'a@b.co;"Smith, J";"x\ny, z"\n' * 20
    for end in range(5, len(data)):
        assert sniff(data.encode()[:end], False).quote == b'"'
        if end > 20:
            assert sniff(data.encode()[:end], False).delimiter == b";"


def test_noise_neither_fails_nor_takes_long() -> None:
    rng = random.Random(7)
    for _ in range(300):
        data = bytes(rng.choices(b"\"',;\t|\r\n ab", k=rng.randrange(300)))
        sniff(data, rng.random() < 0.5)
    for data in (
        b'"' * 200_000,
        b'"a' * 100_000,
        b'""",' * 50_000,
        b" " * 200_000,
        b',"' + b" \t" * 100_000,
        b"'\"" * 99_999,
    ):
        sniff(data, True)
