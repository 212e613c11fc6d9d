"""Tests marked ``alone`` have the machine to themselves, while all others are spread over several processes.

What they assert are limits of time, which a neighbour at work on the same cores would break. Everybody holds one lock
while a test runs, tests that go together share it. Whoever wants it passes a door first, and waits for the lock inside:
so he who must be alone does not wait until the others have run out of tests.
"""

from __future__ import annotations

import fcntl
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOOR, LOCK = ROOT / "Makefile", ROOT / "pyproject.toml"  # any two files that all processes of a run have in common


@contextmanager
def held(file: Path, how: int) -> Iterator[None]:
    with file.open() as opened:
        fcntl.flock(opened, how)
        try:
            yield
        finally:
            fcntl.flock(opened, fcntl.LOCK_UN)  # closing would leave it to a child that a test has forked


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Outermost: what is waited for here is no part of a test's time."""
    with ExitStack() as stack:
        with held(DOOR, fcntl.LOCK_EX):
            alone = item.get_closest_marker("alone") is not None
            stack.enter_context(held(LOCK, fcntl.LOCK_EX if alone else fcntl.LOCK_SH))
        return (yield)
