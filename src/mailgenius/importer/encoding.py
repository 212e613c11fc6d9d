"""Which encoding is this text in? Pure: bytes in, a name out.

Order of evidence: a byte order mark, the NUL pattern of UTF-16, validity as UTF-8, and last the habit of spreadsheets
in Western Europe and the Americas, Windows-1252. A file that is mostly UTF-8 with a few bad bytes stays UTF-8 (those
rows are reported), for the other choice would garble every accent silently. Text that is neither is refused with a
request to name the encoding: a wrong guess writes nonsense into a database without anyone noticing.

Rules: the Unicode Standard, chapter 3.9 and 23.8 (UTF-8, byte order mark); the WHATWG index of windows-1252, except
that its five undefined bytes stay undefined here.
"""

import re
from collections.abc import Iterable
from typing import Final

from mailgenius._native import utf8_valid
from mailgenius.errors import SourceError

# What a caller may write -> what the rest of the importer knows.
_ALIASES: Final = {
    "utf8": "utf-8",
    "utf8sig": "utf-8-sig",
    "ascii": "utf-8",  # every ASCII file is UTF-8; a byte above 127 is an error in both unless it is valid UTF-8
    "usascii": "utf-8",
    "utf16": "utf-16",
    "utf16le": "utf-16-le",
    "utf16be": "utf-16-be",
    "cp1252": "cp1252",
    "windows1252": "cp1252",
    "latin1": "latin-1",
    "iso88591": "latin-1",
}
SUPPORTED: Final = (
    "utf-8, utf-16, utf-16-le, utf-16-be, cp1252 (windows-1252), latin-1 (iso-8859-1), ascii"  # for messages
)
_BOMS: Final = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_UTF32: Final = (b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")
_BAD = re.compile("[\udc80-\udcff]")
_PIECE: Final = 1 << 16  # bytes judged together
_COUNTED: Final = 16  # pieces of a kind that are counted in
_HIGH = re.compile(rb"[\x80-\xff]+")
_LONG = re.compile(rb"[\x80-\xff]{3,}")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_UNDEFINED: Final = bytes((0x81, 0x8D, 0x8F, 0x90, 0x9D))  # in windows-1252


def lookup(name: str) -> str:
    """The encoding a caller means: one of utf-8, utf-8-sig, utf-16, utf-16-le, utf-16-be, cp1252, latin-1.

    Raises SourceError for a name that is not supported.
    """
    found = _ALIASES.get(re.sub(r"[^a-z0-9]", "", name.casefold()))
    if found is None:
        raise SourceError(f"the encoding {name!r} is not supported; these are: {SUPPORTED}")
    return found


def bom(sample: bytes, encoding: str) -> int:
    """How many bytes at the start of the text are the byte order mark and not text, when read in this encoding."""
    for mark, name in _BOMS:
        if sample.startswith(mark) and (name == encoding or name == "utf-8-sig"):
            return len(mark)
    return 0


def given(sample: bytes, name: str) -> str:
    """The encoding to read in when the caller named one: it wins, and a mark settles what it leaves open."""
    encoding = lookup(name)
    if encoding in ("utf-8", "utf-8-sig"):
        return "utf-8-sig" if sample.startswith(b"\xef\xbb\xbf") else "utf-8"
    if encoding == "utf-16":
        return "utf-16-be" if sample.startswith(b"\xfe\xff") else _utf16(sample) or "utf-16-le"
    return encoding


def decide(sample: bytes, eof: bool, more: Iterable[bytes] = ()) -> str:
    """The encoding of a text from its first bytes.

    sample: the beginning (64 KiB or more are enough); eof: nothing follows it; more: pieces from further on, which may
    begin and end within a character. Returns utf-8, utf-8-sig, utf-16-le, utf-16-be or cp1252 (which reads every
    printable latin-1 text the same). Raises SourceError for UTF-32 and for bytes that are text in none of these.
    """
    if sample.startswith(_UTF32):
        raise SourceError(f"the text is UTF-32, which is not supported; save it as UTF-8 (supported: {SUPPORTED})")
    for mark, name in _BOMS:
        if sample.startswith(mark):
            return name
    if found := _utf16(sample):
        return found
    if sample.startswith(b"mg_line,") or sample.startswith((b"mg_line;", b"mg_line\t", b"mg_line|")):
        return "utf-8"  # our own rejects file: it is UTF-8 even where its bad rows are not
    whole = [sample if eof else _cut(sample), *(_cut(_begin(piece)) for piece in more)]
    if all(utf8_valid(piece) == len(piece) for piece in whole):
        return "utf-8"
    broken: list[bytes] = []
    sound: list[bytes] = []
    for piece in whole:
        for at in range(0, len(piece), _PIECE):
            part = _cut(_begin(piece[at : at + _PIECE])) if len(piece) > _PIECE else piece
            (sound if utf8_valid(part) == len(part) else broken).append(part)
    if not broken:  # a bad byte just where two pieces meet
        return "utf-8"
    good_there, bad = _evidence(broken)
    if good_there + _evidence(sound)[0] >= bad:
        return "utf-8"
    _must_be_western(_some(broken))
    return "cp1252"


def _some(pieces: list[bytes]) -> list[bytes]:
    """An even choice of them, for counting takes time."""
    return pieces[:: 1 + len(pieces) // _COUNTED]


def _evidence(pieces: list[bytes]) -> tuple[float, float]:
    """About how many characters above ASCII are whole UTF-8, and how many bytes are not."""
    chosen = _some(pieces)
    good = bad = 0
    for piece in chosen:
        # Only bytes above ASCII make up such characters, so the rest can be left out.
        text = b" ".join(_HIGH.findall(piece)).decode("utf-8", "surrogateescape")
        wrong = len(_BAD.findall(text))
        bad += wrong
        good += len(text) - text.count(" ") - wrong
    scale = len(pieces) / max(len(chosen), 1)
    return good * scale, bad * scale


def _utf16(sample: bytes) -> str | None:
    """UTF-16 without a mark: text in which delimiters, digits and addresses are ASCII has a NUL in every other byte."""
    head = sample[:4096]
    pairs = len(head) // 2
    if pairs < 2:
        return None
    even, odd = head[0 : 2 * pairs : 2].count(0), head[1::2].count(0)
    if odd >= 0.3 * pairs and even <= 0.02 * pairs:
        return "utf-16-le"
    if even >= 0.3 * pairs and odd <= 0.02 * pairs:
        return "utf-16-be"
    return None


def _must_be_western(pieces: Iterable[bytes]) -> None:
    """Refuses bytes that are unlikely to be Western European text.

    There, letters above ASCII stand alone or in pairs between ASCII letters, and the bytes that windows-1252 leaves
    undefined do not occur. Longer runs are the mark of Cyrillic, Greek or Asian encodings; control characters are the
    mark of binary data.
    """
    size = high = runs = undefined = control = 0
    for piece in pieces:
        size += len(piece)
        control += len(_CONTROL.findall(piece))
        above = b" ".join(_HIGH.findall(piece))
        high += len(above) - above.count(b" ")
        runs += sum(map(len, _LONG.findall(above)))
        undefined += sum(map(above.count, _UNDEFINED))
    if 2 * runs > high or 10 * undefined > high or 20 * control > size:
        raise SourceError(
            "the text is neither UTF-8 nor Western European (windows-1252); save it as UTF-8, or say what it is with "
            f"encoding= (supported: {SUPPORTED})"
        )


def _cut(data: bytes) -> bytes:
    """Without a character that the end of the sample cuts in two."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte < 0x80:
            break
        if byte >= 0xC0:
            size = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return data[:-back] if size > back else data
    return data


def _begin(data: bytes) -> bytes:
    """Without the rest of a character that began before the sample."""
    start = 0
    while start < min(3, len(data)) and 0x80 <= data[start] < 0xC0:
        start += 1
    return data[start:]


def map_bytes(name: str) -> bool:
    """Whether text in this encoding must be transcoded before the CSV kernel reads it."""
    return name not in ("utf-8", "utf-8-sig")
