"""Which delimiter and which quote? Pure: the beginning of a text goes in, a ``Dialect`` comes out.

The header line is the best witness: names hardly ever hold a delimiter, while values do (tags, decimal commas, dates).
So a candidate must occur in the first record, and the one that gives most records as many fields as the first wins.
Quoted fields are blanked first, so delimiters and line ends inside them don't count. Limits: one byte each; 64 KiB of
text are plenty, more is cut.
"""

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["DELIMITERS", "Dialect", "sniff"]

DELIMITERS: Final = (b",", b";", b"\t", b"|")  # the earlier wins a tie
SAMPLE: Final = 1 << 16
_RECORDS: Final = 1000
# Excel writes and obeys a first line such as `sep=;`
_SEP = re.compile(rb'"?sep=([,;\t|:^~ ])"?[ \t]*(?:\r\n|\n|\r|\Z)', re.I)
_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the text is delimited.

    delimiter: one byte. quote: one byte, or b"" where quotes mean nothing. skip: bytes at the start that belong to no
    record (Excel's ``sep=`` line, one line).
    """

    delimiter: bytes
    quote: bytes
    skip: int = 0


def sniff(sample: bytes, complete: bool) -> Dialect:
    """The dialect of a text.

    sample: its first bytes as UTF-8, without byte order mark; complete: whether that is all of it. Never fails: text
    of one column has the dialect of RFC 4180.
    """
    skip, found = 0, _SEP.match(sample)
    if found:
        skip = found.end()
    text = sample[skip : skip + SAMPLE]
    complete = complete and len(text) == len(sample) - skip
    quote = _quote(text)
    if found:
        return Dialect(found.group(1), quote, skip)
    return Dialect(_delimiter(_blank(text, quote), complete), quote)


def _fields(quote: str) -> re.Pattern[bytes]:
    """A quoted field with what must stand before and behind it. Possessive, so that hostile text takes no longer."""
    before, body, after = r"(?:(?<=[,;\t|\r\n])|\A) *+", "Q[^Q]*+(?:QQ[^Q]*+)*+Q", r" *+(?=[,;\t|\r\n]|\Z)"
    return re.compile((before + body + after).replace("Q", quote).encode())


_QUOTED: Final = {quote.encode(): _fields(quote) for quote in ('"', "'")}
_OPENING: Final = {
    quote: re.compile(rb"(?:(?<=[,;\t|\r\n])|\A) *+" + quote + rb"[^,;\t|\r\n]") for quote in (b'"', b"'")
}


def _quote(text: bytes) -> bytes:
    """The quote that fields are enclosed in: `"` unless only `'` does it, none where `"` mostly fails to close.

    An apostrophe at the start of a word ('t Hooft) must not turn a text into one with `'` for a quote, nor an inch
    sign at the start of some fields turn off the quotes of the others.
    """
    closed = {quote: len(_QUOTED[quote].findall(text)) if quote in text else 0 for quote in _QUOTED}
    if not closed[b'"'] and closed[b"'"] > 1:
        opened = len(_OPENING[b"'"].findall(text))
        if closed[b"'"] >= 0.9 * opened:
            return b"'"
    if closed[b'"'] < 2 and b'"' in text:
        opened = len(_OPENING[b'"'].findall(text))
        if opened > 10 and opened > 10 * closed[b'"']:
            return b""
    return b'"'


def _blank(text: bytes, quote: bytes) -> bytes:
    if not quote or quote not in text:
        return text
    return _QUOTED[quote].sub(b"x", text)


def _delimiter(text: bytes, complete: bool) -> bytes:
    lines = _LINE_END.split(text, _RECORDS)
    if (len(lines) > _RECORDS or not complete) and len(lines) > 1:
        lines.pop()  # cut, or the rest
    lines = [line for line in lines if line.strip()]
    if not lines:
        return b","
    best, best_score = b",", 0.0
    for delimiter in DELIMITERS:
        counts = [line.count(delimiter) for line in lines]
        if not counts[0]:
            continue
        score = sum(count == counts[0] for count in counts) / len(counts)
        # Between equals (or nearly so) more columns are the better explanation.
        score += 0.001 * min(counts[0], 100)
        if score > best_score:
            best, best_score = delimiter, score
    return best
