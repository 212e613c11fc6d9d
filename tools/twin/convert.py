"""One module's text to its twin's. Pure but for ruff, which is given the text and gives it back in order."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator, Mapping

#: ``await pool.fetch(...)`` and ``async with`` in strings and comments; not the verb in a sentence.
_PROSE = re.compile(r"\bawait (?=[\w.]+\()|\basync (?=(?:with|for|def)\b)")
_TEXT = {tokenize.STRING, tokenize.COMMENT} | {
    number for number, name in tokenize.tok_name.items() if name == "FSTRING_MIDDLE"
}


def twin_name(stem: str) -> str:
    """pool_async -> pool_sync, _async -> _sync."""
    return re.sub(r"_async$", "_sync", stem)


def convert(text: str, source: str, rules: Mapping[str, str], used: Counter[str]) -> str:
    """The twin of ``text``, which stands in the file ``source``. ``used`` counts how often each rule served."""
    words = re.compile(rf"\b(?:{'|'.join(map(re.escape, rules))}|\w*_async)\b")

    def rename(match: re.Match[str]) -> str:
        word = match[0]
        if word in rules:
            used[word] += 1
            return rules[word]
        return twin_name(word)

    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    made, at = [f"# Made from {source} by `python -m tools.twin`: edit that one.\n"], 0
    for first, last, new in _edits(text, words, rename):
        begin = starts[first[0] - 1] + first[1]
        end = starts[last[0] - 1] + last[1]
        if not new:
            end += len(text[end:]) - len(text[end:].lstrip(" "))
        made += [text[at:begin], new]
        at = end
    return "".join([*made, text[at:]])


def _edits(text: str, words: re.Pattern[str], rename: object) -> Iterator[tuple[tuple[int, int], tuple[int, int], str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME and token.string in ("async", "await"):
            yield token.start, token.end, ""
        elif token.type == tokenize.NAME and words.fullmatch(token.string):
            yield token.start, token.end, words.sub(rename, token.string)  # type: ignore[call-overload]
        elif token.type in _TEXT:
            new = words.sub(rename, _PROSE.sub("", token.string))  # type: ignore[call-overload]
            if new != token.string:
                yield token.start, token.end, new


def in_order(text: str, path: str) -> str:
    """Imports sorted and lines laid out, as the project's own settings say."""
    for command in (["check", "--select", "I,F401", "--fix", "--quiet"], ["format", "--quiet"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--stdin-filename", path, "-"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        if not done.stdout:
            raise SystemExit(f"{path}: ruff {command[0]} failed: {done.stderr or 'no output'}")
        text = done.stdout
    return text
