"""The driver of the pool benchmark: every caller asks its own questions, wrong answers end the run, all time counts."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.peers import _calls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

EMAILS = [f"{name}@example.com" for name in "abcde"]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(_calls, "WARM", 0.0)  # one question of each caller
    file = tmp_path / "emails"
    file.write_text("\n".join(EMAILS) + "\n", encoding="utf-8")
    return str(file)


def load(kind: str, path: str, answer: dict[str, str], asked: list[Any], **keywords: Any) -> _calls.Calls:
    """Runs the driver of a kind over a rival that answers from ``answer``."""

    def ask(args: tuple[str, ...]) -> list[tuple[object, ...]]:
        asked.append(args)
        return [(answer.get(args[0], args[0]),) if args else (1,)]

    async def ask_async(args: tuple[str, ...]) -> list[tuple[object, ...]]:
        return ask(args)

    @contextlib.contextmanager
    def opened(_conninfo: str, _question: str) -> Iterator[Any]:
        yield ask

    @contextlib.asynccontextmanager
    async def opened_async(_conninfo: str, _question: str) -> AsyncIterator[Any]:
        yield ask_async

    run = _calls.threads(opened) if kind == "threads" else _calls.tasks(opened_async)
    return run(path, "", **keywords)


@pytest.mark.parametrize("kind", ["threads", "tasks"])
@pytest.mark.parametrize("question", list(_calls.QUESTIONS))
def test_every_caller_asks_and_is_counted(kind: str, question: str, path: str) -> None:
    asked: list[Any] = []
    found = load(kind, path, {}, asked, question=question, callers=5, seconds=0.0)
    assert found.calls == 5
    assert 0 < found.p50 <= found.p99 <= found.seconds
    assert len(asked) == 10  # the warm-up too
    assert set(asked) == ({()} if question == "select 1" else {(email,) for email in EMAILS})


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_a_wrong_answer_ends_the_run(kind: str, path: str) -> None:
    with pytest.raises(RuntimeError, match=r"'z' came back instead of 'b@example\.com'"):
        load(kind, path, {EMAILS[1]: "z"}, [], question="lead by e-mail", callers=3, seconds=0.0)


def test_callers_share_the_addresses() -> None:
    mine = _calls.turns(_calls.QUESTIONS["lead by e-mail"], EMAILS, 1, 2)
    assert [right for _, right in itertools.islice(mine, 4)] == [EMAILS[1], EMAILS[3], EMAILS[1], EMAILS[3]]


def test_percentiles_are_of_all_times() -> None:
    found = _calls.summary([n / 100 for n in range(100, 0, -1)], 4.0)
    assert (found.calls, found.seconds, found.p50, found.p99) == (100, 4.0, 0.51, 1.0)
